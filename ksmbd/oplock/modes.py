# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes access and ShareAccess of an open as a mode of six bits, on which alone sharing violations depend (MS-FSA
2.1.5.1.2.2). So the opens of a file have at most 64 different modes, however many they are."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.constants import (
    DELETE,
    FILE_APPEND_DATA,
    FILE_EXECUTE,
    FILE_READ_ATTRIBUTES,
    FILE_READ_DATA,
    FILE_SHARE_DELETE,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
    SYNCHRONIZE,
)

STAT_ACCESS: Final = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | SYNCHRONIZE
"""A stat open: with no other access, an open breaks no oplock and causes no sharing violation (MS-FSA 2.1.5.1.2)."""

SHARED_ACCESS: Final = (
    (FILE_READ_DATA | FILE_EXECUTE, FILE_SHARE_READ),
    (FILE_WRITE_DATA | FILE_APPEND_DATA, FILE_SHARE_WRITE),
    (DELETE, FILE_SHARE_DELETE),
)
"""(access, the ShareAccess bit that it needs of all other opens)."""

DATA_ACCESS: Final = FILE_READ_DATA | FILE_EXECUTE | FILE_WRITE_DATA | FILE_APPEND_DATA | DELETE

SHARES: Final = 3
"""Shift of the ShareAccess bits in a mode. The bits are: reads, writes, deletes, then the same three for sharing."""
ACCESS: Final = 7
DELETES: Final = 4
SHARES_DELETE: Final = DELETES << SHARES


def mode_of(access: int, share_access: int) -> int:
    """The mode of an open with these masks."""
    mode = 0
    bit = 1
    for mask, share in SHARED_ACCESS:
        if access & mask:
            mode |= bit
        if share_access & share:
            mode |= bit << SHARES
        bit <<= 1
    return mode


def modes_conflict(one: int, other: int) -> bool:
    """Whether two opens of one stream conflict. Opens without data or delete access never do."""
    mine, theirs = one & ACCESS, other & ACCESS
    if not mine or not theirs:
        return False
    return bool(mine & ~(other >> SHARES) or theirs & ~(one >> SHARES))
