# SPDX-License-Identifier: GPL-2.0-or-later
"""What the connections of one loop share, whatever their transport: memory to receive into, a pipe, and the sum of the
replies that their clients have not taken."""

from __future__ import annotations

import mmap
from typing import Final

from ksmbd import limits
from ksmbd.conn.pipe import Pipe

SCRATCH_SIZE: Final = 128 << 10
PIECES: Final = 128 << 10
"""Bytes received at once of data that is copied into a file: so many stay in the CPU's cache from one copy to the
next (measured: 64 to 256 KiB are alike, 1 MiB costs a fifth more)."""


class Scratch:
    """The memory and the pipe hold nothing between two turns: a connection that fills them empties them in its turn."""

    __slots__ = ("_pipe", "_pieces", "budget", "buffer", "view", "waiting")

    def __init__(self, size: int = SCRATCH_SIZE) -> None:
        self.waiting = 0
        """Bytes of replies of all the loop's connections that the clients have not taken yet."""
        self.budget = limits.REPLIES_UNREAD_ALL.value
        """Bytes of them beyond which only clients that have read all their replies are served."""
        self.buffer = bytearray(size)
        self.view = memoryview(self.buffer)
        self._pipe: Pipe | None = None
        self._pieces: memoryview | None = None

    def pieces(self) -> memoryview:
        """Memory for data on its way to a file, whole pages of it, made when it is first wanted."""
        if self._pieces is None:
            self._pieces = memoryview(mmap.mmap(-1, PIECES))
        return self._pieces

    def pipe(self) -> Pipe:
        """The pipe, made when it is first wanted. Raises OSError."""
        if self._pipe is None:
            self._pipe = Pipe()
        return self._pipe
