# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface between transports (MS-SMB2 2.1), the worker and the protocol.

A transport is a `Provider`. With it the forker listens, and a worker accepts connections and takes over those of other
workers; everything else reaches a connection through `Connected`. A transport delivers messages whole and in order,
obeys back-pressure (ksmbd.conn.back_pressure), and closes a connection only after it has told the protocol. No module
outside its folder knows more about it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from ksmbd.conn.loop import Loop
from ksmbd.conn.scratch import Scratch
from ksmbd.smb.data_paths import Transfer
from ksmbd.smb.ports.transport import Transport


class StartError(Exception):
    """The engine cannot start; the text tells the administrator why."""


# ------------------------------------------------------------------------------------------ the protocol, from below


class Incoming(Protocol):
    """A WRITE whose data goes straight to a file (ksmbd.smb.write.IncomingWrite)."""

    left: int
    """Bytes that are still to be received."""
    method: Transfer

    def take(self, data: memoryview) -> None:
        """Write bytes that are in memory."""
        ...

    def take_pipe(self, pipe: int, count: int) -> bool:
        """Write the next `count` bytes, which are in this pipe. False: some of them are left in the pipe."""
        ...

    def finish(self) -> None:
        """Send the reply, after all data has been received."""
        ...


class Core(Protocol):
    """The protocol's connection, as a transport calls it (ksmbd.smb.connection.ServerConnection)."""

    max_frame: int
    """The longest message in bytes that is accepted now: small before there is a session, then as negotiated."""

    @property
    def session_count(self) -> int:
        """Sessions that are established on this connection."""
        ...

    @property
    def open_count(self) -> int:
        """The opens of those sessions."""
        ...

    @property
    def offloaded_bytes(self) -> int:
        """Bytes of replies that helper threads are signing or encrypting, and that will be sent."""
        ...

    def receive(self, frame: bytearray) -> None:
        """Handle one whole message, without its 4-byte length. The core may keep and change the buffer. Never raises
        for what the peer sent."""
        ...

    def receive_batch(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
        """Handle messages of view[position:end], each behind its 4-byte length, from the front on, as many as the core
        wants and at most `limit`. Returns (position of the rest, number handled). The memory stays the transport's."""
        ...

    @property
    def write_from(self) -> int:
        """Length in bytes from which a message that is not complete is offered to `begin_write`."""
        ...

    def begin_write(self, head: memoryview, length: int) -> Incoming | None:
        """Offer a message of `length` bytes of which `head` is received. None: the core wants it whole, through
        `receive`."""
        ...

    def disconnected(self, reason: str) -> None:
        """The connection has ended; nothing can be sent any more. Called once."""
        ...


class Counters(Protocol):
    """What a worker counts of its connections (ksmbd.process.shared)."""

    def count(self, requests: int, received: int, sent: int) -> None:
        """Add handled requests, and bytes received and sent."""
        ...

    def connected(self) -> None:
        """One more connection."""
        ...

    def disconnected(self) -> None:
        """One connection ended."""
        ...

    def refused(self) -> None:
        """One connection refused."""
        ...

    def queue_empty(self) -> None:
        """All waiting connections have been accepted."""
        ...


# ------------------------------------------------------------------------------------------------- one connection


class Connected(Transport, Protocol):
    """A connection of a client, as the worker sees it. The protocol itself uses only the `Transport` of
    ksmbd.smb.ports.

    A frame to send holds one message or several, each behind its 4-byte length (MS-SMB2 2.1). A transport that
    preserves message boundaries itself splits the frame there."""

    provider: str
    """The name of its `Provider`."""
    core: Core
    """Receives the messages; it may be replaced while it handles one."""
    sessionless_since: float
    """When it last had a session, or began; seconds of the monotonic clock, as the next two."""

    @property
    def last_received(self) -> float:
        """When bytes were last received from the client."""
        ...

    @property
    def last_progress(self) -> float:
        """When the client last took some of the bytes that wait for it."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Bytes of replies that the client has not taken yet."""
        ...

    @property
    def logged_on(self) -> bool:
        """Whether there is a session on this connection."""
        ...

    def abort(self, reason: str) -> None:
        """End the connection now, and drop what waits for the client."""
        ...

    def end(self, reason: str) -> None:
        """`abort`, and have closed the connection on return. Not to be called inside a call of the core."""
        ...

    def when_closed(self, call: Callable[[], None]) -> None:
        """Call `call` when the connection is closed or handed over."""
        ...

    def unread(self, frame: bytearray) -> bytes:
        """The message that the core is handling, and all bytes received behind it, for the worker that takes over."""
        ...

    def descriptors(self) -> list[int]:
        """The descriptors that another worker needs to continue this connection; none: it cannot be handed over."""
        ...

    def give_away(self) -> None:
        """Release the connection without ending it, because another worker has the descriptors. The core is not
        told."""
        ...


class Arrival(Protocol):
    """A connection that nobody serves yet: just accepted, or handed over by another worker."""

    @property
    def peer(self) -> str:
        """The client's address, as text."""
        ...

    def serve(
        self,
        loop: Loop,
        scratch: Scratch,
        make_core: Callable[[Connected], Core],
        counters: Counters,
        on_closed: Callable[[Connected], None],
        received: bytes,
    ) -> Connected:
        """Begin to serve it. `received`: the bytes that `Connected.unread` of another worker returned."""
        ...

    def refuse(self) -> None:
        """Close it at once, so that the client need not wait in a backlog."""
        ...


# ------------------------------------------------------------------------------------------------------- listening


class Listener(Protocol):
    """A listening endpoint of one worker. The forker makes it. A worker inherits it or receives its descriptor, whose
    inode identifies it."""

    provider: str
    """The name of its `Provider`."""

    def fileno(self) -> int:
        """The descriptor, readable when a client waits."""
        ...

    def accept(self) -> Arrival:
        """Accept the next client. Raises BlockingIOError where none waits, else OSError."""
        ...

    def close(self) -> None:
        """Close it in this process."""
        ...


class Group(Protocol):
    """The listeners of one address, one for each worker."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """In the workers' order."""
        ...

    @property
    def steered(self) -> Sequence[socket.socket]:
        """The sockets among which a BPF program can choose (SO_REUSEPORT), in the order of the workers; none: the
        transport distributes its clients itself."""
        ...

    def open_another(self) -> socket.socket:
        """Open one more socket in the same SO_REUSEPORT group, as the key of the group for a BPF program. Raises
        OSError."""
        ...

    def text(self) -> str:
        """The address, for the administrator."""
        ...

    def close(self) -> None:
        """Close them all."""
        ...


class Listening(Protocol):
    """All groups of one transport, in the forker."""

    @property
    def groups(self) -> Sequence[Group]:
        """In the order in which they were opened."""
        ...

    def update(self) -> tuple[Sequence[Group], Sequence[Group]]:
        """Follow changes of the network interfaces: returns the new groups and those that are gone, which the caller
        closes. Never raises."""
        ...


class Provider(Protocol):
    """One transport. It has no state: the forker makes it before it forks, and all workers use it."""

    name: str
    """The name of the transport: at most 8 ASCII characters, unique."""

    def listen(self, workers: int) -> Listening:
        """Listen where the configuration says, for so many workers. Raises StartError."""
        ...

    def listener(self, fd: int) -> Listener:
        """The listener for a descriptor that the forker sent, which it then owns."""
        ...

    def arrival(self, fds: Sequence[int]) -> Arrival:
        """The connection for descriptors that another worker handed over, which it then owns."""
        ...


class NotCounted:
    """Counters that count nothing."""

    def count(self, requests: int, received: int, sent: int) -> None:
        """See Counters."""

    def connected(self) -> None:
        """See Counters."""

    def disconnected(self) -> None:
        """See Counters."""

    def refused(self) -> None:
        """See Counters."""

    def queue_empty(self) -> None:
        """See Counters."""
