# SPDX-License-Identifier: GPL-2.0-or-later
"""Receives the messages of one connection and passes them to the protocol.

One callback of the loop does one `recv`, passes all whole frames to the core, and sends all replies with one `sendmsg`.
This is called a turn. A large frame is received straight into its own buffer, at most `TURN_BYTES` in one turn, so that
other connections are served.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final, Protocol

from ksmbd.conn.back_pressure import LOW_WATER, BackPressure
from ksmbd.conn.contract import Core, Counters
from ksmbd.conn.loop import Loop
from ksmbd.conn.scratch import Scratch
from ksmbd.conn.tcp.framing import HEADER, MIN_SMB2, POSITIVE_SESSION_RESPONSE, Receiver
from ksmbd.conn.tcp.output import Output
from ksmbd.conn.tcp.streamed_write import LOWAT_FROM, StreamedWrite
from ksmbd.smb.ports.transport import Frame
from ksmbd.smb.waiting import Cancelled

TURN_BYTES: Final = 2 << 20
TURN_FRAMES: Final = 128
TURN_SECONDS: Final = 0.003
"""Seconds after which no further request of this connection is begun before others are served."""
_BATCH_FRAMES: Final = 32
"""Small requests between two checks of the time."""
SHORTEST: Final = HEADER + MIN_SMB2
"""The shortest frame with its length, in bytes."""


class Owner(Protocol):
    """The connection whose input this is (ksmbd.conn.tcp.transport.TcpTransport)."""

    core: Core
    reason: str | None
    """Why the connection ends; None as long as it does not."""

    def send(self, frame: Frame) -> None:
        """Queue a frame."""
        ...

    def flush(self) -> None:
        """Send what is queued, as far as the socket takes it."""
        ...

    def count_waiting(self) -> None:
        """Update the count of the bytes that wait for the client."""
        ...

    def close(self, reason: str) -> None:
        """End the connection in order."""
        ...

    def abort(self, reason: str) -> None:
        """End the connection now."""
        ...

    def failed(self, error: BaseException) -> None:
        """End the connection because the core raised this exception."""
        ...


class Input:
    """The receiving side of a connection: received bytes, their handling, and the watch for more."""

    __slots__ = (
        "_continue_due", "_counters", "_fd", "_loop", "_lowat", "_output", "_owner", "_pressure", "_sock", "_write",
        "in_turn", "last_received", "reading", "receiver",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        scratch: Scratch,
        counters: Counters,
        output: Output,
        pressure: BackPressure,
        owner: Owner,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._counters = counters
        self._output = output
        self._pressure = pressure
        self._owner = owner
        self.receiver = Receiver(scratch, self._session_request)
        self._write = StreamedWrite(sock, scratch)
        self._lowat = 1
        self._continue_due = False
        self.in_turn = False
        """Whether the core is handling a message; what it sends is flushed at the end of the turn."""
        self.reading = False
        """Whether the loop watches the socket for reading; it does not while the client must read its replies."""
        self.last_received = loop.monotonic()

    # --------------------------------------------------------------------------------------------------- the watch

    def begin(self, received: bytes) -> None:
        """Begin to receive. `received`: bytes that another worker received before."""
        if received:
            self.receiver.preload(received)
        self._go_on(bool(received))

    def end(self) -> None:
        """Stop receiving and drop what was received."""
        self._write.end()
        self.receiver.clear()
        self.reading = False

    def read(self, wanted: bool) -> None:
        """Start or stop to watch the socket for reading."""
        if wanted == self.reading:
            return
        self.reading = wanted
        if wanted:
            self._loop.add_reader(self._fd, self._readable)
        else:
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """The client has read some replies: continue unless too many are left."""
        if not self.reading and not self._continue_due and self._output.size <= LOW_WATER:
            self._go_on(True)

    def _go_on(self, more: bool) -> None:
        """Continue after a turn: with frames that are left (`more`), after other connections, or with the socket."""
        output = self._output
        offloaded = self._owner.core.offloaded_bytes
        if (output.size or offloaded) and self._pressure.is_crowded(output.size, offloaded):
            self.read(False)  # until `resume`
            return
        if more and self.receiver.parked:
            self.read(False)
            if not self._continue_due:
                self._continue_due = True
                self._loop.call_soon(self._continue)
        else:
            self.read(True)

    def _continue(self) -> None:
        self._continue_due = False
        owner = self._owner
        if owner.reason is not None:
            return
        if self._pressure.is_crowded(self._output.size, owner.core.offloaded_bytes):
            self.read(False)
        else:
            self._handle(0)

    def _wake_at(self, count: int) -> None:
        """Set SO_RCVLOWAT, so that the rest of a large frame wakes the loop once instead of many times."""
        if count != self._lowat:
            self._lowat = count
            with contextlib.suppress(OSError):  # a kind of socket that has no such option
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    # ---------------------------------------------------------------------------------------------------- the turn

    def _readable(self) -> None:
        if self._write.incoming is not None:
            self._stream()
            return
        receiver = self.receiver
        received = 0
        try:
            while True:
                try:
                    count = self._sock.recv_into(receiver.target())
                except (BlockingIOError, InterruptedError):
                    break
                if count == 0:
                    self._client_closed()  # a half-closed one still gets its replies
                    break
                received += count
                receiver.advance(count)
                if self._handle(count):
                    break
                if not receiver.missing or received >= TURN_BYTES or not self.reading:
                    break
        except OSError as error:
            self._lost(error)
        if received:
            self.last_received = self._loop.now

    def _handle(self, received: int) -> bool:
        """Pass whole frames to the core, then send the replies. `received`: bytes just received. True: data of a WRITE
        for a file follows on the stream."""
        owner = self._owner
        receiver = self.receiver
        core = owner.core
        pressure = self._pressure
        output = self._output
        frames = 0
        stopped = False
        until = 0.0
        self.in_turn = True
        try:
            while owner.reason is None:
                if frames:  # one alone asks for no time
                    now = self._loop.monotonic()
                    until = until or now + TURN_SECONDS
                    if now >= until or frames >= TURN_FRAMES:
                        stopped = True
                        break
                if (output.size or core.offloaded_bytes) and pressure.is_crowded(output.size, core.offloaded_bytes):
                    stopped = True
                    break
                view, position, end = receiver.ready()
                if end - position >= SHORTEST:
                    at, taken = core.receive_batch(view, position, end, min(_BATCH_FRAMES, TURN_FRAMES - frames))
                    if taken:
                        receiver.taken(at)
                        frames += taken
                        if at == end:
                            break  # nothing is left, whole or begun
                        continue
                frame = receiver.next(core.max_frame)
                if frame is None:
                    self._offer(core)
                    break
                frames += 1
                core.receive(frame)
                core = owner.core  # it may have put another in its place
        except (Exception, Cancelled) as error:  # noqa: BLE001 - the core answers for its errors; what comes out is a defect of ours
            owner.failed(error)
        finally:
            self.in_turn = False
            if owner.reason is None:
                receiver.park()
            else:
                receiver.clear()
        self._counters.count(frames, received, 0)
        if output.queue:
            owner.flush()
        if core.offloaded_bytes:
            owner.count_waiting()
        return self._after_frames(stopped)

    def _after_frames(self, stopped: bool) -> bool:
        """Prepare for what follows on the stream. `stopped`: whole frames are left for later. True: data of a WRITE for
        a file."""
        if self._write.incoming is not None:
            self._stream()
            return True
        if self._owner.reason is None:
            missing = self.receiver.missing
            if missing >= LOWAT_FROM:
                self._wake_at(missing)
            elif self._lowat != 1:
                self._wake_at(1)
            if stopped or not self.reading:
                self._go_on(stopped)
        return False

    def _offer(self, core: Core) -> None:
        """Offer the core an incomplete frame, whose data may go from the socket straight to a file."""
        partial = self.receiver.partial(core.write_from)
        if partial is None:
            return
        head, length = partial
        incoming = core.begin_write(head, length)
        if incoming is not None:
            data = head[length - incoming.left :]
            self._write.begin(incoming, data, self.receiver.in_scratch(len(data)))
            self.receiver.divert()

    def _stream(self) -> None:
        """Receive data of a WRITE into its file, for one turn."""
        write = self._write
        incoming = write.incoming
        assert incoming is not None
        try:
            write.receive(incoming, TURN_BYTES)
        except OSError as error:
            self._lost(error)
            return
        except (Exception, Cancelled) as error:  # noqa: BLE001 - as in _handle
            self._owner.failed(error)
            return
        finally:
            if write.received:
                self.last_received = self._loop.now
                self._counters.count(0, write.received, 0)
        if write.ended:
            self._client_closed()
            return
        if incoming.left:
            self._wake_at(write.wanted)
            return
        write.end()
        self._wake_at(1)
        self._counters.count(1, 0, 0)
        self.in_turn = True
        try:
            incoming.finish()
        except (Exception, Cancelled) as error:  # noqa: BLE001 - as in _handle
            self._owner.failed(error)
        finally:
            self.in_turn = False
        self._owner.flush()

    def _client_closed(self) -> None:
        self._owner.close("the client closed the connection")

    def _lost(self, error: OSError) -> None:
        self._owner.abort(f"receiving failed: {error.strerror}")

    def _session_request(self) -> None:
        # RFC 1002 4.3.2, 4.3.3: every called name is accepted.
        self._owner.send(Frame(POSITIVE_SESSION_RESPONSE))
