# SPDX-License-Identifier: GPL-2.0-or-later
"""Signs and verifies messages (MS-SMB2 3.1.4.1): HMAC-SHA256, AES-CMAC and AES-GMAC over the message with a zero
signature.

A signer keeps its keyed cipher object, which helper threads may use. A writable message is signed and verified in
place: its signature field is zero during the computation.
"""
from __future__ import annotations

import hmac
from hmac import compare_digest
from struct import Struct
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

from ksmbd.overriding import override
from ksmbd.smb.constants import CANCEL, SIGNING_AES_CMAC, SIGNING_AES_GMAC, SIGNING_HMAC_SHA256
from ksmbd.smb.header import HEADER_SIZE, SIGNATURE_OFFSET

_ZERO: Final = bytes(16)
_END: Final = SIGNATURE_OFFSET + 16
_COMMAND_AND_ID: Final = Struct("<12xH10xQ")
"""Command and MessageId in a header (MS-SMB2 2.2.1)."""
_NONCE: Final = Struct("<QI")
LARGE: Final = 64 * 1024
"""Size in bytes from which CMAC is computed as CBC in chunks, which releases the interpreter lock; a CMAC update would
not."""


class MessageSigner:
    """The common part of the algorithms; `_mac(message, from_server)` computes the signature of a message whose
    signature field is zero."""

    __slots__ = ()

    slow = True
    """See the port Signer."""

    def _mac(self, message: memoryview, from_server: bool) -> bytes:
        raise NotImplementedError

    def sign(self, message: memoryview) -> None:
        """Write the signature of a message of the server into its bytes 48..64."""
        message[SIGNATURE_OFFSET:_END] = _ZERO
        message[SIGNATURE_OFFSET:_END] = self._mac(message, True)

    def verify(self, message: memoryview) -> bool:
        """Whether bytes 48..64 are the signature of the client's message, compared in constant time. The message is
        unchanged afterwards."""
        if len(message) < HEADER_SIZE:
            return False
        signature = bytes(message[SIGNATURE_OFFSET:_END])
        if message.readonly:
            copy = bytearray(message)
            copy[SIGNATURE_OFFSET:_END] = _ZERO
            return compare_digest(self._mac(memoryview(copy), False), signature)
        message[SIGNATURE_OFFSET:_END] = _ZERO
        try:
            return compare_digest(self._mac(message, False), signature)
        finally:
            message[SIGNATURE_OFFSET:_END] = signature


class HmacSha256Signer(MessageSigner):
    """SMB 2.0.2 and 2.1, and where 3.1.1 negotiates it: the first 16 bytes of HMAC-SHA256."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")

    @override
    def _mac(self, message: memoryview, from_server: bool) -> bytes:
        mac = self._keyed.copy()
        mac.update(message)
        return mac.digest()[:16]


class AesCmacSigner(MessageSigner):
    """SMB 3.x: AES-128-CMAC (RFC 4493)."""

    __slots__ = ("_algorithm", "_keyed", "_last_key", "_padded_key")

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.AES(key)
        self._keyed = CMAC(self._algorithm)
        # RFC 4493 2.3, the subkeys for a last block that is whole, and for one that is padded
        block = Cipher(self._algorithm, modes.CBC(_ZERO)).encryptor().update(_ZERO)
        self._last_key = _double(block)
        self._padded_key = _double(self._last_key.to_bytes(16, "big"))

    @override
    def _mac(self, message: memoryview, from_server: bool) -> bytes:
        if len(message) >= LARGE:
            return self._mac_in_chunks(message)
        mac = self._keyed.copy()
        mac.update(message)  # type: ignore[arg-type]  # any buffer will do
        return mac.finalize()

    def _mac_in_chunks(self, message: memoryview) -> bytes:
        # RFC 4493 2.4: CBC over all blocks but the last, of which only the final state counts.
        size = len(message)
        tail = (size - 1) // 16 * 16
        encryptor = Cipher(self._algorithm, modes.CBC(_ZERO)).encryptor()
        scratch = bytearray(min(LARGE, size) + 15)
        for start in range(0, tail, LARGE):
            encryptor.update_into(message[start : min(start + LARGE, tail)], scratch)
        last = bytes(message[tail:])
        key = self._last_key
        if len(last) < 16:
            last = (last + b"\x80").ljust(16, b"\0")
            key = self._padded_key
        return encryptor.update((int.from_bytes(last, "big") ^ key).to_bytes(16, "big"))


def _double(block: bytes) -> int:
    """Multiplication by x in GF(2^128) (RFC 4493 2.3)."""
    value = int.from_bytes(block, "big") << 1
    return value ^ (1 << 128 | 0x87) if value >> 128 else value


class AesGmacSigner(MessageSigner):
    """SMB 3.1.1: AES-128-GMAC, that is GCM without plaintext and the message as additional data."""

    __slots__ = ("_aead",)

    slow = False

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    @override
    def _mac(self, message: memoryview, from_server: bool) -> bytes:
        # MS-SMB2 3.1.4.1: MessageId, then bit 0: the sender is the server, bit 1: the request is a CANCEL. The role is
        # ours to say, not the message's: a reply sent back to us must not verify.
        command, message_id = _COMMAND_AND_ID.unpack_from(message)
        return self._aead.encrypt(_NONCE.pack(message_id, from_server | (command == CANCEL) << 1), b"", message)


_SIGNERS: Final[dict[int, type[HmacSha256Signer | AesCmacSigner | AesGmacSigner]]] = {
    SIGNING_HMAC_SHA256: HmacSha256Signer,
    SIGNING_AES_CMAC: AesCmacSigner,
    SIGNING_AES_GMAC: AesGmacSigner,
}


def make_signer(algorithm: int, key: bytes) -> MessageSigner:
    """The signer for a SigningAlgorithmId (MS-SMB2 2.2.3.1.7) and the session's or the channel's signing key."""
    return _SIGNERS[algorithm](key)
