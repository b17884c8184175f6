# SPDX-License-Identifier: GPL-2.0-or-later
"""A request that is refused leaves the disk as it was, wherever on its way it fails."""
from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from vfs_share import FLAGS, Share

from ksmbd.smb.constants import FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_SYSTEM, FILE_OVERWRITE_IF
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_EA_TOO_LARGE,
    STATUS_INVALID_EA_NAME,
    STATUS_INVALID_PARAMETER,
    STATUS_IO_REPARSE_DATA_INVALID,
    STATUS_OBJECT_NAME_COLLISION,
    NtStatusError,
)
from ksmbd.vfs import metadata
from ksmbd.vfs.reparse import encode_symlink


def _fails(call: Callable[[], Any]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


def _state(share: Share, file: Any) -> dict[str, Any]:
    """All that clients see of a file, and its extended attributes on the disk. ChangeTime moves with what is undone."""
    path = share.path / "f"
    info = file.info()
    with open(os.open(path, os.O_RDONLY | os.O_NOATIME), "rb") as opened:
        data = opened.read()
    return {
        "times": (info.creation_time, info.last_access_time, info.last_write_time),
        "attributes": info.attributes,
        "eas": sorted(file.extended_attributes()),
        "streams": sorted((stream.name, stream.size) for stream in file.streams()),
        "data": data,
        "kept": {name: os.getxattr(path, name) for name in os.listxattr(path) if name != "user.DOSATTRIB"},
    }


@pytest.fixture
def file(share: Share) -> Any:
    """With data, two EAs, a stream, attributes and times of its own."""
    file = share.open("f", extended_attributes=[("one", 0, b"1"), ("two", 0, b"2")])
    file.write(0, b"old data")
    share.open("f", stream="s").write(0, b"in the stream")
    file.set_basic(132000000000000000, 132000000000000000, 132000000000000000, 0, FILE_ATTRIBUTE_HIDDEN)
    return file


def _failing(monkeypatch: pytest.MonkeyPatch, call: str, at: int, code: int = errno.EIO) -> None:
    """The call of os fails the `at`th time."""
    real = getattr(os, call)
    count = iter(range(1000))

    def perhaps(*args: Any, **more: Any) -> Any:
        if next(count) == at:
            raise OSError(code, os.strerror(code))
        return real(*args, **more)

    monkeypatch.setattr(os, call, perhaps)


BAD = [
    ([("new", 0, b"n"), ("", 0, b"x")], STATUS_INVALID_EA_NAME),
    ([("one", 0, b"changed"), ("DOSATTRIB", 0, b"x")], STATUS_ACCESS_DENIED),
    ([("one", 0, b""), ("two", 0, b"x" * 70000)], STATUS_EA_TOO_LARGE),
]
"""Lists of which the last is bad."""


@pytest.mark.parametrize(("eas", "status"), BAD)
def test_of_several_eas_with_a_bad_one_none_is_set(share: Share, file: Any, eas: Any, status: int) -> None:
    before = _state(share, file)
    assert _fails(lambda: file.set_extended_attributes(eas)) == status
    assert _state(share, file) == before


@pytest.mark.parametrize(("call", "at"), [("setxattr", 0), ("setxattr", 1), ("removexattr", 0)])
def test_of_several_eas_one_of_which_fails_none_is_set(
    share: Share, file: Any, monkeypatch: pytest.MonkeyPatch, call: str, at: int
) -> None:
    before = _state(share, file)
    _failing(monkeypatch, call, at)
    _fails(lambda: file.set_extended_attributes([("ONE", 0, b"changed"), ("new", 0, b"n"), ("two", 0, b"")]))
    monkeypatch.undo()
    assert _state(share, file) == before


@pytest.mark.parametrize(("eas", "status"), BAD)
def test_create_with_a_bad_ea_makes_nothing(share: Share, eas: Any, status: int) -> None:
    before = os.stat(share.path).st_mtime_ns
    assert _fails(lambda: share.open("g", extended_attributes=eas)) == status
    assert _fails(lambda: share.mkdir("g", extended_attributes=eas)) == status
    assert share.on_disk() == [] and os.stat(share.path).st_mtime_ns == before


def test_create_with_a_bad_descriptor_makes_nothing(share: Share) -> None:
    before = os.stat(share.path).st_mtime_ns
    _fails(lambda: share.open("g", security_descriptor=b"\x01\x00\x04\x80" + b"\xff" * 16))
    assert share.on_disk() == [] and os.stat(share.path).st_mtime_ns == before


@pytest.mark.parametrize("supersede", [False, True])
@pytest.mark.parametrize(("eas", "status"), BAD)
def test_overwriting_with_a_bad_ea_changes_nothing(
    share: Share, file: Any, eas: Any, status: int, supersede: bool
) -> None:
    again = share.open("f", disposition=FILE_OVERWRITE_IF, attributes=FILE_ATTRIBUTE_HIDDEN)
    before = _state(share, file)
    assert _fails(lambda: again.overwrite(FILE_ATTRIBUTE_SYSTEM, supersede, eas)) == status
    assert _state(share, file) == before


@pytest.mark.parametrize(
    ("call", "at"), [("removexattr", 0), ("removexattr", 1), ("setxattr", 0), ("setxattr", 1), ("ftruncate", 0)]
)
def test_overwriting_that_fails_half_way_changes_nothing(
    share: Share, file: Any, monkeypatch: pytest.MonkeyPatch, call: str, at: int
) -> None:
    again = share.open("f", disposition=FILE_OVERWRITE_IF, attributes=FILE_ATTRIBUTE_HIDDEN)
    before = _state(share, file)
    _failing(monkeypatch, call, at)
    _fails(lambda: again.overwrite(FILE_ATTRIBUTE_SYSTEM, False, [("three", 0, b"3")]))
    monkeypatch.undo()
    assert _state(share, file) == before


def test_basic_information_with_an_attribute_that_cannot_be_changes_nothing(share: Share) -> None:
    folder = share.mkdir("d")
    before = folder.info()
    assert _fails(lambda: folder.set_basic(1 << 60, 1 << 60, 1 << 60, 0, 0x100)) == STATUS_INVALID_PARAMETER
    assert folder.info() == before


@pytest.mark.parametrize("part", ["times", "attributes"])
def test_basic_information_that_fails_half_way_changes_nothing(
    share: Share, file: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    before = _state(share, file)
    if part == "times":
        def refuse(*args: Any) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(metadata, "set_times", refuse)
    else:
        _failing(monkeypatch, "setxattr", 0)
    time = 133000000000000000
    _fails(lambda: file.set_basic(time, time, time, 0, FILE_ATTRIBUTE_SYSTEM))
    monkeypatch.undo()
    assert _state(share, file) == before


def test_a_stream_that_cannot_be_renamed_stays_what_it_was(
    share: Share, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    share.open("f", stream="t").write(0, b"of the other")
    stream = share.open("f", stream="s")
    before = _state(share, file)
    assert _fails(lambda: stream.rename(":t", False)) == STATUS_OBJECT_NAME_COLLISION
    for target, replace in ((":u", False), (":t", True)):
        _failing(monkeypatch, "removexattr", 0)
        _fails(partial(stream.rename, target, replace))
        monkeypatch.undo()
        assert _state(share, file) == before
        assert stream.stream_name == "s" and stream.read(0, 100) == b"in the stream"


@pytest.mark.parametrize("folder", [False, True])
def test_a_link_that_cannot_take_a_files_place_leaves_it(
    make_share: Callable[..., Share], monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    share = make_share(flags=FLAGS | {"follow_symlinks"})
    target = share.mkdir("x") if folder else share.open("x")
    before = os.stat(share.path / "x").st_ino
    _failing(monkeypatch, "rmdir" if folder else "unlink", 0)
    _fails(lambda: target.set_reparse_point(0xA000000C, encode_symlink("elsewhere", True)))
    monkeypatch.undo()
    assert share.on_disk() == ["x"] and os.lstat(share.path / "x").st_ino == before
    target.set_reparse_point(0xA000000C, encode_symlink("elsewhere", True))
    assert os.readlink(share.path / "x") == "elsewhere" and share.on_disk() == ["x"]


def test_data_that_comes_while_a_link_takes_the_place_stays(
    make_share: Callable[..., Share], monkeypatch: pytest.MonkeyPatch
) -> None:
    share = make_share(flags=FLAGS | {"follow_symlinks"})
    file = share.open("x")
    real = os.symlink

    def write_first(*args: Any, **more: Any) -> None:
        (share.path / "x").write_bytes(b"data")
        real(*args, **more)

    monkeypatch.setattr(os, "symlink", write_first)
    status = _fails(lambda: file.set_reparse_point(0xA000000C, encode_symlink("elsewhere", True)))
    assert status == STATUS_IO_REPARSE_DATA_INVALID
    assert share.on_disk() == ["x"] and (share.path / "x").read_bytes() == b"data"


@pytest.mark.parametrize("removes", [False, True])
def test_a_reparse_point_whose_attribute_fails_is_undone(
    share: Share, file: Any, monkeypatch: pytest.MonkeyPatch, removes: bool
) -> None:
    if removes:
        file.set_reparse_point(0x80000123, b"data")
    before = _state(share, file)
    _failing(monkeypatch, "setxattr", 0 if removes else 1)
    _fails(
        lambda: file.delete_reparse_point(0x80000123) if removes else file.set_reparse_point(0x80000123, b"data")
    )
    monkeypatch.undo()
    assert _state(share, file) == before
