# SPDX-License-Identifier: GPL-2.0-or-later
"""What the forker passes to a worker, and the life of a worker: start, messages of the forker, orderly stop."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ksmbd import log
from ksmbd.conn.connections import Connections
from ksmbd.conn.contract import Listener, Provider
from ksmbd.conn.loop import Loop
from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import credentials
from ksmbd.oplock.handed_on import Kept
from ksmbd.process.bpf_programs import BpfPrograms
from ksmbd.process.peers import DIED, INODE, Inboxes, Kind, Peers
from ksmbd.process.shared import SharedState, WorkerCounters

STOP_SECONDS: Final = 5.0
"""Seconds that the last replies to clients may take when the server stops."""


EXIT_STORE: Final = 3
"""Exit status of a worker that cannot use the shared table of open files; it must not work alone."""


@dataclass
class WorkerContext:
    """What one worker inherits from the forker."""

    index: int
    settings: EngineSettings
    rundir: str
    statedir: str
    providers: Sequence[Provider]
    """The transports."""
    listeners: list[Listener]
    netlink_fd: int
    """The netlink descriptor of this worker, connected to mountd; -1 where there is none (tests)."""
    shared: SharedState
    bpf: BpfPrograms
    inboxes: Inboxes
    parent: int
    """The forker's process id."""
    kept: Sequence[Kept] = ()
    """What a single worker adopts of the last server's opens."""

    @property
    def counters(self) -> WorkerCounters:
        """The counters of this worker in shared memory."""
        return self.shared.counters[self.index]


class WorkerLife:
    """The part of a worker without protocol and files: its event loop, its inbox, the watch over the forker, the
    orderly stop."""

    def __init__(self, context: WorkerContext) -> None:
        self.context = context
        self.loop = Loop()
        log.use_clock(self.loop.call_later)
        counters = context.shared.counters
        self.peers = Peers(self.loop, context.inboxes, context.index, lambda worker: counters[worker].epoch)
        self.peers.on(Kind.STOP, lambda sender, data, fds: self.stop("the server stops"))
        self.peers.on(Kind.WORKER_DIED, self._worker_died)
        self.peers.on(Kind.LISTEN, lambda sender, data, fds: self._listen(data.decode(), fds))
        self.peers.on(Kind.UNLISTEN, lambda sender, data, fds: self._unlisten(INODE.unpack(data)[0]))
        self.peers.on(Kind.LEAVE_TERMINAL, lambda sender, data, fds: self._leave_terminal())
        self.on_worker_died: Callable[[int, int], None] = lambda worker, epoch: None
        """Called with (index, epoch) of a dead worker whose entries this one must remove from the open table."""
        self.on_stop: Callable[[], None] = lambda: None
        """Called once all connections are closed."""
        self.connections: Connections | None = None
        self._stopping = False
        self._watch_parent()

    def serve(self, connections: Connections) -> None:
        """Accept and serve connections until the worker stops."""
        self.connections = connections
        connections.listen(self.context.listeners)
        self.peers.deliver(0, os.getpid().to_bytes(4, "little"), Kind.READY)
        self.loop.run()

    def stop(self, reason: str) -> None:
        """Stop in order. Connections that are left after STOP_SECONDS are aborted."""
        if self._stopping:
            return
        self._stopping = True
        if self.connections is None:
            self.loop.stop()
            return
        self.loop.call_later(STOP_SECONDS, self._cut_off)
        self.connections.close_all(reason, self._end)

    def _cut_off(self) -> None:
        assert self.connections is not None
        log.warning(f"{len(self.connections)} connections did not close in {STOP_SECONDS:g} s and are cut off")
        self.connections.abort_all("the server stops")
        self._end()

    def _end(self) -> None:
        call, self.on_stop = self.on_stop, lambda: None
        call()
        self.loop.stop()

    def _listen(self, name: str, fds: list[int]) -> None:
        """Accept connections from one more listener of the transport `name`, for an interface that has appeared."""
        listeners = [
            provider.listener(fd) for provider in self.context.providers if provider.name == name for fd in fds
        ]
        if self._stopping or self.connections is None:
            for listener in listeners:
                listener.close()
            return
        self.context.listeners += listeners
        self.connections.listen(listeners)

    def _unlisten(self, inode: int) -> None:
        """Close a listener, because its interface has gone."""
        for listener in [one for one in self.context.listeners if os.fstat(one.fileno()).st_ino == inode]:
            self.context.listeners.remove(listener)
            if self.connections is not None:
                self.connections.ignore(listener)
            listener.close()

    def _leave_terminal(self) -> None:
        with credentials.privileged():  # the thread may have no right to open /dev/null
            log.leave_terminal()

    def _worker_died(self, sender: int, data: bytes, fds: list[int]) -> None:
        worker, epoch, clean = DIED.unpack(data)
        if worker != self.context.index:
            self.peers.forget(worker)
        if clean:
            self.on_worker_died(worker, epoch)
            self.peers.deliver(0, data, Kind.CLEANED)

    def _watch_parent(self) -> None:
        """Watch the pidfd of the forker, because impersonation makes the kernel forget the parent-death signal."""
        try:
            fd = os.pidfd_open(self.context.parent)
        except ProcessLookupError:
            self.loop.call_soon(lambda: self.stop("the forker has ended"))
            return
        if os.getppid() != self.context.parent:
            self.loop.call_soon(lambda: self.stop("the forker has ended"))
        self.loop.add_reader(fd, lambda: self._parent_ended(fd))

    def _parent_ended(self, fd: int) -> None:
        self.loop.remove(fd)
        os.close(fd)
        self.stop("the forker has ended")


def watch_signals(loop: Loop, handlers: dict[int, Callable[[], None]], ignored: tuple[int, ...]) -> None:
    """Call a handler in the loop when its signal comes, and ignore the signals `ignored`. Replaces earlier handlers."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    for number in handlers:
        signal.signal(number, lambda *_: None)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def arrived() -> None:
        try:
            numbers = reader.recv(256)
        except (BlockingIOError, InterruptedError):
            return
        for number in dict.fromkeys(numbers):
            if number in handlers:
                handlers[number]()

    loop.add_reader(reader.fileno(), arrived)
    _kept.append((reader, writer))


_kept: list[tuple[socket.socket, socket.socket]] = []
"""The sockets of `watch_signals`, kept open as long as the process."""
