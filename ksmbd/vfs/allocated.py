# SPDX-License-Identifier: GPL-2.0-or-later
"""The AllocationSize of a file's data (MS-FSCC 2.4.4): st_blocks counts what the file system needs besides, too.

ext4 keeps extended attributes that the inode has no room for in a block of their own, and most files with a security
descriptor have one; a file in many pieces has blocks that list them. Where a file has more blocks than its size takes,
its extents beyond the end tell which of them are data. Without a descriptor that can be asked (O_PATH, a listing), a
single block more is taken for one of attributes.
"""
from __future__ import annotations

from typing import Final

from ksmbd.kernel.files import extents_from

CLUSTER: Final = 4096
"""Bytes of a block, unless the file system has smaller ones, and then st_blocks seldom exceeds what is rounded up."""


def allocation_of(size: int, blocks: int, fd: int = -1) -> int:
    """The AllocationSize of a regular file with `blocks` blocks of 512 bytes, in bytes. `fd` is its open descriptor, of
    any kind; -1: there is none."""
    allocated = blocks << 9
    end = (size + CLUSTER - 1) // CLUSTER * CLUSTER
    if allocated <= end:
        return allocated
    if fd >= 0 and not end >> 63:
        try:
            beyond = extents_from(fd, end)
        except OSError:
            pass
        else:
            return allocated if beyond is None else min(allocated, end + beyond)
    return end if allocated - end == CLUSTER else allocated
