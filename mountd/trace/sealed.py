# SPDX-License-Identifier: GPL-2.0-or-later
"""Decrypts the beginning of a message behind its transform header (MS-SMB2 2.2.41, 3.1.4.3).

GCM and CCM both encrypt in counter mode (SP 800-38D 6.5, RFC 3610 2.3), so the beginning of a long message can be read
without the rest. The tag is not verified: the server does that; a wrong key is told by what comes out.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ksmbd.smb.constants import CIPHER_AES128_CCM, CIPHER_AES256_CCM
from ksmbd.smb.header import SMB2_PROTOCOL_ID, TRANSFORM_HEADER, TRANSFORM_HEADER_SIZE

_CCM: Final = (CIPHER_AES128_CCM, CIPHER_AES256_CCM)


def session_of(frame: bytes) -> int | None:
    """The SessionId of a transform frame; None where it is cut off."""
    return int(TRANSFORM_HEADER.unpack_from(frame)[6]) if len(frame) >= TRANSFORM_HEADER_SIZE else None


def unseal(frame: bytes, cipher: int, key: bytes) -> bytes | None:
    """The message, or as much of it as there is; None where the key does not fit."""
    if len(frame) < TRANSFORM_HEADER_SIZE:
        return None
    nonce = TRANSFORM_HEADER.unpack_from(frame)[2]
    if cipher in _CCM:
        counter = b"\x03" + nonce[:11] + (1).to_bytes(4, "big")
    else:
        counter = nonce[:12] + (2).to_bytes(4, "big")
    decryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).decryptor()
    message = decryptor.update(frame[TRANSFORM_HEADER_SIZE:])
    return message if message[:4] == SMB2_PROTOCOL_ID else None
