# SPDX-License-Identifier: GPL-2.0-or-later
"""A pipe through which splice(2) moves data between a socket and a file without copying it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Final

SIZE: Final = 1 << 20
"""Wanted size in bytes; more needs a privilege (/proc/sys/fs/pipe-max-size)."""
_MOVE: Final = 1  # SPLICE_F_MOVE
_NONBLOCK: Final = 2  # SPLICE_F_NONBLOCK
_SET_SIZE: Final = 1031  # F_SETPIPE_SZ
_GET_SIZE: Final = 1032  # F_GETPIPE_SZ


class Pipe:
    """A non-blocking pipe. A connection that fills it empties it before it returns to the loop."""

    __slots__ = ("reader", "size", "writer")

    def __init__(self) -> None:
        """Raises OSError where the process has no descriptors left."""
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.writer, _SET_SIZE, SIZE)
        self.size = fcntl.fcntl(self.writer, _GET_SIZE)

    def fill(self, source: int, count: int, offset: int | None = None) -> int:
        """Move at most `count` bytes from a socket, or a file from `offset` on, into the pipe. Returns the number, 0 at
        the end of the stream or file. Raises OSError."""
        return os.splice(source, self.writer, count, offset_src=offset, flags=_MOVE | _NONBLOCK)

    def empty(self, target: int, count: int) -> int:
        """Move at most `count` bytes from the pipe into a socket. Raises OSError."""
        return os.splice(self.reader, target, count, flags=_MOVE | _NONBLOCK)

    def drain(self) -> None:
        """Discard what is left in the pipe."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.reader, self.size):
                pass
