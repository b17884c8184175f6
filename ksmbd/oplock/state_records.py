# SPDX-License-Identifier: GPL-2.0-or-later
"""The bytes of a stored persistent open: a mark, the layout's number, a checksum, and the marshalled fields.

What does not decode is Unreadable, whatever happened to it; it is never taken for something else. Earlier servers
stored the fields alone, layout 0. Without a checksum a damaged length in it can ask for any memory, so only a process
with a limit of its own reads it (`legacy`).
"""
from __future__ import annotations

import marshal
from struct import Struct
from typing import Any, Final, NamedTuple
from zlib import crc32

from ksmbd.oplock.record import Holder, Link, OpenEntry

LAYOUT: Final = 1
"""The number of the layout that `encode` writes."""
_HEAD: Final = Struct(">2sHI")
_MARK: Final = b"kO"
_MARSHALLED: Final = b"()\xa8\xa9"
"""The first bytes that a marshalled tuple may have."""
_FIELDS: Final[tuple[tuple[type, ...], ...]] = (
    (int,), (str,), (int,), (int,), (bytes,), (int,), (str,), (str,), (str,), (bool,), (int,), (int,), (int,),
    (tuple, type(None)), (bool,), (bytes,), (int,), (bool,), (bytes,), (bytes,), (tuple, type(None)), (int,), (bool,),
    (float,), (bytes,), (int,), (bytes,), (bool,), (bool,), (int,), (int,), (bytes,),
)  # fmt: skip
"""The types of OpenEntry's fields."""
_NAME: Final = OpenEntry._fields.index("name")
_LEAST: Final = OpenEntry._fields.index("kernel")
"""The number of fields that every layout has."""


class Unreadable(ValueError):
    """The stored bytes are damaged, or of a layout that this server does not know; the text says which."""


class StoredOpens(NamedTuple):
    """The stored part of one file's record."""

    serial: int
    opens: tuple[OpenEntry, ...]
    holders: tuple[Holder, ...]
    streams: tuple[str, ...]
    links: tuple[Link, ...]


def pack(fields: tuple[Any, ...]) -> bytes:
    """Encode plain values."""
    data = marshal.dumps(fields)
    return _HEAD.pack(_MARK, LAYOUT, crc32(data)) + data


def unpack(value: bytes, legacy: bool = False) -> tuple[Any, ...]:
    """Decode what `pack` returned; with `legacy` also layout 0. Raises Unreadable."""
    data = value
    if not (legacy and value and value[:1] in _MARSHALLED):
        if len(value) < _HEAD.size:
            raise Unreadable("too short")
        mark, layout, checksum = _HEAD.unpack_from(value)
        if mark != _MARK:
            raise Unreadable("damaged")
        if layout != LAYOUT:
            raise Unreadable(f"of layout {layout}, this server knows {LAYOUT}")
        data = value[_HEAD.size :]
        if crc32(data) != checksum:
            raise Unreadable("damaged")
    try:
        fields = marshal.loads(data)  # noqa: S302 - our own bytes
    except (ValueError, TypeError, EOFError, MemoryError) as error:
        raise Unreadable("damaged") from error
    if not isinstance(fields, tuple):
        raise Unreadable("damaged")
    return fields


def encode(serial: int, part: tuple[list[Any], list[Any], list[str], list[Link]]) -> bytes:
    """Encode the persistent part of a record."""
    return pack((serial, *part))


def decode(value: bytes, legacy: bool = False) -> StoredOpens:
    """Decode what `encode` returned; with `legacy` also what an earlier server stored. Raises Unreadable."""
    return stored_of(unpack(value, legacy))


def stored_of(fields: tuple[Any, ...]) -> StoredOpens:
    """The stored part of a record from its plain fields. Raises Unreadable."""
    try:
        serial, opens, holders, streams, *rest = fields
        entries = tuple([_entry_of(entry) for entry in opens])
        links = rest[0] if rest else [entry.link for entry in entries] if "" in streams else []
        kept = tuple([stream for stream in streams if stream])
        held = tuple([Holder._make(holder) for holder in holders])
        return StoredOpens(int(serial), entries, held, kept, tuple(links))
    except (ValueError, TypeError) as error:
        raise Unreadable("damaged") from error


def _entry_of(fields: tuple[Any, ...]) -> OpenEntry:
    """A stored open. One that an earlier version stored has no name, so it is taken from the path."""
    if not _LEAST <= len(fields) <= len(_FIELDS) or not all(map(isinstance, fields, _FIELDS)):
        raise ValueError("no open")
    entry = OpenEntry(*fields)
    if len(fields) <= _NAME:
        entry = entry._replace(name=entry.path.rpartition("\\")[2].encode("utf-8", "surrogatepass"))
    return entry
