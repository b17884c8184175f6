# SPDX-License-Identifier: GPL-2.0-or-later
"""The security context of an RPC association (MS-RPCE 2.2.2.11, 3.3.1.5.2): its log-on, and the protection of PDUs.

With extended session security a signature covers the whole PDU up to the signature, the stub in the clear, whether or
not header signing was negotiated (MS-RPCE 2.2.2.12). Faults are sent without protection, as other servers do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from ksmbd import limits
from ksmbd.auth import ntlm_crypto as crypto
from ksmbd.auth.ntlm_sealing import SIGNATURE_SIZE, MessageProtection
from ksmbd.auth.settings import AuthSettings
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_LOGON_FAILURE, NtStatusError, WireError
from mountd.rpc import pdu
from mountd.rpc.facts import Facts
from mountd.rpc.logon import Logon
from mountd.rpc.names import Admitted, Found, Question
from mountd.rpc.pdu import Header, Pfc

SPNEGO: Final = 9
NTLMSSP: Final = 10
"""RPC_C_AUTHN_GSS_NEGOTIATE and RPC_C_AUTHN_WINNT (MS-RPCE 2.2.1.1.7)."""
_TRAILER: Final = Struct("<BBBBI")
TRAILER_SIZE: Final = _TRAILER.size
_PAD: Final = 16
"""Stubs are padded to a multiple of it before the trailer."""
OVERHEAD: Final = _PAD - 1 + TRAILER_SIZE + SIGNATURE_SIZE
"""Bytes by which a protected PDU is longer at most."""
_STUB: Final = 24
"""Offset of the stub in a request without object UUID, and in a response."""


class Level(IntEnum):
    """Authentication levels (MS-RPCE 2.2.1.1.8)."""

    CONNECT = 2
    CALL = 3
    PKT = 4
    INTEGRITY = 5
    PRIVACY = 6


class Trailer(NamedTuple):
    """sec_trailer (MS-RPCE 2.2.2.11) and the token behind it. `end` is where the body ends, before its padding."""

    type: int
    level: int
    context_id: int
    end: int
    token: bytes


class BadSignature(Exception):
    """A PDU is not what its sender signed."""


def read_trailer(fragment: bytes, header: Header) -> Trailer:
    """The trailer of a PDU that has one. Raises WireError."""
    start = len(fragment) - header.auth_length - TRAILER_SIZE
    if start < pdu.HEADER_SIZE:
        raise WireError(f"auth_length {header.auth_length}")
    reader = Reader(fragment, start)
    kind, level, padding, _, context_id = reader.unpack(_TRAILER)
    if start - padding < pdu.HEADER_SIZE:
        raise WireError(f"auth_pad_length {padding}")
    return Trailer(kind, level, context_id, start - padding, reader.bytes(header.auth_length))


class SecurityContext:
    """One context: a log-on, and from then on its protection."""

    def __init__(self, trailer: Trailer, settings: AuthSettings, filetime: Callable[[], int]) -> None:
        """For the trailer of the PDU that begins it. Raises NtStatusError where the server has no such type or
        level."""
        known = trailer.type in (SPNEGO, NTLMSSP) and trailer.level in tuple(Level)
        if not known or not settings.ntlm_allowed:
            raise NtStatusError(STATUS_LOGON_FAILURE, f"authentication {trailer.type} of level {trailer.level}")
        self.type = trailer.type
        self.level = Level(trailer.level)
        self.context_id = trailer.context_id
        self._logon = Logon(settings, trailer.type == SPNEGO, filetime)
        self._protection: MessageProtection | None = None
        self.established = False

    @property
    def protects(self) -> bool:
        """Whether requests and responses must be signed."""
        return self.level >= Level.CALL

    def step(self, token: bytes) -> bytes | Question:
        """See Logon.step."""
        return self._logon.step(token)

    def complete(self, key_exchange_key: bytes) -> bytes:
        """See Logon.complete. From now on PDUs are protected. Raises NtStatusError, also where the client has not
        negotiated what the level needs."""
        answer = self._logon.complete(key_exchange_key)
        needed = 0
        if self.protects:
            needed = crypto.NEGOTIATE_EXTENDED_SESSIONSECURITY | crypto.NEGOTIATE_SIGN
        if self.level is Level.PRIVACY:
            needed |= crypto.NEGOTIATE_SEAL
        if needed & ~self._logon.flags:
            raise NtStatusError(STATUS_LOGON_FAILURE, f"flags {self._logon.flags:#x} without {needed:#x}")
        self._protection = MessageProtection(self._logon.flags, self._logon.session_key, self._logon.signed)
        self.established = True
        return answer

    def with_token(self, message: bytes, token: bytes) -> bytes:
        """A PDU of the log-on with the server's token (bind_ack, alter_context_resp)."""
        return self._with_trailer(message, -len(message) % 4, len(token)) + token

    def _with_trailer(self, message: bytes, padding: int, size: int) -> bytes:
        """`message` with padding, trailer, and its lengths for a token of `size` bytes."""
        trailer = _TRAILER.pack(self.type, self.level, padding, 0, self.context_id)
        longer = bytearray(message + bytes(padding) + trailer)
        pdu.set_lengths(longer, len(longer) + size, size)
        return bytes(longer)

    def open(self, fragment: bytes, header: Header, trailer: Trailer) -> bytes:
        """A request in the clear, without padding and trailer. Raises BadSignature."""
        protection = self._protection
        assert protection is not None
        same = (trailer.type, trailer.level, len(trailer.token)) == (self.type, self.level, SIGNATURE_SIZE)
        start = _STUB + 16 if header.flags & Pfc.OBJECT_UUID else _STUB
        signed_end = len(fragment) - SIGNATURE_SIZE
        body_end = signed_end - TRAILER_SIZE
        if not same or not start <= trailer.end <= body_end:
            raise BadSignature
        if self.level is Level.PRIVACY:
            plain = protection.received.crypt(fragment[start:body_end])
            fragment = fragment[:start] + plain + fragment[body_end:]
        if not protection.received.verifies(fragment[:signed_end], trailer.token):
            raise BadSignature
        return fragment[: trailer.end]

    def seal(self, response: bytes) -> bytes:
        """A fragment of a response, signed and, with PRIVACY, encrypted."""
        protection = self._protection
        assert protection is not None
        message = self._with_trailer(response, -(len(response) - _STUB) % _PAD, SIGNATURE_SIZE)
        body_end = len(message) - TRAILER_SIZE
        sent = message
        if self.level is Level.PRIVACY:
            sent = message[:_STUB] + protection.sent.crypt(message[_STUB:body_end]) + message[body_end:]
        return sent + protection.sent.signature(message)


class Securities:
    """The security contexts of one association. All of them have one account."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts
        self._contexts: dict[int, SecurityContext] = {}
        self._account: str | None = None

    def context(self, trailer: Trailer) -> SecurityContext:
        """The context that a trailer names; a new one for a number that is not known. Raises NtStatusError."""
        found = self._contexts.get(trailer.context_id)
        if found is not None:
            if (found.type, found.level) != (trailer.type, trailer.level):
                raise NtStatusError(STATUS_ACCESS_DENIED, "another type or level of authentication")
            return found
        if len(self._contexts) >= limits.RPC_SECURITY_CONTEXTS.value:
            raise NtStatusError(STATUS_ACCESS_DENIED, "security contexts of an association")
        facts = self._facts()
        settings = AuthSettings(
            facts.netbios_name, facts.workgroup, ntlm_auth="ntlmv2-only" if facts.ntlm else "disabled"
        )
        found = SecurityContext(trailer, settings, _filetime)
        self._contexts[trailer.context_id] = found
        return found

    def admit(self, found: Found) -> Admitted:
        """mountd's answer to a log-on, where it is right. Raises STATUS_ACCESS_DENIED."""
        if not isinstance(found, Admitted) or self._account not in (None, found.account):
            raise NtStatusError(STATUS_ACCESS_DENIED, "the log-on is refused")
        self._account = found.account
        return found

    def open(
        self, fragment: bytes, header: Header, trailer: Trailer | None
    ) -> tuple[bytes, SecurityContext | None]:
        """A request in the clear without trailer, and what protects it. Raises BadSignature; STATUS_ACCESS_DENIED where
        it is not protected as the log-on demands, or before its end."""
        if trailer is None:
            if any(context.protects or not context.established for context in self._contexts.values()):
                raise NtStatusError(STATUS_ACCESS_DENIED, "a request without protection")
            return fragment, None
        context = self._contexts.get(trailer.context_id)
        if context is None or not context.established or not context.protects:
            raise NtStatusError(STATUS_ACCESS_DENIED, "a request of no security context")
        return context.open(fragment, header, trailer), context


def _filetime() -> int:
    return time.time_ns() // 100 + FILETIME_UNIX_EPOCH
