# SPDX-License-Identifier: GPL-2.0-or-later
"""Transport, the port of the conn room: frames that leave, and what has arrived of them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ksmbd.smb.ports.files import File
from ksmbd.smb.waiting import Future


@dataclass(slots=True)
class FileSpan:
    """A part of a file that follows a frame's bytes, sent from the page cache (zero copy)."""

    file: File
    offset: int
    length: int
    splice: bool = False
    """Through a pipe, not with sendfile."""


class Frame(NamedTuple):
    """One frame to send: the bytes (NBSS length included), then the span, if any."""

    data: memoryview | bytearray | bytes
    span: FileSpan | None = None


class Transport(Protocol):
    """The connection's other side (conn). The core appends frames; conn sends all that is ready in one call."""

    def send(self, frame: Frame) -> None: ...
    def close(self, reason: str) -> None:
        """End the connection once what was sent before is out."""
        ...

    def room(self) -> Future[None] | None:
        """None: the client has read what was sent to it, but for some MiB. Else complete once it has, for one reply:
        the waiter asks again."""
        ...

    def delivery_mark(self) -> int:
        """The place in the stream behind all that was sent so far, for `delivered`."""
        ...

    def delivery_seconds(self) -> float:
        """The time in which a reachable client confirms what is sent now."""
        ...

    def confirmed(self) -> int:
        """How much of the stream the client's machine has confirmed: grows while the client is there."""
        ...

    def delivered(self, mark: int) -> bool:
        """Whether the client's machine confirmed all bytes before `mark`; False too once the connection is closed."""
        ...

    @property
    def peer(self) -> str:
        """The client's address, as text."""
        ...

    @property
    def local(self) -> str:
        """The server's address, as text."""
        ...
