# SPDX-License-Identifier: GPL-2.0-or-later
"""Quotas on the wire: MS-SMB2 2.2.37.1, 3.3.5.20.4, 3.3.5.21.4; MS-FSCC 2.4.41, 2.5.2."""
from __future__ import annotations

import struct

import pytest
import wire
from bench import Bench, body_of

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import query_info, set_info
from ksmbd.smb import status as s
from ksmbd.smb.create_names import parse_name
from ksmbd.smb.model import Open
from ksmbd.smb.ports import QUOTA_STREAM, QuotaEntry
from ksmbd.smb.request import Reply
from ksmbd.smb.sid import Sid, parse_sid
from ksmbd.smb.status import NtStatusError

USERS = Sid(5, (21, 1, 2, 3))


def entry(rid: int, used: int = 100, threshold: int = 1000, limit: int = 2000) -> QuotaEntry:
    return QuotaEntry(USERS.child(rid), used, threshold, limit)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.volume.quotas = {rid: entry(rid, rid) for rid in range(1, 6)}
    return made


def sid_list(*rids: int) -> bytes:
    sids = [USERS.child(rid).encode() for rid in rids]
    following = [*(8 + len(sid) for sid in sids[1:]), 0]
    return b"".join(struct.pack("<II", to, len(sid)) + sid for to, sid in zip(following, sids, strict=True))


def ask(
    bench: Bench, open_: Open, sids: bytes = b"", single: int = 0, restart: int = 0, start: bytes = b"",
    offset: int = 0, limit: int = 65536,
) -> Reply:  # fmt: skip
    data = struct.pack("<BBHIII", single, restart, 0, len(sids), len(start), offset) + (sids or bytes(offset) + start)
    body = wire.query_info(open_, c.INFO_QUOTA, 0, limit, data=data)
    return bench.run(query_info.handle, bench.request(c.QUERY_INFO, body, open_.tree))


def entries(reply: Reply) -> list[tuple[int, int, int, int]]:
    """(RID, used, threshold, limit) of each entry of the output."""
    body = body_of(reply)
    offset, length = struct.unpack_from("<HI", body, 2)
    data = body[offset - 64 : offset - 64 + length]
    found, at = [], 0
    while True:
        following, size, changed, used, threshold, limit = struct.unpack_from("<IIqqqq", data, at)
        assert changed == 0 and following % 8 == 0
        found.append((parse_sid(data[at + 40 : at + 40 + size]).rid, used, threshold, limit))
        if not following:
            assert at + 40 + size == len(data)
            return found
        at += following


def rids(reply: Reply) -> list[int]:
    return [found[0] for found in entries(reply)]


def test_all_of_them_then_no_more(bench: Bench) -> None:
    open_ = bench.open("")
    assert entries(ask(bench, open_)) == [(rid, rid, 1000, 2000) for rid in range(1, 6)]
    wire.raises(s.STATUS_NO_MORE_ENTRIES, ask, bench, open_)
    assert rids(ask(bench, open_, restart=1)) == [1, 2, 3, 4, 5]


def test_one_at_a_time(bench: Bench) -> None:
    open_ = bench.open("")
    assert [rids(ask(bench, open_, single=1)) for _ in range(3)] == [[1], [2], [3]]
    assert rids(ask(bench, open_)) == [4, 5]


def test_from_a_sid_on(bench: Bench) -> None:
    open_ = bench.open("")
    start = USERS.child(3).encode()
    assert rids(ask(bench, open_, start=start)) == [3, 4, 5]
    assert rids(ask(bench, open_, start=start, offset=8, single=1)) == [3]
    assert rids(ask(bench, open_)) == [4, 5]


def test_those_that_are_listed(bench: Bench) -> None:
    open_ = bench.open("")
    assert entries(ask(bench, open_, sid_list(4, 77, 2))) == [(4, 4, 1000, 2000), (77, 0, -1, -1), (2, 2, 1000, 2000)]
    assert rids(ask(bench, open_, sid_list(4, 2), single=1)) == [4]
    assert rids(ask(bench, open_, single=1)) == [1]  # the scan stands where it did


@pytest.mark.parametrize(("limit", "expected"), [(68, [1]), (139, [1]), (140, [1, 2]), (65536, [1, 2, 3, 4, 5])])
def test_whole_entries_in_a_buffer(bench: Bench, limit: int, expected: list[int]) -> None:
    open_ = bench.open("")
    first = ask(bench, open_, limit=limit)
    assert rids(first) == expected
    rest = [] if len(expected) == 5 else rids(ask(bench, open_))
    assert expected + rest == [1, 2, 3, 4, 5]


def test_a_buffer_for_none(bench: Bench) -> None:
    open_ = bench.open("")
    for sids in (b"", sid_list(1)):
        error = wire.raises(s.STATUS_BUFFER_TOO_SMALL, ask, bench, open_, sids, 0, 0, b"", 0, 67)
        assert error.data == struct.pack("<I", 68)
    assert ask(bench, open_, sid_list(1, 2), limit=100).status == s.STATUS_BUFFER_OVERFLOW
    assert rids(ask(bench, open_)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "sids",
    [b"\0" * 7, b"\0" * 8, sid_list(1)[:-1], struct.pack("<II", 0, 9) + USERS.encode(),
     struct.pack("<I", 3) + sid_list(1)[4:], struct.pack("<I", 400) + sid_list(1)[4:],
     struct.pack("<II", 0, 4) + b"\1\0\0\0"],
)  # fmt: skip
def test_malformed_lists(bench: Bench, sids: bytes) -> None:
    wire.raises(s.STATUS_INVALID_PARAMETER, ask, bench, bench.open(""), sids)


def test_malformed_starts(bench: Bench) -> None:
    open_ = bench.open("")
    start = USERS.child(3).encode()
    body = struct.pack("<BBHIII", 0, 0, 0, 0, len(start), 1) + start
    asked = wire.query_info(open_, c.INFO_QUOTA, 0, 4096, data=body)
    for data in (asked, wire.query_info(open_, c.INFO_QUOTA, 0, 4096)):
        with pytest.raises(NtStatusError) as caught:
            bench.run(query_info.handle, bench.request(c.QUERY_INFO, data, open_.tree))
        assert caught.value.status == s.STATUS_INVALID_PARAMETER


def test_where_there_are_none() -> None:
    bench = Bench()
    open_ = bench.open("")
    wire.raises(s.STATUS_NOT_SUPPORTED, ask, bench, open_)
    wire.raises(s.STATUS_NOT_SUPPORTED, ask, bench, open_, sid_list(1))
    wire.raises(s.STATUS_NOT_SUPPORTED, change, bench, open_, chain(entry(1)))


# ---------------------------------------------------------------------------------------------------------------- set


def chain(*items: QuotaEntry) -> bytes:
    parts = []
    for at, item in enumerate(items):
        sid = item.sid.encode()
        following = 0 if at == len(items) - 1 else -(-(40 + len(sid)) // 8) * 8
        part = struct.pack("<IIqqqq", following, len(sid), 7, item.used, item.threshold, item.limit) + sid
        parts.append(part.ljust(following, b"\0"))
    return b"".join(parts)


def change(bench: Bench, open_: Open, data: bytes, info_type: int = c.INFO_QUOTA, info_class: int = 0) -> Reply:
    body = wire.set_info(open_, info_type, info_class, data, 0)
    return bench.run(set_info.handle, bench.request(c.SET_INFO, body, open_.tree))


def test_set(bench: Bench) -> None:
    quotas = bench.volume.quotas
    assert quotas is not None
    change(bench, bench.open(""), chain(entry(2, 5, 10, 20), entry(9, 5, -1, -2)))
    assert quotas[2] == entry(2, 0, 10, 20) and quotas[9] == entry(9, 0, -1, -1) and len(quotas) == 6


@pytest.mark.parametrize(
    "data",
    [b"", chain(entry(1))[:-1], chain(entry(1, 0, -3)), chain(entry(1, 0, 1, -3)),
     struct.pack("<I", 8) + chain(entry(1))[4:], struct.pack("<II", 0, 8) + chain(entry(1))[8:]],
)  # fmt: skip
def test_nothing_is_set_by_what_is_malformed(bench: Bench, data: bytes) -> None:
    before = dict(bench.volume.quotas or {})
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open(""), data)
    assert bench.volume.quotas == before


def test_no_more_than_the_limit_at_once(bench: Bench) -> None:
    many = [entry(rid) for rid in range(limits.QUOTA_ENTRIES.value + 1)]
    change(bench, bench.open(""), chain(*many[1:]))
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open(""), chain(*many))


def test_not_on_a_read_only_share(bench: Bench) -> None:
    open_ = bench.open("")
    bench.tree.read_only = True
    wire.raises(s.STATUS_ACCESS_DENIED, change, bench, open_, chain(entry(1)))


# ------------------------------------------------------------------------------------------------ the file system's own


def control(threshold: int, limit: int, flags: int) -> bytes:
    return struct.pack("<qqqqqI4x", 0, 0, 0, threshold, limit, flags)


@pytest.mark.parametrize(
    ("threshold", "limit", "flags", "status"),
    [(-1, -1, 0, 0), (0, 0, 0, 0), (-1, -1, 0x300, 0), (-1, -1, 1, s.STATUS_NOT_SUPPORTED),
     (5, -1, 0, s.STATUS_NOT_SUPPORTED), (-1, 5, 0, s.STATUS_NOT_SUPPORTED)],
)  # fmt: skip
def test_nothing_is_set_but_what_is_so(bench: Bench, threshold: int, limit: int, flags: int, status: int) -> None:
    asked = (bench, bench.open(""), control(threshold, limit, flags), c.INFO_FILESYSTEM, 6)
    if status:
        wire.raises(status, change, *asked)
    else:
        assert change(*asked).status == 0


def test_the_name_of_the_quota_file() -> None:
    for name in ("$Extend\\$Quota:$Q:$INDEX_ALLOCATION", "$EXTEND\\$quota:$q:$index_allocation"):
        assert parse_name(name).stream == QUOTA_STREAM
    for name in ("$Extend\\$Quota:$Q", "x\\$Extend\\$Quota:$Q:$INDEX_ALLOCATION", "$Extend\\$Quota:$Q:$DATA"):
        try:
            assert parse_name(name).stream != QUOTA_STREAM
        except NtStatusError as error:
            assert error.status == s.STATUS_OBJECT_NAME_INVALID
