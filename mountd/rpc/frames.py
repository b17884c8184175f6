# SPDX-License-Identifier: GPL-2.0-or-later
"""The frames between mountd and the process of the RPC services, over a socket pair.

A request has a kind, a pipe's number and a payload; an answer a status, the pipe's number and a payload. The daemon
takes an answer as it takes a client's bytes: its length is bounded, and nothing in it is interpreted but its status.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.smb.reader import Buffer

_REQUEST: Final = Struct("=IHHQ")
"""Length of the payload, kind, argument, pipe."""
_ANSWER: Final = Struct("=IHHQ")
"""Length of the payload, status, nothing, pipe."""
HEADER_SIZE: Final = _REQUEST.size
ANSWER_MAX: Final = 32 << 10
"""Bytes of an answer: what one message to the engine carries (ksmbd.ipc.messages.RPC_CHUNK; a test compares them)."""

READY: Final = 3
"""The status of the first answer of every process that mountd asks over such frames: it serves."""


class Kind(IntEnum):
    """The kind of a request."""

    FACTS = 1
    """The payload has the new facts of a level. No answer."""
    OPEN = 2
    """Open a pipe: the argument is its caller's level, the payload its name, and after a NUL each the caller's account
    and the keys of the shares that this caller is not shown. No answer."""
    CLOSE = 3
    """Close a pipe. No answer."""
    WRITE = 4
    """Write the payload, which a client has sent, to a pipe."""
    READ = 5
    """Read at most as many bytes as the argument says."""
    TRANSCEIVE = 6
    """WRITE, then READ."""
    FOUND = 7
    """The answers to a pipe's questions (mountd/rpc/names.py); the request that led to them goes on."""


class Status(IntEnum):
    """The status of an answer."""

    DONE = 0
    MORE = 1
    """Success, and the message has more data."""
    BROKEN = 2
    """The association has ended; the pipe gives no more data."""
    QUESTION = 4
    """The request needs names: the payload has the questions. It is answered after FOUND."""
    READY = READY
    """Before all others, for pipe 0: the process serves. The payload is a line for each right that it could not give
    up."""


ASKING: Final = (Kind.WRITE, Kind.READ, Kind.TRANSCEIVE, Kind.FOUND)
"""Those that are answered."""


class Request(NamedTuple):
    """From the daemon."""

    kind: int
    argument: int
    pipe: int
    payload: bytes

    def encode(self) -> bytes:
        """For the stream."""
        return _REQUEST.pack(len(self.payload), self.kind, self.argument, self.pipe) + self.payload


class Answer(NamedTuple):
    """To the daemon."""

    status: int
    pipe: int
    payload: bytes

    def encode(self) -> bytes:
        """For the stream."""
        return _ANSWER.pack(len(self.payload), self.status, 0, self.pipe) + self.payload


class BadAnswer(Exception):
    """The received bytes are no valid answer."""


class _Splitter:
    """Cuts a stream of bytes into frames."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._data = bytearray()

    def frames(self, data: Buffer) -> Iterator[tuple[int, int, int, bytes]]:
        self._data += data
        position = 0
        while len(self._data) - position >= HEADER_SIZE:
            length, first, second, pipe = _REQUEST.unpack_from(self._data, position)
            if length > self._longest:
                raise BadAnswer(f"{length} bytes")
            end = position + HEADER_SIZE + length
            if end > len(self._data):
                break
            yield first, second, pipe, bytes(self._data[position + HEADER_SIZE : end])
            position = end
        del self._data[:position]


class Requests(_Splitter):
    """The services' side of the stream."""

    def __init__(self) -> None:
        super().__init__(0xFFFFFFFF)

    def take(self, data: Buffer) -> Iterator[Request]:
        """The complete requests received so far."""
        for kind, argument, pipe, payload in self.frames(data):
            yield Request(kind, argument, pipe, payload)


class Answers(_Splitter):
    """The daemon's side of the stream."""

    def __init__(self, longest: int = ANSWER_MAX) -> None:
        super().__init__(longest)

    def take(self, data: Buffer) -> Iterator[Answer]:
        """The answers that are whole now. BadAnswer: the other side speaks something else; nothing more is read."""
        for status, _, pipe, payload in self.frames(data):
            yield Answer(status, pipe, payload)
