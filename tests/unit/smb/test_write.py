# SPDX-License-Identifier: GPL-2.0-or-later
"""WRITE (MS-SMB2 3.3.5.13)."""
from __future__ import annotations

from struct import pack
from typing import Any

import create_messages as m
import pytest
from bench import Bench, body_of, file_of, started
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb import write
from ksmbd.smb.credits import SequenceWindow
from ksmbd.smb.model import Open
from ksmbd.smb.open_life import close_open
from ksmbd.smb.ports import BreakKind, LockElement, OpenRef
from ksmbd.smb.request import Reply
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future, Task

INT64_MAX = 0x7FFFFFFFFFFFFFFF


def bench(access: int = c.FILE_ALL_ACCESS, options: int = 0, **changes: Any) -> tuple[Bench, Open]:
    made = Bench(changes.pop("dialect", c.DIALECT_311), ServerSettings(**changes))
    made.volume.add("file", b"0123456789")
    made.volume.add("dir", None)
    return made, made.open("file", access, options=options)


def run(made: Bench, open_: Open, *arguments: Any, tree: Any = None, **named: Any) -> Reply:
    body = m.write(open_.persistent_id, open_.volatile_id, *arguments, **named)
    return made.run(write.handle, made.request(c.WRITE, body, tree))


def status_of(made: Bench, open_: Open, *arguments: Any, **named: Any) -> int:
    try:
        return run(made, open_, *arguments, **named).status
    except NtStatusError as error:
        return error.status


def content(made: Bench) -> bytes:
    node = made.volume.find("file")
    assert node is not None
    return bytes(node.data)


def test_golden() -> None:
    made, open_ = bench()
    reply = run(made, open_, 8, b"abcd")
    assert body_of(reply) == bytes.fromhex("11000000" "04000000" "00000000" "00000000")
    assert content(made) == b"01234567abcd" and open_.current_byte_offset == 12


def test_data_behind_a_gap() -> None:
    """DataOffset says where the data is; what lies between is not data."""
    made, open_ = bench()
    run(made, open_, 0, b"abcd", data_offset=0x100)
    assert content(made) == b"abcd456789"


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ({"data_offset": 0x101}, s.STATUS_INVALID_PARAMETER),
        ({"data_offset": 0xFFFF}, s.STATUS_INVALID_PARAMETER),
        ({"data_offset": 111}, s.STATUS_INVALID_PARAMETER),
        ({"data_offset": 0}, s.STATUS_INVALID_PARAMETER),
        ({"length": 5}, s.STATUS_INVALID_PARAMETER),
        ({"length": 0xFFFFFFFF}, s.STATUS_INVALID_PARAMETER),
        ({"channel": 1}, s.STATUS_INVALID_PARAMETER),
    ],
)
def test_bounds(named: dict[str, int], status: int) -> None:
    made, open_ = bench()
    body = m.write(open_.persistent_id, open_.volatile_id, 0, b"abcd", **named)[: 48 + 4 if "length" in named else None]
    with pytest.raises(NtStatusError) as caught:
        made.run(write.handle, made.request(c.WRITE, body))
    assert caught.value.status == status and content(made) == b"0123456789"


@pytest.mark.parametrize(
    ("offset", "data", "status"),
    [
        (0, b"", 0),
        (INT64_MAX, b"", 0),
        (INT64_MAX, b"x", s.STATUS_INVALID_PARAMETER),
        (INT64_MAX + 1, b"", s.STATUS_INVALID_PARAMETER),
        (0xFFFFFFFFFFFFFFFF, b"x", s.STATUS_INVALID_PARAMETER),
        (write.MAX_FILE_SIZE, b"", 0),
        (write.MAX_FILE_SIZE, b"x", s.STATUS_INVALID_PARAMETER),
        (write.MAX_FILE_SIZE - 1, b"x", s.STATUS_DISK_FULL),
    ],
)
def test_offsets(offset: int, data: bytes, status: int) -> None:
    made, open_ = bench()
    assert status_of(made, open_, offset, data) == status
    assert content(made) == b"0123456789"


def test_limits() -> None:
    made, open_ = bench(max_write=1000)
    assert status_of(made, open_, 0, bytes(1000)) == 0
    assert status_of(made, open_, 0, bytes(1001)) == s.STATUS_INVALID_PARAMETER
    made, open_ = bench(dialect=c.DIALECT_202)
    assert status_of(made, open_, 0, bytes(65536)) == 0
    assert status_of(made, open_, 0, bytes(65537)) == s.STATUS_INVALID_PARAMETER


@pytest.mark.parametrize(
    ("access", "offset", "status"),
    [
        (c.FILE_WRITE_DATA, 0, 0),
        (c.FILE_WRITE_DATA, 10, 0),
        (c.FILE_APPEND_DATA, 10, 0),
        (c.FILE_APPEND_DATA, 11, 0),
        (c.FILE_APPEND_DATA, 9, s.STATUS_ACCESS_DENIED),
        (c.FILE_READ_DATA | c.FILE_WRITE_ATTRIBUTES, 0, s.STATUS_ACCESS_DENIED),
    ],
)
def test_access(access: int, offset: int, status: int) -> None:
    made, open_ = bench(access)
    assert status_of(made, open_, offset, b"x") == status


@pytest.mark.parametrize(("flags", "options", "through"), [(0, 0, False), (1, 0, True), (0, 2, True), (2, 0, False)])
def test_write_through(flags: int, options: int, through: bool) -> None:
    made, open_ = bench(options=options)
    run(made, open_, 0, b"x", flags=flags)
    assert file_of(open_).calls == [("write", 0, b"x", through)]


def test_directories_and_pipes() -> None:
    made, _ = bench()
    assert status_of(made, made.open("dir"), 0, b"x") == s.STATUS_INVALID_DEVICE_REQUEST
    pipe = made.open_pipe()
    assert body_of(run(made, pipe, 0, b"bind", tree=made.ipc)) == pack("<HHIIHH", 17, 0, 4, 0, 0, 0)
    assert made.daemon.calls == [("rpc_write", 77, b"bind")]


def test_locks() -> None:
    made, open_ = bench()
    other = OpenRef(file_of(open_).key, "", 999)
    made.table.locks.append((other, LockElement(4, 2, False)))
    assert status_of(made, open_, 0, b"abcd") == 0
    assert status_of(made, open_, 3, b"xx") == s.STATUS_FILE_LOCK_CONFLICT
    assert content(made) == b"abcd456789"


def waiting(made: Bench, open_: Open) -> tuple[Task[Reply], Future[None], bytearray]:
    future: Future[None] = Future()
    made.table.wait["break_caching"] = future
    request = made.request(c.WRITE, m.write(open_.persistent_id, open_.volatile_id, 0, b"abcd"))
    buffer = bytearray(request.message)
    request.message = memoryview(buffer)
    task = started(write.handle(request))
    assert not task.done and request.interim_sent
    return task, future, buffer


def test_others_caches_are_broken_first() -> None:
    made, open_ = bench()
    task, future, buffer = waiting(made, open_)
    assert content(made) == b"0123456789"
    assert made.table.calls[-1] == ("break_caching", open_.ref, BreakKind(True, True, False))
    buffer[:] = bytes(len(buffer))  # the next frame has come into the same buffer
    future.set_result(None)
    assert task.done and body_of(task.result())[4] == 4 and content(made) == b"abcd456789"


def test_an_open_that_ends_meanwhile() -> None:
    made, open_ = bench()
    task, future, _ = waiting(made, open_)
    close_open(open_)
    future.set_result(None)
    with pytest.raises(NtStatusError) as caught:
        task.result()
    assert caught.value.status == s.STATUS_FILE_CLOSED and content(made) == b"0123456789"


@settings(deadline=None)
@given(st.binary(min_size=48, max_size=64))
def test_any_bytes(body: bytes) -> None:
    made, _ = bench()
    try:
        made.run(write.handle, made.request(c.WRITE, body))
    except NtStatusError:
        pass


# ------------------------------------------------------------------------- data that goes from the socket to the file


def incoming(made: Bench, open_: Open, data: bytes, offset: int = 0, have: int = 0, **named: int) -> Any:
    """What `begin` makes of a WRITE of which `have` bytes of data are there."""
    body = m.write(open_.persistent_id, open_.volatile_id, offset, data, **named)
    request = made.request(c.WRITE, body)
    return write.begin(request, len(request.message), write.HEAD + have)


def with_descriptor(open_: Open) -> Any:
    file: Any = open_.file
    file.fileno = lambda: 7
    return file


def sent(made: Bench) -> list[bytes]:
    made.connection.supports_multi_credit = True
    made.connection.window = SequenceWindow(64)
    return made.transport.frames


def test_data_that_is_still_to_come() -> None:
    made, open_ = bench()
    file = with_descriptor(open_)
    pieces = []
    file.write_from_pipe = lambda offset, pipe, count: pieces.append((offset, pipe, count))
    coming = incoming(made, open_, b"abcdefgh", 4)
    assert coming.left == 8
    coming.take(memoryview(b"abc"))
    assert coming.take_pipe(5, 4) and coming.take_pipe(5, 1) and coming.left == 0
    assert pieces == [(7, 5, 4), (11, 5, 1)] and content(made)[4:7] == b"abc"
    frames = sent(made)
    coming.finish()
    (frame,) = frames
    assert frame[64:] == pack("<HHIIHH", 17, 0, 8, 0, 0, 0) and open_.current_byte_offset == 12


@pytest.mark.parametrize(("closed", "status"), [(False, s.STATUS_DISK_FULL), (True, s.STATUS_FILE_CLOSED)])
def test_an_error_in_the_middle_is_answered_at_the_end(closed: bool, status: int) -> None:
    made, open_ = bench()
    file = with_descriptor(open_)

    def fail(offset: int, pipe: int, count: int) -> None:
        raise NtStatusError(s.STATUS_DISK_FULL)

    file.write_from_pipe = fail
    coming = incoming(made, open_, b"abcdefgh")
    open_.closed = closed
    assert not coming.take_pipe(5, 4) and not coming.take_pipe(5, 4)
    frames = sent(made)
    coming.finish()
    assert frames[0][8:12] == pack("<I", status)


def test_what_has_to_come_whole() -> None:
    made, open_ = bench()
    assert incoming(made, open_, b"abc") is None  # no descriptor
    with_descriptor(open_)
    assert incoming(made, open_, b"") is None
    assert incoming(made, open_, b"abc", flags=1) is None  # write-through
    made.table.wait["break_caching"] = Future()
    assert incoming(made, open_, b"abc") is None
    made.table.wait.clear()
    assert incoming(made, open_, b"abc", have=2) is not None
    readable, reader = bench(c.FILE_READ_DATA)
    with_descriptor(reader)
    with pytest.raises(NtStatusError):
        incoming(readable, reader, b"abc")
