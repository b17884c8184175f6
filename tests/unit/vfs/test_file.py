# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from vfs_share import FLAGS, Share

from ksmbd.kernel import credentials
from ksmbd.kernel.stat import stat_at
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future
from ksmbd.vfs import dosattrib
from ksmbd.vfs.stream_store import MAXIMUM_SIZE
from ksmbd.vfs.times import to_filetime
from ksmbd.vfs.write_times import WriteTime


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


def test_data(share: Share) -> None:
    file = share.open("f")
    assert file.write(10, memoryview(b"hello")) == 5
    assert file.read(0, 100) == bytes(10) + b"hello" and file.read(15, 1) == b"" and file.read(99, 1) == b""
    buffer = bytearray(20)
    assert file.read_into(8, memoryview(buffer)) == 7 and buffer[:7] == b"\0\0hello"
    file.set_end_of_file(12)
    assert file.info().end_of_file == 12
    file.write(0, b"x", write_through=True)
    file.flush()
    file.flush(full=True)
    for call in (lambda: file.read(-1, 1), lambda: file.write((1 << 63) - 1, b"xx"), lambda: file.set_end_of_file(-1)):
        assert status_of(call) == s.STATUS_INVALID_PARAMETER


def test_reading_ahead(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    file = share.open("f")
    file.write(0, bytes(range(256)) * 40)
    assert file.end_of_file() == 10240
    calls: list[Callable[[], None]] = []

    def offload(call: Callable[[], None]) -> Future[None]:
        calls.append(call)
        return Future()

    assert file.prefetch(0, 100) is None  # nobody to do it
    share.files.offload = offload
    share.volume.place.in_memory = False
    monkeypatch.setattr("ksmbd.vfs.file.is_cached", lambda fd, offset, count: (offset, count) == (0, 10240))
    assert file.prefetch(0, 1 << 20) is None and file.prefetch(10240, 10) is None and not calls
    assert file.prefetch(10000, 1 << 20) is not None and len(calls) == 1
    file.close()
    calls.pop()()  # through a descriptor of its own
    assert file.prefetch(0, 10) is None
    file = share.open("f")
    share.volume.place.in_memory = True
    assert file.prefetch(10000, 10) is None and not calls


def test_data_out_of_a_pipe(share: Share) -> None:
    file = share.open("f")
    reader, writer = os.pipe()
    try:
        os.write(writer, b"abcdefgh")
        file.write_from_pipe(3, reader, 5)
        assert file.read(0, 100) == bytes(3) + b"abcde" and os.read(reader, 100) == b"fgh"
        os.write(writer, b"x")
        file.close()
        assert status_of(lambda: file.write_from_pipe(0, reader, 1)) == s.STATUS_ACCESS_DENIED
    finally:
        os.close(reader)
        os.close(writer)


def test_data_needs_an_open_for_data(share: Share) -> None:
    share.open("f")
    file = share.open("f", access=c.FILE_READ_ATTRIBUTES)
    assert status_of(lambda: file.read(0, 1)) == s.STATUS_ACCESS_DENIED
    assert status_of(lambda: file.write(0, b"x")) == s.STATUS_ACCESS_DENIED
    assert status_of(lambda: file.set_end_of_file(0)) == s.STATUS_ACCESS_DENIED


def test_a_closed_file_touches_nothing(share: Share) -> None:
    file = share.open("f")
    file.close()
    file.close()
    other = share.open("g")
    assert other.fileno() >= 0
    for call in (lambda: file.read(0, 1), lambda: file.unlink(), lambda: file.info(), lambda: file.write(0, b"x")):
        assert status_of(call) in (s.STATUS_ACCESS_DENIED, s.STATUS_INVALID_PARAMETER)
    assert share.on_disk() == ["f", "g"]


def test_overwrite(share: Share) -> None:
    file = share.open("f", attributes=c.FILE_ATTRIBUTE_HIDDEN)
    file.write(0, b"old")
    share.open("f", stream="s").write(0, b"stream")
    file.set_extended_attributes([("ea", 0, b"1")])
    created = file.info().creation_time
    file.overwrite(c.FILE_ATTRIBUTE_SYSTEM, False, [("new", 0, b"2")])
    info = file.info()
    assert info.end_of_file == 0 and info.creation_time == created
    assert info.attributes == c.FILE_ATTRIBUTE_SYSTEM | c.FILE_ATTRIBUTE_ARCHIVE
    assert [stream.name for stream in file.streams()] == [""]
    assert file.extended_attributes() == [("new", 0, b"2")]


def test_rename_carries_every_open(share: Share) -> None:
    directory = share.mkdir("dir")
    file = share.open("dir\\file")
    again = share.open("DIR\\FILE", access=c.DELETE)
    stream = share.open("dir\\file", stream="s")
    directory.rename("Other", False)
    assert (file.path, again.path, directory.path) == ("Other\\file", "Other\\file", "Other")
    again.rename("moved", False)
    assert (file.path, share.on_disk()) == ("moved", ["Other", "moved"])
    assert stream.path.startswith("moved")
    assert file.parent_key == share.open("").key
    file.unlink()
    assert share.on_disk() == ["Other"]


def test_rename_in_case_only(share: Share) -> None:
    file = share.open("name")
    file.rename("NAME", False)
    assert share.on_disk() == ["NAME"] and file.path == "NAME"
    file.rename("NAME", False)
    assert share.open("name", disposition=c.FILE_OPEN).path == "NAME"


def test_rename_to_what_is_there(share: Share) -> None:
    file, other = share.open("a"), share.open("B")
    file.write(0, b"a")
    assert status_of(lambda: file.rename("b", False)) == s.STATUS_OBJECT_NAME_COLLISION
    other.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_READONLY)
    assert status_of(lambda: file.rename("b", True)) == s.STATUS_ACCESS_DENIED
    other.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_NORMAL)
    file.rename("b", True)
    assert share.on_disk() == ["b"] and (share.path / "b").read_bytes() == b"a"
    share.mkdir("dir")
    assert status_of(lambda: file.rename("DIR", True)) == s.STATUS_ACCESS_DENIED
    assert status_of(lambda: file.rename("none\\x", True)) == s.STATUS_OBJECT_PATH_NOT_FOUND
    assert status_of(lambda: file.rename("..\\x", True)) == s.STATUS_OBJECT_PATH_SYNTAX_BAD


def test_a_file_moved_by_somebody_else_is_found(share: Share) -> None:
    file = share.open("f")
    share.mkdir("dir")
    os.rename(share.path / "f", share.path / "dir" / "elsewhere")
    (share.path / "f").write_text("not mine")
    file.unlink()
    assert (share.path / "f").read_text() == "not mine" and os.listdir(share.path / "dir") == []
    file.unlink()  # gone already


def test_a_file_moved_out_of_the_share_is_left_alone(share: Share) -> None:
    file = share.open("f")
    credentials.as_server()
    os.rename(share.path / "f", share.path.parent / "f")
    assert status_of(file.unlink) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert status_of(lambda: file.rename("g", False)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert (share.path.parent / "f").exists()


def test_directories_go_when_empty(share: Share) -> None:
    directory = share.mkdir("dir")
    file = share.open("dir\\f")
    assert status_of(directory.check_delete) == s.STATUS_DIRECTORY_NOT_EMPTY
    assert status_of(directory.unlink) == s.STATUS_DIRECTORY_NOT_EMPTY
    file.unlink()
    directory.check_delete()
    directory.unlink()
    assert share.on_disk() == []


def test_links(share: Share) -> None:
    file = share.open("f")
    file.write(0, b"x")
    file.link("g", False)
    assert file.info().number_of_links == 2 and (share.path / "g").read_bytes() == b"x"
    assert status_of(lambda: file.link("G", False)) == s.STATUS_OBJECT_NAME_COLLISION
    share.open("h").close()
    file.link("h", True)
    assert file.info().number_of_links == 3
    assert status_of(lambda: share.mkdir("d").link("e", False)) == s.STATUS_FILE_IS_A_DIRECTORY


def test_times_and_attributes(share: Share) -> None:
    file = share.open("f")
    created, accessed, written = (to_filetime(10**9 + n, 123_456_700) for n in range(3))
    file.set_basic(created, accessed, written, 0, c.FILE_ATTRIBUTE_HIDDEN)
    info = file.info()
    assert (info.creation_time, info.last_access_time, info.last_write_time) == (created, accessed, written)
    assert info.attributes == c.FILE_ATTRIBUTE_HIDDEN
    stored = dosattrib.decode(os.getxattr(share.path / "f", "user.DOSATTRIB"))
    assert stored == (c.FILE_ATTRIBUTE_HIDDEN, created)
    file.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_NORMAL)
    assert file.info().attributes == c.FILE_ATTRIBUTE_NORMAL and file.info().creation_time == created
    assert status_of(lambda: file.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_DIRECTORY)) == s.STATUS_INVALID_PARAMETER


def test_a_write_time_that_was_set_stays(share: Share) -> None:
    """MS-FSA 2.1.5.15.2: -1 stops implicit updates by this open, a set time does too, -2 lets them go on."""
    file = share.open("f")
    set_to = to_filetime(10**9, 0)
    file.set_basic(0, 0, set_to, 0, 0)
    file.write(0, b"x")
    assert file.info().last_write_time == set_to
    file.set_basic(0, 0, -2, 0, 0)
    file.write(0, b"y")
    now = file.info().last_write_time
    assert now > set_to
    os.utime(share.path / "f", ns=(5, 500))
    file.set_basic(0, 0, -1, 0, 0)
    file.write(0, b"z")
    assert file.info().last_write_time == to_filetime(0, 500)


class Turned:
    """The share's clock, to be turned by a test."""

    def __init__(self, share: Share) -> None:
        self.seconds = 1000.0
        self.now = to_filetime(time.time_ns() // 10**9 + 3600, 0)
        clock: Any = SimpleNamespace(monotonic=lambda: self.seconds, filetime=lambda: self.now)
        share.files.clock = clock


def an_old_file(share: Share, name: str = "f") -> int:
    """A file that was written at this FILETIME, as far as its times tell."""
    share.open(name).close()
    stat = os.stat(share.path / name)
    return to_filetime(stat.st_mtime_ns // 10**9, stat.st_mtime_ns % 10**9)


def tick(share: Share) -> None:
    """Until the kernel's clock for files has gone on."""
    probe = share.path / "probe"
    probe.write_bytes(b"")
    before = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns == before:
        probe.write_bytes(b"")


def test_an_open_shows_its_first_write_two_seconds_later(share: Share) -> None:
    """MS-FSA 2.1.4.17; others see it at once."""
    clock = Turned(share)
    old = an_old_file(share)
    tick(share)
    file, other = share.open("f"), share.open("f")
    file.write(0, b"x")
    written = other.info().last_write_time
    assert written > old and file.info().last_write_time == old
    clock.seconds += 1.9
    assert file.info().last_write_time == old
    clock.seconds += 0.1
    assert file.info().last_write_time == written
    file.finish_writes()
    assert file.info().last_write_time == written and other.info().last_write_time == written


def test_an_open_shows_its_later_writes_at_its_end(share: Share) -> None:
    """MS-FSA 2.1.4.17; the file has the time of the end then."""
    clock = Turned(share)
    an_old_file(share)
    tick(share)
    file, other = share.open("f"), share.open("f")
    file.write(0, b"x")
    clock.seconds += 3
    shown = file.info().last_write_time
    tick(share)
    file.write(0, b"y")
    clock.seconds += 100
    assert file.info().last_write_time == shown < other.info().last_write_time < clock.now
    file.close()
    assert other.info().last_write_time == clock.now


@pytest.mark.parametrize("ends", ["flush", "size", "allocation", "basic"])
def test_a_held_write_time_is_shown_after(share: Share, ends: str) -> None:
    """MS-FSA 2.1.5.6 (flush), 2.1.5.15: what has been written before is settled."""
    Turned(share)
    old = an_old_file(share)
    tick(share)
    file = share.open("f")
    file.write(0, b"x")
    assert file.info().last_write_time == old
    if ends == "flush":
        file.flush()
    elif ends == "size":
        file.set_end_of_file(1)
    elif ends == "allocation":
        file.set_allocation(1)
    else:
        file.set_basic(0, 0, 0, 0, 0)
    shown = file.info().last_write_time
    assert shown > old
    file.close()
    assert share.open("f").info().last_write_time == shown


def test_a_write_time_that_another_open_set_is_shown_and_kept(share: Share) -> None:
    """MS-FSA 2.1.5.15.2: the end of the open that has written changes it no more."""
    clock = Turned(share)
    an_old_file(share)
    tick(share)
    file = share.open("f")
    file.write(0, b"x")
    clock.seconds += 3
    file.info()
    file.write(0, b"y")
    tick(share)
    set_to = to_filetime(10**9, 0)
    other = share.open("f")
    other.set_basic(0, 0, set_to, 0, 0)
    assert file.info().last_write_time == set_to
    file.close()
    assert other.info().last_write_time == set_to


def test_writing_archives(share: Share) -> None:
    file = share.open("f")
    file.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_NORMAL)
    file.write(0, b"x")
    assert file.info().attributes == c.FILE_ATTRIBUTE_NORMAL
    other = share.open("f")
    other.write(0, b"x")
    assert other.info().attributes == c.FILE_ATTRIBUTE_ARCHIVE


def test_without_stored_attributes(make_share: Callable[..., Share]) -> None:
    share = make_share(flags=frozenset())
    file = share.open(".f", attributes=c.FILE_ATTRIBUTE_HIDDEN)
    assert "user.DOSATTRIB" not in os.listxattr(share.path / ".f")
    assert file.info().attributes == c.FILE_ATTRIBUTE_ARCHIVE
    assert status_of(lambda: share.create("x", stream="s")) == s.STATUS_OBJECT_NAME_INVALID


def test_listing(make_share: Callable[..., Share]) -> None:
    share = make_share(hide_files=("*.bak",))
    for name in ("b", ".dot", "x.bak"):
        share.open(name).write(0, b"12")
    share.mkdir("dir")
    entries = {entry.name: entry.info for entry in share.open("").list_directory()}
    assert list(entries)[:2] == [".", ".."] and set(entries) == {".", "..", "b", ".dot", "x.bak", "dir"}
    for name, info in entries.items():
        hidden = name in (".dot", "x.bak")
        assert bool(info.attributes & c.FILE_ATTRIBUTE_HIDDEN) is hidden
    file = share.open("b").info()
    for field in ("file_id", "end_of_file", "allocation_size", "creation_time", "attributes", "last_write_time"):
        assert getattr(entries["b"], field) == getattr(file, field)
    root = share.open("")
    found = root.lookup_entry("B")
    assert found.name == "b" and found.info == entries["b"]
    assert root.lookup_entry("none") is None and root.lookup_entry("a*") is None
    assert root.lookup_entry(".").name == "."


def test_two_listings_of_one_handle(share: Share) -> None:
    for number in range(200):
        share.open(f"f{number}").close()
    root = share.open("")
    one = root.list_directory()
    first = [next(one).name for _ in range(50)]
    assert len(list(root.list_directory())) == 202
    assert len({*first, *(entry.name for entry in one)}) == 202


def test_eas(share: Share) -> None:
    file = share.open("f", extended_attributes=[("One", 0, b"1")])
    file.set_extended_attributes([("two", 0, b"22"), ("ONE", 0, b"3")])
    assert sorted(file.extended_attributes()) == [("One", 0, b"3"), ("two", 0, b"22")]
    assert file.info().ea_size == 4 + (5 + 3 + 1) + (5 + 3 + 2)
    assert os.getxattr(share.path / "f", "user.One") == b"3"
    file.set_extended_attributes([("one", 0, b""), ("two", 0, b"")])
    assert file.extended_attributes() == [] and file.info().ea_size == 0
    for name in ("DOSATTRIB", "dosattrib", "DosStream.x:$DATA"):
        assert status_of(lambda: file.set_extended_attributes([(name, 0, b"x")])) == s.STATUS_ACCESS_DENIED  # noqa: B023
    for name in ("", "a\0b", "a:b"):
        assert status_of(lambda: file.set_extended_attributes([(name, 0, b"x")])) == s.STATUS_INVALID_EA_NAME  # noqa: B023
    assert status_of(lambda: file.set_extended_attributes([("big", 0, bytes(70000))])) == s.STATUS_EA_TOO_LARGE


def test_who_opens_a_file_takes_no_eas_whatever_they_are_called(share: Share) -> None:
    share.open("f", extended_attributes=[("a", 0, b"1")])
    for name in ("", "a:b", "DOSATTRIB"):
        assert share.open("f", extended_attributes=[(name, 0, b"x")]).extended_attributes() == [("a", 0, b"1")]
    assert status_of(lambda: share.open("g", extended_attributes=[("", 0, b"x")])) == s.STATUS_INVALID_EA_NAME


def test_sparse(share: Share) -> None:
    file = share.open("f")
    file.write(0, b"x" * 65536)
    assert file.allocated_ranges(0, 1 << 40, 9) == [(0, 65536)]
    file.set_sparse(True)
    assert file.info().attributes & c.FILE_ATTRIBUTE_SPARSE_FILE
    file.zero_data(4096, 61440)
    assert file.read(0, 65536) == b"x" * 4096 + bytes(57344) + b"x" * 4096
    if file.info().allocation_size < 65536:  # the file system makes holes
        assert file.allocated_ranges(0, 1 << 40, 9) == [(0, 4096), (61440, 4096)]
        assert file.allocated_ranges(0, 1 << 40, 1) == [(0, 4096)]
    file.zero_data(0, 1 << 40)
    assert file.info().end_of_file == 65536 and file.read(0, 65536) == bytes(65536)
    file.set_sparse(False)
    assert not file.info().attributes & c.FILE_ATTRIBUTE_SPARSE_FILE
    file.zero_data(0, 10)
    assert status_of(lambda: file.zero_data(10, 5)) == s.STATUS_INVALID_PARAMETER


def test_copy(share: Share) -> None:
    source, target = share.open("a"), share.open("b")
    source.write(0, b"0123456789")
    assert target.copy_range(source, 2, 5, 4) == 4
    assert target.read(0, 20) == bytes(5) + b"2345"
    assert target.copy_range(source, 8, 0, 100) == 2
    assert source.copy_range(source, 0, 2, 6) == 6  # overlapping: by hand
    assert source.read(0, 20) == b"0101234589"
    stream = share.open("a", stream="s")
    stream.write(0, b"stream")
    assert target.copy_range(stream, 0, 0, 6) == 6 and target.read(0, 6) == b"stream"
    assert stream.copy_range(source, 0, 0, 4) == 4 and stream.read(0, 9) == b"0101am"


def test_object_ids_stay(share: Share) -> None:
    file = share.open("f")
    assert file.object_id(False) is None
    identity = file.object_id(True)
    assert len(identity) == 16 and identity == share.open("f", access=c.FILE_READ_ATTRIBUTES).object_id(False)
    assert identity != share.open("g").object_id(True)


def test_reparse_points(share: Share) -> None:
    file = share.open("f")
    assert status_of(file.reparse_point) == s.STATUS_NOT_A_REPARSE_POINT
    file.set_reparse_point(0x80000017, b"data")
    assert file.reparse_point() == (0x80000017, b"data")
    info = file.info()
    assert info.reparse_tag == 0x80000017 and info.attributes & c.FILE_ATTRIBUTE_REPARSE_POINT
    assert status_of(lambda: file.set_reparse_point(0xA0000003, b"")) == s.STATUS_IO_REPARSE_TAG_MISMATCH
    assert status_of(lambda: file.delete_reparse_point(0xA0000003)) == s.STATUS_IO_REPARSE_TAG_MISMATCH
    file.delete_reparse_point(0x80000017)
    assert not file.info().attributes & c.FILE_ATTRIBUTE_REPARSE_POINT
    assert status_of(lambda: file.set_reparse_point(0, b"")) == s.STATUS_IO_REPARSE_TAG_INVALID


def test_symbolic_links_stay_inside(make_share: Callable[..., Share]) -> None:
    from ksmbd.vfs.reparse import decode_symlink, encode_symlink

    share = make_share(flags=FLAGS | {"follow_symlinks"})
    share.mkdir("dir")
    share.open("target").write(0, b"t")
    link = share.open("dir\\link")
    link.set_reparse_point(0xA000000C, encode_symlink("..\\target", True))
    assert os.readlink(share.path / "dir" / "link") == "../target"
    assert share.open("dir\\link", access=c.FILE_READ_DATA).read(0, 1) == b"t"
    assert decode_symlink(link.reparse_point()[1]) == ("..\\target", True)
    for target in ("..\\..\\x", "..\\dir\\..\\..\\x"):
        other = share.open("dir\\other", options=c.FILE_OPEN_REPARSE_POINT)
        other.set_reparse_point(0xA000000C, encode_symlink(target, True))
        assert not (share.path / "dir" / "other").is_symlink()
        assert decode_symlink(other.reparse_point()[1]) == (target, True)


@pytest.mark.parametrize("kind", [0, c.FILE_DIRECTORY_FILE])
@pytest.mark.parametrize("stream", ["", "s"])
def test_a_link_that_the_client_has_to_follow(share: Share, kind: int, stream: str) -> None:
    """MS-SMB2 2.2.2.2.1, MS-FSA 2.1.5.1: the link itself opens with FILE_OPEN_REPARSE_POINT alone."""
    from ksmbd.vfs.reparse import encode_symlink

    data = encode_symlink("\\??\\C:\\elsewhere", False)
    link = share.open("link", options=kind)
    link.set_reparse_point(0xA000000C, data)
    with pytest.raises(s.NtStatusError) as caught:
        share.open("link", stream=stream, disposition=c.FILE_OPEN)
    assert caught.value.status == s.STATUS_STOPPED_ON_SYMLINK
    assert caught.value.data == struct.pack("<IIIHH", 12 + len(data), 0x4C4D5953, 0xA000000C, len(data), 0) + data
    again = share.open("link", disposition=c.FILE_OPEN, options=kind | c.FILE_OPEN_REPARSE_POINT)
    again.delete_reparse_point(0xA000000C)
    share.open("link", disposition=c.FILE_OPEN)
    # Other tags are for who knows them.
    again.set_reparse_point(0x80000017, b"data")
    share.open("link", disposition=c.FILE_OPEN)


def test_a_link_that_a_local_process_has_spoilt(share: Share) -> None:
    link = share.open("link")
    link.set_reparse_point(0xA000000C, bytes(12))
    os.setxattr(share.path / "link", "user.SmbReparse", struct.pack("<IHH8H", 0xA000000C, 16, 0, *[99] * 8))
    assert status_of(lambda: share.open("link")) == s.STATUS_IO_REPARSE_DATA_INVALID


# ------------------------------------------------------------------------------------------------------- streams


def test_streams(share: Share) -> None:
    stream = share.open("f", stream="One")
    assert share.on_disk() == ["f"]
    assert stream.write(3, b"abc") == 3
    assert stream.read(0, 10) == b"\0\0\0abc" and stream.read(6, 1) == b""
    assert os.getxattr(share.path / "f", "user.DosStream.One:$DATA") == b"\0\0\0abc\0"
    again = share.open("f", stream="ONE", disposition=c.FILE_OPEN)
    assert again.stream == stream.stream and again.key == stream.key and again.fileno() == -1
    # The path is the file's: that is how it is found again when it is to be deleted, or reclaimed.
    assert (again.path, again.stream_name, again.normalized_name()) == ("f", "One", "f:One")
    info = again.info()
    assert info.end_of_file == 6 and not info.is_directory
    again.set_end_of_file(4)
    assert stream.read(0, 10) == b"\0\0\0a"
    file = share.open("f")
    assert [(found.name, found.size) for found in file.streams()] == [("", 0), ("One", 4)]
    create = c.FILE_CREATE
    assert status_of(lambda: share.create("f", stream="one", disposition=create)) == s.STATUS_OBJECT_NAME_COLLISION
    assert status_of(lambda: share.create("f", stream="two", disposition=c.FILE_OPEN)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    stream.unlink()
    assert share.on_disk() == ["f"] and len(file.streams()) == 1
    assert status_of(lambda: again.read(0, 1)) == s.STATUS_OBJECT_NAME_NOT_FOUND


def test_streams_of_a_directory(share: Share) -> None:
    share.mkdir("d")
    stream = share.open("d", stream="s")
    stream.write(0, b"x")
    assert not stream.is_directory and stream.read(0, 2) == b"x"
    assert status_of(lambda: share.create("d", stream="s", options=c.FILE_DIRECTORY_FILE)) == s.STATUS_NOT_A_DIRECTORY
    stream.check_delete()
    assert [found.name for found in share.open("d").streams()] == ["s"]


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (MAXIMUM_SIZE, 1), (1 << 40, 1), (0, MAXIMUM_SIZE + 1), ((1 << 63) - 2, 1), (MAXIMUM_SIZE - 500, 1000),
    ],
)  # fmt: skip
def test_streams_have_an_end(share: Share, offset: int, size: int) -> None:
    """An offset beyond what attributes hold is refused before anything is allocated."""
    stream = share.open("f", stream="s")
    assert status_of(lambda: stream.write(offset, bytes(size))) == s.STATUS_FILE_SYSTEM_LIMITATION
    assert status_of(lambda: stream.set_end_of_file(offset + size)) == s.STATUS_FILE_SYSTEM_LIMITATION
    assert stream.read(0, 10) == b""


def test_stream_rename(share: Share) -> None:
    stream = share.open("f", stream="a")
    stream.write(0, b"data")
    stream.rename(":b:$DATA", False)
    assert share.open("f", stream="b", disposition=c.FILE_OPEN).read(0, 9) == b"data"
    share.open("f", stream="c")
    assert status_of(lambda: stream.rename(":C", False)) == s.STATUS_OBJECT_NAME_COLLISION
    stream.rename(":C", True)
    assert sorted(found.name for found in share.open("f").streams()) == ["", "c"]
    for target in ("f", ":x:$INDEX", "\\g"):
        assert status_of(lambda: stream.rename(target, False)) == s.STATUS_INVALID_PARAMETER  # noqa: B023
    assert status_of(lambda: stream.rename(":", False)) == s.STATUS_OBJECT_NAME_INVALID


def test_overwriting_a_stream_leaves_the_file(share: Share) -> None:
    share.open("f").write(0, b"file")
    share.open("f", stream="s").write(0, b"stream")
    result = share.create("f", stream="s", disposition=c.FILE_OVERWRITE)
    result.file.overwrite(0, False, [])
    assert result.file.read(0, 9) == b"" and share.open("f").read(0, 9) == b"file"


def test_a_change_time_that_was_set_holds_until_the_next_change(share: Share) -> None:
    """MS-FSA 2.1.5.15.2: ChangeTime can be set; a later change sets it anew."""
    file = share.open("changed")
    when = 116444736010000000
    file.set_basic(0, 0, when, when, 0)
    assert file.info().change_time == when
    file.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_HIDDEN)  # Open.UserSetChangeTime
    assert file.info().change_time == when
    file.set_basic(0, 0, 0, -2, c.FILE_ATTRIBUTE_NORMAL)
    assert file.info().change_time > when
    file.set_basic(0, 0, 0, when, 0)
    share.open("changed").set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_HIDDEN)
    assert file.info().change_time > when
    file.set_basic(0, 0, 0, when, 0)
    os.utime(share.path / "changed", (5, 5))
    os.chmod(share.path / "changed", 0o600)
    assert file.info().change_time != when


def test_the_end_after_one_write_needs_no_look_at_the_file(share: Share) -> None:
    """WriteTime.end is False then, whatever the file's times are."""
    an_old_file(share)
    before = stat_at(-100, os.fsencode(share.path / "f"))
    tick(share)
    (share.path / "f").write_bytes(b"new")
    after = stat_at(-100, os.fsencode(share.path / "f"))
    for stat in (before, after):
        time_of_write = WriteTime(before, 5.0)
        assert not time_of_write.is_late and not time_of_write.end(stat) and time_of_write.held is None
    late = WriteTime(before, 5.0)
    late.hold(before)
    assert late.is_late and late.end(after)
