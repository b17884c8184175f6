# SPDX-License-Identifier: GPL-2.0-or-later
"""Access and share access of an open as six bits, all that share modes depend on (MS-FSA 2.1.5.1.2.2). However many
opens a file has, there are no more than 64 kinds of them."""
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
"""An open for no more than this breaks no oplock and takes part in no share check (MS-FSA 2.1.5.1.2)."""

SHARED_ACCESS: Final = (
    (FILE_READ_DATA | FILE_EXECUTE, FILE_SHARE_READ),
    (FILE_WRITE_DATA | FILE_APPEND_DATA, FILE_SHARE_WRITE),
    (DELETE, FILE_SHARE_DELETE),
)
"""Which access needs which ShareAccess of everybody else."""

DATA_ACCESS: Final = FILE_READ_DATA | FILE_EXECUTE | FILE_WRITE_DATA | FILE_APPEND_DATA | DELETE

SHARES: Final = 3
"""A mode: reads, writes, deletes, and from here on the same three, shared."""
ACCESS: Final = 7
DELETES: Final = 4
SHARES_DELETE: Final = DELETES << SHARES


def mode_of(access: int, share_access: int) -> int:
    """The mode of an open."""
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
    """Whether two opens of one stream exclude each other. Opens without data or delete access exclude nobody."""
    mine, theirs = one & ACCESS, other & ACCESS
    if not mine or not theirs:
        return False
    return bool(mine & ~(other >> SHARES) or theirs & ~(one >> SHARES))
