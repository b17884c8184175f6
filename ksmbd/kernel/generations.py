# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells a file from an earlier one with the same inode number, on file systems that keep no birth times.

name_to_handle_at(2) gives the handle that an NFS server would give out: inode number and generation, which the file
system changes when it uses the inode again. It needs no right beyond the one to look the name up.
"""
from __future__ import annotations

import ctypes
import errno
from struct import Struct
from typing import Final
from zlib import crc32

from ksmbd.kernel.syscalls import AT_EMPTY_PATH, quick_function

_AT_HANDLE_FID: Final = 0x200
"""Since Linux 6.5: a handle even where the file system could not open it again; inode number and i_generation."""
_LARGEST: Final = 128
"""MAX_HANDLE_SZ"""
_HEAD: Final = Struct("=Ii")
"""handle_bytes and handle_type of struct file_handle."""

_name_to_handle_at: Final = quick_function("name_to_handle_at")
_without: Final[set[int]] = set()
"""Devices (as in Stat.dev) whose file systems give no handles."""


def generation(directory: int, name: bytes, device: int) -> int:
    """32 bits that change when the inode of the entry `name` of `directory` is used again; a symbolic link is not
    followed. With name b'' of the open file `directory` itself. `device` is the file's, as in Stat.dev.

    0 where the file system has no generations, or the entry is gone."""
    if device in _without:
        return 0
    handle = ctypes.create_string_buffer(_HEAD.size + _LARGEST)
    mount = ctypes.c_int()
    flags = 0 if name else AT_EMPTY_PATH
    for extra in (0, _AT_HANDLE_FID):
        _HEAD.pack_into(handle, 0, _LARGEST, 0)
        if _name_to_handle_at(directory, name, handle, ctypes.byref(mount), flags | extra) == 0:
            size, kind = _HEAD.unpack_from(handle)
            return crc32(handle.raw[_HEAD.size : _HEAD.size + size], kind & 0xFFFFFFFF)
        if ctypes.get_errno() not in (errno.EOPNOTSUPP, errno.EINVAL):
            return 0
    _without.add(device)
    return 0
