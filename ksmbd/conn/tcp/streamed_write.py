# SPDX-License-Identifier: GPL-2.0-or-later
"""Receives the data of a large WRITE from the socket into its file, through a pipe or a small buffer."""

from __future__ import annotations

import socket
from typing import Final

from ksmbd.conn.contract import Incoming
from ksmbd.conn.scratch import Scratch
from ksmbd.conn.tcp.options import bytes_at_hand
from ksmbd.smb.data_paths import Transfer

AT_HAND: Final = 1 << 20
"""Bytes of a WRITE's data from which on it counts as come, and is spliced with Transfer.EITHER: all that is left of the
usual request, as waits in the socket when the client has several under way. With half of it, one request after the
other was spliced now and then, for 0.72 s/GiB instead of 0.57 (medians of paired runs of write-plain)."""


class StreamedWrite:
    """The WRITE of one connection that is being received; at most one at a time is `incoming`."""

    __slots__ = ("_fd", "_scratch", "_sock", "ended", "incoming", "received")

    def __init__(self, sock: socket.socket, scratch: Scratch) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._scratch = scratch
        self.incoming: Incoming | None = None
        """The WRITE whose data follows on the stream."""
        self.received = 0
        """Bytes that the last `receive` took from the socket, even if it raised."""
        self.ended = False
        """Whether the client has closed its side."""

    def receive(self, incoming: Incoming, limit: int) -> None:
        """Move received data into the file, until about `limit` bytes. Raises OSError where receiving failed."""
        self.received = 0
        method = incoming.method
        if method is Transfer.EITHER:
            whole = min(incoming.left, AT_HAND)
            method = Transfer.SPLICE if bytes_at_hand(self._sock) >= whole else Transfer.COPY
        piece = self._spliced if method is Transfer.SPLICE else self._copied
        while incoming.left and self.received < limit:
            try:
                count = piece(incoming)
            except (BlockingIOError, InterruptedError):
                return
            if count == 0:
                self.ended = True
                return
            self.received += count

    def _spliced(self, incoming: Incoming) -> int:
        pipe = self._scratch.pipe()
        count = pipe.fill(self._fd, min(incoming.left, pipe.size))
        taken = not count
        try:
            if count:
                taken = incoming.take_pipe(pipe.reader, count)
        finally:
            if not taken:
                pipe.drain()  # it is another connection's next
        return count

    def _copied(self, incoming: Incoming) -> int:
        memory = self._scratch.pieces()
        left = incoming.left
        count = self._sock.recv_into(memory if left >= len(memory) else memory[:left])
        if count:
            incoming.take(memory[:count])
        return count
