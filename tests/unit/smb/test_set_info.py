# SPDX-License-Identifier: GPL-2.0-or-later
"""SET_INFO: what each class does and needs, its lengths, the open table's say, malformed requests."""
from __future__ import annotations

import struct
from typing import Any

import pytest
import wire
from bench import Bench, body_of, is_done
from fake_files import FakeFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.model import Open
from ksmbd.smb.ports import BreakKind, LeaseGrant, Replaced
from ksmbd.smb.request import Reply
from ksmbd.smb.set_file import SET_CLASSES
from ksmbd.smb.set_info import handle
from ksmbd.smb.status import ConnectionFatal, NtStatusError
from ksmbd.smb.waiting import Future, Task

ROOT_KEY = (1, 101)
DIRECTORY_KEY = (1, 102)
GUID = b"G" * 16


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.volume.add("d", None)
    bench.volume.add("d\\file", b"x" * 5000)
    bench.volume.add("d\\other", b"other")
    return bench


def change(bench: Bench, open_: Open, info_class: int, data: bytes, info_type: int = 1, additional: int = 0) -> Reply:
    body = wire.set_info(open_, info_type, info_class, data, additional)
    return bench.run(handle, bench.request(c.SET_INFO, body, open_.tree))


def calls(open_: Open) -> list[tuple[Any, ...]]:
    assert isinstance(open_.file, FakeFile)
    return open_.file.calls


def target(name: str, flags: int = 0, root: int = 0) -> bytes:
    """FILE_RENAME_INFORMATION_TYPE_2 and FILE_LINK_INFORMATION_TYPE_2."""
    raw = name.encode("utf-16-le")
    return struct.pack("<B7xQI", flags, root, len(raw)) + raw


def basic(*times: int, attributes: int = 0) -> bytes:
    return struct.pack("<qqqqII", *times, attributes, 0)


VALID = {
    4: basic(1, 2, 3, 4, attributes=0x20),
    10: target("d\\renamed"),
    11: target("d\\linked"),
    13: b"\x01",
    14: struct.pack("<q", 8192),
    15: struct.pack("<IBBH", 0, 0, 3, 3) + b"KEY\0val",
    16: struct.pack("<I", 4),
    19: struct.pack("<q", 4096),
    20: struct.pack("<q", 10),
    64: struct.pack("<I", 1),
    65: struct.pack("<IIQI", 1, 0, 0, 18) + "d\\renamed".encode("utf-16-le"),
}
REFUSED = {
    23: (struct.pack("<II", 1, 0), s.STATUS_INVALID_PARAMETER),  # no pipe
    39: (struct.pack("<q", 10), s.STATUS_PRIVILEGE_NOT_HELD),
    40: (struct.pack("<I", 2) + b"A\0", s.STATUS_NOT_SUPPORTED),
}
SIZES = {4: 40, 10: 20, 11: 20, 13: 1, 14: 8, 15: 8, 16: 4, 19: 8, 20: 8, 23: 8, 39: 8, 40: 4, 64: 4, 65: 20}
ACCESS = {
    4: c.FILE_WRITE_ATTRIBUTES, 10: c.DELETE, 13: c.DELETE, 15: c.FILE_WRITE_EA, 19: c.FILE_WRITE_DATA,
    20: c.FILE_WRITE_DATA, 23: c.FILE_WRITE_ATTRIBUTES, 39: c.FILE_WRITE_DATA, 40: c.DELETE, 64: c.DELETE, 65: c.DELETE,
}  # fmt: skip


def payload(info_class: int) -> bytes:
    return VALID[info_class] if info_class in VALID else REFUSED[info_class][0]


def test_the_tables_name_every_class() -> None:
    assert set(VALID) | set(REFUSED) == set(SIZES) == set(SET_CLASSES)


@pytest.mark.parametrize("info_class", sorted(VALID))
def test_success(bench: Bench, info_class: int) -> None:
    reply = change(bench, bench.open("d\\file"), info_class, VALID[info_class])
    assert (reply.status, body_of(reply)) == (s.STATUS_SUCCESS, b"\x02\0")


@pytest.mark.parametrize("info_class", sorted(REFUSED))
def test_refused(bench: Bench, info_class: int) -> None:
    data, status = REFUSED[info_class]
    wire.raises(status, change, bench, bench.open("d\\file"), info_class, data)


@pytest.mark.parametrize("info_class", sorted(SIZES))
def test_lengths(bench: Bench, info_class: int) -> None:
    open_ = bench.open("d\\file")
    for length in range(SIZES[info_class]):
        data = payload(info_class)[:length]
        wire.raises(s.STATUS_INFO_LENGTH_MISMATCH, change, bench, open_, info_class, data)
    assert calls(open_) == []
    assert bench.table.calls == []


@pytest.mark.parametrize("info_class", sorted(ACCESS))
def test_access(bench: Bench, info_class: int) -> None:
    open_ = bench.open("d\\file", c.FILE_ALL_ACCESS & ~ACCESS[info_class])
    wire.raises(s.STATUS_ACCESS_DENIED, change, bench, open_, info_class, payload(info_class))
    assert calls(open_) == [] and bench.table.calls == []
    if info_class in VALID:
        change(bench, bench.open("d\\file", ACCESS[info_class]), info_class, VALID[info_class])


@pytest.mark.parametrize("info_class", sorted(set(SIZES) - set(ACCESS)))
def test_no_access_needed(bench: Bench, info_class: int) -> None:
    change(bench, bench.open("d\\file", c.SYNCHRONIZE), info_class, VALID[info_class])


@pytest.mark.parametrize("info_class", sorted(SIZES))
def test_read_only_share(bench: Bench, info_class: int) -> None:
    bench.tree.read_only = True
    open_ = bench.open("d\\file")
    if info_class in (14, 16):
        change(bench, open_, info_class, VALID[info_class])
    elif info_class != 23:
        wire.raises(s.STATUS_ACCESS_DENIED, change, bench, open_, info_class, payload(info_class))
    assert calls(open_) == [] and bench.table.calls == []


@pytest.mark.parametrize(
    ("info_class", "status"),
    [(0, s.STATUS_INVALID_INFO_CLASS), (5, s.STATUS_INVALID_INFO_CLASS), (18, s.STATUS_INVALID_INFO_CLASS),
     (36, s.STATUS_NOT_SUPPORTED), (71, s.STATUS_NOT_SUPPORTED), (255, s.STATUS_INVALID_INFO_CLASS)],
)  # fmt: skip
def test_other_classes(bench: Bench, info_class: int, status: int) -> None:
    wire.raises(status, change, bench, bench.open("d\\file"), info_class, bytes(64))


# -------------------------------------------------------------------------------------------------------------- basic


def test_basic(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    change(bench, open_, 4, basic(0, -1, -2, 7, attributes=c.FILE_ATTRIBUTE_HIDDEN))
    assert calls(open_) == [("set_basic", 0, -1, -2, 7, c.FILE_ATTRIBUTE_HIDDEN)]
    assert bench.table.calls == [("directory_changed", DIRECTORY_KEY, b"", GUID)]


@pytest.mark.parametrize("position", range(4))
def test_basic_times_before_the_epoch(bench: Bench, position: int) -> None:
    times = [0, 0, 0, 0]
    times[position] = -3
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open("d\\file"), 4, basic(*times))


def test_basic_types(bench: Bench) -> None:
    directory, temporary = c.FILE_ATTRIBUTE_DIRECTORY, c.FILE_ATTRIBUTE_TEMPORARY
    data = basic(0, 0, 0, 0, attributes=directory)
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open("d\\file"), 4, data)
    change(bench, bench.open("d"), 4, data)
    data = basic(0, 0, 0, 0, attributes=temporary)
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open("d"), 4, data)
    change(bench, bench.open("d\\file"), 4, data)


# ------------------------------------------------------------------------------------------------------------- rename


def test_rename_in_its_directory(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    change(bench, open_, 10, target("d\\New Name"))
    assert calls(open_) == [("rename", "d\\New Name", False, False)]
    assert bench.table.calls == [
        ("check_rename", open_.ref, None),
        ("renamed", open_.ref, "d\\New Name", DIRECTORY_KEY, b"New Name"),
        ("directory_changed", DIRECTORY_KEY, b"", GUID),
    ]


def test_rename_into_another_directory_with_a_parent_lease(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    open_.lease = LeaseGrant(b"L" * 16, 7, 2, 4, b"P" * 16)
    change(bench, open_, 10, target("moved"))
    assert bench.table.calls[2:] == [
        ("directory_changed", DIRECTORY_KEY, b"P" * 16, GUID),
        ("directory_changed", ROOT_KEY, b"P" * 16, GUID),
    ]


def test_rename_onto_another_file(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    wire.raises(s.STATUS_OBJECT_NAME_COLLISION, change, bench, open_, 10, target("d\\OTHER"))
    assert calls(open_) == [] and bench.table.calls == []
    change(bench, open_, 10, target("d\\OTHER", flags=1))
    assert calls(open_) == [("rename", "d\\OTHER", True, False)]
    assert bench.table.calls[0] == ("check_rename", open_.ref, Replaced((1, 104), DIRECTORY_KEY, b"other"))
    assert all(file.closed for file in bench.volume.opened)


def test_rename_of_case_alone(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    change(bench, open_, 10, target("d\\FILE"))
    assert bench.table.calls[0] == ("check_rename", open_.ref, None)
    assert calls(open_) == [("rename", "d\\FILE", False, False)]


def test_rename_to_itself(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    change(bench, open_, 10, target("d\\file"))
    assert calls(open_) == [] and bench.table.calls == []


def test_rename_without_padding_and_with_leading_separator(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    assert len(target("n")) == 22
    change(bench, open_, 10, target("n"))
    change(bench, open_, 10, target("\\d\\back"))
    assert calls(open_) == [("rename", "n", False, False), ("rename", "d\\back", False, False)]


def test_rename_of_a_posix_open(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    open_.is_posix = True
    change(bench, open_, 10, target("d/a:b"))
    assert calls(open_) == [("rename", "d\\a\uf022b", False, True)]
    assert bench.table.calls[0] == ("check_rename", open_.ref, None, "posix")
    folder = bench.open("d")
    folder.is_posix = True
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, folder, 10, target("d/x"))


def test_rename_ex(bench: Bench) -> None:
    def ex(flags: int, name: str) -> bytes:
        raw = name.encode("utf-16-le")
        return struct.pack("<IIQI", flags, 0, 0, len(raw)) + raw

    open_ = bench.open("d\\file")
    wire.raises(s.STATUS_OBJECT_NAME_COLLISION, change, bench, open_, 65, ex(2, "d\\other"))
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, open_, 65, ex(0x80, "d\\other"))
    change(bench, open_, 65, ex(3, "d\\other"))
    assert calls(open_) == [("rename", "d\\other", True, True)]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (target("x", root=1), s.STATUS_INVALID_PARAMETER),
        (target(""), s.STATUS_INVALID_PARAMETER),
        (struct.pack("<B7xQI", 0, 0, 3) + b"abc", s.STATUS_INVALID_PARAMETER),
        (struct.pack("<B7xQI", 0, 0, 200) + b"a\0", s.STATUS_INVALID_PARAMETER),
        (struct.pack("<B7xQI", 0, 0, 0xFFFFFFFF) + b"a\0", s.STATUS_INVALID_PARAMETER),
        (target("a*b"), s.STATUS_OBJECT_NAME_INVALID),
        (target("..\\b"), s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        (target("d\\x:stream"), s.STATUS_OBJECT_NAME_INVALID),
        (target("\\"), s.STATUS_OBJECT_NAME_INVALID),
        (target(":stream"), s.STATUS_INVALID_PARAMETER),
        (target("absent\\x"), s.STATUS_OBJECT_PATH_NOT_FOUND),
    ],
)
@pytest.mark.parametrize("info_class", [10, 11])
def test_bad_targets(bench: Bench, info_class: int, data: bytes, status: int) -> None:
    open_ = bench.open("d\\file")
    if info_class == 11 and data == target(":stream"):
        status = s.STATUS_OBJECT_NAME_INVALID
    wire.raises(status, change, bench, open_, info_class, data)
    assert calls(open_) == []


def test_what_cannot_be_renamed(bench: Bench) -> None:
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open(""), 10, target("x"))
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open("d"), 10, target("D\\inside"))
    open_ = bench.open("d\\file")
    bench.table.fail["check_rename"] = s.STATUS_ACCESS_DENIED
    wire.raises(s.STATUS_ACCESS_DENIED, change, bench, open_, 10, target("x"))
    assert calls(open_) == []
    assert open_.file is not None
    bench.table.pending_delete.add(open_.file.key)
    del bench.table.fail["check_rename"]
    wire.raises(s.STATUS_ACCESS_DENIED, change, bench, open_, 10, target("x"))


def open_stream(bench: Bench) -> Open:
    node = bench.volume.find("d\\file")
    assert node is not None
    node.streams["old"] = bytearray(b"of the stream")
    return bench.open("d\\file", stream="old")


@pytest.mark.parametrize("name", [":new", ":new:$DATA", ":new:$data"])
def test_rename_of_a_stream(bench: Bench, name: str) -> None:
    open_ = open_stream(bench)
    before = open_.ref
    change(bench, open_, 10, target(name))
    assert calls(open_) == [("rename", ":new", False, False)]
    assert bench.table.calls[0] == ("check_stream_rename", before, "new")


def test_a_stream_becomes_the_unnamed_one(bench: Bench) -> None:
    """MS-FSA 2.1.5.15.11.1: the open goes on, as one of the file's data."""
    open_ = open_stream(bench)
    before, stream = open_.ref, open_.file
    assert before is not None
    change(bench, open_, 10, target("::$DATA", flags=1))
    assert bench.table.calls[:2] == [("check_stream_rename", before, ""), ("stream_renamed", before, "")]
    assert open_.ref == before._replace(stream="")
    assert isinstance(stream, FakeFile) and stream.calls == [("become_unnamed", True)] and stream.closed
    assert open_.file is not None and open_.file.stream == "" and open_.file.read(0, 100) == b"of the stream"


@pytest.mark.parametrize("who", ["table", "file"])
def test_a_stream_that_may_not_become_the_unnamed_one(bench: Bench, who: str) -> None:
    open_ = open_stream(bench)
    before, stream = open_.ref, open_.file
    assert isinstance(stream, FakeFile)
    if who == "table":
        bench.table.fail["check_stream_rename"] = s.STATUS_SHARING_VIOLATION
    else:
        stream.fail["become_unnamed"] = s.STATUS_SHARING_VIOLATION
    wire.raises(s.STATUS_SHARING_VIOLATION, change, bench, open_, 10, target("::$DATA", flags=1))
    assert (open_.ref, open_.file) == (before, stream)
    assert stream.calls == ([("become_unnamed", True)] if who == "file" else [])
    assert [name for name, *_ in bench.table.calls] == ["check_stream_rename"] and not stream.closed


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("plain", s.STATUS_SHARING_VIOLATION), ("d\\file:x", s.STATUS_SHARING_VIOLATION),
        (":", s.STATUS_INVALID_PARAMETER), (":a:$INDEX_ALLOCATION", s.STATUS_INVALID_PARAMETER),
        (":a\\b", s.STATUS_OBJECT_NAME_INVALID),
    ],
)  # fmt: skip
def test_bad_stream_names(bench: Bench, name: str, status: int) -> None:
    node = bench.volume.find("d\\file")
    assert node is not None
    node.streams["old"] = bytearray()
    open_ = bench.open("d\\file", stream="old")
    wire.raises(status, change, bench, open_, 10, target(name))
    assert calls(open_) == []


# --------------------------------------------------------------------------------------------------------------- link


def test_link(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    change(bench, open_, 11, target("d\\second"))
    assert calls(open_) == [("link", "d\\second", False)]
    wire.raises(s.STATUS_OBJECT_NAME_COLLISION, change, bench, open_, 11, target("d\\other"))
    change(bench, open_, 11, target("d\\other", flags=1))
    assert bench.table.calls[-2] == ("check_replace", Replaced((1, 104), DIRECTORY_KEY, b"other"))
    wire.raises(s.STATUS_FILE_IS_A_DIRECTORY, change, bench, bench.open("d"), 11, target("e"))
    wire.raises(s.STATUS_OBJECT_NAME_COLLISION, change, bench, open_, 11, target("d\\file"))


# -------------------------------------------------------------------------------------------------------- disposition


def test_disposition(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    change(bench, open_, 13, b"\x01")
    change(bench, open_, 13, b"\x00")
    assert bench.table.calls == [
        ("set_delete_on_close", open_.ref, True), ("set_delete_on_close", open_.ref, False),
    ]  # fmt: skip


def test_what_cannot_be_deleted(bench: Bench) -> None:
    wire.raises(s.STATUS_DIRECTORY_NOT_EMPTY, change, bench, bench.open("d"), 13, b"\x01")
    wire.raises(s.STATUS_CANNOT_DELETE, change, bench, bench.open(""), 13, b"\x01")
    node = bench.volume.find("d\\file")
    assert node is not None
    node.attributes = c.FILE_ATTRIBUTE_READONLY
    open_ = bench.open("d\\file")
    wire.raises(s.STATUS_CANNOT_DELETE, change, bench, open_, 13, b"\x01")
    wire.raises(s.STATUS_CANNOT_DELETE, change, bench, open_, 64, struct.pack("<I", 1))
    assert bench.table.calls == []
    change(bench, open_, 64, struct.pack("<I", 0x11))  # FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE
    assert bench.table.calls == [("set_delete_on_close", open_.ref, True)]


def test_disposition_ex_flags(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    change(bench, open_, 64, struct.pack("<I", 2))
    assert bench.table.calls == [("set_delete_on_close", open_.ref, False)]
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, open_, 64, struct.pack("<I", 0x21))


# --------------------------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize(
    ("info_class", "size", "expected"),
    [
        (20, 0, [("set_end_of_file", 0)]),
        (20, 1 << 40, [("set_end_of_file", 1 << 40)]),
        (19, 8192, [("set_allocation", 8192)]),
        (19, 4096, [("set_allocation", 4096)]),
    ],
)
def test_sizes(bench: Bench, info_class: int, size: int, expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeFile, "set_end_of_file", lambda self, size: self._do("set_end_of_file", size))
    open_ = bench.open("d\\file")
    change(bench, open_, info_class, struct.pack("<q", size))
    assert calls(open_) == expected
    assert bench.table.calls == [
        ("break_caching", open_.ref, BreakKind(True, True, False)),
        ("directory_changed", DIRECTORY_KEY, b"", GUID),
    ]


@pytest.mark.parametrize("info_class", [19, 20, 39])
def test_bad_sizes(bench: Bench, info_class: int) -> None:
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open("d\\file"), info_class, b"\xff" * 8)
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, bench.open("d"), info_class, bytes(8))
    assert bench.table.calls == []


def test_a_size_waits_for_the_break(bench: Bench) -> None:
    waiting: Future[None] = Future()
    bench.table.wait["break_caching"] = waiting
    open_ = bench.open("d\\file")
    request = bench.request(c.SET_INFO, wire.set_info(open_, 1, 20, bytes(8)))
    interim: list[object] = []
    request.allow_interim(interim.append)
    task: Task[Reply] = Task(handle(request)).start()
    assert not is_done(task) and interim == [request] and calls(open_) == []
    waiting.set_result(None)
    assert is_done(task) and calls(open_) == [("set_end_of_file", 0)]


@pytest.mark.parametrize(
    ("method", "info_class"), [("break_caching", 20), ("set_delete_on_close", 13), ("check_rename", 10)]
)
def test_an_open_closed_while_it_waited(bench: Bench, method: str, info_class: int) -> None:
    waiting: Future[None] = Future()
    bench.table.wait[method] = waiting
    open_ = bench.open("d\\file")
    request = bench.request(c.SET_INFO, wire.set_info(open_, 1, info_class, VALID[info_class]))
    task: Task[Reply] = Task(handle(request)).start()
    open_.closed = True
    waiting.set_result(None)
    assert isinstance(task.error, NtStatusError) and task.error.status == s.STATUS_FILE_CLOSED
    assert calls(open_) == []


# -------------------------------------------------------------------------------------------- position, mode, EAs, pipe


def test_position(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    change(bench, open_, 14, struct.pack("<q", 123456))
    assert open_.current_byte_offset == 123456
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, open_, 14, struct.pack("<q", -1))
    unbuffered = bench.open("d\\file", options=c.FILE_NO_INTERMEDIATE_BUFFERING)
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, unbuffered, 14, struct.pack("<q", 100))
    change(bench, unbuffered, 14, struct.pack("<q", 512))


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        (0, 2, 2), (0, 4, 4), (2, 0, 0), (8, 2, 10), (0x20, 0x22, 0x22), (0x20, 0x10, 0x10),
        (0, 1, None), (0, 8, None), (0, 0x10, None), (0x10, 0, None), (0x10, 0x30, None), (0, 0x1000, None),
    ],
)  # fmt: skip
def test_mode(bench: Bench, before: int, wanted: int, after: int | None) -> None:
    open_ = bench.open("d\\file")
    open_.mode = before
    data = struct.pack("<I", wanted)
    if after is None:
        wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, open_, 16, data)
        assert open_.mode == before
    else:
        change(bench, open_, 16, data)
        assert open_.mode == after


def test_extended_attributes(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    first = struct.pack("<IBBH", 16, 0x80, 2, 3) + b"K1\0abc" + bytes(2)
    second = struct.pack("<IBBH", 0, 0, 2, 0) + b"K2\0"
    change(bench, open_, 15, first + second)
    assert calls(open_) == [("set_extended_attributes", (("K1", 0x80, b"abc"), ("K2", 0, b"")))]
    wire.raises(s.STATUS_EA_LIST_INCONSISTENT, change, bench, open_, 15, first)
    wire.raises(s.STATUS_INVALID_EA_NAME, change, bench, open_, 15, struct.pack("<IBBH", 0, 0, 1, 0) + b"*\0")


def test_pipes(bench: Bench) -> None:
    open_ = bench.open_pipe()
    change(bench, open_, 23, struct.pack("<II", 1, 0))
    change(bench, open_, 14, bytes(8))
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, open_, 23, struct.pack("<II", 2, 0))
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, open_, 23, struct.pack("<II", 0, 2))
    for info_class in set(SET_CLASSES) - {14, 16, 23}:
        wire.raises(s.STATUS_NOT_SUPPORTED, change, bench, open_, info_class, payload(info_class))


# --------------------------------------------------------------------------------------- file system, security, quota


@pytest.mark.parametrize(
    ("info_class", "size", "status"),
    [(8, 64, s.STATUS_NOT_SUPPORTED), (6, 47, s.STATUS_INFO_LENGTH_MISMATCH),
     (8, 63, s.STATUS_INFO_LENGTH_MISMATCH), (2, 8, s.STATUS_NOT_SUPPORTED), (1, 8, s.STATUS_INVALID_INFO_CLASS),
     (99, 8, s.STATUS_INVALID_INFO_CLASS)],
)  # fmt: skip
def test_filesystem(bench: Bench, info_class: int, size: int, status: int) -> None:
    wire.raises(status, change, bench, bench.open(""), info_class, bytes(size), 2)


def test_filesystem_access(bench: Bench) -> None:
    open_ = bench.open("", c.FILE_ALL_ACCESS & ~c.FILE_WRITE_DATA)
    wire.raises(s.STATUS_ACCESS_DENIED, change, bench, open_, 6, bytes(48), 2)


DESCRIPTOR = b"\x01\0\x04\x80" + bytes(16)


@pytest.mark.parametrize(
    ("information", "access"),
    [(1, c.WRITE_OWNER), (2, c.WRITE_OWNER), (16, c.WRITE_OWNER), (4, c.WRITE_DAC), (8, c.ACCESS_SYSTEM_SECURITY)],
)
def test_security(bench: Bench, information: int, access: int) -> None:
    everything = c.FILE_ALL_ACCESS | c.ACCESS_SYSTEM_SECURITY
    open_ = bench.open("d\\file", everything & ~access)
    wire.raises(s.STATUS_ACCESS_DENIED, change, bench, open_, 0, DESCRIPTOR, 3, information)
    assert calls(open_) == []
    open_ = bench.open("d\\file", access)
    change(bench, open_, 0, DESCRIPTOR, 3, information)
    assert calls(open_) == [("set_security_descriptor", information, DESCRIPTOR)]


def test_security_refusals(bench: Bench) -> None:
    open_ = bench.open("d\\file")
    wire.raises(s.STATUS_INVALID_SECURITY_DESCR, change, bench, open_, 0, DESCRIPTOR[:-1], 3, 4)
    wire.raises(s.STATUS_INVALID_PARAMETER, change, bench, open_, 0, DESCRIPTOR, 3, 0)
    wire.raises(s.STATUS_NOT_SUPPORTED, change, bench, bench.open_pipe(), 0, DESCRIPTOR, 3, 4)
    bench.tree.read_only = True
    wire.raises(s.STATUS_ACCESS_DENIED, change, bench, open_, 0, DESCRIPTOR, 3, 4)


# ------------------------------------------------------------------------------------------------------------ malformed


@pytest.mark.parametrize(
    ("layout", "offset", "value", "status"),
    [
        ("<H", 0, 32, s.STATUS_INVALID_PARAMETER),
        ("<B", 2, 0, s.STATUS_INVALID_PARAMETER),
        ("<B", 2, 9, s.STATUS_INVALID_PARAMETER),
        ("<I", 4, 41, s.STATUS_INVALID_PARAMETER),
        ("<I", 4, 0xFFFFFFFF, s.STATUS_INVALID_PARAMETER),
        ("<H", 8, 0, s.STATUS_INVALID_PARAMETER),
        ("<H", 8, 95, s.STATUS_INVALID_PARAMETER),
        ("<H", 8, 97, s.STATUS_INVALID_PARAMETER),
        ("<H", 8, 0xFFFF, s.STATUS_INVALID_PARAMETER),
        ("<Q", 16, 1, s.STATUS_FILE_CLOSED),
        ("<Q", 24, 1, s.STATUS_FILE_CLOSED),
    ],
)
def test_bad_fields(bench: Bench, layout: str, offset: int, value: int, status: int) -> None:
    body = bytearray(wire.set_info(bench.open("d\\file"), 1, 4, VALID[4]))
    struct.pack_into(layout, body, offset, value)
    wire.raises(status, bench.run, handle, bench.request(c.SET_INFO, bytes(body)))


def test_short_bodies(bench: Bench) -> None:
    whole = wire.set_info(bench.open("d\\file"), 1, 4, VALID[4])
    for length in range(len(whole)):
        wire.raises(s.STATUS_INVALID_PARAMETER, bench.run, handle, bench.request(c.SET_INFO, whole[:length]))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    info_type=st.integers(0, 5), info_class=st.sampled_from(sorted(SIZES)) | st.integers(0, 255),
    data=st.binary(max_size=80) | st.sampled_from(sorted(VALID.values())), additional=st.integers(0, 0x1FFFF),
    kind=st.sampled_from(("file", "directory", "pipe")),
)  # fmt: skip
def test_fuzz(info_type: int, info_class: int, data: bytes, additional: int, kind: str) -> None:
    bench = Bench()
    bench.volume.add("d", None)
    bench.volume.add("d\\file", b"x")
    open_ = bench.open_pipe() if kind == "pipe" else bench.open("d\\file" if kind == "file" else "d")
    if info_class == 20 and info_type == 1 and data[4:8] != bytes(4):
        data = data[:4] + bytes(4)  # the fake file would really be that large
    try:
        assert body_of(change(bench, open_, info_class, data, info_type, additional)) == b"\x02\0"
    except (NtStatusError, ConnectionFatal):
        pass


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=120))
def test_fuzz_any_bytes(bench: Bench, body: bytes) -> None:
    with pytest.raises((NtStatusError, ConnectionFatal)):
        bench.run(handle, bench.request(c.SET_INFO, b"\x21\0" + body))
