# SPDX-License-Identifier: GPL-2.0-or-later
"""The lists of a FileFullEaInformation query: decodes FILE_GET_EA_INFORMATION and encodes FILE_FULL_EA_INFORMATION
(MS-FSCC 2.4.16.1 and 2.4.16). Names are single bytes on the wire, decoded as Latin-1."""
from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.status import (
    STATUS_EA_LIST_INCONSISTENT,
    STATUS_INVALID_EA_NAME,
    STATUS_INVALID_PARAMETER,
    NtStatusError,
    WireError,
)

_ENTRY: Final = Struct("<IBBH")
"""NextEntryOffset, Flags, EaNameLength, EaValueLength."""
_GET_ENTRY: Final = Struct("<IB")
"""NextEntryOffset, EaNameLength."""
_ILLEGAL: Final = frozenset(b'"*+,/:;<=>?[\\]|') | frozenset(range(0x20))
"""Bytes that an EA name must not contain (MS-FSCC 2.4.16), control characters included."""


def _name(raw: bytes) -> str:
    if not raw or not _ILLEGAL.isdisjoint(raw):
        raise NtStatusError(STATUS_INVALID_EA_NAME, repr(raw))
    return raw.decode("latin-1")


def parse_get_ea(data: Buffer) -> list[str]:
    """Decode the names of a FILE_GET_EA_INFORMATION list.

    Raises STATUS_EA_LIST_INCONSISTENT for a malformed chain (not aligned, out of bounds, no NUL after a name),
    STATUS_INVALID_EA_NAME for an empty or illegal name."""
    if len(data) > limits.EA_LIST.value:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"a list of {len(data)} bytes")
    names: list[str] = []
    offset = 0
    while True:
        reader = Reader(data, offset, None, STATUS_EA_LIST_INCONSISTENT)
        following, name_length = reader.unpack(_GET_ENTRY)
        name = reader.bytes(name_length)
        if reader.u8():
            raise WireError("no NUL after an EA name", STATUS_EA_LIST_INCONSISTENT)
        names.append(_name(name))
        if not following:
            return names
        if following % 4 or following < reader.position - offset:
            raise WireError("NextEntryOffset of an EA name", STATUS_EA_LIST_INCONSISTENT)
        offset += following
        if offset > len(data):
            raise WireError("NextEntryOffset beyond the list", STATUS_EA_LIST_INCONSISTENT)


def encode_full_ea(attributes: Iterable[tuple[str, int, bytes]], limit: int) -> tuple[bytearray, int]:
    """Encode (name, flags, value) entries, each aligned to 4 bytes, as many as fit into `limit` bytes. Returns the list
    and the number of entries in it."""
    out = bytearray()
    last = 0
    count = 0
    for name, flags, value in attributes:
        raw = name.encode("latin-1", "replace")[:255]
        start = -(-len(out) // 4) * 4
        if start + _ENTRY.size + len(raw) + 1 + len(value) > limit:
            break
        if count:
            out += bytes(start - len(out))
            out[last : last + 4] = (start - last).to_bytes(4, "little")
        out += _ENTRY.pack(0, flags, len(raw), len(value)) + raw + b"\0" + value
        last = start
        count += 1
    return out, count
