# SPDX-License-Identifier: GPL-2.0-or-later
"""IOCTL: the table of access, each FSCTL's bytes and limits, server-side copies, malformed requests."""
from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import wire
from bench import Bench, body_of, file_of
from fake_files import FakeFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.fsctl import Target
from ksmbd.smb.ioctl import RULES, handle
from ksmbd.smb.model import Open
from ksmbd.smb.ports import BreakKind, LockElement
from ksmbd.smb.request import Reply
from ksmbd.smb.settings import NetworkInterface
from ksmbd.smb.status import ConnectionFatal, NtStatusError
from ksmbd.smb.waiting import Future, Task

MIB = 1 << 20


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.volume.add("source", bytes(range(256)) * 64)  # 16384 bytes
    bench.volume.add("target", b"")
    bench.volume.add("d", None)
    return bench


def control(bench: Bench, open_: Open | None, code: int, data: bytes = b"", limit: int = 65536) -> Reply:
    tree = open_.tree if open_ is not None else bench.tree
    return bench.run(handle, bench.request(c.IOCTL, wire.ioctl(open_, code, data, limit), tree))


def out(bench: Bench, open_: Open | None, code: int, data: bytes = b"", limit: int = 65536) -> bytes:
    reply = control(bench, open_, code, data, limit)
    assert reply.status == s.STATUS_SUCCESS
    return wire.output(reply, 48)


def calls(open_: Open) -> list[tuple[Any, ...]]:
    assert isinstance(open_.file, FakeFile)
    return open_.file.calls


def test_response_layout(bench: Bench) -> None:
    open_ = bench.open("source")
    body = body_of(control(bench, open_, c.FSCTL_GET_COMPRESSION))
    assert body == struct.pack(
        "<HHIQQIIIIII", 49, 0, 0x0009003C, open_.persistent_id, open_.volatile_id, 112, 0, 112, 2, 0, 0
    ) + b"\0\0"


# ------------------------------------------------------------------------------------------------ the table of access

ANY, WRITES = False, True
EXPECTED = {
    # code: target, access of which any bit is enough, refused on a read-only share
    c.FSCTL_VALIDATE_NEGOTIATE_INFO: (Target.CONNECTION, 0, ANY),
    c.FSCTL_QUERY_NETWORK_INTERFACE_INFO: (Target.CONNECTION, 0, ANY),
    c.FSCTL_DFS_GET_REFERRALS: (Target.CONNECTION, 0, ANY),
    c.FSCTL_DFS_GET_REFERRALS_EX: (Target.CONNECTION, 0, ANY),
    c.FSCTL_PIPE_WAIT: (Target.CONNECTION, 0, ANY),
    c.FSCTL_PIPE_TRANSCEIVE: (Target.PIPE, 0x1, ANY),
    c.FSCTL_PIPE_PEEK: (Target.PIPE, 0x1, ANY),
    c.FSCTL_SRV_REQUEST_RESUME_KEY: (Target.FILE, 0, ANY),
    c.FSCTL_SRV_COPYCHUNK: (Target.FILE, 0, WRITES),
    c.FSCTL_SRV_COPYCHUNK_WRITE: (Target.FILE, 0, WRITES),
    c.FSCTL_DUPLICATE_EXTENTS_TO_FILE: (Target.FILE, 0x2, WRITES),
    c.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX: (Target.FILE, 0x2, WRITES),
    c.FSCTL_SET_SPARSE: (Target.FILE, 0x106, WRITES),
    c.FSCTL_SET_ZERO_DATA: (Target.FILE, 0x2, WRITES),
    c.FSCTL_QUERY_ALLOCATED_RANGES: (Target.FILE, 0x1, ANY),
    c.FSCTL_QUERY_FILE_REGIONS: (Target.FILE, 0x1, ANY),
    c.FSCTL_FILE_LEVEL_TRIM: (Target.FILE, 0x2, WRITES),
    c.FSCTL_GET_COMPRESSION: (Target.FILE, 0, ANY),
    c.FSCTL_SET_COMPRESSION: (Target.FILE, 0x2, WRITES),
    c.FSCTL_GET_REPARSE_POINT: (Target.FILE, 0, ANY),
    c.FSCTL_SET_REPARSE_POINT: (Target.FILE, 0x102, WRITES),
    c.FSCTL_DELETE_REPARSE_POINT: (Target.FILE, 0x102, WRITES),
    c.FSCTL_GET_OBJECT_ID: (Target.FILE, 0, ANY),
    c.FSCTL_CREATE_OR_GET_OBJECT_ID: (Target.FILE, 0, ANY),
    c.FSCTL_SET_OBJECT_ID: (Target.FILE, 0, WRITES),
    c.FSCTL_DELETE_OBJECT_ID: (Target.FILE, 0x102, WRITES),
    c.FSCTL_SRV_ENUMERATE_SNAPSHOTS: (Target.FILE, 0, ANY),
    c.FSCTL_GET_NTFS_VOLUME_DATA: (Target.FILE, 0, ANY),
    c.FSCTL_LMR_REQUEST_RESILIENCY: (Target.FILE, 0, ANY),
    c.FSCTL_GET_INTEGRITY_INFORMATION: (Target.FILE, 0, ANY),
    c.FSCTL_SET_INTEGRITY_INFORMATION: (Target.FILE, 0x2, WRITES),
    c.FSCTL_SET_INTEGRITY_INFORMATION_EX: (Target.FILE, 0x2, WRITES),
    c.FSCTL_OFFLOAD_READ: (Target.FILE, 0x1, ANY),
    c.FSCTL_OFFLOAD_WRITE: (Target.FILE, 0x2, WRITES),
    c.FSCTL_SRV_READ_HASH: (Target.FILE, 0, ANY),
}


def test_the_table() -> None:
    assert {code: (rule.target, rule.access, rule.writes) for code, rule in RULES.items()} == EXPECTED


@pytest.mark.parametrize("code", sorted(EXPECTED))
def test_access_and_target(bench: Bench, code: int) -> None:
    target, access, writes = EXPECTED[code]
    if target is Target.CONNECTION:
        status = s.STATUS_FILE_CLOSED if code == c.FSCTL_PIPE_WAIT else s.STATUS_INVALID_PARAMETER
        wire.raises(status, control, bench, bench.open("source"), code)
        return
    wire.raises(s.STATUS_FILE_CLOSED, control, bench, None, code)
    pipe, file = bench.open_pipe(), bench.open("source", c.FILE_ALL_ACCESS & ~access)
    right, wrong = (pipe, file) if target is Target.PIPE else (file, pipe)
    # MS-SMB2 3.3.5.15.4 has a status of its own for a peek at a file.
    misplaced = s.STATUS_NOT_SUPPORTED if code == c.FSCTL_PIPE_PEEK else s.STATUS_INVALID_DEVICE_REQUEST
    wire.raises(misplaced, control, bench, wrong, code)
    if access:
        right.granted_access = c.FILE_ALL_ACCESS & ~access
        wire.raises(s.STATUS_ACCESS_DENIED, control, bench, right, code, bytes(64))
    if writes:
        bench.tree.read_only = True
        wire.raises(s.STATUS_ACCESS_DENIED, control, bench, bench.open("source"), code, bytes(64))
    assert calls(file) == [] and bench.table.calls == []


@pytest.mark.parametrize("code", [0, 0x0009002C, 0x00090060, 0x00140000, 0xFFFFFFFF])
def test_unknown_codes(bench: Bench, code: int) -> None:
    wire.raises(s.STATUS_INVALID_DEVICE_REQUEST, control, bench, bench.open("source"), code)
    wire.raises(s.STATUS_FILE_CLOSED, control, bench, None, code)


# ------------------------------------------------------------------------------------------------------- server copies


def chunks(key: bytes, *ranges: tuple[int, int, int], count: int | None = None) -> bytes:
    return key + struct.pack("<II", len(ranges) if count is None else count, 0) + b"".join(
        struct.pack("<QQII", *each, 0) for each in ranges
    )


def key_of(bench: Bench, open_: Open) -> bytes:
    data = out(bench, open_, c.FSCTL_SRV_REQUEST_RESUME_KEY)
    assert len(data) == 32 and data[24:] == bytes(8)
    return data[:24]


def test_resume_keys_need_room(bench: Bench) -> None:
    wire.raises(
        s.STATUS_INVALID_PARAMETER, control, bench, bench.open("source"), c.FSCTL_SRV_REQUEST_RESUME_KEY, b"", 31
    )


def test_copy(bench: Bench) -> None:
    source, target = bench.open("source", c.FILE_READ_DATA), bench.open("target")
    key = key_of(bench, source)
    data = chunks(key, (0, 0, 4096), (8192, 5000, 100))
    assert out(bench, target, c.FSCTL_SRV_COPYCHUNK, data) == struct.pack("<III", 2, 0, 4196)
    node = bench.volume.find("target")
    original = bytes(range(256)) * 64
    assert node is not None
    assert node.data == original[:4096] + bytes(904) + original[8192:8292]
    assert bench.table.calls[0] == ("break_caching", target.ref, BreakKind(True, True, False))
    assert bench.table.calls[1:3] == [
        ("check_io", source.ref, 0, 4096, False), ("check_io", target.ref, 0, 4096, True),
    ]  # fmt: skip


def test_copy_of_nothing(bench: Bench) -> None:
    key = key_of(bench, bench.open("source"))
    assert out(bench, bench.open("target"), c.FSCTL_SRV_COPYCHUNK, chunks(key)) == bytes(12)
    assert bench.table.calls == []


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 0, 0)],
        [(0, 0, MIB + 1)],
        [(0, 0, 1), (0, 0, 0)],
        [(0, 0, 1)] * 257,
        [(0, 0, MIB)] * 17,
    ],
)
def test_copy_limits_are_taught(bench: Bench, ranges: list[tuple[int, int, int]]) -> None:
    key = key_of(bench, bench.open("source"))
    target = bench.open("target")
    reply = control(bench, target, c.FSCTL_SRV_COPYCHUNK, chunks(key, *ranges))
    assert reply.status == s.STATUS_INVALID_PARAMETER
    assert wire.output(reply, 48) == struct.pack("<III", 256, MIB, 16 * MIB)
    assert calls(target) == []


def test_copy_within_the_limits(bench: Bench) -> None:
    key = key_of(bench, bench.open("source"))
    data = chunks(key, *[(index, index, 1) for index in range(256)])
    assert out(bench, bench.open("target"), c.FSCTL_SRV_COPYCHUNK, data) == struct.pack("<III", 256, 0, 256)


def test_copy_beyond_the_source(bench: Bench) -> None:
    key = key_of(bench, bench.open("source"))
    target = bench.open("target")
    reply = control(bench, target, c.FSCTL_SRV_COPYCHUNK, chunks(key, (0, 0, 4096), (16383, 4096, 2)))
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_INVALID_VIEW_SIZE, struct.pack("<III", 1, 0, 4096))


@pytest.mark.parametrize("locked", ["source", "target"])
def test_copy_over_locks(bench: Bench, locked: str) -> None:
    holder = bench.open(locked)
    assert holder.ref is not None
    bench.table.locks.append((holder.ref, LockElement(100, 10, True)))
    key = key_of(bench, bench.open("source"))
    reply = control(bench, bench.open("target"), c.FSCTL_SRV_COPYCHUNK, chunks(key, (0, 0, 50), (90, 90, 50)))
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_FILE_LOCK_CONFLICT, struct.pack("<III", 1, 0, 50))


def test_copy_that_fails_half_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(self: FakeFile, source: FakeFile, source_offset: int, target_offset: int, length: int) -> int:
        if source_offset >= 1000:
            raise NtStatusError(s.STATUS_DISK_FULL)
        return self.write(target_offset, source.read(source_offset, min(length, 500)))

    monkeypatch.setattr(FakeFile, "copy_range", short)
    key = key_of(bench, bench.open("source"))
    reply = control(bench, bench.open("target"), c.FSCTL_SRV_COPYCHUNK, chunks(key, (0, 0, 4096)))
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_DISK_FULL, struct.pack("<III", 0, 1000, 0))


@pytest.mark.parametrize(
    ("code", "source_access", "target_access", "status"),
    [
        (c.FSCTL_SRV_COPYCHUNK, c.FILE_READ_DATA, c.FILE_READ_DATA | c.FILE_WRITE_DATA, 0),
        (c.FSCTL_SRV_COPYCHUNK, c.FILE_EXECUTE, c.FILE_READ_DATA | c.FILE_APPEND_DATA, 0),
        (c.FSCTL_SRV_COPYCHUNK_WRITE, c.FILE_READ_DATA, c.FILE_WRITE_DATA, 0),
        (c.FSCTL_SRV_COPYCHUNK, c.FILE_READ_DATA, c.FILE_WRITE_DATA, s.STATUS_ACCESS_DENIED),
        (c.FSCTL_SRV_COPYCHUNK, c.FILE_READ_DATA, c.FILE_READ_DATA | c.FILE_WRITE_EA, s.STATUS_ACCESS_DENIED),
        (c.FSCTL_SRV_COPYCHUNK_WRITE, c.FILE_READ_ATTRIBUTES, c.FILE_WRITE_DATA, s.STATUS_ACCESS_DENIED),
        (c.FSCTL_SRV_COPYCHUNK_WRITE, c.FILE_READ_DATA, c.FILE_READ_DATA, s.STATUS_ACCESS_DENIED),
    ],
)
def test_copy_access(bench: Bench, code: int, source_access: int, target_access: int, status: int) -> None:
    key = key_of(bench, bench.open("source", source_access))
    target = bench.open("target", target_access)
    if status:
        wire.raises(status, control, bench, target, code, chunks(key, (0, 0, 1)))
        assert calls(target) == []
    else:
        assert out(bench, target, code, chunks(key, (0, 0, 1))) == struct.pack("<III", 1, 0, 1)


def test_bad_copies(bench: Bench) -> None:
    source, target = bench.open("source"), bench.open("target")
    key = key_of(bench, source)

    def copy(data: bytes, limit: int = 12) -> Reply:
        return control(bench, target, c.FSCTL_SRV_COPYCHUNK, data, limit)

    wire.raises(s.STATUS_INVALID_PARAMETER, copy, chunks(key, (0, 0, 1)), 11)
    wire.raises(s.STATUS_INVALID_PARAMETER, copy, chunks(key)[:31])
    wire.raises(s.STATUS_INVALID_PARAMETER, copy, chunks(key, (0, 0, 1), count=2))
    wire.raises(s.STATUS_OBJECT_NAME_NOT_FOUND, copy, chunks(b"\1" * 24, (0, 0, 1)))
    wire.raises(s.STATUS_OBJECT_NAME_NOT_FOUND, copy, chunks(key[:16] + b"\1" * 8, (0, 0, 1)))
    wire.raises(s.STATUS_INVALID_DEVICE_REQUEST, copy, chunks(key_of(bench, bench.open("d")), (0, 0, 1)))
    del bench.session.opens[source.volatile_id]
    wire.raises(s.STATUS_OBJECT_NAME_NOT_FOUND, copy, chunks(key, (0, 0, 1)))


def test_a_copy_waits_for_the_break(bench: Bench) -> None:
    waiting: Future[None] = Future()
    bench.table.wait["break_caching"] = waiting
    source, target = bench.open("source"), bench.open("target")
    body = wire.ioctl(target, c.FSCTL_SRV_COPYCHUNK, chunks(key_of(bench, source), (0, 0, 1)))
    task: Task[Reply] = Task(handle(bench.request(c.IOCTL, body))).start()
    assert not task.done and calls(target) == []
    source.closed = True
    waiting.set_result(None)
    assert isinstance(task.error, NtStatusError) and task.error.status == s.STATUS_FILE_CLOSED
    assert calls(target) == []


# ------------------------------------------------------------------------------------------------------- cloned extents


def duplicate(source: Open, *ranges: int) -> bytes:
    return struct.pack("<QQqqq", *wire.ids(source), *ranges)


def test_duplicate_extents(bench: Bench) -> None:
    source, target = bench.open("source"), bench.open("target")
    assert isinstance(target.file, FakeFile)
    target.file.node.data.extend(bytes(16384))
    assert out(bench, target, c.FSCTL_DUPLICATE_EXTENTS_TO_FILE, duplicate(source, 0, 4096, 8192)) == b""
    assert calls(target)[0] == ("clone_range", 0, 4096, 8192)
    assert out(bench, target, c.FSCTL_DUPLICATE_EXTENTS_TO_FILE, duplicate(source, 0, 0, 0)) == b""
    assert len(calls(target)) == 2  # the clone and the fake's write, nothing for a length of 0


@pytest.mark.parametrize(
    ("ranges", "status"),
    [
        ((-1, 0, 1), s.STATUS_INVALID_PARAMETER), ((0, -1, 1), s.STATUS_INVALID_PARAMETER),
        ((0, 0, -1), s.STATUS_INVALID_PARAMETER), ((16384, 0, 1), s.STATUS_NOT_SUPPORTED),
        ((0, 4096, 1), s.STATUS_NOT_SUPPORTED), ((0, 0, 1 << 62), s.STATUS_NOT_SUPPORTED),
    ],
)  # fmt: skip
def test_bad_duplicate_ranges(bench: Bench, ranges: tuple[int, ...], status: int) -> None:
    target = bench.open("target")
    assert isinstance(target.file, FakeFile)
    target.file.node.data.extend(bytes(4096))
    data = duplicate(bench.open("source"), *ranges)
    wire.raises(status, control, bench, target, c.FSCTL_DUPLICATE_EXTENTS_TO_FILE, data)
    assert calls(target) == []


def test_only_a_sparse_target_grows(bench: Bench) -> None:
    """MS-FSCC 2.3.8 names no error for a target that is too short; smbtorture wants one, unless it is sparse."""
    source, target = bench.open("source"), bench.open("target")
    assert isinstance(target.file, FakeFile)
    data = duplicate(source, 0, 0, 4096)
    wire.raises(s.STATUS_NOT_SUPPORTED, control, bench, target, c.FSCTL_DUPLICATE_EXTENTS_TO_FILE, data)
    target.file.node.sparse = True
    assert out(bench, target, c.FSCTL_DUPLICATE_EXTENTS_TO_FILE, data) == b""


def test_duplicate_extents_ex(bench: Bench) -> None:
    """MS-FSCC 2.3.9.2: the same fields between StructureSize, which is 0x30, and Flags; atomic or not."""
    source, target = bench.open("source"), bench.open("target")
    assert isinstance(target.file, FakeFile)
    target.file.node.data.extend(bytes(16384))
    code, body = c.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX, duplicate(source, 0, 4096, 8192)
    for flags in (0, 1):
        calls(target).clear()
        assert out(bench, target, code, struct.pack("<Q", 0x30) + body + struct.pack("<II", flags, 9)) == b""
        assert calls(target)[0] == ("clone_range", 0, 4096, 8192)
    for size, flags, missing in ((0x38, 0, 0), (0x30, 2, 0), (0x30, 0, 1)):
        data = struct.pack("<Q", size) + body + struct.pack("<II", flags, 0)
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, target, code, data[: len(data) - missing])


def test_bad_duplicates(bench: Bench) -> None:
    code = c.FSCTL_DUPLICATE_EXTENTS_TO_FILE
    source, target = bench.open("source"), bench.open("target")
    assert isinstance(source.file, FakeFile) and isinstance(target.file, FakeFile)
    target.file.node.data.extend(bytes(4096))
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, target, code, duplicate(source, 0, 0, 1)[:-1])
    wire.raises(s.STATUS_INVALID_HANDLE, control, bench, target, code, struct.pack("<QQqqq", 9, 9, 0, 0, 1))
    wire.raises(s.STATUS_NOT_SUPPORTED, control, bench, source, code, duplicate(source, 0, 100, 4096))
    unreadable = bench.open("source", c.FILE_WRITE_DATA)
    wire.raises(s.STATUS_ACCESS_DENIED, control, bench, target, code, duplicate(unreadable, 0, 0, 1))
    source.file.node.sparse = True
    wire.raises(s.STATUS_NOT_SUPPORTED, control, bench, target, code, duplicate(source, 0, 0, 1))


# -------------------------------------------------------------------------------------------------------------- ranges


@pytest.mark.parametrize(("data", "sparse"), [(b"", True), (b"\1", True), (b"\0", False), (b"\2more", True)])
def test_set_sparse(bench: Bench, data: bytes, sparse: bool) -> None:
    open_ = bench.open("source")
    assert out(bench, open_, c.FSCTL_SET_SPARSE, data) == b""
    assert calls(open_) == [("set_sparse", sparse)]
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, bench.open("d"), c.FSCTL_SET_SPARSE, data)


def test_zero_data(bench: Bench) -> None:
    open_ = bench.open("source")
    assert out(bench, open_, c.FSCTL_SET_ZERO_DATA, struct.pack("<qq", 10, 20)) == b""
    assert calls(open_) == [("zero_data", 10, 20)]
    assert bench.table.calls == [
        ("check_io", open_.ref, 10, 10, True), ("break_caching", open_.ref, BreakKind(True, True, False)),
    ]  # fmt: skip
    assert out(bench, open_, c.FSCTL_SET_ZERO_DATA, struct.pack("<qq", 10, 10)) == b""
    assert len(calls(open_)) == 1
    for low, high in ((-1, 5), (6, 5), (5, -1)):
        data = struct.pack("<qq", low, high)
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, c.FSCTL_SET_ZERO_DATA, data)
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, c.FSCTL_SET_ZERO_DATA, bytes(15))
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, bench.open("d"), c.FSCTL_SET_ZERO_DATA, bytes(16))


def test_zero_data_over_a_lock(bench: Bench) -> None:
    holder = bench.open("source")
    assert holder.ref is not None
    bench.table.locks.append((holder.ref, LockElement(15, 1, True)))
    open_ = bench.open("source")
    data = struct.pack("<qq", 10, 20)
    wire.raises(s.STATUS_FILE_LOCK_CONFLICT, control, bench, open_, c.FSCTL_SET_ZERO_DATA, data)
    assert calls(open_) == []


def test_allocated_ranges(bench: Bench) -> None:
    node = bench.volume.add("sparse", b"x" * 4096 + bytes(4096) + b"y" * 100)
    node.sparse = True
    open_ = bench.open("sparse")
    code, everything = c.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", 0, 1 << 40)
    ranges = struct.pack("<qqqq", 0, 4096, 8192, 100)
    assert out(bench, open_, code, everything) == ranges
    assert out(bench, open_, code, everything + bytes(16)) == ranges
    assert out(bench, open_, code, everything, 32) == ranges
    for limit in (16, 31):
        reply = control(bench, open_, code, everything, limit)
        assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, ranges[:16])
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, open_, code, everything, 15)
    assert out(bench, open_, code, struct.pack("<qq", 4096, 4096), 0) == b""
    assert out(bench, open_, code, bytes(16), 0) == b""
    for bad in (b"", everything[:15], struct.pack("<qq", -1, 1), struct.pack("<qq", 512, -1),
                struct.pack("<qq", 1, (1 << 63) - 1)):  # fmt: skip
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, bad)


def test_allocated_ranges_of_a_file_with_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more are looked for than are answered (MS-FSCC 2.3.56)."""
    monkeypatch.setattr(limits, "ALLOCATED_RANGES", replace(limits.ALLOCATED_RANGES, value=3))
    node = bench.volume.add("sparse", (b"x" * 4096 + bytes(4096)) * 8)
    node.sparse = True
    open_ = bench.open("sparse")
    reply = control(bench, open_, c.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", 0, 1 << 40))
    expected = b"".join(struct.pack("<qq", number * 8192, 4096) for number in range(3))
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, expected)


def test_file_regions(bench: Bench) -> None:
    open_, code = bench.open("source"), c.FSCTL_QUERY_FILE_REGIONS
    assert out(bench, open_, code) == struct.pack("<IIIIqqII", 0, 1, 1, 0, 0, 16384, 1, 0)
    assert out(bench, open_, code, struct.pack("<qqII", 16000, 1000, 1, 0)) == struct.pack(
        "<IIIIqqII", 0, 1, 1, 0, 16000, 384, 1, 0
    )
    assert out(bench, open_, code, struct.pack("<qqII", 16384, 1, 1, 0)) == bytes(16)
    reply = control(bench, open_, code, b"", 39)
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, struct.pack("<IIII", 0, 1, 0, 0))
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, open_, code, b"", 15)
    for bad in (bytes(23), struct.pack("<qqII", 0, 1, 2, 0), struct.pack("<qqII", -1, 1, 1, 0)):
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, bad)


def test_trim(bench: Bench) -> None:
    open_, code = bench.open("source"), c.FSCTL_FILE_LEVEL_TRIM
    data = struct.pack("<IIQQQQ", 0, 2, 0, 4096, 16000, 1 << 20)
    assert out(bench, open_, code, data) == struct.pack("<I", 2)
    assert out(bench, open_, code, data, 0) == b""
    assert calls(open_)[:2] == [("zero_data", 0, 4096), ("zero_data", 16000, 16384)]
    for bad in (data[:-1], struct.pack("<II", 0, 0), b"\1" + data[1:], struct.pack("<IIQQ", 0, 1, 1 << 63, 1),
                struct.pack("<II", 0, 0xFFFFFFFF)):  # fmt: skip
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, bad)


# -------------------------------------------------------------------------------------------- compression, reparse, ids


def test_compression(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_info = bench.volume.volume_info()
    volume_info.attributes |= 0x10  # FILE_FILE_COMPRESSION
    monkeypatch.setattr(bench.volume, "volume_info", lambda: volume_info)
    open_ = bench.open("source")
    assert out(bench, open_, c.FSCTL_SET_COMPRESSION, b"\x02\0") == b""
    assert out(bench, open_, c.FSCTL_GET_COMPRESSION) == b"\x02\0"
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, open_, c.FSCTL_GET_COMPRESSION, b"", 1)
    for bad in (b"", b"\0", b"\x03\0", b"\xff\xff"):
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, c.FSCTL_SET_COMPRESSION, bad)


def test_compression_where_there_is_none(bench: Bench) -> None:
    open_ = bench.open("source")
    assert out(bench, open_, c.FSCTL_GET_COMPRESSION) == b"\0\0"
    assert out(bench, open_, c.FSCTL_SET_COMPRESSION, b"\0\0") == b""
    for state in (b"\1\0", b"\2\0"):
        wire.raises(s.STATUS_NOT_SUPPORTED, control, bench, open_, c.FSCTL_SET_COMPRESSION, state)
    assert calls(open_) == []


SYMLINK = 0xA000000C


def reparse(tag: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<IHH", tag, len(data) if length is None else length, 0) + data


def test_reparse_points(bench: Bench) -> None:
    open_ = bench.open("target")
    wire.raises(s.STATUS_NOT_A_REPARSE_POINT, control, bench, open_, c.FSCTL_GET_REPARSE_POINT)
    out(bench, open_, c.FSCTL_SET_REPARSE_POINT, reparse(SYMLINK, b"somewhere"))
    whole = reparse(SYMLINK, b"somewhere")
    assert out(bench, open_, c.FSCTL_GET_REPARSE_POINT) == whole
    assert out(bench, open_, c.FSCTL_GET_REPARSE_POINT, b"", len(whole)) == whole
    reply = control(bench, open_, c.FSCTL_GET_REPARSE_POINT, b"", len(whole) - 1)
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, whole[:-1])
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, open_, c.FSCTL_GET_REPARSE_POINT, b"", 7)
    out(bench, open_, c.FSCTL_DELETE_REPARSE_POINT, reparse(SYMLINK, b""))
    assert calls(open_) == [("set_reparse_point", SYMLINK, b"somewhere"), ("delete_reparse_point", SYMLINK)]


def test_reparse_points_of_other_vendors_carry_a_guid(bench: Bench) -> None:
    open_ = bench.open("target")
    data = reparse(0x1234, b"G" * 16 + b"data", 4)
    out(bench, open_, c.FSCTL_SET_REPARSE_POINT, data)
    assert out(bench, open_, c.FSCTL_GET_REPARSE_POINT) == data
    out(bench, open_, c.FSCTL_DELETE_REPARSE_POINT, reparse(0x1234, b"G" * 16, 0))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", s.STATUS_IO_REPARSE_DATA_INVALID),
        (bytes(7), s.STATUS_IO_REPARSE_DATA_INVALID),
        (reparse(0, b""), s.STATUS_IO_REPARSE_TAG_INVALID),
        (reparse(1, b""), s.STATUS_IO_REPARSE_TAG_INVALID),
        (reparse(SYMLINK, b"abc", 2), s.STATUS_IO_REPARSE_DATA_INVALID),
        (reparse(SYMLINK, b"abc", 4), s.STATUS_IO_REPARSE_DATA_INVALID),
        (reparse(0x1234, b"abc"), s.STATUS_IO_REPARSE_DATA_INVALID),
        (reparse(SYMLINK, bytes(16385)), s.STATUS_IO_REPARSE_DATA_INVALID),
    ],
)
@pytest.mark.parametrize("code", [c.FSCTL_SET_REPARSE_POINT, c.FSCTL_DELETE_REPARSE_POINT])
def test_bad_reparse_data(bench: Bench, code: int, data: bytes, status: int) -> None:
    open_ = bench.open("target")
    wire.raises(status, control, bench, open_, code, data)
    assert calls(open_) == []


def test_deleting_a_reparse_point_takes_no_data(bench: Bench) -> None:
    data = reparse(SYMLINK, b"x")
    wire.raises(
        s.STATUS_IO_REPARSE_DATA_INVALID, control, bench, bench.open("target"), c.FSCTL_DELETE_REPARSE_POINT, data
    )


def test_object_ids(bench: Bench) -> None:
    """MS-FSA 2.1.5.10.1: one of the two codes makes an id, the other finds it."""
    own = (102).to_bytes(16, "little")
    open_ = bench.open("source")
    wire.raises(s.STATUS_OBJECTID_NOT_FOUND, control, bench, open_, c.FSCTL_GET_OBJECT_ID)
    for code in (c.FSCTL_CREATE_OR_GET_OBJECT_ID, c.FSCTL_GET_OBJECT_ID):
        assert out(bench, open_, code) == own + bytes(range(16)) + own + bytes(16)
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, b"", 63)


def test_no_object_id_is_made_on_a_read_only_share(bench: Bench) -> None:
    open_ = bench.open("source")
    bench.tree.read_only = True
    wire.raises(s.STATUS_MEDIA_WRITE_PROTECTED, control, bench, open_, c.FSCTL_CREATE_OR_GET_OBJECT_ID)
    wire.raises(s.STATUS_OBJECTID_NOT_FOUND, control, bench, open_, c.FSCTL_GET_OBJECT_ID)
    assert not file_of(open_).node.has_object_id
    file_of(open_).node.has_object_id = True
    for code in (c.FSCTL_CREATE_OR_GET_OBJECT_ID, c.FSCTL_GET_OBJECT_ID):
        assert out(bench, open_, code)[:16] == (102).to_bytes(16, "little")


def test_ntfs_volume_data(bench: Bench) -> None:
    code = c.FSCTL_GET_NTFS_VOLUME_DATA
    assert out(bench, bench.open("d"), code) == struct.pack(
        "<QQQQQIIIIQQQQQ", 0xCAFEBABE, 8000, 1000, 600, 0, 512, 4096, 1024, 0, 0, 0, 0, 0, 0
    )
    # MS-SMB2 2.2.2.2: the error tells the size that is needed
    assert wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, bench.open("d"), code, b"", 95).data == b"\x60\0\0\0"


def test_snapshots(bench: Bench) -> None:
    open_, code = bench.open("d"), c.FSCTL_SRV_ENUMERATE_SNAPSHOTS
    assert out(bench, open_, code, b"", 16) == struct.pack("<IIII", 0, 0, 2, 0)
    # 2024-02-29 12:34:56 and the epoch of Unix
    bench.volume.previous_versions = [133536836960000000, 116444736000000000]
    assert out(bench, open_, code, b"", 16) == struct.pack("<IIII", 2, 0, 102, 0)
    assert out(bench, open_, code, b"", 113) == struct.pack("<IIII", 2, 0, 102, 0)
    tokens = "@GMT-2024.02.29-12.34.56\0@GMT-1970.01.01-00.00.00\0\0".encode("utf-16-le")
    assert out(bench, open_, code, b"", 114) == struct.pack("<III", 2, 2, 102) + tokens
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, b"", 15)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (c.FSCTL_OFFLOAD_READ, s.STATUS_NOT_SUPPORTED), (c.FSCTL_OFFLOAD_WRITE, s.STATUS_NOT_SUPPORTED),
        (c.FSCTL_SET_OBJECT_ID, s.STATUS_ACCESS_DENIED), (c.FSCTL_DELETE_OBJECT_ID, s.STATUS_INVALID_DEVICE_REQUEST),
        (c.FSCTL_SRV_READ_HASH, s.STATUS_NOT_SUPPORTED), (c.FSCTL_LMR_REQUEST_RESILIENCY, s.STATUS_NOT_SUPPORTED),
        (c.FSCTL_GET_INTEGRITY_INFORMATION, s.STATUS_INVALID_DEVICE_REQUEST),
        (c.FSCTL_SET_INTEGRITY_INFORMATION, s.STATUS_INVALID_DEVICE_REQUEST),
    ],
)  # fmt: skip
def test_refused_as_specified(bench: Bench, code: int, status: int) -> None:
    wire.raises(status, control, bench, bench.open("source"), code, bytes(64))


def test_resiliency_is_checked_first() -> None:
    code = c.FSCTL_LMR_REQUEST_RESILIENCY
    for dialect, data, status in (
        (c.DIALECT_202, bytes(8), s.STATUS_INVALID_DEVICE_REQUEST),
        (c.DIALECT_210, bytes(7), s.STATUS_INVALID_PARAMETER),
        # 3.3.5.15.9: seconds are compared, so that part of one is no excess
        (c.DIALECT_210, struct.pack("<II", 301_000, 0), s.STATUS_INVALID_PARAMETER),
    ):
        bench = Bench(dialect)
        bench.server.settings.durable_handles = True
        wire.raises(status, control, bench, bench.open(""), code, data)
        assert not bench.table.calls


@pytest.mark.parametrize(("asked", "granted"), [(0, 120_000), (1, 1), (300_999, 300_999)])
def test_an_open_becomes_resilient(bench: Bench, asked: int, granted: int) -> None:
    """MS-SMB2 3.3.5.15.9: Open.IsResilient, no longer Open.IsDurable; Reserved is ignored."""
    bench.server.settings.durable_handles = True
    open_ = bench.open("source")
    open_.is_durable = True
    assert out(bench, open_, c.FSCTL_LMR_REQUEST_RESILIENCY, struct.pack("<II", asked, 0xFFFFFFFF)) == b""
    assert (open_.is_resilient, open_.is_durable, open_.durable_timeout) == (True, False, granted)
    assert bench.table.calls == [("make_resilient", open_.ref, granted)]


def test_set_object_id_takes_one_structure(bench: Bench) -> None:
    """MS-FSA 2.1.5.10.35: the size is checked before the right to restore."""
    for size in (0, 63, 65):
        wire.raises(
            s.STATUS_INVALID_PARAMETER, control, bench, bench.open("source"), c.FSCTL_SET_OBJECT_ID, bytes(size)
        )


# --------------------------------------------------------------------------------------------------------------- pipes


def test_transceive(bench: Bench) -> None:
    open_, code = bench.open_pipe(), c.FSCTL_PIPE_TRANSCEIVE
    assert out(bench, open_, code, b"bind", 1024) == b"bind"
    assert bench.daemon.calls == [("rpc_transceive", 77, b"bind", 1024)]
    bench.daemon.pipe_reply = b"a longer answer"
    reply = control(bench, open_, code, b"x", 8)
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, b"a longer")
    bench.daemon.fail["rpc_transceive"] = s.STATUS_IO_TIMEOUT
    wire.raises(s.STATUS_IO_TIMEOUT, control, bench, open_, code, b"x")


def test_peek(bench: Bench) -> None:
    """MS-SMB2 3.3.5.15.4, MS-FSCC 2.3.46: nothing, a message, part of one, no room; and the message stays."""
    open_, code = bench.open_pipe(), c.FSCTL_PIPE_PEEK
    assert out(bench, open_, code, b"", 16) == struct.pack("<IIII", 3, 0, 0, 0)
    bench.daemon.pipe_reply = b"the answer"
    control(bench, open_, c.FSCTL_PIPE_TRANSCEIVE, b"call", 0)
    head = struct.pack("<IIII", 3, 10, 1, 10)
    for _ in range(2):
        assert out(bench, open_, code, b"", 26) == head + b"the answer"
    for limit, expected in ((25, head + b"the answe"), (16, head), (3, head[:3]), (0, b"")):
        reply = control(bench, open_, code, b"", limit)
        assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, expected)
    bench.daemon.fail["rpc_peek"] = s.STATUS_PIPE_BROKEN
    wire.raises(s.STATUS_PIPE_BROKEN, control, bench, open_, code)


def test_pipe_wait(bench: Bench) -> None:
    def wait(tree: Any, name: str, length: int | None = None) -> Reply:
        raw = name.encode("utf-16-le")
        data = struct.pack("<QIBB", 0, len(raw) if length is None else length, 1, 0) + raw
        return bench.run(handle, bench.request(c.IOCTL, wire.ioctl(None, c.FSCTL_PIPE_WAIT, data), tree))

    assert wire.output(wait(bench.ipc, "srvsvc"), 48) == b""
    assert [call[0] for call in bench.daemon.calls] == ["rpc_open", "rpc_close"]
    wire.raises(s.STATUS_OBJECT_NAME_NOT_FOUND, wait, bench.ipc, "absent")
    wire.raises(s.STATUS_INVALID_DEVICE_REQUEST, wait, bench.tree, "srvsvc")
    wire.raises(s.STATUS_INVALID_PARAMETER, wait, bench.ipc, "srvsvc", 14)
    wire.raises(s.STATUS_INVALID_PARAMETER, wait, bench.ipc, "srvsvc", 3)


# ---------------------------------------------------------------------------------------------------------- connection

DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302)


def negotiated(dialect: int = c.DIALECT_302) -> Bench:
    bench = Bench(dialect)
    bench.connection.client_dialects = tuple(each for each in DIALECTS if each <= dialect)
    bench.server.settings.server_guid = b"S" * 16
    return bench


def validate(
    capabilities: int = 0x7F, guid: bytes = b"G" * 16, mode: int = 1, dialects: tuple[int, ...] = DIALECTS
) -> bytes:
    count = len(dialects)
    return struct.pack("<I16sHH", capabilities, guid, mode, count) + struct.pack(f"<{count}H", *dialects)


def test_validate_negotiate() -> None:
    bench = negotiated()
    assert out(bench, None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, validate(), 24) == struct.pack(
        "<I16sHH", 0x44, b"S" * 16, 1, 0x0302
    )
    bench = negotiated(c.DIALECT_210)
    data = validate(capabilities=0, dialects=(0x0202, 0x0210))
    assert out(bench, None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, data)[-2:] == b"\x10\x02"


@pytest.mark.parametrize(
    "data",
    [
        validate(capabilities=0x7E), validate(guid=b"H" * 16), validate(mode=3), validate(dialects=()),
        validate(dialects=(0x0202, 0x0210, 0x0300)), validate(dialects=(0x0202, 0x0210, 0x0302)),
        validate(dialects=(*DIALECTS, 0x0311)), validate()[:-1], validate()[:23], b"",
    ],
)  # fmt: skip
def test_a_changed_negotiate_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ConnectionFatal):
        control(negotiated(), None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, data)


def test_validate_negotiate_without_room_or_on_311() -> None:
    with pytest.raises(ConnectionFatal):
        control(negotiated(), None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, validate(), 23)
    with pytest.raises(ConnectionFatal):
        control(Bench(c.DIALECT_311), None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, validate())


def test_network_interfaces(bench: Bench) -> None:
    code = c.FSCTL_QUERY_NETWORK_INTERFACE_INFO
    bench.server.settings.interfaces = lambda local: [
        NetworkInterface(2, 1, 10_000_000_000, "192.0.2.1"), NetworkInterface(3, 2, 1000, "2001:db8::1"),
    ]  # fmt: skip
    first = struct.pack("<IIIIQ", 152, 2, 1, 0, 10_000_000_000) + b"\x02\0\0\0\xc0\0\x02\x01" + bytes(120)
    second = struct.pack("<IIIIQ", 0, 3, 2, 0, 1000) + b"\x17\0" + bytes(6)
    second += bytes.fromhex("20010db8000000000000000000000001") + bytes(104)
    assert out(bench, None, code, b"", 304) == first + second
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, None, code, b"", 303)
    bench.server.settings.interfaces = lambda local: [NetworkInterface(2, 0, 1000, local)]
    assert out(bench, None, code, b"", 152)[28:32] == b"\xc0\0\x02\x07", "asked for the address that the client uses"
    wire.raises(s.STATUS_INVALID_DEVICE_REQUEST, control, Bench(c.DIALECT_210), None, code)


def test_no_dfs(bench: Bench) -> None:
    for code in (c.FSCTL_DFS_GET_REFERRALS, c.FSCTL_DFS_GET_REFERRALS_EX):
        wire.raises(s.STATUS_FS_DRIVER_REQUIRED, control, bench, None, code, bytes(20))


# ----------------------------------------------------------------------------------------------------------- malformed


@pytest.mark.parametrize(
    ("layout", "offset", "value", "status"),
    [
        ("<H", 0, 56, s.STATUS_INVALID_PARAMETER),
        ("<Q", 8, 1, s.STATUS_FILE_CLOSED),
        ("<Q", 16, 1, s.STATUS_FILE_CLOSED),
        ("<I", 24, 0, s.STATUS_INVALID_PARAMETER),  # InputOffset
        ("<I", 24, 119, s.STATUS_INVALID_PARAMETER),
        ("<I", 24, 121, s.STATUS_INVALID_PARAMETER),
        ("<I", 24, 0xFFFFFFFF, s.STATUS_INVALID_PARAMETER),
        ("<I", 28, 17, s.STATUS_INVALID_PARAMETER),  # InputCount
        ("<I", 28, 0xFFFFFFFF, s.STATUS_INVALID_PARAMETER),
        ("<I", 32, (4 << 20) + 1, s.STATUS_INVALID_PARAMETER),  # MaxInputResponse
        ("<I", 40, 1, s.STATUS_INVALID_PARAMETER),  # OutputCount with OutputOffset 0
        ("<I", 44, (4 << 20) + 1, s.STATUS_INVALID_PARAMETER),  # MaxOutputResponse
        ("<I", 48, 0, s.STATUS_NOT_SUPPORTED),  # Flags
        ("<I", 48, 2, s.STATUS_NOT_SUPPORTED),
    ],
)
def test_bad_fields(bench: Bench, layout: str, offset: int, value: int, status: int) -> None:
    body = bytearray(wire.ioctl(bench.open("source"), c.FSCTL_QUERY_ALLOCATED_RANGES, bytes(16)))
    struct.pack_into(layout, body, offset, value)
    wire.raises(status, bench.run, handle, bench.request(c.IOCTL, bytes(body)))


def test_short_bodies(bench: Bench) -> None:
    whole = wire.ioctl(bench.open("source"), c.FSCTL_QUERY_ALLOCATED_RANGES, bytes(16))
    for length in range(len(whole)):
        wire.raises(s.STATUS_INVALID_PARAMETER, bench.run, handle, bench.request(c.IOCTL, whole[:length]))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    code=st.sampled_from(sorted(RULES)) | st.integers(0, 0xFFFFFFFF), data=st.binary(max_size=100),
    limit=st.integers(0, 200), kind=st.sampled_from(("file", "directory", "pipe", "none")),
    dialect=st.sampled_from((0x0202, 0x0210, 0x0302, 0x0311)),
)  # fmt: skip
def test_fuzz(code: int, data: bytes, limit: int, kind: str, dialect: int) -> None:
    bench = Bench(dialect)
    bench.volume.add("file", b"x" * 100)
    opens: dict[str, Callable[[], Open]] = {
        "file": lambda: bench.open("file"), "directory": lambda: bench.open(""), "pipe": lambda: bench.open_pipe(),
    }  # fmt: skip
    open_ = opens[kind]() if kind in opens else None
    try:
        reply = control(bench, open_, code, data, limit)
    except (NtStatusError, ConnectionFatal):
        return
    assert len(wire.output(reply, 48)) <= limit


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ranges=st.lists(
        st.tuples(
            st.integers(0, 20000) | st.integers(0, (1 << 64) - 1),
            # The fake file would really be as large as its last byte's offset, so nothing between the two.
            st.integers(0, 20000) | st.integers(1 << 63, (1 << 64) - 1),
            st.integers(0, 20000) | st.integers(0, (1 << 32) - 1),
        ),
        max_size=5,
    )
)
def test_fuzz_copy(bench: Bench, ranges: list[tuple[int, int, int]]) -> None:
    key = key_of(bench, bench.open("source"))
    reply = control(bench, bench.open("target"), c.FSCTL_SRV_COPYCHUNK, chunks(key, *ranges))
    assert len(wire.output(reply, 48)) == 12


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=120))
def test_fuzz_any_bytes(bench: Bench, body: bytes) -> None:
    with pytest.raises((NtStatusError, ConnectionFatal)):
        bench.run(handle, bench.request(c.IOCTL, b"\x39\0" + body))
