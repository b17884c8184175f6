# SPDX-License-Identifier: GPL-2.0-or-later
"""Named streams beside the file that they belong to."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import Share

from ksmbd.smb import ports
from ksmbd.smb.constants import FILE_ATTRIBUTE_READONLY
from ksmbd.smb.status import (
    STATUS_CANNOT_DELETE,
    STATUS_DISK_FULL,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    NtStatusError,
)
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.streams import LocalStream

OF_THE_FILE = {
    "file_system",
    "parent_key",
    "volume",
    "set_basic",
    "security_descriptor",
    "set_security_descriptor",
    "maximal_access",
    "extended_attributes",
    "set_extended_attributes",
    "streams",
    "object_id",
}
"""Operations through a stream's handle that concern its file (MS-FSA: Open.File, not Open.Stream)."""
OF_THE_OPEN = {"finish_writes", "close", "undo_create"}
"""What they do is of the open, or goes on to operations of the stream's own."""


def _operations() -> set[str]:
    return {
        name for name, value in vars(ports.File).items() if not name.startswith("_") and (callable(value) or
        isinstance(value, property))
    }  # fmt: skip


def test_each_operation_is_the_streams_own_or_is_decided_to_be_its_files() -> None:
    """A new operation of the port comes here, or into LocalStream."""
    own = {name for name in vars(LocalStream) if not name.startswith("_")}
    operations = _operations()
    assert not operations - own - OF_THE_FILE - OF_THE_OPEN, "for streams nobody has decided about these"
    assert not own & (OF_THE_FILE | OF_THE_OPEN)
    assert operations >= OF_THE_FILE | OF_THE_OPEN, "no operations of the port"


def test_nothing_of_the_class_of_files_can_be_reached_from_a_stream() -> None:
    assert not issubclass(LocalStream, LocalFile)
    assert not issubclass(LocalFile, LocalStream)


def test_a_stream_has_no_public_method_that_the_port_does_not_know() -> None:
    """What is spelled otherwise than in the port is called by nobody."""
    own = {name for name in vars(LocalStream) if not name.startswith("_")}
    assert own - _operations() == {"make"}


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


def test_an_allocation_that_no_stream_can_have_is_refused(pair: tuple[Any, Any]) -> None:
    _, stream = pair
    _refused(lambda: stream.set_allocation(1 << 20), STATUS_DISK_FULL)
    _refused(lambda: stream.set_allocation(-1), STATUS_INVALID_PARAMETER)
    assert stream.read(0, 1000) == b"y" * 100


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
    assert stream.allocated_ranges(0, 1000) == [(0, 100)]
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
