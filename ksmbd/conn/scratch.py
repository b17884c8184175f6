# SPDX-License-Identifier: GPL-2.0-or-later
"""What all connections of a loop share, whatever their transport: a receive buffer, a pipe, and the count of bytes that
clients have not read."""

from __future__ import annotations

import mmap
from typing import Final

from ksmbd import limits
from ksmbd.conn.pipe import Pipe

SCRATCH_SIZE: Final = 128 << 10
PIECES: Final = 128 << 10
"""Bytes received at once of data that is copied into a file: few enough to stay in the CPU cache between the two copies
(measured: 64 to 256 KiB perform alike, 1 MiB costs a fifth more)."""


class Scratch:
    """Shared buffers. They hold nothing between two callbacks: a connection that fills them empties them."""

    __slots__ = ("_pipe", "_pieces", "budget", "buffer", "view", "waiting")

    def __init__(self, size: int = SCRATCH_SIZE) -> None:
        self.waiting = 0
        """Bytes of replies of all connections of the loop that clients have not read."""
        self.budget = limits.REPLIES_UNREAD_ALL.value
        """Bytes of them beyond which only clients are served that have read all their replies."""
        self.buffer = bytearray(size)
        self.view = memoryview(self.buffer)
        self._pipe: Pipe | None = None
        self._pieces: memoryview | None = None

    def pieces(self) -> memoryview:
        """Page-aligned memory for data on its way to a file, allocated when first needed."""
        if self._pieces is None:
            self._pieces = memoryview(mmap.mmap(-1, PIECES))
        return self._pieces

    def pipe(self) -> Pipe:
        """The pipe, made when first needed. Raises OSError."""
        if self._pipe is None:
            self._pipe = Pipe()
        return self._pipe
