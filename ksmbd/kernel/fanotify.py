# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches whole file systems with fanotify(7); events carry the file handle of the directory and the name of the entry
(FAN_REPORT_DFID_NAME).

It needs CAP_SYS_ADMIN, and Linux 5.17 for FAN_RENAME, which reports both names in one event. Opening by handle needs
CAP_DAC_READ_SEARCH.
"""
from __future__ import annotations

import ctypes
import errno
import os
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.kernel.syscalls import O_PATH, check, function, read_now

FAN_MODIFY: Final = 0x2
FAN_ATTRIB: Final = 0x4
FAN_CREATE: Final = 0x100
FAN_DELETE: Final = 0x200
FAN_Q_OVERFLOW: Final = 0x4000
FAN_RENAME: Final = 0x10000000
FAN_ONDIR: Final = 0x40000000

_FAN_CLOEXEC: Final = 0x1
_FAN_NONBLOCK: Final = 0x2
_FAN_REPORT_DFID_NAME: Final = 0xC00
_FAN_MARK_ADD: Final = 0x1
_FAN_MARK_FLUSH: Final = 0x80
_FAN_MARK_FILESYSTEM: Final = 0x100

_METADATA: Final = Struct("=IBBHQii")
_INFO: Final = Struct("=BBH")
_FSID_SIZE: Final = 8
_HANDLE: Final = Struct("=Ii")
_DFID_NAME: Final = 2
_OLD_DFID_NAME: Final = 10
_NEW_DFID_NAME: Final = 12

_init: Final = function("fanotify_init", ctypes.c_uint, ctypes.c_uint)
_mark: Final = function(
    "fanotify_mark", ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p
)
_open_by_handle: Final = function("open_by_handle_at", ctypes.c_int, ctypes.c_char_p, ctypes.c_int)


class Place(NamedTuple):
    """A directory entry: the file handle of its directory, and its name, '.' for the directory itself."""

    directory: bytes
    name: bytes


class Event(NamedTuple):
    """One event. `mask` may combine several changes of the entry; for FAN_RENAME `place` is the old name and `new` the
    new one."""

    mask: int
    place: Place | None
    new: Place | None = None


class Fanotify:
    """A non-blocking fanotify group."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        """Raises OSError where fanotify is missing or not permitted."""
        if _init is None:
            raise OSError(errno.ENOSYS, "fanotify_init")
        self.fd = check(_init(_FAN_CLOEXEC | _FAN_NONBLOCK | _FAN_REPORT_DFID_NAME, os.O_RDONLY | os.O_CLOEXEC))

    def add(self, directory: int, mask: int) -> None:
        """Report events of the file system that an open directory is on. Raises OSError."""
        # fanotify_mark takes no O_PATH descriptor.
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            check(_mark(self.fd, _FAN_MARK_ADD | _FAN_MARK_FILESYSTEM, mask | FAN_ONDIR, fd, None))
        finally:
            os.close(fd)

    def clear(self) -> None:
        """Report no events any more. Raises OSError."""
        check(_mark(self.fd, _FAN_MARK_FLUSH | _FAN_MARK_FILESYSTEM, 0, -1, None))

    def read(self) -> list[Event]:
        """The events that wait now, as many as one buffer takes."""
        data = read_now(self.fd, 262144)
        events = []
        at = 0
        while at < len(data):
            length, _, _, head, mask, fd, _ = _METADATA.unpack_from(data, at)
            if fd >= 0:
                os.close(fd)
            places = _places(data, at + head, at + length)
            events.append(
                Event(mask, places.get(_DFID_NAME) or places.get(_OLD_DFID_NAME), places.get(_NEW_DFID_NAME))
            )
            at += length
        return events

    def close(self) -> None:
        """Close the group."""
        os.close(self.fd)


def _places(data: bytes, at: int, end: int) -> dict[int, Place]:
    found = {}
    while at < end:
        kind, _, length = _INFO.unpack_from(data, at)
        begin = at + _INFO.size + _FSID_SIZE
        size, _ = _HANDLE.unpack_from(data, begin)
        name = begin + _HANDLE.size + size
        found[kind] = Place(data[begin:name], data[name : at + length].partition(b"\0")[0])
        at += length
    return found


def open_handle(beside: int, handle: bytes) -> int:
    """Open (O_PATH) the file with this handle, on the mount of the open directory `beside`. Raises OSError, ESTALE
    where it no longer exists."""
    mount = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=beside)
    try:
        return check(_open_by_handle(mount, ctypes.create_string_buffer(handle, len(handle)), O_PATH | os.O_CLOEXEC))
    finally:
        os.close(mount)
