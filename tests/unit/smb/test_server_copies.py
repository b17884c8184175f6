# SPDX-License-Identifier: GPL-2.0-or-later
"""IOCTL: copies that the server makes (MS-SMB2 3.3.5.15.6), and extents that files share (MS-FSCC 2.3.7)."""
from __future__ import annotations

import struct

import pytest
import wire
from bench import Bench
from fake_files import FakeFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ioctl_requests import calls, control, out

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ioctl import handle
from ksmbd.smb.model import Open
from ksmbd.smb.ports import BreakKind, LockElement
from ksmbd.smb.request import Reply
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future, Task

MIB = 1 << 20


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
