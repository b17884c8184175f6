# SPDX-License-Identifier: GPL-2.0-or-later
"""Receives the data of a large WRITE from the socket into its file, through a pipe or through memory that stays in
the CPU cache."""

from __future__ import annotations

import socket
from typing import Final

from ksmbd.conn.contract import Incoming
from ksmbd.conn.scratch import PIECE, Scratch
from ksmbd.conn.tcp.options import bytes_at_hand
from ksmbd.smb.data_paths import Transfer

LOWAT_FROM: Final = 2 << 20
"""Missing bytes of a frame from which SO_RCVLOWAT is set in any case. Measured on loopback: a third less CPU for frames
of 4 MiB and more; for smaller ones waiting costs more than it saves."""
_PAGE: Final = 4096
AT_HAND: Final = 1 << 20
"""Bytes of a WRITE's data from which on it counts as come, and is spliced with Transfer.EITHER: all that is left of the
usual request, as waits in the socket when the client has several under way. With half of it, one request after the
other was spliced now and then, for 0.72 s/GiB instead of 0.57 (medians of paired runs of write-plain)."""


class StreamedWrite:
    """The WRITE of one connection that is being received; at most one at a time is `incoming`."""

    __slots__ = ("_alone", "_end", "_fd", "_rest", "_scratch", "_sock", "_start", "ended", "incoming", "received")

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
        self._start = self._end = 0
        """Where in the scratch memory data is that is not yet in the file, from `begin` to the `receive` right after
        it."""
        self._alone = True
        """Whether no other connection of the loop began to write between this WRITE and the one before."""
        self._rest = b""
        """The beginning of a page of which the end has not come."""

    def begin(self, incoming: Incoming, data: memoryview, start: int) -> None:
        """A WRITE begins, of which `data` has come; it is at `start` of the scratch memory, or elsewhere (-1). The
        caller calls `receive` before it returns to the loop."""
        self.incoming = incoming
        scratch = self._scratch
        self._alone = scratch.last_writer in (-1, self._fd)
        scratch.last_writer = self._fd
        if start >= 0 and incoming.method is not Transfer.SPLICE:
            self._start, self._end = start, start + len(data)
        else:
            incoming.take(data)

    def end(self) -> None:
        """The WRITE is received, or its connection ends."""
        if self.incoming is not None:
            self.incoming = None
            self._start = self._end = 0
            self._rest = b""

    @property
    def wanted(self) -> int:
        """How many bytes should have come before `receive` is called again. Fewer and larger pieces cost less; but of
        several connections, one that waits would keep its data out of the CPU cache until the others have had their
        turns."""
        assert self.incoming is not None
        left = self.incoming.left - len(self._rest)
        if self._alone and self.incoming.method is not Transfer.SPLICE:
            return min(left, PIECE)
        return left if left >= LOWAT_FROM else 1

    def receive(self, incoming: Incoming, limit: int) -> None:
        """Move received data into the file, until about `limit` bytes. Raises OSError where receiving failed."""
        self.received = 0
        if not self._splices(incoming):
            self._copy(incoming, limit)
            return
        if self._end > self._start:
            incoming.take(self._scratch.memory[self._start : self._end])
            self._start = self._end = 0
        elif self._rest:
            rest, self._rest = self._rest, b""
            incoming.take(memoryview(rest))
        while incoming.left and self.received < limit:
            try:
                count = self._spliced(incoming)
            except (BlockingIOError, InterruptedError):
                return
            if count == 0:
                self.ended = True
                return
            self.received += count

    def _splices(self, incoming: Incoming) -> bool:
        """Whether the data goes through the pipe this time. With Transfer.EITHER, that of a connection that is alone
        never does: copied, it is still in the CPU cache. That of several waits for its turn out of it, and a second
        copy costs more."""
        if incoming.method is not Transfer.EITHER:
            return incoming.method is Transfer.SPLICE
        if self._alone:
            return False
        missing = incoming.left - (self._end - self._start) - len(self._rest)
        return bytes_at_hand(self._sock) >= min(missing, AT_HAND)

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

    def _copy(self, incoming: Incoming, limit: int) -> None:
        """Gather pieces and write them. What has come when the socket is empty is written up to the last whole page: to
        write a part of a page that is not in memory would read it first."""
        memory = self._scratch.memory
        start, end = self._start, self._end
        if self._rest:
            start, end = 0, len(self._rest)
            memory[:end] = self._rest
        self._start = self._end = 0
        self._rest = b""
        more = True
        try:
            while incoming.left and self.received < limit:
                room = min(incoming.left, PIECE) - (end - start)
                if room:
                    count = self._sock.recv_into(memory[end : end + room])
                    if not count:
                        self.ended = True
                        more = False
                        break
                    self.received += count
                    end += count
                    if count < room:
                        continue
                incoming.take(memory[start:end])
                start = end = 0
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            more = False
            raise
        finally:
            kept = (end - start) % _PAGE if more else 0
            if end - kept > start:
                incoming.take(memory[start : end - kept])
            self._rest = bytes(memory[end - kept : end])
