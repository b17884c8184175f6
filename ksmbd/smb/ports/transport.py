# SPDX-License-Identifier: GPL-2.0-or-later
"""Transport, the port implemented by ksmbd/conn: sends frames of one connection and tells what the client has
received."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ksmbd.smb.ports.files import File
from ksmbd.smb.waiting import Future


@dataclass(slots=True, init=False)
class FileSpan:
    """A part of a file that is sent behind a frame, from the page cache (zero copy)."""

    file: File
    offset: int
    length: int
    splice: bool = False
    """Use splice through a pipe instead of sendfile."""

    def __init__(self, file: File, offset: int, length: int, splice: bool = False) -> None:
        self.file = file
        self.offset = offset
        self.length = length
        self.splice = splice


class Frame(NamedTuple):
    """A frame to send: the bytes, 4-byte lengths included, then the span, if there is one."""

    data: memoryview | bytearray | bytes
    span: FileSpan | None = None


class Transport(Protocol):
    """The transport of one connection. It queues frames and sends all that are ready with one system call."""

    def send(self, frame: Frame) -> None:
        """Queue a frame; dropped after `close`."""
        ...

    def close(self, reason: str) -> None:
        """End the connection after the frames that are queued have been sent."""
        ...

    def room(self) -> Future[None] | None:
        """Whether a further reply may be queued. None: yes, the client has read all but some MiB. Else a Future that
        completes when it has; the waiter then calls again."""
        ...

    def delivery_mark(self) -> int:
        """The position in the stream behind everything sent so far, for `delivered`."""
        ...

    def delivery_seconds(self) -> float:
        """Seconds within which a reachable client confirms what is sent now."""
        ...

    def confirmed(self) -> int:
        """Bytes of the stream that the client's machine has confirmed; it grows while the client is reachable."""
        ...

    def delivered(self, mark: int) -> bool:
        """Whether the client's machine has confirmed all bytes before `mark`; False once the connection is closed."""
        ...

    @property
    def peer(self) -> str:
        """The client's address, as text."""
        ...

    @property
    def local(self) -> str:
        """The server's address, as text."""
        ...
