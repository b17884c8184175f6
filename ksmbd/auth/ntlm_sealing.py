# SPDX-License-Identifier: GPL-2.0-or-later
"""GSS_WrapEx and GSS_GetMICEx of NTLM with extended session security (MS-NLMP 3.4.2, 3.4.3): the protection of messages
after a log-on, as DCE/RPC uses it."""
from __future__ import annotations

from hmac import compare_digest
from struct import Struct
from typing import Final

from ksmbd.auth import ntlm_crypto as crypto

_U32: Final = Struct("<I")
SIGNATURE_SIZE: Final = 16
VERSION: Final = _U32.pack(1)


class Direction:
    """The messages of one side, in order: each takes a sequence number, and its part of one RC4 stream."""

    def __init__(self, flags: int, session_key: bytes, server: bool, number: int = 0) -> None:
        self._stream = crypto.rc4(crypto.seal_key(flags, session_key, server))
        self._key = crypto.sign_key(session_key, server)
        self._encrypts = bool(flags & crypto.NEGOTIATE_KEY_EXCH)
        self._number = number

    def crypt(self, data: bytes) -> bytes:
        """Encrypt or decrypt the data of the next message; before its `signature`."""
        return self._stream.update(data)

    def signature(self, message: bytes) -> bytes:
        """The signature of the next message, in the clear (3.4.4.2)."""
        sequence = _U32.pack(self._number & 0xFFFFFFFF)
        self._number += 1
        checksum = crypto.hmac_md5(self._key, sequence + message)[:8]
        return VERSION + (self._stream.update(checksum) if self._encrypts else checksum) + sequence

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the next message, in the clear, has this signature; compared in constant time."""
        return compare_digest(self.signature(message), signature)


class MessageProtection:
    """Both directions of a session, from the server's side."""

    def __init__(self, flags: int, session_key: bytes, number: int = 0) -> None:
        """`flags`: what both sides negotiated, NEGOTIATE_EXTENDED_SESSIONSECURITY among it. `number`: how many messages
        each side has signed before. Of SPNEGO's mechListMIC only the number counts; the RC4 streams begin again for the
        first message (MS-SPNG 3.3.5.1)."""
        self.received = Direction(flags, session_key, server=False, number=number)
        self.sent = Direction(flags, session_key, server=True, number=number)

    def signature_size(self, sealing: bool) -> int:
        """Bytes of a signature."""
        return SIGNATURE_SIZE

    def protect(self, head: bytes, body: bytes, trailer: bytes, sealing: bool) -> tuple[bytes, bytes]:
        """The body of the next PDU that this side sends, and the signature, which covers the whole PDU in the clear,
        whether or not header signing was negotiated (MS-RPCE 2.2.2.12)."""
        sent = self.sent.crypt(body) if sealing else body
        return sent, self.sent.signature(head + body + trailer)

    def unprotect(self, head: bytes, body: bytes, trailer: bytes, signature: bytes, sealing: bool) -> bytes | None:
        """The body of the next received PDU in the clear; None where it is not what its sender signed."""
        if len(signature) != SIGNATURE_SIZE:
            return None
        plain = self.received.crypt(body) if sealing else body
        return plain if self.received.verifies(head + plain + trailer, signature) else None
