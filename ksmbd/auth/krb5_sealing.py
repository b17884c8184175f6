# SPDX-License-Identifier: GPL-2.0-or-later
"""The per-message tokens of Kerberos (RFC 4121 4.2) as DCE/RPC uses them (MS-KILE 3.4.5.4 to 3.4.5.7), from the
acceptor's side: GSS_GetMICEx for integrity, GSS_WrapEx for privacy.

A sealed message keeps its length: what a Wrap token has beside it, rotated to its front, is the signature.
"""
from __future__ import annotations

import secrets
from dataclasses import dataclass
from hmac import compare_digest
from struct import Struct
from typing import Final

from ksmbd.auth.krb5_crypto import BLOCK, CONFOUNDER, PROFILES, Keys

ACCEPTOR_SEAL, ACCEPTOR_SIGN, INITIATOR_SEAL, INITIATOR_SIGN = 22, 23, 24, 25
"""Key usages (RFC 4121 2)."""
_MIC: Final = Struct(">HB5sQ")
_WRAP: Final = Struct(">HBBHHQ")
HEADER_SIZE: Final = 16
_MIC_ID: Final = 0x0404
_WRAP_ID: Final = 0x0504
_MIC_FILLER: Final = b"\xff" * 5
_FILLER: Final = 0xFF
_BY_ACCEPTOR, _SEALED, _ACCEPTOR_SUBKEY = 0x01, 0x02, 0x04
_SEQUENCE_MASK: Final = (1 << 64) - 1


@dataclass(frozen=True)
class MessageKeys:
    """What a log-on leaves for the messages. `sent` and `received`: the first sequence number of each side."""

    enctype: int
    key: bytes
    by_acceptor: bool
    """The key is the acceptor's subkey."""
    sent: int
    received: int


class KerberosProtection:
    """Both directions of a context, in order: each message takes a sequence number."""

    def __init__(self, keys: MessageKeys, dce_style: bool, header_signing: bool) -> None:
        """`header_signing`: signatures cover the header and the trailer of a PDU, too (MS-RPCE 3.3.1.5.2.2). Raises
        ValueError for keys that are not AES's."""
        if keys.enctype not in PROFILES:
            raise ValueError(f"encryption type {keys.enctype} protects no messages here")
        self._subkey = _ACCEPTOR_SUBKEY if keys.by_acceptor else 0
        self._dce_style = dce_style
        self._header_signing = header_signing
        self._sent, self._received = keys.sent, keys.received
        self._checksum = PROFILES[keys.enctype].checksum
        self._sealing, self._signing, self._unsealing, self._verifying = (
            Keys(keys.enctype, keys.key, usage)
            for usage in (ACCEPTOR_SEAL, ACCEPTOR_SIGN, INITIATOR_SEAL, INITIATOR_SIGN)
        )

    def signature_size(self, sealing: bool) -> int:
        """Bytes of a signature that this side makes."""
        if not sealing:
            return HEADER_SIZE + self._checksum
        return 2 * HEADER_SIZE + CONFOUNDER + self._extra + self._checksum

    @property
    def _extra(self) -> int:
        """EC of our tokens: in DCE style a block, as Windows has it, though nothing is to be filled."""
        return BLOCK if self._dce_style else 0

    # ------------------------------------------------------------------------------------------------------ mic

    def sign(self, data: bytes) -> bytes:
        """The MIC token of the next message that this side sends (RFC 4121 4.2.6.1)."""
        header = _MIC.pack(_MIC_ID, _BY_ACCEPTOR | self._subkey, _MIC_FILLER, self._sent)
        self._sent = (self._sent + 1) & _SEQUENCE_MASK
        return header + self._signing.checksum(data + header)

    def verifies(self, data: bytes, token: bytes) -> bool:
        """Whether the next message that was received has this MIC token."""
        header = token[:HEADER_SIZE]
        right = _MIC.pack(_MIC_ID, self._subkey, _MIC_FILLER, self._received)
        if header != right or not compare_digest(self._verifying.checksum(data + header), token[HEADER_SIZE:]):
            return False
        self._received = (self._received + 1) & _SEQUENCE_MASK
        return True

    # --------------------------------------------------------------------------------------------- messages of DCE/RPC

    def protect(self, head: bytes, body: bytes, trailer: bytes, sealing: bool) -> tuple[bytes, bytes]:
        """The body of a PDU as it is sent, and the signature."""
        if not self._header_signing:
            head = trailer = b""
        if not sealing:
            return body, self.sign(head + body + trailer)
        flags = _BY_ACCEPTOR | _SEALED | self._subkey
        token = _WRAP.pack(_WRAP_ID, flags, _FILLER, self._extra, 0, self._sent)
        sent = _WRAP.pack(_WRAP_ID, flags, _FILLER, self._extra, BLOCK + self._checksum, self._sent)
        self._sent = (self._sent + 1) & _SEQUENCE_MASK
        confounder = secrets.token_bytes(CONFOUNDER)
        tail = bytes((_FILLER,)) * self._extra + token
        cipher = self._sealing.encrypt(confounder + body + tail)
        first, sealed, last = _cut(cipher, len(body))
        checksum = _integrity(self._sealing, (first, sealed, last), (confounder, body, tail), head, trailer)
        return sealed, sent + last + checksum + first

    def unprotect(self, head: bytes, body: bytes, trailer: bytes, signature: bytes, sealing: bool) -> bytes | None:
        """The body of the next received PDU in the clear; None where it is not what its sender protected."""
        if not self._header_signing:
            head = trailer = b""
        if not sealing:
            return body if self.verifies(head + body + trailer, signature) else None
        if len(signature) < HEADER_SIZE:
            return None
        identifier, flags, filler, extra, rotated, sequence = _WRAP.unpack_from(signature)
        expected = (_WRAP_ID, _SEALED | self._subkey, _FILLER, self._received)
        if (identifier, flags, filler, sequence) != expected:
            return None
        # Windows rotates by EC beyond RRC (MS-KILE 3.4.5.4.1); what the signature has in it is the same
        fixed = BLOCK + self._checksum
        size = 2 * HEADER_SIZE + CONFOUNDER + extra + self._checksum
        if rotated not in (fixed, fixed + extra) or len(signature) != size:
            return None
        last = signature[HEADER_SIZE : 2 * HEADER_SIZE + extra]
        checksum = signature[2 * HEADER_SIZE + extra : size - CONFOUNDER]
        first = signature[size - CONFOUNDER :]
        clear = self._unsealing.decrypt(first + body + last)
        confounder, plain, tail = _cut(clear, len(body))
        right = _integrity(self._unsealing, (first, body, last), (confounder, plain, tail), head, trailer)
        token = _WRAP.pack(_WRAP_ID, flags, _FILLER, extra, 0, sequence)
        if not compare_digest(right, checksum) or tail[extra:] != token:
            return None
        self._received = (self._received + 1) & _SEQUENCE_MASK
        return plain


def _integrity(
    keys: Keys, sealed: tuple[bytes, bytes, bytes], clear: tuple[bytes, bytes, bytes], head: bytes, trailer: bytes
) -> bytes:
    """The checksum of a PDU, given what `_cut` makes of its encrypted and of its clear data; what is signed beside the
    body stands around it."""
    first, body, last = sealed if keys.profile.is_sha2 else clear
    return keys.integrity(first + head + body + trailer + last)


def _cut(data: bytes, size: int) -> tuple[bytes, bytes, bytes]:
    """Confounder, body of `size` bytes, and what is behind it."""
    return data[:CONFOUNDER], data[CONFOUNDER : CONFOUNDER + size], data[CONFOUNDER + size :]
