# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams that one extended attribute has no room for: the layout that Samba 4.24 reads, sizes, refusals, and what a
crash between two attributes leaves. The attributes are kept in memory, because not every file system takes 64 KiB."""
from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest
from vfs_share import Share

from ksmbd.smb.status import STATUS_DISK_FULL, STATUS_FILE_SYSTEM_LIMITATION, NtStatusError
from ksmbd.vfs import stream_pieces, stream_store
from ksmbd.vfs.stream_pieces import LARGEST, MOST, maximum_size

FIRST, EXTENT = "user.DosStream.s:$DATA", "user.DosStreamExt.%d.s:$DATA"


class Attributes:
    """A file's extended attributes, with a file system's limit, and a crash or a failure after so many changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held: dict[str, bytes] = {}
        self.largest = LARGEST
        self.changes = 0
        self.dies_at = self.full_at = -1
        for name in ("setxattr", "removexattr"):
            monkeypatch.setattr(os, name, getattr(self, name))
        monkeypatch.setattr(stream_pieces, "get_attribute", self.get)
        for module in (stream_pieces, stream_store):
            monkeypatch.setattr(module, "attribute_size", lambda fd, name, path_only: len(self.get(fd, name) or b""))
        monkeypatch.setattr(stream_pieces, "list_size", lambda fd, path_only: sum(len(n) + 1 for n in self.held))
        monkeypatch.setattr(stream_store, "list_names", lambda fd, path_only: list(self.held))

    def _count(self) -> None:
        if self.changes == self.dies_at:
            raise KeyboardInterrupt
        self.changes += 1
        if self.changes - 1 == self.full_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    def setxattr(self, target: object, name: str | bytes, value: bytes, flags: int = 0) -> None:
        if flags == os.XATTR_REPLACE and os.fsdecode(name) not in self.held:
            raise OSError(errno.ENODATA, "No data available")
        self._count()
        if len(value) > self.largest:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.held[os.fsdecode(name)] = bytes(value)

    def removexattr(self, target: object, name: str | bytes) -> None:
        if os.fsdecode(name) not in self.held:
            raise OSError(errno.ENODATA, "No data available")
        self._count()
        del self.held[os.fsdecode(name)]

    def get(self, fd: int, name: bytes, path_only: bool = False, size: int = 0) -> bytes | None:
        return self.held.get(os.fsdecode(name))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Attributes:
    return Attributes(monkeypatch)


def put(data: bytes, most: int = MOST) -> None:
    stream_pieces.store(9, False, FIRST.encode(), stream_pieces.load(9, False, FIRST.encode()), data, most)


def read() -> bytes:
    return b"".join(stream_pieces.load(9, False, FIRST.encode()) or [])


def pattern(size: int, salt: int = 0) -> bytes:
    return b"".join((number + salt).to_bytes(4, "little") for number in range(size // 4 + 1))[:size]


def refused(call: Callable[[], object]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


def test_the_layout_is_the_one_that_samba_reads(held: Attributes) -> None:
    data = pattern(150_000)
    put(data)
    assert held.held == {
        FIRST: data[:65535] + b"\2", EXTENT % 1: data[65535:131071], EXTENT % 2: data[131071:],
    }  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 65535])
def test_what_fits_one_attribute_is_stored_as_older_versions_do(held: Attributes, size: int) -> None:
    put(pattern(200_000))
    put(pattern(size))
    assert held.held == {FIRST: pattern(size) + b"\0"}


@pytest.mark.parametrize("size", [0, 65535, 65536, 131071, 131072, maximum_size(MOST)])
def test_sizes_are_told_and_listed_as_they_are(held: Attributes, size: int) -> None:
    put(pattern(size))
    held.held[EXTENT % 15 if size < maximum_size(MOST) else "user.other"] = b"belongs to nothing"
    assert read() == pattern(size)
    assert stream_pieces.size(9, False, FIRST.encode()) == size
    assert [(found.name, found.size) for found in stream_store.listed(9, False)] == [("s", size)]


def test_a_part_is_read_without_the_rest(held: Attributes) -> None:
    put(pattern(200_000))
    assert len(stream_pieces.load(9, False, FIRST.encode(), 65535) or []) == 1
    assert len(stream_pieces.load(9, False, FIRST.encode(), 65536) or []) == 2


@pytest.mark.parametrize(("size", "most"), [(maximum_size(MOST) + 1, MOST), (65536, 1), (131072, 2)])
def test_beyond_the_attributes_it_may_take_nothing_is_changed(held: Attributes, size: int, most: int) -> None:
    put(b"before")
    before = dict(held.held)
    assert refused(lambda: put(bytes(size), most)) == STATUS_FILE_SYSTEM_LIMITATION
    assert held.held == before


def test_a_file_system_with_shorter_attributes_gets_more_of_them(held: Attributes) -> None:
    held.largest = 16_000
    put(pattern(100_000))
    assert read() == pattern(100_000) and len(held.held) == 7
    changes = held.changes
    put(pattern(100_000)[:-1] + b"!")
    assert held.changes == changes + 1  # no trial with others, which would change them
    before = dict(held.held)
    assert refused(lambda: put(bytes(300_000))) == STATUS_DISK_FULL
    assert held.held == before


def test_names_that_could_not_be_listed_any_more(held: Attributes) -> None:
    held.held |= {f"user.{number:0250}": b"1" for number in range(255)}
    before = dict(held.held)
    assert refused(lambda: put(pattern(1_000_000))) == STATUS_DISK_FULL
    assert held.held == before


SIZES = (0, 10, 65535, 65536, 70_000, 131_071, 140_000, 300_000)


@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", SIZES)
def test_when_the_disk_is_full_half_way_the_stream_is_what_it_was(held: Attributes, old: int, new: int) -> None:
    put(pattern(old))
    before = dict(held.held)
    for step in range(10):
        held.full_at, held.changes = step, 0
        try:
            put(pattern(new, 7))
        except NtStatusError as error:
            assert error.status == STATUS_DISK_FULL
            assert held.held == before
            continue
        held.full_at = -1
        assert read() == pattern(new, 7)
        break
    else:
        raise AssertionError("never written")


@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", SIZES)
def test_a_crash_leaves_an_honest_length(held: Attributes, old: int, new: int) -> None:
    """What is appended or cut off: all that the length counts is data of one of the two."""
    for step in range(12):
        held.held.clear()
        held.dies_at = -1
        put(pattern(old))
        held.dies_at, held.changes = step, 0
        try:
            put(pattern(new))
        except KeyboardInterrupt:
            left = read()
            assert min(old, new) <= len(left) <= max(old, new)
            assert pattern(max(old, new)).startswith(left)
            continue
        assert read() == pattern(new)
        break
    else:
        raise AssertionError("never written")


def test_removing_leaves_nothing(held: Attributes) -> None:
    put(pattern(200_000))
    stream_pieces.remove(9, False, FIRST.encode())
    stream_pieces.remove(9, False, FIRST.encode())
    assert not held.held


def test_attributes_of_streams_are_no_eas(share: Share) -> None:
    file = share.open("f")
    os.setxattr(share.path / "f", EXTENT % 1, b"x")
    os.setxattr(share.path / "f", "user.ea", b"1")
    assert file.extended_attributes() == [("ea", 0, b"1")]
    assert [found.name for found in file.streams()] == [""]


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 200_000])
def test_emptying_reads_nothing_and_leaves_one_attribute(
    held: Attributes, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(pattern(size))
    with monkeypatch.context() as here:
        here.setattr(stream_pieces, "get_attribute", lambda *_: pytest.fail("who may write need not be able to read"))
        assert stream_pieces.clear(9, False, FIRST.encode())
    assert held.held == {FIRST: b"\0"}
    held.held.clear()
    assert not stream_pieces.clear(9, False, FIRST.encode()) and held.held == {}


def test_a_crash_while_emptying_leaves_all_or_nothing(held: Attributes) -> None:
    data = pattern(200_000)
    for dies_at in range(4):
        held.held.clear()
        held.dies_at = -1
        put(data)
        held.changes, held.dies_at = 0, dies_at
        with pytest.raises(KeyboardInterrupt):
            stream_pieces.clear(9, False, FIRST.encode())
        assert read() == (b"" if dies_at else data)
        held.dies_at = -1
        put(b"new")  # what the crash left behind belongs to nothing
        assert read() == b"new"
