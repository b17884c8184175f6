# SPDX-License-Identifier: GPL-2.0-or-later
"""Splits a TCP stream into frames: the transport packet of MS-SMB2 2.1 (a zero byte and a 24-bit length), and the
packets of NetBIOS.

`Receiver` owns no socket. It says where the next bytes go (`target`), is told how many were received (`advance`), and
returns whole frames (`next`), each in its own buffer. Small frames are copied out of a scratch buffer that all
connections of a loop share. An incomplete frame longer than `KEEP` gets its own buffer, and the rest is received into
it. The announced length alone allocates no memory: before there is a session, and for the longest frames, the buffer
grows with the bytes received, to at most twice their number (`first_size`). So no byte is copied more than a few times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ksmbd import limits
from ksmbd.conn.scratch import Scratch
from ksmbd.smb import frames

HEADER: Final = 4

# RFC 1002 4.3.1; over port 445 only SESSION MESSAGE has a meaning (MS-SMB2 2.1).
SESSION_MESSAGE: Final = 0x00
SESSION_REQUEST: Final = 0x81
POSITIVE_SESSION_RESPONSE: Final = b"\x82\x00\x00\x00"
SESSION_KEEP_ALIVE: Final = 0x85

MAX_SESSION_REQUEST: Final = limits.NETBIOS_SESSION_REQUEST.value
"""Two encoded names of 34 bytes, with scope identifiers at most 255 bytes each (RFC 1002 4.1)."""

SMB1_PROTOCOL_BYTE: Final = 0xFF
MIN_SMB1: Final = 35
"""SMB_Header, WordCount and ByteCount (MS-CIFS 2.2.3): the multi-protocol NEGOTIATE."""
MIN_SMB2: Final = 64
"""The shortest SMB2 message: a header (MS-SMB2 2.2.1). A transform header is shorter, but its content is not."""

KEEP: Final = 4096
"""An incomplete frame of at most this many bytes is moved to the front of the scratch buffer with each receive."""

BEFORE_LOGON: Final = limits.FRAME_BEFORE_LOGON.value


def first_size(length: int, have: int, limit: int) -> int:
    """Bytes to allocate for a frame of `length` bytes of which `have` are received; `limit` is the longest accepted
    frame."""
    return min(length, max(2 * have, 2 * KEEP if limit <= BEFORE_LOGON else frames.MOST))


class FramingError(Exception):
    """The stream has no valid frame here, so nothing behind it can be understood: the connection ends."""


class Receiver:
    """The receiving side of one stream.

    The order of calls: `target`, receive into it, `advance`, `next` until None, then `park`. A caller that stops before
    None (because the peer reads too slowly, or others must be served) calls `park`, too; `next` then continues with
    what was parked.
    """

    __slots__ = (
        "_end", "_first", "_large", "_large_have", "_large_size", "_limit", "_on_session_request", "_parked",
        "_position", "_scratch", "_view",
    )  # fmt: skip

    def __init__(self, scratch: Scratch, on_session_request: Callable[[], None]) -> None:
        self._scratch = scratch
        self._on_session_request = on_session_request
        self._view: memoryview = scratch.view
        self._position = 0
        self._end = 0
        self._parked = bytearray()
        self._large: bytearray | None = None
        self._large_have = 0
        self._large_size = 0
        """The length of the frame; `_large` may still be shorter."""
        self._limit = 0
        """The last `limit` of `next`."""
        self._first = True

    @property
    def buffered(self) -> int:
        """Bytes held for this connection."""
        return len(self._parked) + (len(self._large) if self._large is not None else 0)

    @property
    def missing(self) -> int:
        """Bytes to come of the large frame that is being received; 0 if there is none."""
        return self._large_size - self._large_have if self._large is not None else 0

    @property
    def parked(self) -> bool:
        """Whether `next` may return a frame without receiving first."""
        return len(self._parked) >= HEADER

    def target(self) -> memoryview:
        """The memory to receive into. Only when `next` has returned None."""
        large = self._large
        if large is not None:
            if self._large_have == len(large):
                self._large = large = frames.grown(large, min(self._large_size, 2 * len(large)))
            return memoryview(large)[self._large_have :]
        view = self._scratch.view
        kept = len(self._parked)
        if kept:
            view[:kept] = self._parked
            self._parked = bytearray()
        self._view = view
        self._position = 0
        self._end = kept
        return view[kept:] if kept else view

    def preload(self, data: bytes) -> None:
        """Begin with bytes that the worker received which handed over the connection."""
        self._parked = bytearray(data)

    def unread(self, frame: bytearray) -> bytes:
        """`frame`, which `next` has just returned, and all bytes behind it as received, for `preload` in another
        worker."""
        rest = bytes(self._view[self._position : self._end]) if self._large is None else b""
        return len(frame).to_bytes(HEADER, "big") + bytes(frame) + rest

    def advance(self, count: int) -> None:
        """`count` bytes were received into `target`."""
        if self._large is not None:
            self._large_have += count
        else:
            self._end += count

    def next(self, limit: int) -> bytearray | None:
        """The next whole frame without its length, in a buffer that the caller may keep and change. None: more bytes
        are needed. `limit` is the longest accepted frame. Raises FramingError."""
        self._limit = limit
        large = self._large
        if large is not None:
            if self._large_have < self._large_size:
                return None
            self._large = None
            self._check_start(large[0], len(large))
            return large
        if self._parked:
            self._unpark()
        view = self._view
        while True:
            position = self._position
            available = self._end - position - HEADER
            if available < 0:
                return None
            kind = view[position]
            length = int.from_bytes(view[position + 1 : position + HEADER], "big")
            if kind == SESSION_MESSAGE:
                if length < MIN_SMB1:
                    raise FramingError(f"a frame of {length} bytes is too short for a message")
                if length > limit:
                    raise FramingError(f"a frame of {length} bytes, at most {limit} are accepted")
                if available < length:
                    return None
                start = position + HEADER
                self._check_start(view[start], length)
                self._position = start + length
                self._first = False
                # A copy: a command that waits keeps its frame, and this memory is another connection's next.
                return bytearray(view[start : start + length])
            self._check_control(kind, length)
            if available < length:
                return None
            self._position = position + HEADER + length
            if kind == SESSION_REQUEST:
                self._first = False
                self._on_session_request()

    def ready(self) -> tuple[memoryview, int, int]:
        """The bytes received that are not part of a large frame: (memory, start, end). The caller may handle frames in
        place and then calls `taken`."""
        if self._large is not None:
            return self._view, 0, 0
        if self._parked:
            self._unpark()
        return self._view, self._position, self._end

    def taken(self, position: int) -> None:
        """The caller has handled the frames before `position`."""
        self._position = position
        self._first = False

    def _unpark(self) -> None:
        # What an earlier turn left, seen through a view of its own: the scratch buffer may be another's now.
        self._view = memoryview(self._parked)
        self._position = 0
        self._end = len(self._parked)
        self._parked = bytearray()

    def partial(self, least: int) -> tuple[memoryview, int] | None:
        """The bytes received of an incomplete frame of at least `least` bytes, and its length; None where there is no
        such frame. Only when `next` has returned None."""
        position = self._position
        have = self._end - position - HEADER
        if self._large is not None or have < 0 or self._view[position] != SESSION_MESSAGE:
            return None
        length = int.from_bytes(self._view[position + 1 : position + HEADER], "big")
        return (self._view[position + HEADER : self._end], length) if length >= least else None

    def in_scratch(self, count: int) -> int:
        """Where in the scratch memory the last `count` bytes are that were received; -1: they are not there."""
        return self._end - count if self._view is self._scratch.view else -1

    def divert(self) -> None:
        """The caller takes what `partial` returned, and receives the rest of this frame itself."""
        self._position = self._end = 0
        self._first = False

    def park(self) -> None:
        """Copy what is left, so that other connections can use the scratch buffer."""
        if self._large is not None:
            return
        position, end = self._position, self._end
        self._position = self._end = 0
        rest = end - position
        if rest <= 0:
            return
        view = self._view
        if rest >= HEADER and view[position] == SESSION_MESSAGE:
            length = int.from_bytes(view[position + 1 : position + HEADER], "big")
            have = rest - HEADER
            if have < length and length > KEEP:
                size = first_size(length, have, self._limit)
                large = frames.make(length) if size == length else frames.begin(size)
                large[:have] = view[position + HEADER : end]
                self._large = large
                self._large_have = have
                self._large_size = length
                self._first = False
                return
        self._parked = bytearray(view[position:end])

    def clear(self) -> None:
        """Free all buffers; nothing more is received."""
        self._position = self._end = 0
        self._view = self._scratch.view
        self._parked = bytearray()
        self._large = None

    def _check_control(self, kind: int, length: int) -> None:
        # RFC 1002 4.3: the session service of port 139. Bit 0 of the flags byte is bit 16 of the length there.
        if kind == SESSION_KEEP_ALIVE and length == 0:
            return
        if kind == SESSION_REQUEST and self._first and length <= MAX_SESSION_REQUEST:
            return
        raise FramingError(f"a packet of type {kind:#04x} and {length} bytes is no session message")

    @staticmethod
    def _check_start(first: int, length: int) -> None:
        if length < MIN_SMB2 and first != SMB1_PROTOCOL_BYTE:
            raise FramingError(f"a frame of {length} bytes is too short for a header")
