# SPDX-License-Identifier: GPL-2.0-or-later
"""Begins, ends and hands over one TCP connection.

`Input` receives and `Output` sends. This module connects both with the core of the protocol, with the event loop and
with each other: while too many bytes wait for the client, nothing is read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from ksmbd import debug, log
from ksmbd.conn.back_pressure import BackPressure
from ksmbd.conn.contract import Connected, Core, Counters, NotCounted
from ksmbd.conn.loop import Loop, TimerHandle
from ksmbd.conn.scratch import Scratch
from ksmbd.conn.tcp.framing import FramingError
from ksmbd.conn.tcp.input import Input
from ksmbd.conn.tcp.options import (
    NAME,
    acknowledged_bytes,
    address_text,
    retransmission_seconds,
    unacknowledged_bytes,
)
from ksmbd.conn.tcp.output import Output
from ksmbd.smb.ports.transport import Frame
from ksmbd.smb.waiting import Cancelled, Future

LINGER: Final = 5.0
"""Seconds that a closed connection has to send its last replies."""
DELIVERY_MIN: Final = 0.2
DELIVERY_MAX: Final = 1.0
"""Seconds after which a break notification is sent on another channel if the client has not confirmed it; between these
bounds the retransmission time-out of TCP."""


class TcpTransport:
    """The `Connected` of ksmbd.conn.contract over a stream socket."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        scratch: Scratch,
        make_core: Callable[[Connected], Core],
        counters: Counters | None = None,
        on_closed: Callable[[Connected], None] | None = None,
        received: bytes = b"",
        peer: str = "",
    ) -> None:
        """`received`: what another worker received of this connection before it handed it over. `peer`: the client's
        address where the caller knows it; the socket itself forgets it once the client has reset the connection."""
        sock.setblocking(False)
        self.provider = NAME
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._on_closed = on_closed
        self._peer = peer or address_text(sock, peer=True)
        self._local = address_text(sock, peer=False)
        counted = NotCounted() if counters is None else counters
        self._pressure = BackPressure(scratch)
        self._output = Output(loop, sock, scratch, counted, self._writable)
        self._input = Input(loop, sock, scratch, counted, self._output, self._pressure, self)
        self._flush_due = False
        self.reason: str | None = None
        """Why the connection ends; None as long as it does not."""
        self._core_told = False
        self._closed = False
        self._linger: TimerHandle | None = None
        self.sessionless_since = loop.monotonic()
        self._when_closed: list[Callable[[], None]] = []
        self.core = make_core(self)
        self._input.begin(received)

    # -------------------------------------------------------------------------------------------------- properties

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
        return self._output.size

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        return self._closed

    @property
    def reading(self) -> bool:
        """Whether requests are being read; not while the peer has too much to read itself."""
        return self._input.reading

    @property
    def last_received(self) -> float:
        """When something last came; monotonic seconds."""
        return self._input.last_received

    @property
    def last_progress(self) -> float:
        """When the client last took something of what waits for it; monotonic seconds."""
        return self._output.last_progress

    @property
    def logged_on(self) -> bool:
        """Whether there is a session on this connection."""
        return self.core.session_count > 0

    # ----------------------------------------------------------------------------------------------------- sending

    def send(self, frame: Frame) -> None:
        """Queue a frame; it leaves at the end of the turn. After `close` it is dropped."""
        if self.reason is not None:
            return
        data = frame.data if isinstance(frame.data, memoryview) else memoryview(frame.data)
        self._output.append(data)
        span = frame.span
        if span is not None and span.length:
            rest = self._output.append_span(span)
            if rest is not None:
                # At once: what leaves now needs no descriptor of its own, and joining so much data gains nothing.
                self.flush()
                rest.keep()
        if not self._flush_due and not self._input.in_turn:
            self._flush_due = True
            self._loop.at_end(self._flush_end)

    def flush(self) -> None:
        """Send as much as the socket takes."""
        output = self._output
        if not output.queue or self._closed:
            return
        try:
            output.send()
        except OSError as error:
            self.abort(f"sending failed: {error.strerror}")
            return
        if output.queue or self._pressure.counted:
            self.count_waiting()
        if output.queue or output.watching:
            output.watch(bool(output.queue))
            if self._pressure.is_crowded(output.size, self.core.offloaded_bytes):
                self._input.read(False)

    def count_waiting(self) -> None:
        """Update the count of bytes that wait for all clients of the loop."""
        self._pressure.count(0 if self._closed else self._output.size + self.core.offloaded_bytes)

    def room(self) -> Future[None] | None:
        """See the port."""
        return None if self.reason is not None else self._output.room()

    def _flush_end(self) -> None:
        self._flush_due = False
        if self._closed:
            return
        self.flush()
        # Replies that another thread signed or encrypted have left at once: the loop reports no room, so go on here
        if self.reason is None:
            self._input.resume()

    def _writable(self) -> None:
        self.flush()
        if self.reason is None:
            self._input.resume()
        elif not self._output.queue:
            self._close_socket()

    # ---------------------------------------------------------------------------------------------------- delivery

    def delivery_mark(self) -> int:
        """See the port. The sum of the bytes confirmed, waiting in the kernel for confirmation, and queued here."""
        while True:
            before = acknowledged_bytes(self._sock)
            mark = before + unacknowledged_bytes(self._sock)
            if acknowledged_bytes(self._sock) == before:  # nothing was confirmed between the two questions
                return mark + self._output.size

    def delivery_seconds(self) -> float:
        """See the port. The retransmission time-out of TCP, within bounds."""
        return min(max(retransmission_seconds(self._sock), DELIVERY_MIN), DELIVERY_MAX)

    def confirmed(self) -> int:
        """See the port."""
        return 0 if self._closed else acknowledged_bytes(self._sock)

    def delivered(self, mark: int) -> bool:
        """See the port."""
        return not self._closed and acknowledged_bytes(self._sock) >= mark

    # ------------------------------------------------------------------------------------------------------ ending

    def close(self, reason: str) -> None:
        """End the connection once what was sent before is out, or `LINGER` seconds later."""
        if self.reason is not None:
            return
        self.reason = reason
        if debug.mask[0] & debug.CONN:
            log.debug(debug.CONN, f"{self._peer}: closing: {reason}", self._peer)
        self._input.read(False)
        # Not at once: the core may be in the middle of the call that asks for it.
        self._loop.at_end(self._finish)

    def abort(self, reason: str) -> None:
        """End the connection now; what waits for the peer is dropped."""
        self._output.drop()
        self.close(reason)

    def end(self, reason: str) -> None:
        """`abort`, and be gone when this returns. Not inside a call of the core's."""
        self.abort(reason)
        self._finish()

    def failed(self, error: BaseException) -> None:
        """End the connection because of this exception: a FramingError of the peer, or a defect of the server."""
        if isinstance(error, FramingError):
            log.peer(f"{self._peer}: {error}; connection closed", "framing", self._peer)
            self.abort(str(error))
            return
        log.exception(f"{self._peer}: unexpected {type(error).__name__}; this connection is closed", error)
        self.abort("internal error")

    def _finish(self) -> None:
        """Finish `close` at the end of the iteration: tell the core, then send the last replies."""
        if not self._core_told:
            self._core_told = True
            try:
                self.core.disconnected(self.reason or "")
            except (Exception, Cancelled) as error:  # noqa: BLE001
                log.exception(f"{self._peer}: unexpected {type(error).__name__} at the end of a connection", error)
        self.flush()
        if not self._output.queue:
            self._close_socket()
        elif self._linger is None:
            self._linger = self._loop.call_later(LINGER, self._close_socket)

    def _close_socket(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._linger is not None:
            self._linger.cancel()
        self._output.end()
        self.count_waiting()
        self._input.end()
        self._loop.remove(self._fd)
        self._sock.close()
        self._tell_closed()

    def _tell_closed(self) -> None:
        for call in self._when_closed:
            call()
        self._when_closed.clear()
        if self._on_closed is not None:
            self._on_closed(self)

    def when_closed(self, call: Callable[[], None]) -> None:
        """Call it once the socket is closed or given away."""
        self._when_closed.append(call)

    # --------------------------------------------------------------------------------------------------- hand-over

    def unread(self, frame: bytearray) -> bytes:
        """The frame that the core is being given, and all that was received behind it: for whom the socket goes to."""
        return self._input.receiver.unread(frame)

    def descriptors(self) -> list[int]:
        """The socket's."""
        return [self._fd]

    def give_away(self) -> None:
        """Close this process's socket; the connection goes on with another worker's."""
        self.detach().close()

    def detach(self) -> socket.socket:
        """Detach the socket, for another worker. The core is not told. No bytes may be queued for the peer."""
        self.reason = "handed over"
        self._core_told = True
        self._closed = True
        self._output.end()
        self.count_waiting()
        self._input.end()
        self._loop.remove(self._fd)
        self._tell_closed()
        return self._sock
