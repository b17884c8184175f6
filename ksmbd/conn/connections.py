# SPDX-License-Identifier: GPL-2.0-or-later
"""Accepts the connections of one worker within the limits, closes those that are idle too long, and ends all when the
worker stops."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ksmbd import debug, limits, log
from ksmbd.conn.contract import Arrival, Connected, Core, Counters, Listener, NotCounted
from ksmbd.conn.loop import Loop, TimerHandle
from ksmbd.conn.scratch import Scratch
from ksmbd.conn.sessionless import SessionlessConnection, SessionlessConnections
from ksmbd.kernel import credentials

SWEEP: Final = 5.0
"""Seconds from anything that happens to the next look for connections that are to be closed."""
ACCEPTS_PER_TURN: Final = 16
ACCEPT_PAUSE: Final = 1.0
"""Seconds without accepting after the system ran out of descriptors or memory."""
BEFORE_LOGON_MAX: Final = limits.CONNECTIONS_BEFORE_LOGON.value
OF_ADDRESS: Final = "`max ip connections`"
"""The beginning of a refusal by `Admission.admit` where one address, not the server, has too many connections."""


@dataclass(frozen=True)
class Limits:
    """The limits of connections; times in seconds, 0 = no limit."""

    max_connections: int = limits.CONNECTIONS.value
    max_ip_connections: int = limits.CONNECTIONS_PER_ADDRESS.value
    session_timeout: float = limits.SECONDS_BEFORE_LOGON.value
    """Seconds after which a connection without a session is closed."""
    reader_timeout: float = limits.SECONDS_UNREAD.value
    """Seconds after which a connection is closed whose client reads nothing of the replies that wait for it."""
    deadtime: float = 0.0
    """Seconds after which an idle connection without open files is closed."""


class Admission(Protocol):
    """Counts connections, over all workers where there are several."""

    def admit(self, address: str) -> str | None:
        """Count a connection from `address` and return None, or return why it is refused and count nothing."""
        ...

    def release(self, address: str) -> None:
        """Count an admitted connection no longer."""
        ...


class LocalAdmission:
    """Admission within one process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.total = 0
        self.by_address: dict[str, int] = {}

    def admit(self, address: str) -> str | None:
        """See Admission."""
        if self._limits.max_connections and self.total >= self._limits.max_connections:
            return f"`max connections` = {self._limits.max_connections} is reached"
        count = self.by_address.get(address, 0)
        if self._limits.max_ip_connections and count >= self._limits.max_ip_connections:
            return f"{OF_ADDRESS} = {self._limits.max_ip_connections} is reached"
        self.by_address[address] = count + 1
        self.total += 1
        return None

    def release(self, address: str) -> None:
        """See Admission."""
        count = self.by_address[address] - 1
        if count:
            self.by_address[address] = count
        else:
            del self.by_address[address]
        self.total -= 1


class Connections:
    """The listeners and connections of one event loop."""

    def __init__(
        self,
        loop: Loop,
        make_core: Callable[[Connected], Core],
        limits: Limits,
        admission: Admission | None = None,
        counters: Counters | None = None,
        budget: int = limits.REPLIES_UNREAD_ALL.value,
    ) -> None:
        """`budget`: bytes of replies that may wait for all clients of this loop together."""
        self._loop = loop
        self._make_core = make_core
        self._limits = limits
        self._admission = LocalAdmission(limits) if admission is None else admission
        self._counters: Counters = NotCounted() if counters is None else counters
        self._scratch = Scratch()
        self._scratch.budget = budget
        self._listeners: list[Listener] = []
        self._transports: set[Connected] = set()
        self._sessionless = SessionlessConnections()
        self._sweep_timer: TimerHandle | None = None
        self._resting = True
        """Whether that timer waits for nothing nearer than the time when a connection is to be closed, if no more
        happens."""
        self._sweep_due = False
        loop.after_iteration(self._happened)
        self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._on_empty: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._transports)

    @property
    def unread(self) -> tuple[int, int]:
        """Bytes of replies that wait for all clients together, and how many may."""
        return self._scratch.waiting, self._scratch.budget

    def listen(self, listeners: Iterable[Listener]) -> None:
        """Accept connections from these listeners."""
        for listener in listeners:
            self._listeners.append(listener)
            self._loop.add_reader(listener.fileno(), self._accepter(listener))

    def ignore(self, listener: Listener) -> None:
        """Stop accepting from this listener, which its owner then closes."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._loop.remove(listener.fileno())

    def stop_listening(self) -> None:
        """Stop accepting. The owner of the listeners closes them."""
        for listener in self._listeners:
            self._loop.remove(listener.fileno())
        self._listeners.clear()

    def close_all(self, reason: str, when_done: Callable[[], None]) -> None:
        """Stop accepting, end every connection in order, then call `when_done`."""
        self.stop_listening()
        self._on_empty = when_done
        for transport in list(self._transports):
            transport.close(reason)
        if not self._transports:
            self._empty()

    def abort_all(self, reason: str) -> None:
        """End every connection now."""
        for transport in list(self._transports):
            transport.abort(reason)

    def adopt(self, arrival: Arrival, received: bytes = b"") -> Connected | None:
        """Serve a connection that was just accepted, or handed over by another worker with the bytes `received`. None:
        the limits refuse it, and it is closed. A connection without a session may be ended to make room for it."""
        address = arrival.peer
        refused = self._admission.admit(address)
        if refused is not None:
            of_address = refused.startswith(OF_ADDRESS)
            sessionless = self._sessionless
            if self._make_room(sessionless.oldest_of(address) if of_address else sessionless.oldest_of_most()):
                refused = self._admission.admit(address)
        if refused is not None:
            arrival.refuse()
            self._counters.refused()
            log.peer(f"connection from {address} refused: {refused}", "refused", address)
            return None
        try:
            transport = arrival.serve(
                self._loop, self._scratch, self._make_core, self._counters, self._closed, received
            )
        except BaseException:
            self._admission.release(address)
            arrival.refuse()
            raise
        self._transports.add(transport)
        self._sessionless.enter(transport)
        self._make_room(self._sessionless.oldest_beyond(address, BEFORE_LOGON_MAX))
        self._counters.connected()
        if self._resting:
            self._set_sweep(SWEEP)
        if debug.mask[0] & debug.CONN:
            log.debug(debug.CONN, f"{transport.peer}: connected to {transport.local}", transport.peer)
        return transport

    def _make_room(self, connection: SessionlessConnection | None) -> bool:
        """End this connection without a session. False: there is none to end."""
        if connection is None:
            return False
        peer = connection.peer
        log.peer(f"{peer}: no session yet, and others need the place; connection closed", "place", peer)
        connection.end("others need the place")
        return True

    def _accepter(self, listener: Listener) -> Callable[[], None]:
        return lambda: self._accept(listener)

    def _accept(self, listener: Listener) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                arrival = listener.accept()
            except (BlockingIOError, InterruptedError):
                self._counters.queue_empty()
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    if self._make_room(self._sessionless.oldest_of_most()):
                        continue
                    self._out_of_descriptors(listener, error)
                    return
                # accept(2): errors of the new connection itself (ECONNABORTED, EPROTO, ENETDOWN, ...): the next one.
                continue
            self.adopt(arrival)

    def _out_of_descriptors(self, listener: Listener, error: OSError) -> None:
        """Refuse one client with the help of the spare descriptor, and leave the others in the backlog for a moment."""
        log.peer(f"cannot accept connections: {error.strerror}", "descriptors")
        os.close(self._spare)
        try:
            listener.accept().refuse()
        except OSError:
            pass
        with credentials.privileged():  # the thread may have no right to open /dev/null
            self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        fd = listener.fileno()
        self._loop.remove(fd)
        self._loop.call_later(ACCEPT_PAUSE, lambda: self._resume(listener))

    def _resume(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accepter(listener))

    def _closed(self, transport: Connected) -> None:
        self._transports.discard(transport)
        self._sessionless.leave(transport)
        self._admission.release(transport.peer)
        self._counters.disconnected()
        if debug.mask[0] & debug.CONN:
            log.debug(debug.CONN, f"{transport.peer}: connection closed", transport.peer)
        if not self._transports:
            self._empty()

    def _empty(self) -> None:
        self._set_sweep(None)
        if self._on_empty is not None:
            call, self._on_empty = self._on_empty, None
            call()

    def _set_sweep(self, seconds: float | None) -> None:
        """Sweep after so many seconds; None: never."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._sweep_timer = None if seconds is None else self._loop.call_later(seconds, self._is_due)
        self._resting = seconds is None

    def _is_due(self) -> None:
        self._sweep_due = True

    def _happened(self) -> None:
        """The end of an iteration: whatever it did may have begun what a sweep looks for. A sweep has seen it already,
        so that it is followed by another one only where something is to be done or more happens."""
        if self._sweep_due:
            self._sweep()
        elif self._resting and self._transports:
            self._set_sweep(SWEEP)

    def _sweep(self) -> None:
        """Abort connections that are idle, without a session or unread for too long."""
        self._sweep_due = False
        self._set_sweep(None)
        now = self._loop.monotonic()
        due = math.inf
        for transport in list(self._transports):
            reason = self._overdue(transport, now)
            if reason is not None:
                log.peer(f"{transport.peer}: {reason}; connection closed", "overdue", transport.peer)
                transport.abort(reason)
            else:
                due = min(due, self._due(transport))
        if due < math.inf and self._transports:
            self._set_sweep(max(due - now, SWEEP))
            self._resting = True

    def _due(self, transport: Connected) -> float:
        """When this connection is to be closed, if nothing happens on it; `_overdue` has looked at it."""
        limits = self._limits
        due = math.inf
        if limits.session_timeout and not transport.core.session_count:
            due = transport.sessionless_since + limits.session_timeout
        if limits.reader_timeout and transport.waiting_bytes:
            due = min(due, transport.last_progress + limits.reader_timeout)
        if limits.deadtime and not transport.core.open_count:
            due = min(due, transport.last_received + limits.deadtime)
        return due

    def _overdue(self, transport: Connected, now: float) -> str | None:
        """Why this connection is to be closed now, or None."""
        limits = self._limits
        core = transport.core
        if core.session_count:
            self._sessionless.leave(transport)
        elif self._sessionless.enter(transport):
            transport.sessionless_since = now  # its last session has just ended
        without = 0.0 if core.session_count else now - transport.sessionless_since
        if limits.session_timeout and without >= limits.session_timeout:
            return f"no session within {limits.session_timeout:g} s"
        if transport.waiting_bytes and limits.reader_timeout and now - transport.last_progress >= limits.reader_timeout:
            return f"the client has read nothing for {limits.reader_timeout:g} s"
        if limits.deadtime and not core.open_count and now - transport.last_received >= limits.deadtime:
            return f"idle for {limits.deadtime:g} s (`deadtime`)"
        return None
