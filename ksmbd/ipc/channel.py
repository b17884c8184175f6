# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends and receives messages on one end of a pair of NETLINK_USERSOCK sockets, each connected to the other's port id.

Any process may send to such a socket while it is not connected. A connected socket takes messages from its peer's port
id only; the kernel refuses all others. mountd makes both ends before it starts the engine, and keeps its copy of the
engine's end open, so that no other process can get the port id while mountd runs. In addition, the sender's user
(SCM_CREDENTIALS, which the kernel fills in) and port id are checked on every message.

While the receiver's buffer is full, send() fails with EAGAIN (or ENOBUFS). The message then waits in `Channel` and is
sent later, in order. When too many messages wait, `send` raises Congested, and the caller refuses its request. No
message is lost without a log line.
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
from ksmbd.ipc.codec import Message, decode, encode
from ksmbd.smb.status import WireError

NETLINK_USERSOCK: Final = 2
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33
BUFFER_SIZE: Final = 4 << 20
"""Bytes of each socket's buffers. Without root, net.core.wmem_max and rmem_max limit them."""
MESSAGE_MAX: Final = 512 << 10
"""Bytes of the longest message that is received; longer ones are dropped with a log line."""
QUEUE_MAX: Final = 4096
"""Messages that may wait for a full receiver."""

_CREDENTIALS: Final = struct.Struct("=iII")
"""struct ucred: pid, uid, gid."""
_ANCILLARY_SIZE: Final = socket.CMSG_SPACE(_CREDENTIALS.size)


class PeerGone(Exception):
    """The other end is closed."""


class Congested(Exception):
    """The peer does not read, and QUEUE_MAX messages wait already."""


class Channel:
    """One end of the pair. It never blocks. All calls must come from one thread."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket = sock
        self._peer_port: int = sock.getpeername()[0]  # 0, the kernel's, for a socket that is not connected
        self._own_port: int = sock.getsockname()[0]
        self._queue: deque[bytes] = deque()
        self._sequence = 0
        self._buffer = bytearray(MESSAGE_MAX)
        self._users = {0, os.getuid()}
        self.dropped = 0
        """Number of messages that were dropped because they were malformed, too long or from another sender."""

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """Use an end that the parent process has passed on as `descriptor`. Raises OSError where it is no such socket
        or not connected."""
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK, fileno=descriptor)
        os.set_inheritable(descriptor, False)
        return cls(sock)

    def fileno(self) -> int:
        """The socket's descriptor, which is readable when a message has arrived."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def backlog(self) -> int:
        """Number of messages that wait. While it is not 0, the caller calls `flush` again soon."""
        return len(self._queue)

    def send(self, message: Message) -> None:
        """Send a message, or keep it for `flush`. Raises ValueError where it does not fit, Congested, PeerGone,
        OSError."""
        self._sequence += 1
        data = self._encode(message, self._sequence, self._own_port)
        if len(self._queue) >= QUEUE_MAX:
            raise Congested
        self._queue.append(data)
        self.flush()

    def flush(self) -> bool:
        """Send the waiting messages. Returns whether all are sent. Raises PeerGone, which drops them all; ValueError,
        OSError."""
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

    def receive(self, limit: int = 64) -> Iterator[Message]:
        """Iterate over received messages, at most `limit`, so that the caller can serve others. Bad messages are logged
        and left out. Raises OSError."""
        for _ in range(limit):
            if self._socket.fileno() < 0:
                return  # the caller has closed this channel because of the last message
            try:
                size, ancillary, flags, address = self._socket.recvmsg_into([self._buffer], _ANCILLARY_SIZE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    continue  # the kernel was short of memory; unicast messages wait at the sender, so none is lost
                raise
            problem = self._problem(ancillary, flags, address)
            if not problem:
                try:
                    message = self._decode(bytes(memoryview(self._buffer)[:size]))
                except (WireError, struct.error, ValueError) as error:
                    problem = f"malformed: {error}"
                else:
                    if message is not None:
                        yield message
                    continue
            self.dropped += 1
            log.peer(f"ipc: message of {size} bytes dropped: {problem}")

    def _encode(self, message: Message, sequence: int, port: int) -> bytes:
        """The bytes of a message. Raises ValueError."""
        return encode(message, sequence, port)

    def _decode(self, data: bytes) -> Message | None:
        """The message in these bytes; None: they are none, and were handled. Raises WireError."""
        return decode(data)

    def _problem(self, ancillary: list[tuple[int, int, bytes]], flags: int, address: tuple[int, int]) -> str:
        """Why a message must not be trusted, or ''."""
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
    """Make a connected pair: (mountd's end, the engine's end, which it inherits). Raises OSError."""
    ends = []
    try:
        for _ in range(2):
            end = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_USERSOCK)
            ends.append(end)
            end.bind((0, 0))
            enlarge(end)
        for end, other in (ends, reversed(ends)):
            end.connect((other.getsockname()[0], 0))
        ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        return Channel(ends[0]), ends[1]
    except OSError:
        for end in ends:
            end.close()
        raise


def enlarge(sock: socket.socket) -> None:
    """Give a socket buffers of BUFFER_SIZE, or what the system's limits allow."""
    for forced, limited in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_SIZE)
        except PermissionError:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, limited, BUFFER_SIZE)
