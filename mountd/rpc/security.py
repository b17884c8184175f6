# SPDX-License-Identifier: GPL-2.0-or-later
"""The security context of an RPC association (MS-RPCE 2.2.2.11, 3.3.1.5.2): its log-on, and the protection of PDUs.

Faults are sent without protection, as other servers do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple, Protocol

from ksmbd import limits
from ksmbd.auth import spnego
from ksmbd.auth.settings import AuthSettings
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_LOGON_FAILURE, NtStatusError, WireError
from mountd.rpc import pdu
from mountd.rpc.facts import Facts
from mountd.rpc.logon import Logon
from mountd.rpc.names import Admitted, Found, Question
from mountd.rpc.pdu import Header, Pfc
from mountd.rpc.ticket import MECHANISMS, TicketLogon

SPNEGO: Final = 9
NTLMSSP: Final = 10
KERBEROS: Final = 16
"""RPC_C_AUTHN_GSS_NEGOTIATE, RPC_C_AUTHN_WINNT and RPC_C_AUTHN_GSS_KERBEROS (MS-RPCE 2.2.1.1.7)."""
_TRAILER: Final = Struct("<BBBBI")
TRAILER_SIZE: Final = _TRAILER.size
_PAD: Final = 16
"""Stubs are padded to a multiple of it before the trailer."""
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


class Protection(Protocol):
    """Protects the PDUs of both sides: ksmbd.auth.ntlm_sealing, ksmbd.auth.krb5_sealing."""

    def signature_size(self, sealing: bool) -> int:
        """Bytes of a signature of the server's."""

    def protect(self, head: bytes, body: bytes, trailer: bytes, sealing: bool) -> tuple[bytes, bytes]:
        """The body as it is sent, and the signature."""

    def unprotect(self, head: bytes, body: bytes, trailer: bytes, signature: bytes, sealing: bool) -> bytes | None:
        """The body of a received PDU in the clear; None where it is not what its sender protected."""


class SecurityContext:
    """One context: a log-on, and from then on its protection."""

    def __init__(
        self, trailer: Trailer, settings: AuthSettings, filetime: Callable[[], int], header_signing: bool = False
    ) -> None:
        """For the trailer of the PDU that begins it. Raises NtStatusError where the server has no such type or
        level."""
        allowed = {SPNEGO: settings.ntlm_allowed or settings.kerberos, NTLMSSP: settings.ntlm_allowed,
                   KERBEROS: settings.kerberos}  # fmt: skip
        if not allowed.get(trailer.type, False) or trailer.level not in tuple(Level):
            raise NtStatusError(STATUS_LOGON_FAILURE, f"authentication {trailer.type} of level {trailer.level}")
        self.type = trailer.type
        self.level = Level(trailer.level)
        self.context_id = trailer.context_id
        self._settings = settings
        self._filetime = filetime
        self._header_signing = header_signing
        self._logon: Logon | TicketLogon | None = None
        self._protection: Protection | None = None
        self._end = float("inf")
        """When the ticket ends, by time.monotonic."""
        self.established = False

    @property
    def protects(self) -> bool:
        """Whether requests and responses must be signed."""
        return self.level >= Level.CALL

    def step(self, token: bytes) -> bytes | Question:
        """See Logon.step and TicketLogon.step."""
        if self._logon is None:
            if self._takes_ticket(token):
                self._logon = TicketLogon(self.type == SPNEGO, self._header_signing)
            else:
                self._logon = Logon(self._settings, self.type == SPNEGO, self._filetime)
        return self._logon.step(token)

    def _takes_ticket(self, token: bytes) -> bool:
        """Whether the first mechanism of the client's that the server has is Kerberos."""
        if self.type != SPNEGO:
            return self.type == KERBEROS
        offered = spnego.parse_init(token).mechanisms
        has = [*(MECHANISMS if self._settings.kerberos else ())]
        has += [spnego.NTLMSSP_OID] if self._settings.ntlm_allowed else []
        return next((each for each in offered if each in has), None) in MECHANISMS

    def complete(self, found: Found) -> tuple[bytes, Admitted | None]:
        """Go on with mountd's answer: the token for the client, and who has logged on with it; None where another token
        of the client is to come. Raises NtStatusError, also where the client has not negotiated what the level
        needs."""
        logon = self._logon
        assert logon is not None
        answer = logon.complete(found)
        if logon.admitted is not None:
            self._protection = logon.protection(self.protects, self.level is Level.PRIVACY)
            self._end = time.monotonic() + logon.seconds if logon.seconds else self._end
        return answer, logon.admitted

    @property
    def overhead(self) -> int:
        """Bytes by which a protected PDU is longer at most."""
        assert self._protection is not None
        return _PAD - 1 + TRAILER_SIZE + self._protection.signature_size(self.level is Level.PRIVACY)

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
        """A request in the clear, without padding and trailer. Raises BadSignature; STATUS_ACCESS_DENIED after the end
        of the ticket."""
        protection = self._protection
        assert protection is not None
        if time.monotonic() >= self._end:
            raise NtStatusError(STATUS_ACCESS_DENIED, "the ticket has expired")
        start = _STUB + 16 if header.flags & Pfc.OBJECT_UUID else _STUB
        signed_end = len(fragment) - len(trailer.token)
        body_end = signed_end - TRAILER_SIZE
        if (trailer.type, trailer.level) != (self.type, self.level) or not start <= trailer.end <= body_end:
            raise BadSignature
        head, body = fragment[:start], fragment[start:body_end]
        sealing = self.level is Level.PRIVACY
        plain = protection.unprotect(head, body, fragment[body_end:signed_end], trailer.token, sealing)
        if plain is None:
            raise BadSignature
        return (head + plain)[: trailer.end]

    def seal(self, response: bytes) -> bytes:
        """A fragment of a response, signed and, with PRIVACY, encrypted."""
        protection = self._protection
        assert protection is not None
        sealing = self.level is Level.PRIVACY
        size = protection.signature_size(sealing)
        message = self._with_trailer(response, -(len(response) - _STUB) % _PAD, size)
        body_end = len(message) - TRAILER_SIZE
        head, trailer = message[:_STUB], message[body_end:]
        body, signature = protection.protect(head, message[_STUB:body_end], trailer, sealing)
        return head + body + trailer + signature


class Securities:
    """The security contexts of one association. All of them have one account."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts
        self._contexts: dict[int, SecurityContext] = {}
        self._account: str | None = None
        self._header_signing = False
        """PFC_SUPPORT_HEADER_SIGN was negotiated (MS-RPCE 2.2.2.3)."""

    def context(self, trailer: Trailer, flags: Pfc) -> SecurityContext:
        """The context that the trailer of a PDU with these flags names; a new one for a number that is not known.
        Raises NtStatusError."""
        self._header_signing |= bool(flags & Pfc.SUPPORT_HEADER_SIGN)
        found = self._contexts.get(trailer.context_id)
        if found is not None:
            if (found.type, found.level) != (trailer.type, trailer.level):
                raise NtStatusError(STATUS_ACCESS_DENIED, "another type or level of authentication")
            return found
        if len(self._contexts) >= limits.RPC_SECURITY_CONTEXTS.value:
            raise NtStatusError(STATUS_ACCESS_DENIED, "security contexts of an association")
        facts = self._facts()
        settings = AuthSettings(
            facts.netbios_name, facts.workgroup, ntlm_auth="ntlmv2-only" if facts.ntlm else "disabled",
            kerberos=facts.kerberos,
        )  # fmt: skip
        found = SecurityContext(trailer, settings, _filetime, self._header_signing)
        self._contexts[trailer.context_id] = found
        return found

    def complete(self, context: SecurityContext, found: Found) -> tuple[bytes, Admitted | None]:
        """See SecurityContext.complete. From its end on PDUs are protected. Raises STATUS_ACCESS_DENIED for another
        account than that of other contexts, too."""
        token, admitted = context.complete(found)
        if admitted is not None:
            if self._account not in (None, admitted.account):
                raise NtStatusError(STATUS_ACCESS_DENIED, "another account in a second security context")
            self._account = admitted.account
            context.established = True
        return token, admitted

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
