# SPDX-License-Identifier: GPL-2.0-or-later
"""One direction of a TCP connection: segments in any order -> frames behind their 4-byte lengths (MS-SMB2 2.1).

Only the beginning of a long frame is kept, so that a copy at full speed can be followed. What is missing or cannot be
understood is counted, and the stream goes on with the next frame that begins a segment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ksmbd.smb.header import (
    COMPRESSION_PROTOCOL_ID,
    SMB1_PROTOCOL_ID,
    SMB2_PROTOCOL_ID,
    TRANSFORM_PROTOCOL_ID,
)

WHOLE: Final = 64 << 10
"""Frames of at most so many bytes are kept whole."""
BEGINNING: Final = 4 << 10
"""What is kept of longer ones: all that a line tells of is in it."""
WAITING_MAX: Final = 8 << 20
"""Bytes that wait for an earlier segment, after which it counts as lost."""
_MAGICS: Final = (SMB2_PROTOCOL_ID, TRANSFORM_PROTOCOL_ID, COMPRESSION_PROTOCOL_ID, SMB1_PROTOCOL_ID)
_WRAP: Final = 1 << 32


class Frame(NamedTuple):
    """A frame, or its beginning."""

    size: int
    """Its length as announced."""
    data: bytes
    """At most `size` bytes."""
    begun: int
    """When its first byte came, ns."""
    ended: int
    """When its last byte came, ns."""


class Stream:
    """Reassembles one direction. `on_frame` gets each Frame."""

    def __init__(self, on_frame: Callable[[Frame], None]) -> None:
        self._on_frame = on_frame
        self._next: int | None = None
        """The sequence number that is expected; None before the first segment."""
        self._waiting: dict[int, tuple[int, bytes, int]] = {}
        """Sequence number -> (size, data, ns) of segments that came too early."""
        self._waiting_size = 0
        self._kept = bytearray()
        self._wanted = 0
        """Bytes of the frame to keep; 0 while its length is not known."""
        self._size = 0
        self._left = 0
        """Bytes of the frame that are still to come."""
        self._begun = 0
        self._synchronized = False
        self.gaps = 0
        """How often bytes were missing."""
        self.lost = 0
        """The bytes that were missing."""
        self.again = 0
        """Segments that came twice."""
        self.reordered = 0
        """Segments that came too early."""

    def start(self, sequence: int) -> None:
        """A SYN with this sequence number: what comes is the beginning of a frame."""
        self._next = (sequence + 1) % _WRAP
        self._waiting.clear()
        self._waiting_size = 0
        self._forget()
        self._synchronized = True

    def take(self, sequence: int, size: int, data: memoryview, ns: int) -> None:
        """Take a segment with data. `data` may be shorter than `size` and is valid during the call alone."""
        if self._next is None:
            self._next = sequence
        ahead = (sequence - self._next) % _WRAP
        if ahead >= _WRAP >> 1:  # old data, wholly or in part
            behind = _WRAP - ahead
            self.again += 1
            if behind >= size:
                return
            data, size, ahead = data[behind:], size - behind, 0
        if ahead:
            self._wait(sequence, size, data, ns)
            return
        self._feed(size, data, ns)
        if self._waiting:
            self._catch_up()

    def _wait(self, sequence: int, size: int, data: memoryview, ns: int) -> None:
        self.reordered += 1
        known = self._waiting.get(sequence)
        if known is None or known[0] < size:
            self._waiting[sequence] = size, bytes(data), ns
            self._waiting_size += size - (known[0] if known is not None else 0)
        if self._waiting_size > WAITING_MAX:
            self.finish()

    def finish(self) -> None:
        """Go on with what waits, although something before it is missing: it will not come any more."""
        while self._waiting:
            assert self._next is not None
            first = min(self._waiting, key=lambda sequence: (sequence - self._next) % _WRAP)  # type: ignore[operator]
            self._gap((first - self._next) % _WRAP)
            self._catch_up()

    def _catch_up(self) -> None:
        while self._waiting:
            assert self._next is not None
            for sequence in list(self._waiting):
                ahead = (sequence - self._next) % _WRAP
                if ahead and ahead < _WRAP >> 1:
                    continue
                size, data, ns = self._waiting.pop(sequence)
                self._waiting_size -= size
                behind = (self._next - sequence) % _WRAP
                if behind < size:
                    self._feed(size - behind, memoryview(data)[behind:], ns)
                break
            else:
                return

    def _gap(self, size: int) -> None:
        """`size` bytes are missing. In the part of a frame that is not kept they do no harm."""
        assert self._next is not None
        self._next = (self._next + size) % _WRAP
        self.gaps += 1
        self.lost += size
        unkept = self._left - max(self._wanted - len(self._kept), 0)
        if self._wanted and len(self._kept) >= self._wanted and size < unkept:
            self._left -= size
        else:
            self._forget()

    def _forget(self) -> None:
        self._kept.clear()
        self._wanted = self._size = self._left = 0
        self._synchronized = False

    def _feed(self, size: int, data: memoryview, ns: int) -> None:
        """Take the next bytes of the stream; those behind `data` were cut off by the capture."""
        assert self._next is not None
        self._next = (self._next + size) % _WRAP
        if not self._synchronized:
            if not begins_frame(data):
                return
            self._synchronized = True
        at = 0
        while at < size:
            if not self._wanted:
                at += self._take_length(data[at:], size - at, ns)
                if not self._synchronized:
                    return
                continue
            lacking = self._wanted - len(self._kept)
            part = min(self._left, size - at)
            if lacking > 0:
                kept = data[at : at + min(lacking, part)]
                self._kept += kept
                if len(kept) < min(lacking, part):
                    self._wanted = len(self._kept) or 1  # cut off: this is all there will be
            self._left -= part
            at += part
            if not self._left:
                self._end(ns)

    def _take_length(self, data: memoryview, size: int, ns: int) -> int:
        """Take bytes of the length, and return how many."""
        if not self._kept:
            self._begun = ns
        part = min(4 - len(self._kept), size)
        self._kept += data[:part]
        if len(data) < part or self._kept[0]:  # cut off, or no session message (RFC 1002 4.3.1)
            keep_alive = len(data) >= part and self._kept[0] == 0x85
            if not keep_alive or len(self._kept) < 4:
                self._forget()
                return part
        if len(self._kept) == 4:
            length = int.from_bytes(self._kept[1:4], "big")
            self._kept.clear()
            if length:
                self._size = self._left = length
                self._wanted = length if length <= WHOLE else BEGINNING
        return part

    def _end(self, ns: int) -> None:
        frame = Frame(self._size, bytes(self._kept), self._begun, ns)
        self._kept.clear()
        self._wanted = self._size = 0
        self._on_frame(frame)


def begins_frame(data: memoryview) -> bool:
    """Whether a segment begins with a frame: the length, then the magic of a message."""
    return len(data) >= 8 and data[0] == 0 and bytes(data[4:8]) in _MAGICS
