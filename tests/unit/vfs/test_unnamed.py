# SPDX-License-Identifier: GPL-2.0-or-later
"""A named stream becomes the unnamed one of its file (MS-FSA 2.1.5.15.11.1): its data is never lost on the way."""
from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from vfs_share import FLAGS, Share

from ksmbd.kernel import credentials
from ksmbd.smb.constants import (
    DELETE,
    FILE_ATTRIBUTE_READONLY,
    FILE_DIRECTORY_FILE,
    FILE_GENERIC_READ,
    FILE_READ_DATA,
    FILE_WRITE_DATA,
)
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_COLLISION,
    NtStatusError,
)

LONG = bytes(range(250)) * 12
"""As long as every file system lets an extended attribute be."""


def status_of(call: Callable[[], object]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


def streams_on(path: os.PathLike[str]) -> list[str]:
    return [name for name in os.listxattr(path) if "DosStream" in name]


def stream_of(share: Share, data: bytes = b"of the stream", **more: Any) -> Any:
    stream = share.open("f", stream="s", **more)
    stream.write(0, data)
    return stream


@pytest.mark.parametrize("data", [b"", b"of the stream", LONG])
def test_the_file_has_the_streams_data(share: Share, data: bytes) -> None:
    stream = stream_of(share, data)
    file = stream.become_unnamed(True)
    stream.close()
    assert (share.path / "f").read_bytes() == data and streams_on(share.path / "f") == []
    assert (file.stream, file.stream_name, file.path, file.key) == ("", "", "f", stream.key)
    assert [(found.name, found.size) for found in file.streams()] == [("", len(data))]


def test_the_open_goes_on_as_one_of_the_file(share: Share) -> None:
    file = stream_of(share).become_unnamed(True)
    share.opened.append(file)
    file.write(13, b", and more")
    assert file.read(0, 100) == b"of the stream, and more"
    assert file.info().end_of_file == 23
    file.rename("g", False)
    assert share.on_disk() == ["g"] and file.path == "g"


@pytest.mark.parametrize(
    ("access", "reads", "writes"),
    [
        (FILE_READ_DATA | DELETE, True, False), (FILE_WRITE_DATA | DELETE, False, True), (DELETE, False, False),
        (FILE_READ_DATA | FILE_WRITE_DATA | DELETE, True, True),
    ],
)  # fmt: skip
def test_the_open_keeps_its_access(share: Share, access: int, reads: bool, writes: bool) -> None:
    stream_of(share)
    file = share.open("f", access, stream="s").become_unnamed(True)
    share.opened.append(file)
    assert (share.path / "f").read_bytes() == b"of the stream"
    number = file.fileno()
    for allowed, act in ((reads, lambda: os.pread(number, 5, 0)), (writes, lambda: os.pwrite(number, b"O", 0))):
        if allowed:
            assert act()
        else:
            with pytest.raises(OSError, match="Bad file descriptor"):
                act()


def test_a_file_with_data_keeps_it(share: Share) -> None:
    stream = stream_of(share)
    share.open("f").write(0, b"of the file")
    assert status_of(lambda: stream.become_unnamed(True)) == STATUS_INVALID_PARAMETER
    assert (share.path / "f").read_bytes() == b"of the file"
    assert stream.read(0, 100) == b"of the stream"


def test_a_stream_that_may_replace_nothing(share: Share) -> None:
    stream = stream_of(share)
    assert status_of(lambda: stream.become_unnamed(False)) == STATUS_OBJECT_NAME_COLLISION
    assert stream.read(0, 100) == b"of the stream"


def test_a_directory_has_no_unnamed_stream(share: Share) -> None:
    share.mkdir("d")
    stream = share.open("d", stream="s")
    for replace in (False, True):
        assert status_of(partial(stream.become_unnamed, replace)) == STATUS_INVALID_PARAMETER


def test_the_unnamed_stream_is_that_already(share: Share) -> None:
    assert status_of(lambda: share.open("f").become_unnamed(True)) == STATUS_INVALID_PARAMETER


def test_a_read_only_file(share: Share) -> None:
    stream = stream_of(share)
    stream.set_basic(0, 0, 0, 0, FILE_ATTRIBUTE_READONLY)
    assert status_of(lambda: stream.become_unnamed(True)) == STATUS_ACCESS_DENIED
    assert stream.read(0, 100) == b"of the stream"


@pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root: acts as two Unix users")
def test_who_may_not_write_the_file(share: Share) -> None:
    """On the disk, whatever the open was granted."""
    stream = stream_of(share)
    with credentials.privileged():
        os.chown(share.path / "f", 0, 0)
        os.chmod(share.path / "f", 0o444)
    assert status_of(lambda: stream.become_unnamed(True)) == STATUS_ACCESS_DENIED
    assert (share.path / "f").read_bytes() == b"" and stream.read(0, 100) == b"of the stream"


@pytest.mark.parametrize("parameter", [{"kernel_oplocks": True}, {"posix_locking": "yes"}])
def test_where_local_processes_share_the_data(
    make_share: Callable[..., Share], parameter: dict[str, bool | str]
) -> None:
    share = make_share(**parameter)
    stream = stream_of(share)
    assert status_of(lambda: stream.become_unnamed(True)) == STATUS_NOT_SUPPORTED
    assert stream.read(0, 100) == b"of the stream"


@pytest.mark.parametrize("call", ["pwritev", "fsync", "removexattr"])
def test_a_failure_on_the_way_loses_nothing(share: Share, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    stream = stream_of(share, LONG)

    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    status_of(lambda: stream.become_unnamed(True))
    monkeypatch.undo()
    assert (share.path / "f").read_bytes() == b""
    assert stream.read(0, len(LONG)) == LONG and stream.stream_name == "s"


def test_the_data_is_on_the_disk_before_the_stream_goes(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(share)
    order: list[str] = []

    def noted(name: str, call: Callable[..., None], *arguments: object) -> None:
        order.append(name)
        call(*arguments)

    for name in ("fsync", "removexattr"):
        monkeypatch.setattr(os, name, partial(noted, name, getattr(os, name)))
    share.opened.append(stream.become_unnamed(True))
    assert order[0] == "fsync" and "removexattr" in order


def test_another_name_of_a_folder_is_no_file(make_share: Callable[..., Share]) -> None:
    """A stream of a folder that was reached by a symbolic link."""
    share = make_share(flags=FLAGS | {"follow_symlinks"})
    share.open("d", FILE_GENERIC_READ | DELETE, options=FILE_DIRECTORY_FILE)
    os.symlink("d", share.path / "l")
    stream = share.open("l", stream="s")
    assert status_of(lambda: stream.become_unnamed(True)) == STATUS_INVALID_PARAMETER
