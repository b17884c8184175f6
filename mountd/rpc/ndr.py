# SPDX-License-Identifier: GPL-2.0-or-later
"""NDR, the transfer syntax of version 2.0 (C706 14), as far as the services need it: little-endian, 32-bit pointers.

Embedded pointers are written as a referent id, and what they point to follows behind the construct that holds them:
`NdrWriter.pointer` keeps it until `flush`. What one of these holds in turn comes right behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.status import WireError

_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")
FIRST_REFERENT: Final = 0x00020000
STRING_MAX: Final = limits.RPC_STRING.value
"""Characters of a received string at most."""


class NdrReader:
    """Reads a request's stub data. All methods raise WireError where it is malformed."""

    def __init__(self, stub: Buffer) -> None:
        self._reader = Reader(stub)

    def align(self, size: int) -> None:
        """Up to the next multiple of `size` from the stub's beginning."""
        self._reader.skip(-self._reader.position % size)

    def u8(self) -> int:
        """Small."""
        return self._reader.u8()

    def u16(self) -> int:
        """Short."""
        self.align(2)
        return self._reader.u16()

    def u32(self) -> int:
        """Long."""
        self.align(4)
        return self._reader.u32()

    def u64(self) -> int:
        """Hyper."""
        self.align(8)
        return self._reader.u64()

    def raw(self, size: int) -> bytes:
        """Bytes without alignment."""
        return self._reader.bytes(size)

    def pointer(self) -> bool:
        """A unique pointer's referent id: whether something is there."""
        return self.u32() != 0

    def string(self) -> str:
        """A conformant and varying string of wchar_t, without its NUL (C706 14.3.4)."""
        maximum, offset, count = self.u32(), self.u32(), self.u32()
        if offset or count > maximum or count > STRING_MAX:
            raise WireError(f"string of {count} characters at {offset} in {maximum}")
        text = self._reader.utf16(2 * count)
        return text[:-1] if text.endswith("\0") else text

    def unique_string(self) -> str | None:
        """A [unique, string] parameter: the text follows its pointer at once."""
        return self.string() if self.pointer() else None

    def unique_u32(self) -> int | None:
        """A [unique] long parameter."""
        return self.u32() if self.pointer() else None


class NdrWriter:
    """Writes a response's stub data."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._referent = FIRST_REFERENT
        self._deferred: list[Callable[[], None]] = []

    def clear(self) -> None:
        """Begin again."""
        self.data.clear()
        self._deferred.clear()

    def align(self, size: int) -> None:
        """Zeros up to the next multiple of `size`."""
        self.data.extend(bytes(-len(self.data) % size))

    def u8(self, value: int) -> None:
        """Small."""
        self.data.append(value)

    def u16(self, value: int) -> None:
        """Short."""
        self.align(2)
        self.data += _U16.pack(value)

    def u32(self, value: int) -> None:
        """Long; negative numbers as their two's complement."""
        self.align(4)
        self.data += _U32.pack(value & 0xFFFFFFFF)

    def u64(self, value: int) -> None:
        """Hyper."""
        self.align(8)
        self.data += _U64.pack(value)

    def raw(self, data: Buffer) -> None:
        """Bytes without alignment."""
        self.data += data

    def string(self, text: str) -> None:
        """A conformant and varying string of wchar_t with its NUL."""
        encoded = (text + "\0").encode("utf-16-le", "surrogatepass")
        count = len(encoded) // 2
        self.u32(count)
        self.u32(0)
        self.u32(count)
        self.data += encoded

    def pointer(self, content: Callable[[], None] | None) -> None:
        """A pointer; what it points to is written by the next `flush`. None: a null pointer."""
        if content is None:
            self.u32(0)
            return
        self.u32(self._referent)
        self._referent += 4
        self._deferred.append(content)

    def string_pointer(self, text: str | None) -> None:
        """A pointer to a string."""
        self.pointer(None if text is None else lambda: self.string(text))

    def flush(self) -> None:
        """Write what pointers point to, depth first."""
        deferred, self._deferred = self._deferred, []
        for content in deferred:
            content()
            self.flush()

    def unique_u32(self, value: int | None) -> None:
        """A [unique] long parameter."""
        self.pointer(None if value is None else lambda: self.u32(value))
        self.flush()
