# SPDX-License-Identifier: GPL-2.0-or-later
"""The preauthentication integrity hash (MS-SMB2 3.3.5.4, 3.3.5.5)."""
from __future__ import annotations

from hashlib import sha512
from typing import Final

from ksmbd.smb.reader import Buffer

INITIAL_HASH: Final = bytes(64)


def preauth_update(value: bytes, message: Buffer) -> bytes:
    """The new hash value: SHA-512 over the old one and a whole message, from its header on."""
    digest = sha512(value)
    digest.update(message)
    return digest.digest()
