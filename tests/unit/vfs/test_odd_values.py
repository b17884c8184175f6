# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file system says and the wire cannot: clamped or left out, and nothing else is hidden by it."""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from vfs_share import Share

from ksmbd.kernel.stat import STATX_BTIME, Stat, listed_at, stat_at, stat_fd
from ksmbd.kernel.xattr import attribute_size, get_attribute
from ksmbd.smb import info_file, posix
from ksmbd.smb.constants import (
    FILE_DIRECTORY_FILE,
    FILE_GENERIC_READ,
    FILE_OPEN,
    FILE_OVERWRITE_IF,
    FILE_READ_ATTRIBUTES,
    FILETIME_UNIX_EPOCH,
)
from ksmbd.smb.ports import FileInfo
from ksmbd.smb.status import STATUS_OBJECT_PATH_NOT_FOUND, NtStatusError
from ksmbd.vfs import attributes, dosattrib, entry, listing, stream_store
from ksmbd.vfs.times import LARGEST, to_filetime

COMPILED = not str(attributes.__file__).endswith(".py")
unless_compiled = pytest.mark.skipif(COMPILED, reason="a compiled function is not to be replaced; see test_odd_disk.py")

SECONDS = [-(1 << 62), -12_000_000_000, -1, 0, 910_692_730_085, 910_692_730_086, 1_862_000_000_000, (1 << 63) - 1]
"""Of 1970: long before 1601, and around the end of FILETIME in 30828."""


_WHOLE = {"atime_ns": 0, "mtime_ns": 0, "ctime_ns": 0, "btime_ns": 0}


def _expected(seconds: int) -> int:
    return min(max(seconds * 10_000_000 + FILETIME_UNIX_EPOCH, 0), 0x7FFFFFFFFFFFFFFF)


def _check(info: FileInfo) -> None:
    """Each class can be packed, and no value is negative for who reads it signed."""
    values = (
        info.creation_time, info.last_access_time, info.last_write_time, info.change_time, info.allocation_size,
        info.end_of_file,
    )  # fmt: skip
    assert all(0 <= value <= LARGEST for value in values), values
    posix.encode_posix_info(info)
    info_file._ALL.pack(*values[:4], info.attributes, 0, *values[4:], 1, 0, 0, 0, info.file_id, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("seconds", SECONDS)
def test_times(seconds: int) -> None:
    assert to_filetime(seconds, 0) == _expected(seconds)


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the file system say something else of each file."""

    def change(**fields: int) -> None:
        def told(stat: Stat) -> Stat:
            return stat._replace(**{"mask": stat.mask | STATX_BTIME, **_WHOLE, **fields})

        monkeypatch.setattr(entry, "stat_fd", lambda fd: told(stat_fd(fd)))
        monkeypatch.setattr(listing, "stat_at", lambda directory, name: told(stat_at(directory, name)))

        def odd_fields(data: bytes) -> Any:
            s = told(stat_at(*asked[0]))
            return (
                s.mask, s.attributes, s.nlink, s.uid, s.gid, s.mode, s.ino, s.size, s.blocks, s.atime, s.atime_ns,
                s.btime, s.btime_ns, s.ctime, s.ctime_ns, s.mtime, s.mtime_ns, s.dev_major, s.dev_minor,
            )  # fmt: skip

        asked: list[tuple[int, bytes]] = [(-1, b"")]

        def ask(directory: int, name: bytes) -> bytes | None:
            asked[0] = directory, name
            return listed_at(directory, name)

        monkeypatch.setattr(listing, "listed_at", ask)
        monkeypatch.setattr(attributes, "listed_fields", odd_fields)

    return change


@unless_compiled
@pytest.mark.parametrize("seconds", SECONDS)
@pytest.mark.parametrize("plain", [True, False])
def test_a_file_with_odd_times_is_listed_and_opened(
    share: Share, odd: Callable[..., None], seconds: int, plain: bool
) -> None:
    (share.path / "f").touch() if plain else share.open("f")
    os.chmod(share.path / "f", 0o666)
    odd(atime=seconds, mtime=seconds, ctime=seconds, btime=seconds)
    info = share.open("f", access=FILE_READ_ATTRIBUTES, disposition=FILE_OPEN).info()
    folder = share.open("", access=FILE_GENERIC_READ, options=FILE_DIRECTORY_FILE)
    listed = {each.name: each.info for each in folder.list_directory()}["f"]
    for found in (info, listed, folder.lookup_entry("f").info):
        _check(found)
        assert (found.last_write_time, found.change_time) == (_expected(seconds), _expected(seconds))


@unless_compiled
@pytest.mark.parametrize("fields", [{"size": 1 << 63}, {"blocks": 1 << 63}, {"size": (1 << 64) - 1, "blocks": 1 << 60}])
def test_odd_sizes(share: Share, odd: Callable[..., None], fields: dict[str, int]) -> None:
    share.open("f")
    folder = share.open("", access=FILE_GENERIC_READ, options=FILE_DIRECTORY_FILE)
    file = share.open("f", access=FILE_READ_ATTRIBUTES, disposition=FILE_OPEN)
    odd(**fields)
    for found in (file.info(), next(each.info for each in folder.list_directory() if each.name == "f")):
        _check(found)
        assert found.end_of_file == LARGEST or found.allocation_size == LARGEST
    assert all(0 <= value <= LARGEST for stream in file.streams() for value in (stream.size, stream.allocation_size))


@pytest.mark.parametrize("creation", [1 << 63, (1 << 64) - 1])
def test_an_odd_creation_time_in_the_attribute(share: Share, creation: int) -> None:
    file = share.open("f")
    os.setxattr(share.path / "f", dosattrib.NAME, dosattrib.encode(0x20, creation))
    folder = share.open("", access=FILE_GENERIC_READ, options=FILE_DIRECTORY_FILE)
    for found in (file.info(), next(each.info for each in folder.list_directory() if each.name == "f")):
        _check(found)
        assert found.creation_time == LARGEST
    share.open("f", disposition=FILE_OVERWRITE_IF).overwrite(0, False, ())


@unless_compiled
@pytest.mark.parametrize("code", [errno.EIO, errno.EOVERFLOW, errno.ESTALE, errno.EACCES, errno.EUCLEAN])
@pytest.mark.parametrize("quick", [True, False])
def test_one_bad_entry_hides_no_folder(
    make_share: Callable[..., Share], monkeypatch: pytest.MonkeyPatch, code: int, quick: bool
) -> None:
    share = make_share(veto_files=() if quick else ("nothing",))
    for name in ("bad", "good", "other"):
        share.open(name)
    module, function = (listing, "listed_at") if quick else (listing, "stat_at")
    real = getattr(module, function)

    def perhaps(directory: int, name: bytes) -> Any:
        if name == b"bad":
            raise OSError(code, os.strerror(code))
        return real(directory, name)

    monkeypatch.setattr(module, function, perhaps)
    assert share.names() == ["good", "other"]


def test_streams_that_no_client_can_name_or_read_are_left_out(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    file = share.open("f")
    share.open("f", stream="good")
    for name in ("", "a/b", "a:b", "a\\b", "closed", "\udcff\udcfe"):
        os.setxattr(share.path / "f", f"user.DosStream.{name}:$DATA".encode("utf-8", "surrogateescape"), b"x\0")
    real = attribute_size

    def perhaps(fd: int, name: bytes, *more: Any) -> Any:
        if b"closed" in name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(fd, name, *more)

    monkeypatch.setattr(stream_store, "attribute_size", perhaps)
    assert sorted(stream.name for stream in file.streams()) == ["", "good", "\ufffd\ufffd"]


@unless_compiled
def test_an_ea_longer_than_the_wire_can_say_is_left_out(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    file = share.open("f", extended_attributes=[("good", 0, b"1"), ("long", 0, b"2")])
    real = get_attribute

    def longer(fd: int, name: bytes, *more: Any) -> Any:
        return b"x" * 65536 if name == b"user.long" else real(fd, name, *more)

    monkeypatch.setattr(attributes, "get_attribute", longer)
    assert file.extended_attributes() == [("good", 0, b"1")]
    assert file.info().ea_size == 4 + 4 + 1 + 4 + 1


# ------------------------------------------------------------------------------------------------------- long paths


@pytest.fixture
def deep(share: Share) -> Iterator[str]:
    """The longest folder that can be made of names of 200 characters."""
    path, last = "", ""
    for number in range(30):
        last = path
        path = f"{path}\\{number:03}{'x' * 197}" if path else f"{number:03}{'x' * 197}"
        try:
            share.mkdir(path).close()
        except NtStatusError as error:
            assert error.status == STATUS_OBJECT_PATH_NOT_FOUND
            break
    assert len(last) > 3000
    yield last
    while last:
        folder = share.open(last, options=FILE_DIRECTORY_FILE, disposition=FILE_OPEN)
        folder.check_delete()
        folder.unlink()
        folder.close()
        last = last.rpartition("\\")[0]
    assert share.on_disk() == []


def test_what_can_be_made_can_be_listed_renamed_and_deleted(share: Share, deep: str) -> None:
    room = share.volume.place.resolver.longest - len(deep) - 1
    name = "n" * room
    file = share.open(f"{deep}\\{name}")
    file.rename(f"{deep}\\{name[1:]}", False)
    assert share.names(deep) == [name[1:]]
    file.link(f"{deep}\\{name}", False)
    assert share.names(deep) == [name[1:], name]
    for each in (name, name[1:]):
        gone = share.open(f"{deep}\\{each}", disposition=FILE_OPEN)
        gone.check_delete()
        gone.unlink()
    assert share.names(deep) == []


def test_a_path_beyond_is_refused_by_all_who_make_names(share: Share, deep: str) -> None:
    beyond = f"{deep}\\{'n' * (share.volume.place.resolver.longest - len(deep))}"
    file = share.open(f"{deep}\\f")
    calls: tuple[Callable[[], object], ...] = (
        lambda: share.open(beyond),
        lambda: share.mkdir(beyond),
        lambda: share.open(beyond, stream="s"),
        lambda: share.open(f"{beyond}\\f"),
        lambda: file.rename(beyond, False),
        lambda: file.link(beyond, False),
    )
    for call in calls:
        with pytest.raises(NtStatusError) as caught:
            call()
        assert caught.value.status == STATUS_OBJECT_PATH_NOT_FOUND
    assert share.names(deep) == ["f"]
    file.unlink()


def test_characters_count_as_they_are_on_the_disk(share: Share, deep: str) -> None:
    room = share.volume.place.resolver.longest - len(deep) - 1
    with pytest.raises(NtStatusError) as caught:
        share.open(f"{deep}\\{'ü' * (room // 2 + 1)}")
    assert caught.value.status == STATUS_OBJECT_PATH_NOT_FOUND


def test_what_is_open_while_a_folder_above_gets_a_longer_name_can_be_deleted(share: Share) -> None:
    folder = share.mkdir("d")
    path = "d"
    while len(path) + 201 < share.volume.place.resolver.longest:
        path += "\\" + "x" * 200
        share.mkdir(path).close()
    file = share.open(f"{path}\\f")
    folder.rename("d" * 255, False)
    file.check_delete()
    file.unlink()
    folder.rename("d", False)
    assert share.names(path) == []
