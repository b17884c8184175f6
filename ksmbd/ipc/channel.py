# SPDX-License-Identifier: GPL-2.0-or-later
"""One end of a pair of NETLINK_USERSOCK sockets, each connected to the other's port id.

Anybody may send to such a socket as long as it is not connected; a connected one takes messages from its peer's port
id alone, and the kernel refuses all others. mountd makes both ends before there is an engine and keeps its copy of
the engine's ends open, so that a port id never becomes free for somebody else while mountd runs. The sender's user
(SCM_CREDENTIALS, which the kernel fills in) and port id are checked on every message all the same.

A receiver that is full makes send() fail with EAGAIN (or ENOBUFS): the message waits in `Channel` and is sent later,
in order; where too many wait, `Congested` tells the caller, who refuses his request. Nothing is lost in silence.
"""
from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Final

from ksmbd import log
from ksmbd.ipc.codec import Parcel, decode, encode
from ksmbd.smb.status import WireError

NETLINK_USERSOCK: Final = 2
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33
BUFFER_SIZE: Final = 4 << 20
"""Of each socket, where the kernel allows it; net.core.wmem_max bounds it for who is not root."""
MESSAGE_MAX: Final = 512 << 10
"""The longest message received; longer ones are dropped with a line in the log."""
QUEUE_MAX: Final = 4096
"""Messages that wait for a receiver that is full."""

_CREDENTIALS: Final = struct.Struct("=iII")
"""struct ucred: pid, uid, gid."""
_ANCILLARY_SIZE: Final = socket.CMSG_SPACE(_CREDENTIALS.size)


class PeerGone(Exception):
    """Nobody holds the other end any more."""


class Congested(Exception):
    """The peer does not read: too many messages wait already."""


class Channel:
    """One end. Not blocking; all calls from one thread."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket = sock
        self._peer_port: int = sock.getpeername()[0]
        self._own_port: int = sock.getsockname()[0]
        self._queue: deque[bytes] = deque()
        self._sequence = 0
        self._buffer = bytearray(MESSAGE_MAX)
        self._users = {0, os.getuid()}
        self.dropped = 0
        """Messages that were malformed, too long or from somebody else."""

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """An end that the parent passed on. OSError: not such a socket, or not connected."""
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK, fileno=descriptor)
        os.set_inheritable(descriptor, False)
        return cls(sock)

    def fileno(self) -> int:
        """The socket, to be watched for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the end up."""
        self._socket.close()

    @property
    def backlog(self) -> int:
        """Messages that wait; `flush` again soon where it is not 0."""
        return len(self._queue)

    def send(self, parcel: Parcel) -> None:
        """Send, or keep it for `flush`. ValueError: does not fit a message; Congested; PeerGone."""
        self._sequence += 1
        data = encode(parcel, self._sequence, self._own_port)
        if len(self._queue) >= QUEUE_MAX:
            raise Congested
        self._queue.append(data)
        self.flush()

    def flush(self) -> bool:
        """Send what waits; whether all is out. PeerGone: nobody is there, and what waited is dropped."""
        while self._queue:
            try:
                self._socket.send(self._queue[0])
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return False
                if error.errno in (errno.ECONNREFUSED, errno.ENOTCONN, errno.EPIPE):
                    self._queue.clear()
                    raise PeerGone from None
                dropped = self._queue.popleft()
                log.error(f"ipc: a message of {len(dropped)} bytes cannot be sent: {error.strerror}")
                if error.errno == errno.EMSGSIZE:
                    raise ValueError(f"a message of {len(dropped)} bytes is too long for the socket") from None
                raise
            self._queue.popleft()
        return True

    def receive(self, limit: int = 64) -> Iterator[Parcel]:
        """What has come, at most `limit` messages so that others get their turn. Bad ones are logged and left out."""
        for _ in range(limit):
            if self._socket.fileno() < 0:
                return  # what has just come made its reader close us
            try:
                size, ancillary, flags, address = self._socket.recvmsg_into([self._buffer], _ANCILLARY_SIZE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    continue  # the kernel's note that it was short of memory once; unicast messages wait at the sender
                raise
            problem = self._problem(ancillary, flags, address)
            if not problem:
                try:
                    parcel = decode(bytes(memoryview(self._buffer)[:size]))
                except (WireError, struct.error, ValueError) as error:
                    problem = f"malformed: {error}"
                else:
                    yield parcel
                    continue
            self.dropped += 1
            log.peer(f"ipc: message of {size} bytes dropped: {problem}")

    def _problem(self, ancillary: list[tuple[int, int, bytes]], flags: int, address: tuple[int, int]) -> str:
        """Why a message is not to be trusted, or ''."""
        if address[0] != self._peer_port:
            return f"from port id {address[0]} and not from the peer"
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            return "too long"
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) == _CREDENTIALS.size:
                _, uid, _ = _CREDENTIALS.unpack(data)  # from the kernel, not from the peer
                return "" if uid in self._users else f"from user {uid}"
        return "without credentials"


def make_pair() -> tuple[Channel, socket.socket]:
    """Both ends, connected: mountd's, and the engine's to be inherited. OSError where the kernel refuses."""
    ends = []
    try:
        for _ in range(2):
            end = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_USERSOCK)
            ends.append(end)
            end.bind((0, 0))
            _enlarge(end)
        for end, other in (ends, reversed(ends)):
            end.connect((other.getsockname()[0], 0))
        ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        return Channel(ends[0]), ends[1]
    except OSError:
        for end in ends:
            end.close()
        raise


def _enlarge(sock: socket.socket) -> None:
    for forced, limited in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_SIZE)
        except PermissionError:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, limited, BUFFER_SIZE)
