# SPDX-License-Identifier: GPL-2.0-or-later
"""inotify(7), as far as the control files need it: the names of files in a folder that were written."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

IN_CLOSE_WRITE: Final = 0x008
IN_MOVED_TO: Final = 0x080
IN_Q_OVERFLOW: Final = 0x4000

_EVENT: Final = struct.Struct("=iIII")
_libc: Final = ctypes.CDLL(None, use_errno=True)


class FolderWatch:
    """Reports which files of a folder were closed after writing or moved into it. Raises OSError where inotify is
    missing."""

    def __init__(self, path: str) -> None:
        self._fd: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if _libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(IN_CLOSE_WRITE | IN_MOVED_TO)) < 0:
            code = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(code, os.strerror(code), path)

    def fileno(self) -> int:
        """The descriptor, readable when there are events."""
        return self._fd

    def written(self) -> list[str] | None:
        """The names written since the last call, each once, in order. None: events were lost, so any file may have
        changed."""
        names: dict[str, None] = {}
        overflow = False
        while True:
            try:
                data = os.read(self._fd, 65536)
            except (BlockingIOError, InterruptedError):
                break
            position = 0
            while position < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, position)
                position += _EVENT.size
                name = data[position : position + length].rstrip(b"\0")
                position += length
                if mask & IN_Q_OVERFLOW:
                    overflow = True
                elif name:
                    names[os.fsdecode(name)] = None
        return None if overflow else list(names)

    def close(self) -> None:
        """Watch no more."""
        os.close(self._fd)
