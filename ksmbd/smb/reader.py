# SPDX-License-Identifier: GPL-2.0-or-later
"""The bounded reader, through which all data of peers is read, and its exception WireError.

A Reader is a window on a buffer. A read outside the window raises WireError with the NTSTATUS for the client. Nothing
else is raised because of what a peer sent.
"""
from __future__ import annotations

from codecs import utf_16_le_decode
from struct import Struct
from typing import Any, Final

from ksmbd.smb.status import STATUS_INVALID_PARAMETER, WireError

Buffer = bytes | bytearray | memoryview

_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")
_I64: Final = Struct("<q")


class Reader:
    """Little-endian reads inside `buffer[start:end]`; `position` advances, offsets of `at` count from `start`."""

    __slots__ = ("buffer", "start", "end", "position", "status")

    def __init__(
        self, buffer: Buffer, start: int = 0, end: int | None = None, status: int = STATUS_INVALID_PARAMETER
    ) -> None:
        size = len(buffer)
        if end is None:
            end = size
        if not 0 <= start <= end <= size:
            raise WireError("window outside the buffer", status)
        self.buffer = memoryview(buffer)
        self.start = start
        self.end = end
        self.position = start
        self.status = status

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def remaining(self) -> int:
        """Bytes between the position and the window's end."""
        return self.end - self.position

    def _take(self, size: int) -> int:
        position = self.position
        if size < 0 or position + size > self.end:
            raise WireError(f"{size} bytes wanted, {self.end - position} left", self.status)
        self.position = position + size
        return position

    def u8(self) -> int:
        """One byte."""
        return self.buffer[self._take(1)]

    def u16(self) -> int:
        """Two bytes, unsigned."""
        return int(_U16.unpack_from(self.buffer, self._take(2))[0])

    def u32(self) -> int:
        """Four bytes, unsigned."""
        return int(_U32.unpack_from(self.buffer, self._take(4))[0])

    def u64(self) -> int:
        """Eight bytes, unsigned."""
        return int(_U64.unpack_from(self.buffer, self._take(8))[0])

    def i64(self) -> int:
        """Eight bytes, signed."""
        return int(_I64.unpack_from(self.buffer, self._take(8))[0])

    def bytes(self, size: int) -> bytes:
        """A copy of the next `size` bytes."""
        position = self._take(size)
        return bytes(self.buffer[position : position + size])

    def view(self, size: int) -> memoryview:
        """The next `size` bytes, not copied."""
        position = self._take(size)
        return self.buffer[position : position + size]

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        self._take(size)

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        """The fields of a precompiled little-endian layout at the position."""
        position = self.position
        end = position + layout.size
        if end > self.end:
            raise WireError(f"{layout.size} bytes wanted, {self.end - position} left", self.status)
        self.position = end
        return layout.unpack_from(self.buffer, position)

    def unpack_at(self, layout: Struct, offset: int) -> tuple[Any, ...]:
        """The fields of `layout` at `offset` from the window's start; the position stays."""
        if offset < 0 or self.start + offset + layout.size > self.end:
            raise WireError(f"{layout.size} bytes at {offset}: outside", self.status)
        return layout.unpack_from(self.buffer, self.start + offset)

    def at(self, offset: int, size: int) -> memoryview:
        """`size` bytes at `offset` from the window's start, not copied; the position stays."""
        if offset < 0 or size < 0 or self.start + offset + size > self.end:
            raise WireError(f"{size} bytes at {offset}: outside", self.status)
        return self.buffer[self.start + offset : self.start + offset + size]

    def restrict(self, offset: int, size: int) -> Reader:
        """A Reader on `size` bytes at `offset` from this window's start."""
        if offset < 0 or size < 0 or self.start + offset + size > self.end:
            raise WireError(f"{size} bytes at {offset}: outside", self.status)
        return Reader(self.buffer, self.start + offset, self.start + offset + size, self.status)

    def utf16(self, size: int) -> str:
        """`size` bytes of UTF-16LE; unpaired surrogates are kept. An odd size is malformed."""
        return decode_utf16(self.view(size), self.status)


def unpack_from(buffer: Buffer, offset: int, layout: Struct) -> tuple[Any, ...]:
    """The fields of a precompiled little-endian layout at `offset` of a buffer, where no Reader is needed. Raises
    WireError where they are not inside."""
    if offset < 0 or offset + layout.size > len(buffer):
        raise WireError(f"{layout.size} bytes at {offset}: outside")
    return layout.unpack_from(buffer, offset)


def part_of(buffer: memoryview, offset: int, size: int) -> memoryview:
    """`size` bytes at `offset` of a buffer, not copied. Raises WireError where they are not inside."""
    if offset < 0 or size < 0 or offset + size > len(buffer):
        raise WireError(f"{size} bytes at {offset}: outside")
    return buffer[offset : offset + size]


def decode_utf16(data: Buffer, status: int = STATUS_INVALID_PARAMETER) -> str:
    """UTF-16LE to str; unpaired surrogates are kept (names may hold them), an odd length raises WireError."""
    if len(data) % 2:
        raise WireError("odd length of UTF-16", status)
    return utf_16_le_decode(data, "surrogatepass", True)[0]


def encode_utf16(text: str) -> bytes:
    """str to UTF-16LE, the inverse of decode_utf16."""
    return text.encode("utf-16-le", "surrogatepass")
