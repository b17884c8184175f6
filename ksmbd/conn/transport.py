# SPDX-License-Identifier: GPL-2.0-or-later
"""One TCP connection: receives frames and hands them to the protocol core, sends what the core gives it.

Receiving: one `recv` a turn, all whole frames of it go to the core, then everything that it answered leaves in one
`sendmsg`. A large frame is received straight into its own buffer, for at most `TURN_BYTES` a turn, so that other
connections get theirs.

Sending: a frame may end in a span of a file, which goes from the page cache to the socket (header with MSG_MORE, then
sendfile). If the file has become shorter meanwhile, zeros fill the promised length: the stream stays in step, and the
client sees what a reader of a file that is being truncated may see.

Back-pressure: while more than `HIGH_WATER` bytes wait for the peer, no further request is read or handled, and what has
been waiting for the disk asks for room before it answers. Where all connections together have more than their budget,
this holds for all who have anything left to take.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from ksmbd import debug, limits, log
from ksmbd.conn.framing import MIN_SMB2, POSITIVE_SESSION_RESPONSE, FramingError, Receiver, Scratch
from ksmbd.conn.loop import Loop, TimerHandle
from ksmbd.conn.options import (
    acknowledged_bytes,
    address_text,
    bytes_at_hand,
    retransmission_seconds,
    unacknowledged_bytes,
)
from ksmbd.smb.data_paths import Way
from ksmbd.smb.ports import FileSpan, Frame
from ksmbd.smb.waiting import Cancelled, Future

TURN_BYTES: Final = 2 << 20
TURN_FRAMES: Final = 128
TURN_SECONDS: Final = 0.003
"""After this no further request of one connection is begun before others had their turn."""
_RUN_FRAMES: Final = 32
"""Small requests between two looks at the time."""
HIGH_WATER: Final = limits.REPLIES_UNREAD.value
HIGH_WATER_IN_ALL: Final = HIGH_WATER + limits.REPLIES_ELSEWHERE.value // 2
"""With what other threads work on: two of the longest replies at once."""
LOW_WATER: Final = 1 << 20
LOWAT_FROM: Final = 2 << 20
"""Bytes still to come of a frame from which on SO_RCVLOWAT is set: measured on loopback, a third less CPU for frames of
4 MiB and above; below it the wait costs more than the turns saved."""
LINGER: Final = 5.0
"""Seconds that a closed connection may take to get its last replies out."""

AT_HAND: Final = 1 << 20
"""Bytes of a WRITE's data from which on it counts as come, and is spliced with Way.EITHER: all that is left of the
usual request, as waits in the socket when the client has several under way. With half of it, one request after the
other was spliced now and then, for 0.72 s/GiB instead of 0.57 (medians of paired runs of write-plain)."""

DELIVERY_MIN: Final = 0.2
DELIVERY_MAX: Final = 1.0
"""Seconds after which a client that has not confirmed is asked on another channel; between them TCP's own measure."""

SHORTEST: Final = 4 + MIN_SMB2
"""Bytes of a frame and its length, at least."""
_MAX_VECTORS: Final = 64  # below IOV_MAX (1024); more buffers than this in one call gain nothing
_ZEROS: Final = memoryview(bytes(65536))
_SENDFILE_MAX: Final = 0x7FFFF000  # the most that one call moves (sendfile(2))


class Incoming(Protocol):
    """A request whose data goes straight to a file (ksmbd.smb.write.IncomingWrite)."""

    left: int
    """Bytes that are still to come."""
    way: Way

    def take(self, data: memoryview) -> None:
        """Bytes that were received already."""
        ...

    def take_pipe(self, pipe: int, count: int) -> bool:
        """The next `count` bytes are in this pipe. False: they were not all taken out."""
        ...

    def finish(self) -> None:
        """All has come: answer."""
        ...


class Core(Protocol):
    """What a transport needs of the protocol's connection (ksmbd.smb.connection.ServerConnection)."""

    max_frame: int
    """The longest frame accepted now: small before there is a session, then as negotiated."""

    @property
    def session_count(self) -> int:
        """Sessions that are established on this connection."""
        ...

    @property
    def open_count(self) -> int:
        """Opens of those sessions."""
        ...

    @property
    def elsewhere(self) -> int:
        """Bytes of replies that are being signed or encrypted by other threads, and will be sent."""
        ...

    def receive(self, frame: bytearray) -> None:
        """One whole frame, without its length. The buffer is the core's to keep and to change."""
        ...

    def receive_run(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
        """Frames with their lengths, of which the core takes as many as it likes from the front on, at most `limit`:
        (where the rest begins, how many were taken). The memory stays the transport's."""
        ...

    @property
    def write_from(self) -> int:
        """Length from which on a frame that has not come whole is offered to `begin_write`."""
        ...

    def begin_write(self, head: memoryview, length: int) -> Incoming | None:
        """`head` is what is there of a frame of `length` bytes. None: it is wanted whole, by `receive`."""
        ...

    def disconnected(self, reason: str) -> None:
        """The connection is gone; nothing can be sent any more. Called once."""
        ...


class Counters(Protocol):
    """What a worker counts of its connections (ksmbd.process.shared)."""

    def count(self, requests: int, received: int, sent: int) -> None:
        """Add to the sums."""
        ...

    def connected(self) -> None:
        """One connection more."""
        ...

    def disconnected(self) -> None:
        """One connection less."""
        ...

    def refused(self) -> None:
        """One connection refused."""
        ...

    def queue_empty(self) -> None:
        """All connections that had come were accepted."""
        ...


class _Span:
    """A span on its way. It has its own descriptor once it outlives the call that sent it: the open may be closed."""

    __slots__ = ("_own", "fd", "file", "left", "offset", "splice")

    def __init__(self, span: FileSpan) -> None:
        self.file = span.file
        self.fd = span.file.fileno()
        self.offset = span.offset
        self.left = span.length
        self.splice = span.splice
        self._own = False

    def keep(self) -> None:
        """To be sent later: hold the file itself, not its number."""
        if not self._own and self.fd >= 0:
            self.fd = os.dup(self.fd)
            self._own = True

    def release(self) -> None:
        if self._own:
            os.close(self.fd)
            self._own = False
        self.fd = -1


class TcpTransport:
    """The `Transport` of ksmbd.smb.ports over a TCP (or any stream) socket."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        scratch: Scratch,
        make_core: Callable[[TcpTransport], Core],
        counters: Counters | None = None,
        on_closed: Callable[[TcpTransport], None] | None = None,
        received: bytes = b"",
        peer: str = "",
    ) -> None:
        """`received`: what another worker received of this connection before it handed it over. `peer`: the client's
        address where the caller knows it; the socket itself forgets it once the client has reset the connection."""
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._counters = counters
        self._on_closed = on_closed
        self._peer = peer or address_text(sock, peer=True)
        self._local = address_text(sock, peer=False)
        self._scratch = scratch
        self._receiver = Receiver(scratch, self._session_request)
        self._incoming: Incoming | None = None
        """The request whose data is next on the stream."""
        self._out: deque[memoryview | _Span] = deque()
        self._out_bytes = 0
        self._for_room: deque[Future[None]] = deque()
        self._room_due = False
        self._counted = 0
        """What `Scratch.waiting` has of this connection."""
        self._lowat = 1
        self._in_turn = False
        self._flush_due = False
        self._continue_due = False
        self._reading = False
        self._writing = False
        self._reason: str | None = None
        """Why the connection ends; None as long as it does not."""
        self._core_told = False
        self._closed = False
        self._linger: TimerHandle | None = None
        self.started = loop.monotonic()
        self.last_received = self.started
        self.last_progress = self.started
        """When the peer last took something of what waits for it."""
        self.sessionless_since = self.started
        self._when_closed: list[Callable[[], None]] = []
        self.core = make_core(self)
        if received:
            self._receiver.preload(received)
        self._go_on(bool(received))

    # -------------------------------------------------------------------------------------------- Transport's side

    @property
    def peer(self) -> str:
        """The client's address, as text."""
        return self._peer

    @property
    def local(self) -> str:
        """The server's address, as text."""
        return self._local

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the peer to read."""
        return self._out_bytes

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        return self._closed

    @property
    def reading(self) -> bool:
        """Whether requests are being read; not while the peer has too much to read itself."""
        return self._reading

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._fd

    def send(self, frame: Frame) -> None:
        """Queue a frame; it leaves at the end of the turn. After `close` it is dropped."""
        if self._reason is not None:
            return
        data = frame.data if isinstance(frame.data, memoryview) else memoryview(frame.data)
        if not self._out:
            self.last_progress = self._loop.now
        self._out.append(data)
        self._out_bytes += len(data)
        span = frame.span
        if span is not None and span.length:
            self._append_span(span)
        if not self._in_turn and not self._flush_due:
            self._flush_due = True
            self._loop.at_end(self._flush_end)

    def room(self) -> Future[None] | None:
        """See the port."""
        if self._out_bytes <= HIGH_WATER or self._reason is not None:
            return None
        future: Future[None] = Future()
        self._for_room.append(future)
        return future

    def _make_room(self) -> None:
        """Whoever waits for it, as long as the client has not too much to read again."""
        self._room_due = False
        while self._for_room and self._out_bytes <= HIGH_WATER:
            self._for_room.popleft().set_result(None)

    def close(self, reason: str) -> None:
        """End the connection once what was sent before is out, or `LINGER` seconds later."""
        if self._reason is not None:
            return
        self._reason = reason
        if debug.mask[0] & debug.CONN:
            log.debug(debug.CONN, f"{self._peer}: closing: {reason}")
        self._set_reading(False)
        # Not at once: the core may be in the middle of the call that asks for it.
        self._loop.at_end(self._finish)

    def abort(self, reason: str) -> None:
        """End the connection now; what waits for the peer is dropped."""
        self._drop_output()
        self.close(reason)

    def end(self, reason: str) -> None:
        """`abort`, and be gone when this returns. Not inside a call of the core's."""
        self.abort(reason)
        self._finish()

    @property
    def logged_on(self) -> bool:
        """Whether there is a session on this connection."""
        return self.core.session_count > 0

    def delivery_mark(self) -> int:
        """See the port: what was confirmed, what waits in the kernel for a confirmation, and what waits here."""
        while True:
            before = acknowledged_bytes(self._sock)
            mark = before + unacknowledged_bytes(self._sock)
            if acknowledged_bytes(self._sock) == before:  # nothing was confirmed between the two questions
                return mark + self._out_bytes

    def delivery_seconds(self) -> float:
        """See the port: when TCP itself would send again."""
        return min(max(retransmission_seconds(self._sock), DELIVERY_MIN), DELIVERY_MAX)

    def confirmed(self) -> int:
        """See the port."""
        return 0 if self._closed else acknowledged_bytes(self._sock)

    def delivered(self, mark: int) -> bool:
        """See the port."""
        return not self._closed and acknowledged_bytes(self._sock) >= mark

    # --------------------------------------------------------------------------------------------------- receiving

    def _readable(self) -> None:
        if self._incoming is not None:
            self._stream(self._incoming)
            return
        receiver = self._receiver
        received = 0
        try:
            while True:
                try:
                    count = self._sock.recv_into(receiver.target())
                except (BlockingIOError, InterruptedError):
                    break
                if count == 0:
                    self.close("the client closed the connection")  # a half-closed one still gets its replies
                    break
                received += count
                receiver.advance(count)
                if self._handle(count):
                    break
                if not receiver.missing or received >= TURN_BYTES or not self._reading:
                    break
        except OSError as error:
            self._lost(f"receiving failed: {error.strerror}")
        if received:
            self.last_received = self._loop.now

    def _handle(self, received: int) -> bool:
        """Hand whole frames to the core, then send what is ready. `received`: bytes that have just come. True: the
        stream goes on with data that goes to a file."""
        receiver = self._receiver
        core = self.core
        frames = 0
        stopped = False
        until = 0.0
        self._in_turn = True
        try:
            while self._reason is None:
                if frames:  # one alone asks for no time
                    now = self._loop.monotonic()
                    until = until or now + TURN_SECONDS
                    if now >= until or frames >= TURN_FRAMES:
                        stopped = True
                        break
                if (self._out_bytes or core.elsewhere) and self._is_crowded():
                    stopped = True
                    break
                view, position, end = receiver.ready()
                if end - position >= SHORTEST:
                    at, taken = core.receive_run(view, position, end, min(_RUN_FRAMES, TURN_FRAMES - frames))
                    if taken:
                        receiver.taken(at)
                        frames += taken
                        if at == end:
                            break  # nothing is left, whole or begun
                        continue
                frame = receiver.next(core.max_frame)
                if frame is None:
                    self._offer(receiver)
                    break
                frames += 1
                core.receive(frame)
                core = self.core  # it may have put another in its place
        except FramingError as bad:
            log.peer(f"{self._peer}: {bad}; connection closed", "framing", self._peer)
            self.abort(str(bad))
        except (Exception, Cancelled) as error:  # noqa: BLE001 - the core answers for its errors; what comes out is a defect of ours
            log.exception(f"{self._peer}: unexpected {type(error).__name__}; this connection is closed", error)
            self.abort("internal error")
        finally:
            self._in_turn = False
            if self._reason is None:
                receiver.park()
            else:
                receiver.clear()
        if self._counters is not None:
            self._counters.count(frames, received, 0)
        if self._out:
            self._flush()
        if core.elsewhere:
            self._count_waiting()
        if self._incoming is not None:
            self._stream(self._incoming)
            return True
        if self._reason is None:
            missing = receiver.missing
            if missing >= LOWAT_FROM:
                self._wake_at(missing)
            elif self._lowat != 1:
                self._wake_at(1)
            if stopped or not self._reading:
                self._go_on(stopped)
        return False

    def _offer(self, receiver: Receiver) -> None:
        """Ask the core whether the data of a frame that has begun may go past it, from the socket to a file."""
        partial = receiver.partial(self.core.write_from)
        if partial is None:
            return
        head, length = partial
        incoming = self.core.begin_write(head, length)
        if incoming is not None:
            incoming.take(head[length - incoming.left :])
            self._incoming = incoming
            receiver.divert()

    def _stream(self, incoming: Incoming) -> None:
        """Data of a WRITE: from the socket into its file, for a turn."""
        received = 0
        try:
            way = incoming.way
            if way is Way.EITHER:
                whole = min(incoming.left, AT_HAND)
                way = Way.SPLICE if bytes_at_hand(self._sock) >= whole else Way.COPY
            receive = self._piece_spliced if way is Way.SPLICE else self._piece_copied
            while incoming.left and received < TURN_BYTES:
                try:
                    count = receive(incoming)
                except (BlockingIOError, InterruptedError):
                    break
                if count == 0:
                    self.close("the client closed the connection")
                    return
                received += count
        except OSError as error:
            self._lost(f"receiving failed: {error.strerror}")
            return
        except (Exception, Cancelled) as error:  # noqa: BLE001 - as in _handle
            log.exception(f"{self._peer}: unexpected {type(error).__name__}; this connection is closed", error)
            self.abort("internal error")
            return
        finally:
            if received:
                self.last_received = self._loop.now
                if self._counters is not None:
                    self._counters.count(0, received, 0)
        if incoming.left:
            self._wake_at(incoming.left if incoming.left >= LOWAT_FROM else 1)
            return
        self._incoming = None
        self._wake_at(1)
        if self._counters is not None:
            self._counters.count(1, 0, 0)
        self._in_turn = True
        try:
            incoming.finish()
        except (Exception, Cancelled) as error:  # noqa: BLE001 - as in _handle
            log.exception(f"{self._peer}: unexpected {type(error).__name__}; this connection is closed", error)
            self.abort("internal error")
        finally:
            self._in_turn = False
        self._flush()

    def _piece_spliced(self, incoming: Incoming) -> int:
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

    def _piece_copied(self, incoming: Incoming) -> int:
        memory = self._scratch.pieces()
        left = incoming.left
        count = self._sock.recv_into(memory if left >= len(memory) else memory[:left])
        if count:
            incoming.take(memory[:count])
        return count

    def _wake_at(self, count: int) -> None:
        """Be woken once so many bytes are there: one turn for the rest of a large frame instead of many."""
        if count != self._lowat:
            self._lowat = count
            with contextlib.suppress(OSError):  # a kind of socket that has no such option
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _go_on(self, more: bool) -> None:
        """After a turn: more frames are at hand (others first), or the socket is next."""
        if (self._out_bytes or self.core.elsewhere) and self._is_crowded():
            self._set_reading(False)
            return
        if more and self._receiver.parked:
            self._set_reading(False)
            if not self._continue_due:
                self._continue_due = True
                self._loop.call_soon(self._continue)
        else:
            self._set_reading(True)

    def _continue(self) -> None:
        self._continue_due = False
        if self._reason is not None:
            return
        if self._is_crowded():
            self._set_reading(False)
        else:
            self._handle(0)

    def _is_crowded(self) -> bool:
        """Whether no further request of this client is handled until it has taken more of what waits for it. Reading
        begins again in `_writable` and `_flush_end`."""
        own = self._out_bytes + self.core.elsewhere
        scratch = self._scratch
        if self._out_bytes > HIGH_WATER or own > HIGH_WATER_IN_ALL:
            return True
        return own > 0 and scratch.waiting + own - self._counted > scratch.budget

    def _count_waiting(self) -> None:
        own = 0 if self._closed else self._out_bytes + self.core.elsewhere
        self._scratch.waiting += own - self._counted
        self._counted = own

    def _session_request(self) -> None:
        # RFC 1002 4.3.2, 4.3.3: whatever name was called, it is us.
        self.send(Frame(POSITIVE_SESSION_RESPONSE))

    def _lost(self, reason: str) -> None:
        """The peer is gone: nothing can be sent any more."""
        self.abort(reason)

    # ----------------------------------------------------------------------------------------------------- sending

    def _append_span(self, span: FileSpan) -> None:
        item = _Span(span)
        self._out_bytes += item.left
        if item.fd < 0:
            self._out_bytes -= item.left
            self._append_read(item)
            return
        self._out.append(item)
        # At once: what leaves now needs no descriptor of its own, and coalescing gains nothing beside so much data.
        self._flush()
        if item.left and item.fd >= 0:
            item.keep()

    def _append_read(self, item: _Span) -> None:
        """A span without a descriptor (a stream): read it into memory."""
        buffer = bytearray(item.left)
        view = memoryview(buffer)
        have = 0
        while have < len(buffer):
            count = item.file.read_into(item.offset + have, view[have:])
            if not count:
                break
            have += count
        self._out.append(view)
        self._out_bytes += len(view)

    def _flush_end(self) -> None:
        self._flush_due = False
        if self._closed:
            return
        self._flush()
        # What another thread signed or encrypted has left, and all was taken at once: nobody else would go on
        if self._reason is None and not self._reading and not self._continue_due and self._out_bytes <= LOW_WATER:
            self._go_on(True)

    def _flush(self) -> None:
        """Send as much as the socket takes."""
        out = self._out
        if not out or self._closed:
            return
        sent = 0
        blocked = False
        try:
            if len(out) == 1 and not isinstance(out[0], _Span):
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
                if isinstance(head, _Span):
                    count, blocked = self._send_span(head)
                else:
                    count, blocked = self._send_buffers()
                sent += count
        except OSError as error:
            self._out_sent(sent)
            self._lost(f"sending failed: {error.strerror}")
            return
        self._out_sent(sent)
        if self._for_room and not self._room_due and self._out_bytes <= LOW_WATER:
            self._room_due = True
            self._loop.call_soon(self._make_room)
        if out or self._counted:
            self._count_waiting()
        if out or self._writing:
            self._set_writing(bool(out))
            if self._is_crowded():
                self._set_reading(False)

    def _send_buffers(self) -> tuple[int, bool]:
        """Send the buffers up to the next span in one call: (bytes, whether the socket is full)."""
        out = self._out
        vectors: list[memoryview] = []
        size = 0
        flags = 0
        for item in out:
            if isinstance(item, _Span):
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

    def _send_span(self, span: _Span) -> tuple[int, bool]:
        """Send of a file: (bytes, whether the socket is full)."""
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
        self._out.popleft()
        return total, False

    def _splice_span(self, span: _Span) -> tuple[int, bool]:
        """The same through the pipe, which is empty again at the end: what the socket did not take is read anew."""
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
        self._out.popleft()
        return total, False

    def _fill(self, span: _Span) -> None:
        """The file has become shorter: zeros instead, so that the next frame begins where it must."""
        self._out.popleft()
        left = span.left
        span.release()
        span.left = 0
        pieces = []
        while left:
            piece = _ZEROS[: min(left, len(_ZEROS))]
            pieces.append(piece)
            left -= len(piece)
        self._out.extendleft(pieces)

    def _out_sent(self, count: int) -> None:
        if count:
            self._out_bytes -= count
            self.last_progress = self._loop.now
            if self._counters is not None:
                self._counters.count(0, 0, count)

    def _writable(self) -> None:
        self._flush()
        if self._reason is not None:
            if not self._out:
                self._close_socket()
            return
        if not self._reading and not self._continue_due and self._out_bytes <= LOW_WATER:
            self._go_on(True)

    # ------------------------------------------------------------------------------------------------------ ending

    def _finish(self) -> None:
        """End of the iteration in which `close` was called: the core lets go of everything, the last replies go out."""
        if not self._core_told:
            self._core_told = True
            try:
                self.core.disconnected(self._reason or "")
            except (Exception, Cancelled) as error:  # noqa: BLE001
                log.exception(f"{self._peer}: unexpected {type(error).__name__} at the end of a connection", error)
        self._flush()
        if not self._out:
            self._close_socket()
        elif self._linger is None:
            self._linger = self._loop.call_later(LINGER, self._close_socket)

    def _close_socket(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._linger is not None:
            self._linger.cancel()
        self._drop_output()
        self._for_room.clear()
        self._count_waiting()
        self._receiver.clear()
        self._loop.remove(self._fd)
        self._sock.close()
        self._tell_closed()

    def _tell_closed(self) -> None:
        for call in self._when_closed:
            call()
        self._when_closed.clear()
        if self._on_closed is not None:
            self._on_closed(self)

    def _drop_output(self) -> None:
        for item in self._out:
            if isinstance(item, _Span):
                item.left = 0
                item.release()
        self._out.clear()
        self._out_bytes = 0
        self._set_writing(False)

    def detach(self) -> socket.socket:
        """Give the socket away, to another worker; the core is not told. Nothing may be waiting for the peer."""
        self._reason = "handed over"
        self._core_told = True
        self._closed = True
        self._count_waiting()
        self._loop.remove(self._fd)
        self._tell_closed()
        return self._sock

    def unread(self, frame: bytearray) -> bytes:
        """The frame that the core is being given, and all that was received behind it: for whom the socket goes to."""
        return self._receiver.unread(frame)

    def when_closed(self, call: Callable[[], None]) -> None:
        """Call it once the socket is closed or given away."""
        self._when_closed.append(call)

    # ---------------------------------------------------------------------------------------------------- watching

    def _set_reading(self, wanted: bool) -> None:
        if wanted == self._reading or self._closed:
            return
        self._reading = wanted
        if wanted:
            self._loop.add_reader(self._fd, self._readable)
        else:
            self._loop.remove_reader(self._fd)

    def _set_writing(self, wanted: bool) -> None:
        if wanted == self._writing or self._closed:
            return
        self._writing = wanted
        if wanted:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

