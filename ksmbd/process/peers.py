# SPDX-License-Identifier: GPL-2.0-or-later
"""Passes messages between the workers, and between them and the forker (index 0).

Each process has an inbox, a pair of SOCK_SEQPACKET sockets that the forker makes before it forks: the process reads one
end, all others write the other. A message is one record, so messages of several writers do not mix. It names its sender
and the epoch of the receiver, so that a restarted worker drops what was meant for its predecessor. It may carry file
descriptors.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

from ksmbd import log
from ksmbd.conn.loop import Loop

MESSAGE_MAX: Final = 256 << 10
QUEUE_MAX: Final = 4096
"""Messages that are queued for a receiver that does not read."""
_BUFFER: Final = 4 << 20
_MAX_FDS: Final = 16
_ANCILLARY: Final = socket.CMSG_SPACE(_MAX_FDS * 4)
RETRY: Final = 0.005
"""Seconds until a message to a full inbox is tried again."""
_PER_TURN: Final = 64
_SO_SNDBUFFORCE: Final = 32

_HEADER: Final = struct.Struct("<HHQ")
"""sender, kind, the receiver's epoch."""


class Kind(IntEnum):
    """The kinds of messages."""

    READY = 1
    """Worker to forker: the worker is ready."""
    STOP = 2
    """Forker to worker: end in order."""
    WORKER_DIED = 3
    """Forker to workers: data is the dead worker's index and epoch, and whether the receiver is the one that cleans up
    after it (`DIED`)."""
    OPEN_TABLE = 4
    """Between the open tables of two workers."""
    SOCKET = 5
    """Hands over a connection: its descriptors; the data are the name of its transport and the bytes received."""
    CLEANED = 6
    """Worker to forker: it has cleaned up after a dead worker (`DIED`, as received)."""
    LEAVE_TERMINAL = 7
    """Forker to workers: the server has detached."""
    END_SESSION = 8
    """Worker to worker: end a session of the receiver, because its client has logged on here
    (ksmbd.process.previous_sessions)."""
    SESSION_ENDED = 9
    """The answer to END_SESSION."""
    LISTEN = 11
    """Forker to worker: accept from one more listener; data is the name of its transport."""
    UNLISTEN = 12
    """Forker to worker: close a listener (`INODE`)."""
    ACTIVE = 13
    """Worker to forker, which asked for it (ksmbd.process.shared.Attention): something has happened here."""
    CHANNEL = 10
    """Hands over a connection that asks for a binding to a session of the receiver: the name of its transport, the
    length of its negotiated state and that state, and the bytes received."""


INODE: Final = struct.Struct("<Q")
"""The inode of a listener, which is the same in all processes."""
DIED: Final = struct.Struct("<HQ?")
"""Index and epoch of the worker that died, and whether to clean up."""

OnMessage = Callable[[int, bytes, list[int]], None]
"""(sender, data, file descriptors, which are the callee's to close)."""


class Inboxes:
    """The inboxes of all processes, made by the forker and inherited by the workers."""

    def __init__(self, workers: int) -> None:
        self.readers: list[socket.socket] = []
        self.writers: list[socket.socket] = []
        for _ in range(workers + 1):
            writer, reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            try:
                writer.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
            except PermissionError:
                writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self.readers.append(reader)
            self.writers.append(writer)

    def descriptors(self, index: int) -> set[int]:
        """The descriptors that the process `index` needs: its own reading end and all writing ends."""
        return {self.readers[index].fileno(), *(writer.fileno() for writer in self.writers)}


class Peers:
    """The messages of one process: sends to others, and reads its inbox in the loop."""

    def __init__(self, loop: Loop, inboxes: Inboxes, own: int, epoch_of: Callable[[int], int]) -> None:
        self._loop = loop
        self._inboxes = inboxes
        self._own = own
        self._epoch_of = epoch_of
        self._waiting: dict[int, deque[tuple[bytes, list[int]]]] = {}
        self._handlers: dict[int, OnMessage] = {}
        loop.add_reader(inboxes.readers[own].fileno(), self._readable)

    def on(self, kind: Kind, handler: OnMessage) -> None:
        """Call `handler` for messages of this kind."""
        self._handlers[kind] = handler

    def deliver(self, worker: int, data: bytes, kind: Kind = Kind.OPEN_TABLE, fds: Sequence[int] = ()) -> bool:
        """Send a message to a worker (or the forker, 0). The caller keeps its descriptors. False: the receiver does not
        run, or too many messages wait for it. True does not mean that it was read: a worker may die before."""
        if len(data) > MESSAGE_MAX:
            raise ValueError(f"a message of {len(data)} bytes")
        epoch = self._epoch_of(worker)
        if not epoch:
            return False
        record = _HEADER.pack(self._own, kind, epoch) + data
        waiting = self._waiting.get(worker)
        if waiting is None:
            if self._send(worker, record, fds):
                return True
            waiting = self._waiting[worker] = deque()
            self._wait_writable(worker)
        elif len(waiting) >= QUEUE_MAX:
            return False
        waiting.append((record, [os.dup(fd) for fd in fds]))
        return True

    def broadcast(self, data: bytes, kind: Kind = Kind.OPEN_TABLE) -> None:
        """Send to all other workers."""
        for worker in range(1, len(self._inboxes.writers)):
            if worker != self._own:
                self.deliver(worker, data, kind)

    def forget(self, worker: int) -> None:
        """Drop the messages that wait for a dead worker."""
        waiting = self._waiting.pop(worker, None)
        if waiting is not None:
            self._loop.remove_writer(self._inboxes.writers[worker].fileno())
            for _, fds in waiting:
                _close(fds)

    def _send(self, worker: int, record: bytes, fds: Sequence[int]) -> bool:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._inboxes.writers[worker].sendmsg([record], ancillary)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return False  # the system is short of memory for it
        return True

    def _wait_writable(self, worker: int) -> None:
        self._loop.add_writer(self._inboxes.writers[worker].fileno(), lambda: self._writable(worker))

    def _retry(self, worker: int) -> None:
        if worker in self._waiting:
            self._wait_writable(worker)

    def _writable(self, worker: int) -> None:
        waiting = self._waiting[worker]
        writer = self._inboxes.writers[worker].fileno()
        while waiting:
            record, fds = waiting[0]
            if not self._send(worker, record, fds):
                # Reported writable, but without room for this message, or memory: trying again at once would spin.
                self._loop.remove_writer(writer)
                self._loop.call_later(RETRY, lambda: self._retry(worker))
                return
            waiting.popleft()
            _close(fds)
        del self._waiting[worker]
        self._loop.remove_writer(writer)

    def _readable(self) -> None:
        reader = self._inboxes.readers[self._own]
        for _ in range(_PER_TURN):
            try:
                data, ancillary, flags, _ = reader.recvmsg(
                    MESSAGE_MAX + _HEADER.size, _ANCILLARY, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return
            fds = _descriptors(ancillary)
            if len(data) < _HEADER.size or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                _close(fds)
                continue
            sender, kind, epoch = _HEADER.unpack_from(data)
            handler = self._handlers.get(kind)
            if epoch != self._epoch_of(self._own) or handler is None:
                _close(fds)  # meant for this worker's predecessor
                continue
            try:
                handler(sender, data[_HEADER.size :], fds)
            except Exception as error:  # noqa: BLE001 - one message must not keep the others from being read
                log.exception(f"unexpected {type(error).__name__} for a message of {sender}", error)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
