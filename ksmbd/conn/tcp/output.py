# SPDX-License-Identifier: GPL-2.0-or-later
"""The output queue of one connection: frames that wait for the socket, and READs that wait until the client has read.

A frame may end in a span of a file, which is sent from the page cache (header with MSG_MORE, then sendfile). If the
file has become shorter meanwhile, zeros fill the promised length, so that the stream stays in step; the client sees
what any reader of a file may see that is being truncated.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from ksmbd.conn.back_pressure import HIGH_WATER, LOW_WATER
from ksmbd.conn.contract import Counters
from ksmbd.conn.loop import Loop
from ksmbd.conn.scratch import Scratch
from ksmbd.conn.tcp.options import wait_longer
from ksmbd.smb.ports.transport import FileSpan
from ksmbd.smb.waiting import Future

_MAX_VECTORS: Final = 64  # below IOV_MAX (1024); more buffers than this in one call gain nothing
_ZEROS: Final = memoryview(bytes(65536))
_SENDFILE_MAX: Final = 0x7FFFF000  # the most that one call moves (sendfile(2))


class Span:
    """A span that is being sent. If it is not sent at once, it gets its own descriptor, since the open may be
    closed."""

    __slots__ = ("_own", "fd", "file", "left", "offset", "splice")

    def __init__(self, span: FileSpan) -> None:
        self.file = span.file
        self.fd = span.file.fileno()
        self.offset = span.offset
        self.left = span.length
        self.splice = span.splice
        self._own = False

    def keep(self) -> None:
        """Duplicate the descriptor, because a part of the span is sent later."""
        if self.left and not self._own and self.fd >= 0:
            self.fd = os.dup(self.fd)
            self._own = True

    def release(self) -> None:
        """Close the duplicate; nothing more of the span is sent."""
        if self._own:
            os.close(self.fd)
            self._own = False
        self.fd = -1


class Output:
    """The queue, and the watch for a writable socket."""

    __slots__ = (
        "_counters", "_fd", "_for_room", "_loop", "_room_due", "_scratch", "_sock", "_writable", "last_progress",
        "queue", "size", "watching",
    )  # fmt: skip

    def __init__(
        self, loop: Loop, sock: socket.socket, scratch: Scratch, counters: Counters, writable: Callable[[], None]
    ) -> None:
        """`writable` is called when the socket can take more after it was full."""
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._scratch = scratch
        self._counters = counters
        self._writable = writable
        self.queue: deque[memoryview | Span] = deque()
        self.size = 0
        """Bytes in the queue."""
        self._for_room: deque[Future[None]] = deque()
        self._room_due = False
        self.watching = False
        """Whether `writable` will be called."""
        self.last_progress = loop.monotonic()
        """When the client last took something of what waits for it."""

    # ------------------------------------------------------------------------------------------------- what waits

    def append(self, data: memoryview) -> None:
        """Queue bytes."""
        if not self.queue:
            self.last_progress = self._loop.now
        self.queue.append(data)
        self.size += len(data)

    def append_span(self, span: FileSpan) -> Span | None:
        """Queue a span of a file. The caller tries to send at once, then calls `keep` of the result. None: the file has
        no descriptor (a stream), so its bytes were read and queued."""
        item = Span(span)
        if item.fd < 0:
            self._append_read(item)
            return None
        self.queue.append(item)
        self.size += item.left
        return item

    def _append_read(self, item: Span) -> None:
        buffer = bytearray(item.left)
        view = memoryview(buffer)
        have = 0
        while have < len(buffer):
            count = item.file.read_into(item.offset + have, view[have:])
            if not count:
                break
            have += count
        self.queue.append(view)
        self.size += len(view)

    def drop(self) -> None:
        """Drop the queue."""
        for item in self.queue:
            if isinstance(item, Span):
                item.left = 0
                item.release()
        self.queue.clear()
        self.size = 0
        self.watch(False)

    def end(self) -> None:
        """Drop the queue and the waiters, because the socket is closed or handed over."""
        self.drop()
        self._for_room.clear()

    def watch(self, wanted: bool) -> None:
        """Start or stop to watch the socket for writing."""
        if wanted == self.watching:
            return
        self.watching = wanted
        wait_longer(self._sock, wanted)
        if wanted:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

    # ------------------------------------------------------------------------------------------------------- room

    def room(self) -> Future[None] | None:
        """None: there is room for one more reply. Else a Future that completes when there is."""
        if self.size <= HIGH_WATER:
            return None
        future: Future[None] = Future()
        self._for_room.append(future)
        return future

    def _make_room(self) -> None:
        """Complete waiting Futures, as long as there is room."""
        self._room_due = False
        while self._for_room and self.size <= HIGH_WATER:
            self._for_room.popleft().set_result(None)

    # ---------------------------------------------------------------------------------------------------- sending

    def send(self) -> None:
        """Send as much as the socket takes. Raises OSError; bytes sent before it are counted."""
        out = self.queue
        sent = 0
        blocked = False
        try:
            if len(out) == 1 and not isinstance(out[0], Span):
                # One reply, the common case
                try:
                    sent = self._sock.send(out[0])
                except (BlockingIOError, InterruptedError):
                    blocked = True
                else:
                    if sent == len(out[0]):
                        out.clear()
                    else:
                        out[0] = out[0][sent:]
                        blocked = True
            while out and not blocked:
                head = out[0]
                if isinstance(head, Span):
                    count, blocked = self._send_span(head)
                else:
                    count, blocked = self._send_buffers()
                sent += count
        finally:
            if sent:
                self.size -= sent
                self.last_progress = self._loop.now
                self._counters.count(0, 0, sent)
        if self._for_room and not self._room_due and self.size <= LOW_WATER:
            self._room_due = True
            self._loop.call_soon(self._make_room)

    def _send_buffers(self) -> tuple[int, bool]:
        """Send the buffers up to the next span in one call: (bytes, whether the socket is full)."""
        out = self.queue
        vectors: list[memoryview] = []
        size = 0
        flags = 0
        for item in out:
            if isinstance(item, Span):
                flags = socket.MSG_MORE
                break
            if len(vectors) == _MAX_VECTORS:
                break
            vectors.append(item)
            size += len(item)
        try:
            if len(vectors) == 1:
                count = self._sock.send(vectors[0], flags)
            else:
                count = self._sock.sendmsg(vectors, (), flags)
        except (BlockingIOError, InterruptedError):
            return 0, True
        left = count
        for vector in vectors:
            if left < len(vector):
                out[0] = vector[left:]
                break
            left -= len(vector)
            out.popleft()
        return count, count < size

    def _send_span(self, span: Span) -> tuple[int, bool]:
        """Send a span with sendfile. Returns (bytes, whether the socket is full)."""
        if span.splice:
            return self._splice_span(span)
        total = 0
        while span.left:
            try:
                count = os.sendfile(self._fd, span.fd, span.offset, min(span.left, _SENDFILE_MAX))
            except (BlockingIOError, InterruptedError):
                return total, True
            if count == 0:
                self._fill(span)
                return total, False
            span.offset += count
            span.left -= count
            total += count
        span.release()
        self.queue.popleft()
        return total, False

    def _splice_span(self, span: Span) -> tuple[int, bool]:
        """Send a span through the pipe. What the socket does not take is discarded from the pipe and read again
        later."""
        total = 0
        pipe = self._scratch.pipe()
        while span.left:
            there = pipe.fill(span.fd, min(span.left, pipe.size), span.offset)
            if there == 0:
                self._fill(span)
                return total, False
            try:
                while there:
                    count = pipe.empty(self._fd, there)
                    there -= count
                    span.offset += count
                    span.left -= count
                    total += count
            except (BlockingIOError, InterruptedError):
                return total, True
            finally:
                if there:
                    pipe.drain()
        span.release()
        self.queue.popleft()
        return total, False

    def _fill(self, span: Span) -> None:
        """Queue zeros for the rest of the span, because the file has become shorter."""
        self.queue.popleft()
        left = span.left
        span.release()
        span.left = 0
        pieces = []
        while left:
            piece = _ZEROS[: min(left, len(_ZEROS))]
            pieces.append(piece)
            left -= len(piece)
        self.queue.extendleft(pieces)
