# SPDX-License-Identifier: GPL-2.0-or-later
"""QUERY_INFO and SET_INFO of quotas (MS-SMB2 3.3.5.20.4 and 3.3.5.21.4): of the users of the file system that the open
is on. Where there are none, STATUS_NOT_SUPPORTED."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.smb.info_query import Answer, Query
from ksmbd.smb.ports import QuotaEntry
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.set_query import Change
from ksmbd.smb.sid import Sid, parse_sid
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BUFFER_OVERFLOW,
    STATUS_INVALID_PARAMETER,
    STATUS_NO_MORE_ENTRIES,
    STATUS_SUCCESS,
    BufferTooSmall,
    NtStatusError,
    WireError,
)

_QUERY_QUOTA_INFO: Final = Struct("<BBHIII")
"""ReturnSingle, RestartScan, Reserved, SidListLength, StartSidLength, StartSidOffset (MS-SMB2 2.2.37.1)."""
_GET: Final = Struct("<II")
"""NextEntryOffset, SidLength (FILE_GET_QUOTA_INFORMATION, MS-FSCC 2.4.41.1)."""
_ENTRY: Final = Struct("<IIqqqq")
"""NextEntryOffset, SidLength, ChangeTime, QuotaUsed, QuotaThreshold, QuotaLimit (FILE_QUOTA_INFORMATION, MS-FSCC
2.4.41); the SID follows."""
_U32: Final = Struct("<I")
_ALIGNMENT: Final = 8


def query_quota(query: Query) -> Answer:
    """The quotas of the listed SIDs, or of all users from StartSid or the last answer on.

    Raises STATUS_INVALID_PARAMETER for a malformed SMB2_QUERY_QUOTA_INFO, STATUS_NO_MORE_ENTRIES,
    STATUS_BUFFER_TOO_SMALL, and what File.quota raises."""
    reader = Reader(query.input)
    single, restart, _, list_length, start_length, start_offset = reader.unpack(_QUERY_QUOTA_INFO)
    file, open_ = query.file, query.open
    if list_length:
        sids = list(_listed_sids(reader.view(list_length)))
        listed = [file.quota(sid) for sid in sids[: 1 if single else None]]
        data, count = _encode(listed, query.limit)
        return _answer(data, count, listed)
    if start_length:
        if start_offset + start_length > reader.remaining:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "StartSid outside")
        reader.skip(start_offset)
        open_.quota_position = file.quota_position(parse_sid(reader.view(start_length)))
    elif restart:
        open_.quota_position = 0
    most = 1 if single else min(query.limit // _ENTRY.size, limits.QUOTA_ENTRIES.value)
    found, following = file.quotas(open_.quota_position, max(most, 1))
    if not found:
        raise NtStatusError(STATUS_NO_MORE_ENTRIES)
    data, count = _encode(found, query.limit)
    if count == len(found):
        open_.quota_position = following
    elif count:
        open_.quota_position = file.quota_position(found[count].sid)
    return _answer(data, count, found[:count] or found)


def _answer(data: bytearray, count: int, wanted: Sequence[QuotaEntry]) -> Answer:
    if not count and wanted:
        raise BufferTooSmall(_ENTRY.size + wanted[0].sid.size)
    return Answer(data, STATUS_SUCCESS if count == len(wanted) else STATUS_BUFFER_OVERFLOW)


def _encode(entries: Sequence[QuotaEntry], limit: int) -> tuple[bytearray, int]:
    """As many whole entries as fit `limit` bytes, and their number."""
    data = bytearray()
    last = 0
    for count, entry in enumerate(entries):
        start = -(-len(data) // _ALIGNMENT) * _ALIGNMENT
        sid = entry.sid.encode()
        if start + _ENTRY.size + len(sid) > limit:
            return data, count
        if data:
            data += bytes(start - len(data))
            _U32.pack_into(data, last, start - last)
        data += _ENTRY.pack(0, len(sid), 0, entry.used, entry.threshold, entry.limit) + sid
        last = start
    return data, len(entries)


def _listed_sids(data: memoryview) -> Iterator[Sid]:
    """The SIDs of a chain of FILE_GET_QUOTA_INFORMATION. Raises STATUS_INVALID_PARAMETER."""
    for reader in _chain(data, _GET.size):
        _, length = reader.unpack(_GET)
        yield _sid(reader, length)


def _sid(reader: Reader, length: int) -> Sid:
    raw = reader.view(length)
    try:
        return parse_sid(raw)
    except NtStatusError as error:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a malformed SID") from error


def _chain(data: Buffer, fixed: int) -> Iterator[Reader]:
    """A reader at each entry of a list that is linked by NextEntryOffset. Raises STATUS_INVALID_PARAMETER."""
    start = 0
    for _ in range(limits.QUOTA_ENTRIES.value):
        reader = Reader(data, start)
        following = reader.u32()
        yield Reader(data, start)
        if not following:
            return
        if following < fixed or following % 4:
            raise WireError("NextEntryOffset")
        start += following
    raise WireError("too many quotas")


def set_quota(change: Change) -> None:
    """Set the quotas of a chain of FILE_QUOTA_INFORMATION: all of them, or none. The change time and what is used are
    not set.

    Raises STATUS_INVALID_PARAMETER, STATUS_ACCESS_DENIED, and what File.set_quotas raises."""
    if change.request.tree.read_only:
        raise NtStatusError(STATUS_ACCESS_DENIED, "a read-only share")
    entries = []
    for reader in _chain(change.data, _ENTRY.size):
        _, length, _, _, threshold, limit = reader.unpack(_ENTRY)
        entries.append(QuotaEntry(_sid(reader, length), 0, _limit(threshold), _limit(limit)))
    change.file.set_quotas(entries)


def _limit(value: int) -> int:
    """-1 is no limit, and -2, by which an entry is deleted (MS-FSCC 2.4.41), leaves none either."""
    if value < -2:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a negative limit")
    return max(value, -1)
