# SPDX-License-Identifier: GPL-2.0-or-later
"""Named streams beside the file that they belong to."""
from __future__ import annotations

import ast
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from vfs_share import USER, Share

from ksmbd.smb.constants import (
    DELETE,
    FILE_APPEND_DATA,
    FILE_ATTRIBUTE_READONLY,
    FILE_CREATE,
    FILE_GENERIC_READ,
    FILE_OPEN,
    FILE_OPEN_IF,
    FILE_OVERWRITE,
    FILE_OVERWRITE_IF,
    FILE_READ_ATTRIBUTES,
    FILE_SUPERSEDE,
    FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
    MAXIMUM_ALLOWED,
)
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_DISK_FULL,
    STATUS_FILE_SYSTEM_LIMITATION,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    NtStatusError,
)
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.stream_store import MAXIMUM_SIZE
from ksmbd.vfs.streams import LocalStream

OF_THE_FILE = {
    "file_system",
    "path",
    "is_snapshot",
    "quota",
    "quotas",
    "quota_position",
    "set_quotas",
    "volume_info",
    "previous_versions",
    "parent_key",
    "disk_name",
    "handle",
    "short_name",
    "unlink_file",
    "volume",
    "set_basic",
    "security_descriptor",
    "set_security_descriptor",
    "maximal_access",
    "streams",
    "folded",
    "object_id",
}
"""Operations through a stream's handle that concern its file (MS-FSA: Open.File, not Open.Stream)."""
OF_THE_OPEN = {"finish_writes", "close", "undo_create"}
"""What they do is of the open, or goes on to operations of the stream's own."""


def _methods(source: Path, name: str) -> set[str]:
    """The public methods and properties that a class defines itself, read from its source: a compiled class says them
    otherwise."""
    (found,) = [
        node
        for file in (source.rglob("*.py") if source.is_dir() else [source])
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    return {node.name for node in found.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}


TOP = Path(__file__).resolve().parents[3]
OPERATIONS = _methods(TOP / "ksmbd" / "smb" / "ports", "File")
OWN = _methods(TOP / "ksmbd" / "vfs" / "streams.py", "LocalStream")


def test_each_operation_is_the_streams_own_or_is_decided_to_be_its_files() -> None:
    """A new operation of the port comes here, or into LocalStream."""
    assert not OPERATIONS - OWN - OF_THE_FILE - OF_THE_OPEN, "for streams nobody has decided about these"
    assert not OWN & (OF_THE_FILE | OF_THE_OPEN)
    assert OPERATIONS >= OF_THE_FILE | OF_THE_OPEN, "no operations of the port"


def test_nothing_of_the_class_of_files_can_be_reached_from_a_stream() -> None:
    assert not issubclass(LocalStream, LocalFile)
    assert not issubclass(LocalFile, LocalStream)


def test_a_stream_has_no_public_method_that_the_port_does_not_know() -> None:
    """What is spelled otherwise than in the port is called by nobody."""
    assert OWN - OPERATIONS == {"make"}


@pytest.fixture
def pair(share: Share) -> tuple[Any, Any]:
    """A file of 5,000 bytes and a stream of 100."""
    base = share.open("f")
    base.write(0, b"x" * 5000)
    stream = share.open("f", stream="s")
    stream.write(0, b"y" * 100)
    return base, stream


@pytest.mark.parametrize("size", [0, 40])
def test_a_smaller_allocation_cuts_the_stream_and_not_its_file(pair: tuple[Any, Any], size: int) -> None:
    base, stream = pair
    stream.set_allocation(size)
    assert stream.info().end_of_file == size
    assert base.info().end_of_file == 5000


def test_a_larger_allocation_changes_nothing(pair: tuple[Any, Any], share: Share) -> None:
    base, stream = pair
    blocks = os.stat(share.path / "f").st_blocks
    stream.set_allocation(50_000)
    assert stream.info().end_of_file == 100
    assert os.stat(share.path / "f").st_blocks == blocks
    assert base.info().end_of_file == 5000


def _refused(call: Callable[[], Any], status: int) -> None:
    with pytest.raises(NtStatusError) as caught:
        call()
    assert caught.value.status == status


def test_nothing_is_reserved_for_a_stream(pair: tuple[Any, Any]) -> None:
    _, stream = pair
    stream.set_allocation(1 << 20)
    _refused(lambda: stream.set_allocation(-1), STATUS_INVALID_PARAMETER)
    assert stream.read(0, 1000) == b"y" * 100


def test_more_than_an_attribute_holds_is_a_limitation_of_the_file_system(pair: tuple[Any, Any]) -> None:
    _, stream = pair
    _refused(lambda: stream.write(MAXIMUM_SIZE, b"x"), STATUS_FILE_SYSTEM_LIMITATION)
    _refused(lambda: stream.set_end_of_file(MAXIMUM_SIZE + 1), STATUS_FILE_SYSTEM_LIMITATION)
    assert stream.read(0, 1000) == b"y" * 100


def test_extended_attributes_are_asked_of_the_file(pair: tuple[Any, Any]) -> None:
    base, stream = pair
    base.set_extended_attributes([("a", 0, b"1")])
    _refused(lambda: stream.set_extended_attributes([("a", 0, b"2")]), STATUS_INVALID_PARAMETER)
    _refused(stream.extended_attributes, STATUS_INVALID_PARAMETER)
    assert base.extended_attributes() == [("a", 0, b"1")]


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (lambda stream: stream.set_reparse_point(0x80000123, b"data"), STATUS_INVALID_PARAMETER),
        (lambda stream: stream.delete_reparse_point(0x80000123), STATUS_INVALID_PARAMETER),
        (lambda stream: stream.set_compression(2), STATUS_INVALID_DEVICE_REQUEST),
        (lambda stream: stream.link("g", False), STATUS_INVALID_PARAMETER),
        (lambda stream: stream.watch(1, False), STATUS_INVALID_PARAMETER),
    ],
)
def test_what_is_of_files_alone_is_refused(pair: tuple[Any, Any], call: Callable[[Any], Any], status: int) -> None:
    base, stream = pair
    before = base.info()
    _refused(lambda: call(stream), status)
    assert base.info() == before


def test_zeros_and_sparse_concern_the_stream(pair: tuple[Any, Any]) -> None:
    base, stream = pair
    stream.set_sparse(True)
    stream.zero_data(0, 50)
    assert stream.read(0, 100) == bytes(50) + b"y" * 50
    assert stream.allocated_ranges(0, 1000, 9) == [(0, 100)]
    assert base.read(0, 5000) == b"x" * 5000
    assert not base.info().attributes & 0x200


def test_data_from_a_pipe_goes_into_the_stream(pair: tuple[Any, Any]) -> None:
    base, stream = pair
    ours, theirs = os.pipe()
    try:
        os.write(theirs, b"z" * 30)
        stream.write_from_pipe(10, ours, 30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert stream.read(0, 100) == b"y" * 10 + b"z" * 30 + b"y" * 60
    assert base.read(0, 5000) == b"x" * 5000


def test_a_read_only_file_keeps_its_streams(pair: tuple[Any, Any]) -> None:
    base, stream = pair
    stream.check_delete()
    base.set_basic(0, 0, 0, 0, FILE_ATTRIBUTE_READONLY)
    _refused(stream.check_delete, STATUS_CANNOT_DELETE)


def test_a_stream_is_flushed_through_a_handle_that_reads_nothing(pair: tuple[Any, Any], monkeypatch: Any) -> None:
    _, stream = pair
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    stream.flush()
    assert synced == [stream.key[1]]


EMPTIES = (FILE_OVERWRITE, FILE_OVERWRITE_IF, FILE_SUPERSEDE)


@pytest.fixture
def reader(make_share: Callable[..., Share], pair: tuple[Any, Any], share: Share) -> Share:
    """The same share for another user, who may but read the file."""
    if os.geteuid():
        pytest.skip("needs root")
    pair[0].set_basic(0, 0, 0, 0, 0x20)
    return make_share(user=(USER + 1, USER + 1))


@pytest.mark.parametrize("disposition", EMPTIES)
@pytest.mark.parametrize("access", [FILE_READ_ATTRIBUTES, FILE_GENERIC_READ])
def test_who_may_but_read_empties_no_stream(
    reader: Share, pair: tuple[Any, Any], disposition: int, access: int
) -> None:
    """MS-FSA 2.1.5.1.2: FILE_WRITE_DATA, whatever DesiredAccess says."""
    _refused(lambda: reader.open("f", access, disposition, stream="s"), STATUS_ACCESS_DENIED)
    assert pair[1].read(0, 1000) == b"y" * 100


@pytest.mark.parametrize("disposition", [FILE_CREATE, FILE_OPEN_IF, FILE_OVERWRITE_IF, FILE_SUPERSEDE])
def test_who_may_but_read_makes_no_stream(reader: Share, pair: tuple[Any, Any], disposition: int) -> None:
    _refused(lambda: reader.open("f", FILE_READ_ATTRIBUTES, disposition, stream="t"), STATUS_ACCESS_DENIED)
    assert [stream.name for stream in pair[0].streams()] == ["", "s"]
    assert reader.open("f", FILE_GENERIC_READ, FILE_OPEN, stream="s").read(0, 1000) == b"y" * 100
    assert reader.open("f", FILE_GENERIC_READ, FILE_OPEN_IF, stream="s").read(0, 1000) == b"y" * 100


@pytest.mark.parametrize("disposition", EMPTIES)
@pytest.mark.parametrize("name", ["s", "t"])
def test_a_read_only_files_streams_are_neither_emptied_nor_made(
    share: Share, pair: tuple[Any, Any], disposition: int, name: str
) -> None:
    pair[0].set_basic(0, 0, 0, 0, FILE_ATTRIBUTE_READONLY)
    before = pair[0].streams()
    if disposition != FILE_OVERWRITE or name == "s":
        _refused(lambda: share.open("f", FILE_READ_ATTRIBUTES, disposition, stream=name), STATUS_ACCESS_DENIED)
    assert pair[0].streams() == before


def test_the_right_that_emptying_takes_is_not_the_opens(share: Share, pair: tuple[Any, Any]) -> None:
    result = share.create("f", FILE_READ_ATTRIBUTES, FILE_OVERWRITE, stream="s")
    assert not result.granted_access & (FILE_WRITE_DATA | FILE_APPEND_DATA | DELETE)
    result = share.create("f", FILE_READ_ATTRIBUTES, FILE_SUPERSEDE)
    assert not result.granted_access & (FILE_WRITE_DATA | FILE_APPEND_DATA | DELETE)
    assert share.create("f", MAXIMUM_ALLOWED, FILE_OVERWRITE).granted_access & FILE_WRITE_DATA


def test_superseding_needs_delete_on_the_file_or_its_folder(share: Share, make_share: Callable[..., Share]) -> None:
    """It puts another file in the place of the old one."""
    if os.geteuid():
        pytest.skip("needs root")
    for name, mode in (("closed", 0o755), ("open", 0o777)):
        share.mkdir(name)
        share.open(f"{name}\\f")
        os.chmod(share.path / name / "f", 0o666)
        os.chmod(share.path / name, mode)
    other = make_share(user=(USER + 1, USER + 1))
    _refused(lambda: other.open("closed\\f", FILE_WRITE_DATA, FILE_SUPERSEDE), STATUS_ACCESS_DENIED)
    other.open("closed\\f", FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES, FILE_OVERWRITE)
    other.open("open\\f", FILE_WRITE_DATA, FILE_SUPERSEDE)


def test_overwriting_that_fails_leaves_the_old_content(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "setxattr", refuse)
    _refused(lambda: pair[1].overwrite(0, False, ()), STATUS_DISK_FULL)
    monkeypatch.undo()
    assert pair[1].read(0, 1000) == b"y" * 100


@pytest.mark.parametrize("disposition", EMPTIES)
def test_who_may_write_and_not_read_overwrites_a_stream(share: Share, disposition: int) -> None:
    with closing(share.open("f", stream="s")) as file:
        file.write(0, b"data")
    (share.path / "f").chmod(0o200)
    with closing(share.open("f", FILE_WRITE_DATA | DELETE, disposition, stream="s")) as file:
        file.overwrite(0, disposition == FILE_SUPERSEDE, ())
    (share.path / "f").chmod(0o600)
    with closing(share.open("f", stream="s")) as file:
        assert file.end_of_file() == 0
