# SPDX-License-Identifier: GPL-2.0-or-later
"""Encryption and checksums with the AES keys of Kerberos (RFC 3961, RFC 3962, RFC 8009), for the messages after a
log-on."""
from __future__ import annotations

import hmac
import math
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

BLOCK: Final = 16
CONFOUNDER: Final = 16
_CHECKSUM, _ENCRYPTION, _INTEGRITY = 0x99, 0xAA, 0x55
"""The last octet of the constants from which keys are derived (RFC 3961 5.3)."""


class Profile(NamedTuple):
    """An encryption type. `key`: bytes of a key, `integrity`: of Kc and Ki, `checksum`: of a truncated HMAC with
    `hash`. `is_sha2`: of RFC 8009, whose HMAC covers what is encrypted."""

    key: int
    integrity: int
    hash: str
    checksum: int
    is_sha2: bool


PROFILES: Final = {
    17: Profile(16, 16, "sha1", 12, False),
    18: Profile(32, 32, "sha1", 12, False),
    19: Profile(16, 16, "sha256", 16, True),
    20: Profile(32, 24, "sha384", 24, True),
}
"""aes128-cts-hmac-sha1-96, aes256-cts-hmac-sha1-96, aes128-cts-hmac-sha256-128, aes256-cts-hmac-sha384-192."""


def n_fold(data: bytes, size: int) -> bytes:
    """`data` folded to `size` bytes (RFC 3961 5.1): copies, each rotated by 13 bits more, added in ones' complement."""
    bits = 8 * len(data)
    value = int.from_bytes(data, "big")
    joined = bytearray()
    for number in range(math.lcm(len(data), size) // len(data)):
        turn = 13 * number % bits
        rotated = (value >> turn | value << (bits - turn)) & ((1 << bits) - 1)
        joined += rotated.to_bytes(len(data), "big")
    total = sum(int.from_bytes(joined[start : start + size], "big") for start in range(0, len(joined), size))
    mask = (1 << 8 * size) - 1
    while total > mask:
        total = (total & mask) + (total >> 8 * size)
    return total.to_bytes(size, "big")


def derive(profile: Profile, key: bytes, constant: bytes, size: int) -> bytes:
    """The key of `size` bytes that a protocol key and a constant make (RFC 3961 5.1 DK, RFC 8009 3)."""
    if profile.is_sha2:
        made = hmac.digest(key, b"\0\0\0\1" + constant + b"\0" + (8 * size).to_bytes(4, "big"), profile.hash)
        return made[:size]
    block, made = n_fold(constant, BLOCK), b""
    while len(made) < size:
        block = _cbc(key).encryptor().update(block)
        made += block
    return made[:size]


def _cbc(key: bytes) -> Cipher[CBC]:
    return Cipher(AES(key), CBC(bytes(BLOCK)))


def encrypt_cts(key: bytes, data: bytes) -> bytes:
    """AES in CBC mode with ciphertext stealing and a zero vector, the last two blocks swapped (RFC 3962 5). More than
    one block."""
    whole = _cbc(key).encryptor().update(data + bytes(-len(data) % BLOCK))
    rest = (len(data) - 1) % BLOCK + 1
    return whole[: -2 * BLOCK] + whole[-BLOCK:] + whole[-2 * BLOCK : -BLOCK][:rest]


def decrypt_cts(key: bytes, data: bytes) -> bytes:
    """The reverse of `encrypt_cts`."""
    rest = (len(data) - 1) % BLOCK + 1
    last, stolen = data[-rest - BLOCK : -rest], data[-rest:]
    single = _cbc(key).decryptor().update(last)
    return _cbc(key).decryptor().update(data[: -rest - BLOCK] + stolen + single[rest:] + last)[: len(data)]


class Keys:
    """The keys that a protocol key makes for one usage (RFC 3961 3, 5.3)."""

    def __init__(self, enctype: int, key: bytes, usage: int) -> None:
        """Raises KeyError for another encryption type, ValueError for a key of another length."""
        self.profile = PROFILES[enctype]
        if len(key) != self.profile.key:
            raise ValueError(f"{len(key)} bytes of key for encryption type {enctype}")
        base = usage.to_bytes(4, "big")
        integrity = self.profile.integrity
        self._encryption = derive(self.profile, key, base + bytes((_ENCRYPTION,)), self.profile.key)
        self._integrity = derive(self.profile, key, base + bytes((_INTEGRITY,)), integrity)
        self._checksum = derive(self.profile, key, base + bytes((_CHECKSUM,)), integrity)

    def checksum(self, data: bytes) -> bytes:
        """The checksum of `data` (RFC 3961 4, 5.4)."""
        return hmac.digest(self._checksum, data, self.profile.hash)[: self.profile.checksum]

    def encrypt(self, data: bytes) -> bytes:
        """The ciphertext of confounder and data, without checksum."""
        return encrypt_cts(self._encryption, data)

    def decrypt(self, data: bytes) -> bytes:
        """The confounder and data of a ciphertext, whose checksum was or will be compared."""
        return decrypt_cts(self._encryption, data)

    def integrity(self, data: bytes) -> bytes:
        """The checksum of a ciphertext: over the clear data, or with RFC 8009 over vector and ciphertext."""
        if self.profile.is_sha2:
            data = bytes(BLOCK) + data
        return hmac.digest(self._integrity, data, self.profile.hash)[: self.profile.checksum]
