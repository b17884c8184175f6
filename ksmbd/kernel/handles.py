# SPDX-License-Identifier: GPL-2.0-or-later
"""File handles outlive this process: they tell whether a file still exists, even if its inode number was used again.

A handle has the inode's number and its generation, which the file system changes when it uses the inode for another
file. To open by handle needs CAP_DAC_READ_SEARCH.
"""
from __future__ import annotations

import ctypes
import errno
import os
import re
from struct import Struct
from typing import Final

from ksmbd.kernel.fanotify import open_handle
from ksmbd.kernel.syscalls import AT_EMPTY_PATH, quick_function

_LARGEST: Final = 128
"""MAX_HANDLE_SZ"""
_HEAD: Final = Struct("=Ii")
"""handle_bytes and handle_type of struct file_handle."""
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")

_name_to_handle_at: Final = quick_function("name_to_handle_at")


def handle_of(fd: int) -> bytes:
    """The handle of an open file, as struct file_handle; b'' where its file system has none."""
    handle = ctypes.create_string_buffer(_HEAD.size + _LARGEST)
    mount = ctypes.c_int()
    _HEAD.pack_into(handle, 0, _LARGEST, 0)
    if _name_to_handle_at(fd, b"", handle, ctypes.byref(mount), AT_EMPTY_PATH):
        return b""
    size, _ = _HEAD.unpack_from(handle)
    return handle.raw[: _HEAD.size + size]


def is_gone(file: tuple[int, int], handle: bytes) -> bool:
    """Whether the file with this key, (device as in Stat.dev, inode), and this handle exists no longer. False also
    where nothing says so: its file system is not mounted, or handles cannot be opened."""
    device, inode = file
    for point in _mount_points(device):
        try:
            mount = os.open(point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fd = open_handle(mount, handle)
        except OSError as error:
            if error.errno == errno.ESTALE:
                return True
            continue
        finally:
            os.close(mount)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        return found.st_ino != inode or found.st_nlink == 0
    return False


def _mount_points(device: int) -> list[bytes]:
    """Where the file system with this device number is mounted. Raises OSError."""
    wanted = b"%d:%d" % (device >> 20, device & 0xFFFFF)
    with open("/proc/self/mountinfo", "rb") as file:
        rows = [line.split(b" ", 5) for line in file]
    return [_ESCAPE.sub(lambda match: bytes((int(match[1], 8),)), row[4]) for row in rows if row[2] == wanted]
