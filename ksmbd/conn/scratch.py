# SPDX-License-Identifier: GPL-2.0-or-later
"""What all connections of a loop share, whatever their transport: a receive buffer, a pipe, and the count of bytes that
clients have not read."""

from __future__ import annotations

import mmap
from typing import Final

from ksmbd import limits
from ksmbd.conn.pipe import Pipe

SCRATCH_SIZE: Final = 128 << 10
PIECE: Final = 512 << 10
"""Bytes of data that are gathered before they are copied into a file: few enough to stay in the CPU cache between the
two copies (of 1 MiB on some, of 2 MiB on others), and no more calls than need be."""


class Scratch:
    """Shared buffers. They hold nothing between two callbacks: a connection that fills them empties them."""

    __slots__ = ("_pipe", "budget", "last_writer", "memory", "view", "waiting")

    def __init__(self, size: int = SCRATCH_SIZE) -> None:
        self.waiting = 0
        """Bytes of replies of all connections of the loop that clients have not read."""
        self.budget = limits.REPLIES_UNREAD_ALL.value
        """Bytes of them beyond which only clients are served that have read all their replies."""
        self.memory = memoryview(mmap.mmap(-1, size + PIECE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        """For data on its way to a file; it becomes real where it is used."""
        self.view = self.memory[:size]
        """Its beginning, into which all connections receive."""
        self.last_writer = -1
        """The descriptor of the connection that received data of a WRITE for a file last; -1: none did."""
        self._pipe: Pipe | None = None

    def pipe(self) -> Pipe:
        """The pipe, made when first needed. Raises OSError."""
        if self._pipe is None:
            self._pipe = Pipe()
        return self._pipe
