# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes FILE_FULL_EA_INFORMATION lists (MS-FSCC 2.4.16), which the ExtA context of CREATE and SET_INFO carry."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.status import (
    STATUS_EA_LIST_INCONSISTENT,
    STATUS_EA_TOO_LARGE,
    STATUS_INVALID_EA_NAME,
    NtStatusError,
    WireError,
)

_ENTRY: Final = Struct("<IBBH")  # NextEntryOffset, Flags, EaNameLength, EaValueLength
_ILLEGAL: Final = frozenset('\\/:*?"<>|,+=[];') | frozenset(map(chr, range(0x20)))
FILE_NEED_EA: Final = 0x80


def parse_full_ea(data: Buffer) -> list[tuple[str, int, bytes]]:
    """Decode the list into (name, flags, value) tuples.

    The names are not checked; see `check_ea_name`. A CREATE that opens an existing file ignores its EAs, whatever
    their names. Raises STATUS_EA_LIST_INCONSISTENT where the list is malformed, STATUS_EA_TOO_LARGE for a list longer
    than the attributes of a file may be."""
    entries: list[tuple[str, int, bytes]] = []
    if not len(data):
        return entries
    if len(data) > limits.EA_LIST.value:
        raise NtStatusError(STATUS_EA_TOO_LARGE, f"a list of {len(data)} bytes")
    start = 0
    while True:
        reader = Reader(data, start, status=STATUS_EA_LIST_INCONSISTENT)
        following, flags, name_length, value_length = reader.unpack(_ENTRY)
        raw = reader.bytes(name_length)
        if reader.u8() != 0:
            raise WireError("EaName without its terminator", STATUS_EA_LIST_INCONSISTENT)
        value = reader.bytes(value_length)
        entries.append((raw.decode("latin-1"), flags, value))
        if following == 0:
            return entries
        if following % 4 or following < reader.position - start:
            raise WireError("NextEntryOffset", STATUS_EA_LIST_INCONSISTENT)
        start += following
        if start >= len(data):
            raise WireError("NextEntryOffset beyond the list", STATUS_EA_LIST_INCONSISTENT)


def check_ea_name(name: str, flags: int) -> None:
    """STATUS_INVALID_EA_NAME for a name or flags that no attribute may have (MS-FSCC 2.4.16, MS-FSA 2.1.5.15.5)."""
    if not name or not _ILLEGAL.isdisjoint(name) or flags & ~FILE_NEED_EA:
        raise NtStatusError(STATUS_INVALID_EA_NAME, repr(name))
