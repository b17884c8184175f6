# SPDX-License-Identifier: GPL-2.0-or-later
"""Bodies of requests about opens, leases and locks, for tests that send them with any client."""
from __future__ import annotations

import struct

from rawclient import status_of

from ksmbd.smb import constants as c

BATCH, LEASE = 0x09, 0xFF


def context(name: bytes, data: bytes, last: bool = True) -> bytes:
    """One create context (MS-SMB2 2.2.13.2), with a name of 4 bytes."""
    whole = struct.pack("<IHHHHI4s4x", 0, 16, 4, 0, 24, len(data), name) + data
    if last:
        return whole
    whole += bytes(-len(whole) % 8)
    return struct.pack("<I", len(whole)) + whole[4:]


def lease(key: bytes, state: int, last: bool = True) -> bytes:
    """RqLs, version 2 (MS-SMB2 2.2.13.2.10)."""
    return context(b"RqLs", struct.pack("<16sIIQ16sHH", key, state, 0, 0, bytes(16), 0, 0), last)


def create(name: str, oplock: int = 0, *, share: int = 7, contexts: bytes = b"", access: int = 0x12019F) -> bytes:
    raw = name.encode("utf-16-le")
    padded = raw + bytes(-(56 + len(raw)) % 8)
    return struct.pack(
        "<HBBIQQIIIIIHHII", 57, 0, oplock, 2, 0, 0, access, 0x80, share, c.FILE_OPEN_IF, 0x40, 120, len(raw),
        120 + len(padded) if contexts else 0, len(contexts),
    ) + padded + contexts  # fmt: skip


def opened(reply: bytes) -> bytes:
    """The FileId of a CREATE response."""
    assert status_of(reply) == 0, hex(status_of(reply))
    return bytes(reply[128:144])


def lock(file: bytes, offset: int, length: int, flags: int) -> bytes:
    return struct.pack("<HHI16sQQII", 48, 1, 0, file, offset, length, flags, 0)


EXCLUSIVE_NOW, EXCLUSIVE, UNLOCK = 0x12, 0x02, 0x04
