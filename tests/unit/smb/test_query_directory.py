# SPDX-License-Identifier: GPL-2.0-or-later
"""QUERY_DIRECTORY: golden bytes of every class, scans over several requests, patterns, small buffers, bad requests."""
from __future__ import annotations

import struct
from typing import Any

import pytest
import wire
from bench import Bench
from fake_clock import NOW
from fake_files import FakeFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.directory_classes import DIRECTORY_CLASSES
from ksmbd.smb.model import Open
from ksmbd.smb.ports import DirectoryEntry
from ksmbd.smb.query_directory import handle
from ksmbd.smb.request import Reply
from ksmbd.smb.status import ConnectionFatal, NtStatusError

TIMES = struct.pack("<QQQQ", NOW + 1, NOW + 2, NOW + 3, NOW + 4)
RESTART, SINGLE, REOPEN = 0x01, 0x02, 0x10

# Where FileNameLength and FileName stand in an entry of each class (MS-FSCC 2.4)
NAME_FIELDS = {
    1: (60, 64), 2: (60, 68), 3: (60, 94), 12: (8, 12), 37: (60, 104), 38: (60, 80), 60: (60, 88), 63: (60, 114),
    78: (60, 80), 79: (60, 106), 80: (60, 96), 81: (60, 122),
}  # fmt: skip


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.volume.add("d", None)
    bench.volume.add("d\\file.txt", b"x" * 5000).eas = {"A": (0, b"b")}
    return bench


def ask(
    bench: Bench, open_: Open, pattern: str = "*", flags: int = 0, limit: int = 65536, info_class: int = 37
) -> Reply:
    body = wire.query_directory(open_, info_class, pattern, flags, limit)
    return bench.run(handle, bench.request(c.QUERY_DIRECTORY, body, open_.tree))


def names(data: bytes, info_class: int = 37) -> list[str]:
    """Walk NextEntryOffset; every entry on a boundary of 8, the last one with 0."""
    length_at, name_at = NAME_FIELDS[info_class]
    found = []
    start = 0
    while True:
        assert start % 8 == 0
        (following,) = struct.unpack_from("<I", data, start)
        (length,) = struct.unpack_from("<I", data, start + length_at)
        found.append(data[start + name_at : start + name_at + length].decode("utf-16-le"))
        if not following:
            assert start + name_at + length == len(data)
            return found
        start += following


def listing(bench: Bench, open_: Open, **more: Any) -> list[str]:
    """All names, in as many requests as it takes."""
    found = []
    while True:
        try:
            found += names(wire.output(ask(bench, open_, **more)))
        except NtStatusError as error:
            assert error.status == s.STATUS_NO_MORE_FILES
            return found


FILE_NAME = "file.txt".encode("utf-16-le")
COMMON = bytes(8) + TIMES + struct.pack("<QQII", 5000, 8192, 0x80, 16)
NO_SHORT_NAME = bytes(2) + bytes(24)
GOLDEN = {
    1: COMMON + FILE_NAME,
    2: COMMON + struct.pack("<I", 7) + FILE_NAME,
    3: COMMON + struct.pack("<I", 7) + NO_SHORT_NAME + FILE_NAME,
    12: struct.pack("<III", 0, 0, 16) + FILE_NAME,
    37: COMMON + struct.pack("<I", 7) + NO_SHORT_NAME + bytes(2) + struct.pack("<Q", 103) + FILE_NAME,
    38: COMMON + struct.pack("<I", 7) + bytes(4) + struct.pack("<Q", 103) + FILE_NAME,
    60: COMMON + struct.pack("<II", 7, 0) + struct.pack("<QQ", 103, 0) + FILE_NAME,
    63: COMMON + struct.pack("<II", 7, 0) + struct.pack("<QQ", 103, 0) + NO_SHORT_NAME + FILE_NAME,
    78: COMMON + struct.pack("<II", 7, 0) + struct.pack("<Q", 103) + FILE_NAME,
    79: COMMON + struct.pack("<II", 7, 0) + struct.pack("<Q", 103) + NO_SHORT_NAME + FILE_NAME,
    80: COMMON + struct.pack("<II", 7, 0) + struct.pack("<QQQ", 103, 103, 0) + FILE_NAME,
    81: COMMON + struct.pack("<II", 7, 0) + struct.pack("<QQQ", 103, 103, 0) + NO_SHORT_NAME + FILE_NAME,
    100: bytes(8) + TIMES + struct.pack("<QQIQIIIII", 5000, 8192, 0x80, 103, 0x55667788, 0, 1, 0, 0o644)
        + b"\x01\x02\0\0\0\0\0\x16" + struct.pack("<II", 1, 1000)
        + b"\x01\x02\0\0\0\0\0\x16" + struct.pack("<II", 2, 1001) + struct.pack("<I", 16) + FILE_NAME,
}  # fmt: skip


@pytest.mark.parametrize("info_class", sorted(GOLDEN))
def test_golden_entries(bench: Bench, info_class: int) -> None:
    open_ = bench.open("d")
    open_.is_posix = info_class == 100
    assert wire.output(ask(bench, open_, "file.txt", info_class=info_class)) == GOLDEN[info_class]


def test_every_class_has_golden_bytes() -> None:
    assert set(GOLDEN) == set(DIRECTORY_CLASSES)


@pytest.mark.parametrize("info_class", [3, 37, 63, 79, 81])
def test_short_names(bench: Bench, info_class: int, monkeypatch: pytest.MonkeyPatch) -> None:
    node = bench.volume.find("d\\file.txt")
    assert node is not None
    entry = DirectoryEntry("file.txt", node.info(), "FILE~1.TXT")
    monkeypatch.setattr(FakeFile, "lookup_entry", lambda self, name: entry)
    data = wire.output(ask(bench, bench.open("d"), "file.txt", info_class=info_class))
    at = {3: 68, 37: 68, 63: 88, 79: 80, 81: 96}[info_class]
    assert data[at : at + 26] == bytes((20, 0)) + "FILE~1.TXT".encode("utf-16-le") + bytes(4)


def test_reparse_tag_stands_in_the_ea_size(bench: Bench) -> None:
    node = bench.volume.find("d\\file.txt")
    assert node is not None
    node.reparse = (0xA000000C, b"")
    for info_class in (2, 3, 37, 38):
        data = wire.output(ask(bench, bench.open("d"), "file.txt", info_class=info_class))
        assert struct.unpack_from("<I", data, 64) == (0xA000000C,)
    data = wire.output(ask(bench, bench.open("d"), "file.txt", info_class=60))
    assert struct.unpack_from("<II", data, 64) == (7, 0xA000000C)


@pytest.mark.parametrize("info_class", sorted(NAME_FIELDS))
def test_chain_of_entries(bench: Bench, info_class: int) -> None:
    for index in range(9):
        bench.volume.add(f"d\\{'n' * index}{index}")
    data = wire.output(ask(bench, bench.open("d"), info_class=info_class))
    expected = [".", "..", "file.txt", *(f"{'n' * index}{index}" for index in range(9))]
    assert names(data, info_class) == expected


def test_what_does_not_fit_comes_next(bench: Bench) -> None:
    for index in range(50):
        bench.volume.add(f"d\\n{index}")
    expected = [".", "..", "file.txt", *(f"n{index}" for index in range(50))]
    for limit in (120, 127, 128, 129, 250, 1000, 5000):
        open_ = bench.open("d")
        assert listing(bench, open_, limit=limit) == expected
        assert isinstance(open_.file, FakeFile)
        assert open_.file.calls == [("list_directory",)]  # read once, whatever the number of requests


def test_exact_fit(bench: Bench) -> None:
    # "." takes 106 bytes padded to 112, ".." 108 from there on
    assert names(wire.output(ask(bench, bench.open("d"), limit=220))) == [".", ".."]
    assert names(wire.output(ask(bench, bench.open("d"), limit=219))) == ["."]


def test_small_buffers(bench: Bench) -> None:
    open_ = bench.open("d")
    for limit in (0, 103):
        wire.raises(s.STATUS_INFO_LENGTH_MISMATCH, ask, bench, open_, "file.txt", 0, limit)
    for limit in (104, 119):
        reply = ask(bench, open_, "file.txt", RESTART, limit)
        assert (reply.status, wire.output(reply)) == (s.STATUS_BUFFER_OVERFLOW, GOLDEN[37][:limit])
    assert wire.output(ask(bench, open_, "file.txt", 0, 120)) == GOLDEN[37]


def test_single_entries(bench: Bench) -> None:
    open_ = bench.open("d")
    assert names(wire.output(ask(bench, open_, flags=SINGLE))) == ["."]
    assert names(wire.output(ask(bench, open_, flags=SINGLE))) == [".."]
    assert names(wire.output(ask(bench, open_))) == ["file.txt"]
    wire.raises(s.STATUS_NO_MORE_FILES, ask, bench, open_)
    assert names(wire.output(ask(bench, open_, flags=SINGLE | RESTART))) == ["."]


def test_no_such_file_first_no_more_files_then(bench: Bench) -> None:
    open_ = bench.open("d")
    wire.raises(s.STATUS_NO_SUCH_FILE, ask, bench, open_, "absent")
    wire.raises(s.STATUS_NO_SUCH_FILE, ask, bench, open_, "*.absent", REOPEN)
    assert names(wire.output(ask(bench, open_, "FILE.TXT", REOPEN))) == ["file.txt"]
    wire.raises(s.STATUS_NO_MORE_FILES, ask, bench, open_, "FILE.TXT")


def test_the_pattern_stays_until_a_restart(bench: Bench) -> None:
    bench.volume.add("d\\other")
    open_ = bench.open("d")
    assert names(wire.output(ask(bench, open_, "*.txt"))) == ["file.txt"]
    wire.raises(s.STATUS_NO_MORE_FILES, ask, bench, open_, "o*")
    assert names(wire.output(ask(bench, open_, "", RESTART))) == ["file.txt"]
    assert names(wire.output(ask(bench, open_, "o*", RESTART))) == ["other"]
    assert names(wire.output(ask(bench, open_, "", REOPEN))) == [".", "..", "file.txt", "other"]


def test_a_name_is_looked_up_not_searched(bench: Bench) -> None:
    open_ = bench.open("d")
    ask(bench, open_, "FILE.txt")
    assert isinstance(open_.file, FakeFile)
    assert open_.file.calls == [("lookup_entry", "FILE.txt")]


def test_dots_by_name(bench: Bench) -> None:
    assert names(wire.output(ask(bench, bench.open("d"), "."))) == ["."]
    assert names(wire.output(ask(bench, bench.open("d"), ".."))) == [".."]


def test_names_beyond_the_bmp_and_unpaired_surrogates(bench: Bench) -> None:
    bench.volume.add("d\\😀\ud800")
    data = wire.output(ask(bench, bench.open("d"), "😀*"))
    assert data[104:] == b"\x3d\xd8\x00\xde\x00\xd8"


@pytest.mark.parametrize("pattern", ["a\\b", "\\", "a/b", "a\0b"])
def test_patterns_with_separators(bench: Bench, pattern: str) -> None:
    wire.raises(s.STATUS_OBJECT_NAME_INVALID, ask, bench, bench.open("d"), pattern)


def test_no_directory(bench: Bench) -> None:
    wire.raises(s.STATUS_INVALID_PARAMETER, ask, bench, bench.open("d\\file.txt"))
    wire.raises(s.STATUS_INVALID_PARAMETER, ask, bench, bench.open_pipe())


def test_access(bench: Bench) -> None:
    wire.raises(s.STATUS_ACCESS_DENIED, ask, bench, bench.open("d", c.FILE_ALL_ACCESS & ~c.FILE_LIST_DIRECTORY))
    assert ask(bench, bench.open("d", c.FILE_LIST_DIRECTORY)).status == s.STATUS_SUCCESS


@pytest.mark.parametrize("info_class", [0, 4, 13, 36, 59, 100, 255])
def test_unknown_classes(bench: Bench, info_class: int) -> None:
    body = wire.query_directory(bench.open("d"), info_class)
    wire.raises(s.STATUS_INVALID_INFO_CLASS, bench.run, handle, bench.request(c.QUERY_DIRECTORY, body))


@pytest.mark.parametrize(
    ("layout", "offset", "value", "status"),
    [
        ("<H", 0, 34, s.STATUS_INVALID_PARAMETER),
        ("<Q", 8, 7, s.STATUS_FILE_CLOSED),
        ("<Q", 16, 7, s.STATUS_FILE_CLOSED),
        ("<H", 24, 0, s.STATUS_INVALID_PARAMETER),
        ("<H", 24, 95, s.STATUS_INVALID_PARAMETER),
        ("<H", 24, 97, s.STATUS_INVALID_PARAMETER),
        ("<H", 24, 0xFFFF, s.STATUS_INVALID_PARAMETER),
        ("<H", 26, 1, s.STATUS_INVALID_PARAMETER),  # odd
        ("<H", 26, 4, s.STATUS_INVALID_PARAMETER),
        ("<H", 26, 0xFFFE, s.STATUS_INVALID_PARAMETER),
        ("<I", 28, (4 << 20) + 1, s.STATUS_INVALID_PARAMETER),
    ],
)
def test_bad_fields(bench: Bench, layout: str, offset: int, value: int, status: int) -> None:
    body = bytearray(wire.query_directory(bench.open("d")))
    struct.pack_into(layout, body, offset, value)
    wire.raises(status, bench.run, handle, bench.request(c.QUERY_DIRECTORY, bytes(body)))


def test_short_bodies(bench: Bench) -> None:
    whole = wire.query_directory(bench.open("d"))
    for length in range(len(whole)):
        request = bench.request(c.QUERY_DIRECTORY, whole[:length])
        wire.raises(s.STATUS_INVALID_PARAMETER, bench.run, handle, request)


def test_a_hundred_thousand_entries_are_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    node = bench.volume.find("d\\file.txt")
    assert node is not None
    info = node.info()
    produced = 0

    def many(self: FakeFile, matches: object = None) -> object:
        nonlocal produced
        for index in range(100_000):
            produced += 1
            yield DirectoryEntry(f"n{index}", info)

    monkeypatch.setattr(FakeFile, "list_directory", many)
    open_ = bench.open("d")
    assert names(wire.output(ask(bench, open_, limit=1000)))[0] == "n0"
    assert produced < 20  # lazy
    assert len(listing(bench, open_, limit=1 << 20)) + 8 == 100_000
    assert produced == 100_000


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    info_class=st.sampled_from((1, 2, 3, 12, 37, 38, 60, 63, 78, 79, 80, 81, 100, 5)), pattern=st.text(max_size=6),
    flags=st.integers(0, 255), limit=st.integers(0, 400), again=st.integers(1, 4),
)  # fmt: skip
def test_fuzz(bench: Bench, info_class: int, pattern: str, flags: int, limit: int, again: int) -> None:
    open_ = bench.open("d")
    open_.is_posix = True
    for _ in range(again):
        try:
            reply = ask(bench, open_, pattern, flags, limit, info_class)
        except (NtStatusError, ConnectionFatal):
            continue
        assert 0 < len(wire.output(reply)) <= limit


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=120))
def test_fuzz_any_bytes(bench: Bench, body: bytes) -> None:
    with pytest.raises((NtStatusError, ConnectionFatal)):
        bench.run(handle, bench.request(c.QUERY_DIRECTORY, b"\x21\0" + body))
