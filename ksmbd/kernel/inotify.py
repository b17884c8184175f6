# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches single directories with inotify(7)."""
from __future__ import annotations

import ctypes
import os
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.kernel.descriptors import path_bytes
from ksmbd.kernel.syscalls import check, function, read_now

IN_ACCESS: Final = 0x1
IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4
IN_CLOSE_WRITE: Final = 0x8
IN_MOVED_FROM: Final = 0x40
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x1000000
IN_EXCL_UNLINK: Final = 0x4000000
IN_MASK_ADD: Final = 0x20000000
IN_ISDIR: Final = 0x40000000

_EVENT: Final = Struct("=iIII")
_init1: Final = function("inotify_init1", ctypes.c_int)
_add: Final = function("inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_remove: Final = function("inotify_rm_watch", ctypes.c_int, ctypes.c_int)


_AT_ONCE: Final = 1024
"""Size of the read buffer in bytes: some twenty events, at least one with the longest name."""


class Event(NamedTuple):
    """One event; `name` is empty for the watched directory itself."""

    watch: int
    mask: int
    cookie: int
    name: bytes


class Inotify:
    """A non-blocking inotify instance."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = check(_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, directory: int, mask: int) -> int:
        """Watch an open directory (O_PATH suffices). Returns the number of the watch, which is the same for the same
        inode. Raises OSError."""
        return check(_add(self.fd, path_bytes(directory), mask | IN_ONLYDIR | IN_EXCL_UNLINK))

    def remove(self, watch: int) -> None:
        """Remove a watch; no error if it is gone already."""
        if self.fd >= 0:
            _remove(self.fd, watch)

    def read(self) -> list[Event]:
        """Read the first of the waiting events, not all, so that handling them does not delay others. Both halves of a
        rename are read together. Empty after `close`."""
        events: list[Event] = []
        while self.fd >= 0:
            data = read_now(self.fd, _AT_ONCE)
            place = 0
            while place < len(data):
                watch, mask, cookie, length = _EVENT.unpack_from(data, place)
                place += _EVENT.size
                events.append(Event(watch, mask, cookie, data[place : place + length].rstrip(b"\0")))
                place += length
            if not data or not events[-1].mask & IN_MOVED_FROM:
                break
        return events

    def close(self) -> None:
        """End all watches. The loop may have seen events of before."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def probe() -> str:
    """The reason why there is no inotify instance for this user now; '' if there is one."""
    try:
        Inotify().close()
    except OSError as error:
        return error.strerror or "refused"
    return ""
