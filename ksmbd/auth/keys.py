# SPDX-License-Identifier: GPL-2.0-or-later
"""Derives the keys of a session (MS-SMB2 3.3.5.5.3, 3.1.4.2): SP800-108 in counter mode with HMAC-SHA256."""
from __future__ import annotations

import hmac
from typing import Final

from ksmbd.smb.constants import CIPHER_AES256_CCM, CIPHER_AES256_GCM, DIALECT_300, DIALECT_311
from ksmbd.smb.ports import SessionKeys

_COUNTER: Final = b"\0\0\0\1"
_LONG_CIPHERS: Final = (CIPHER_AES256_CCM, CIPHER_AES256_GCM)


def kdf(key: bytes, label: bytes, context: bytes, size: int = 16) -> bytes:
    """The key derivation of SP800-108 5.1 with r = 32: one block of HMAC-SHA256, up to 32 bytes. `label` includes its
    final NUL."""
    return hmac.digest(key, _COUNTER + label + b"\0" + context + (size * 8).to_bytes(4, "big"), "sha256")[:size]


def derive_keys(dialect: int, session_key: bytes, preauth_hash: bytes, cipher: int) -> SessionKeys:
    """All keys of a session. `session_key` is the full key of the mechanism; `cipher` is 0 if none was negotiated.

    Session.SessionKey is its first 16 bytes, padded with zeros. AES-256 keys are derived from the full key (3.3.5.5.3).
    """
    short = session_key[:16].ljust(16, b"\0")
    if dialect < DIALECT_300:
        return SessionKeys(short, short, b"", b"")
    size, source = (32, session_key) if cipher in _LONG_CIPHERS else (16, short)
    if dialect >= DIALECT_311:
        return SessionKeys(
            kdf(short, b"SMBSigningKey\0", preauth_hash),
            kdf(short, b"SMBAppKey\0", preauth_hash),
            kdf(source, b"SMBS2CCipherKey\0", preauth_hash, size),
            kdf(source, b"SMBC2SCipherKey\0", preauth_hash, size),
        )
    return SessionKeys(
        kdf(short, b"SMB2AESCMAC\0", b"SmbSign\0"),
        kdf(short, b"SMB2APP\0", b"SmbRpc\0"),
        kdf(short, b"SMB2AESCCM\0", b"ServerOut\0"),
        kdf(short, b"SMB2AESCCM\0", b"ServerIn \0"),
    )
