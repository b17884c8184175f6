# SPDX-License-Identifier: GPL-2.0-or-later
"""What a transport provides (MS-SMB2 2.1), and what it may ask of the protocol above it.

A transport is a `Provider`: the forker has it listen, a worker has it accept connections and take over those of other
workers, and all else reaches a connection through `Connected`. It carries messages whole and in order, keeps the rules
of back-pressure (ksmbd.conn.back_pressure) and ends a connection only once the protocol was told. Nothing outside its
folder knows more of it than this.
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
    """The engine cannot start; the text says why, for the administrator."""


# ------------------------------------------------------------------------------------------ the protocol, from below


class Incoming(Protocol):
    """A request whose data goes straight to a file (ksmbd.smb.write.IncomingWrite)."""

    left: int
    """Bytes that are still to come."""
    method: Transfer

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
    def offloaded_bytes(self) -> int:
        """Bytes of replies that are being signed or encrypted by other threads, and will be sent."""
        ...

    def receive(self, frame: bytearray) -> None:
        """One whole frame, without its length. The buffer is the core's to keep and to change."""
        ...

    def receive_batch(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
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


# ------------------------------------------------------------------------------------------------- one connection


class Connected(Transport, Protocol):
    """A connection as the worker has it. The protocol itself needs only the `Transport` of ksmbd.smb.ports.

    A frame that is to be sent has one message or several, each behind its 4-byte length (MS-SMB2 2.1): a transport
    that keeps the bounds of messages itself cuts it there."""

    provider: str
    """The name of its `Provider`."""
    core: Core
    """Receives what comes; may be replaced while it is given a frame."""
    sessionless_since: float
    """When it was last seen with a session, or began; monotonic seconds, as the next two."""

    @property
    def last_received(self) -> float:
        """When something last came from the client."""
        ...

    @property
    def last_progress(self) -> float:
        """When the client last took something of what waits for it."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the client to read."""
        ...

    @property
    def logged_on(self) -> bool:
        """Whether there is a session on this connection."""
        ...

    def abort(self, reason: str) -> None:
        """End the connection now; what waits for the client is dropped."""
        ...

    def end(self, reason: str) -> None:
        """`abort`, and be gone when this returns. Not inside a call of the core's."""
        ...

    def when_closed(self, call: Callable[[], None]) -> None:
        """Call it once the connection is closed or given away."""
        ...

    def unread(self, frame: bytearray) -> bytes:
        """The frame that the core is being given, and all that came behind it, for the worker that takes over."""
        ...

    def descriptors(self) -> list[int]:
        """What another worker needs to go on with this connection; none: it cannot be handed over."""
        ...

    def give_away(self) -> None:
        """Another worker has the descriptors: release the connection without ending it. The core is not told."""
        ...


class Arrival(Protocol):
    """A connection that is there and that nobody serves yet: just accepted, or handed over by another worker."""

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
        """Begin. `received`: what another worker's `Connected.unread` gave."""
        ...

    def refuse(self) -> None:
        """Close it at once: the client learns it now, instead of waiting in a backlog."""
        ...


# ------------------------------------------------------------------------------------------------------- listening


class Listener(Protocol):
    """One place where one worker's clients come in. The forker makes it, and a worker inherits it or is sent its
    descriptor, whose inode is its own."""

    provider: str
    """The name of its `Provider`."""

    def fileno(self) -> int:
        """Readable when a client waits."""
        ...

    def accept(self) -> Arrival:
        """The next client. Raises BlockingIOError where none waits, OSError."""
        ...

    def close(self) -> None:
        """No client comes in here any more, in this process."""
        ...


class Group(Protocol):
    """The listeners of one address, one a worker."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """In the workers' order."""
        ...

    @property
    def steered(self) -> Sequence[socket.socket]:
        """Those that a BPF program can choose from (SO_REUSEPORT), in the workers' order; none: the transport spreads
        its clients itself."""
        ...

    def open_another(self) -> socket.socket:
        """One more socket like those of `steered`, for a BPF program to know the group by. Raises OSError."""
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
        """Look at the machine's interfaces again: the groups that are new, and those that are gone, which the caller
        closes. Never raises."""
        ...


class Provider(Protocol):
    """One transport. Stateless: the forker makes it before it forks, and all workers use it."""

    name: str
    """At most 8 ASCII characters, unlike any other's."""

    def listen(self, workers: int) -> Listening:
        """Where the configuration says, for so many workers. Raises StartError."""
        ...

    def listener(self, fd: int) -> Listener:
        """A listener that the forker sent; the descriptor is the listener's from now on."""
        ...

    def arrival(self, fds: Sequence[int]) -> Arrival:
        """A connection that another worker handed over; the descriptors are the arrival's from now on."""
        ...


class NotCounted:
    """`Counters` of nobody."""

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
