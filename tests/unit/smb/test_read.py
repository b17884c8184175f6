# SPDX-License-Identifier: GPL-2.0-or-later
"""READ (MS-SMB2 3.3.5.12)."""
from __future__ import annotations

from struct import pack
from typing import Any

import create_messages as m
import pytest
from bench import Bench, body_of, file_of, is_done, started
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.smb import constants as c
from ksmbd.smb import read
from ksmbd.smb import status as s
from ksmbd.smb.data_paths import DataPaths, Rule, Transfer
from ksmbd.smb.model import Open
from ksmbd.smb.ports import FileSpan, LockElement, OpenRef
from ksmbd.smb.request import Body, Reply
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future

THRESHOLD = 64 << 10
CONTENT = bytes(range(256)) * 1024
INT64_MAX = 0x7FFFFFFFFFFFFFFF


def bench(access: int = c.FILE_ALL_ACCESS, **changes: Any) -> tuple[Bench, Open]:
    made = Bench(changes.pop("dialect", c.DIALECT_311), ServerSettings(**changes))
    made.volume.add("file", CONTENT)
    made.volume.add("dir", None)
    return made, made.open("file", access)


def run(made: Bench, open_: Open, *arguments: int, tree: Any = None, **named: int) -> Reply:
    body = m.read(open_.persistent_id, open_.volatile_id, *arguments, **named)
    return made.run(read.handle, made.request(c.READ, body, tree))


def status_of(made: Bench, open_: Open, *arguments: int, **named: Any) -> int:
    try:
        return run(made, open_, *arguments, **named).status
    except NtStatusError as error:
        return error.status


def test_golden() -> None:
    made, open_ = bench()
    reply = run(made, open_, 256 + 1, 5)
    assert body_of(reply) == bytes.fromhex("11005000" "05000000" "00000000" "00000000" "0102030405")
    assert open_.current_byte_offset == 256 + 6


def test_the_data_is_read_into_the_frame() -> None:
    made, open_ = bench()
    reply = run(made, open_, 0, len(CONTENT) + 100)
    assert isinstance(reply.body, Body) and reply.body.size == 16 + len(CONTENT)
    assert bytes(reply.body.frame[-len(CONTENT) :]) == CONTENT


@pytest.mark.parametrize(
    ("offset", "length", "minimum", "status"),
    [
        (0, 10, 1, 0),
        (0, 10, 10, 0),
        (0, 10, 11, s.STATUS_END_OF_FILE),
        (0, 1, 0xFFFFFFFF, s.STATUS_END_OF_FILE),
        (len(CONTENT), 10, 0, s.STATUS_END_OF_FILE),
        (len(CONTENT), 0, 0, 0),
        (len(CONTENT), 0, 1, s.STATUS_END_OF_FILE),
        (len(CONTENT) - 1, 2, 0, 0),
        (len(CONTENT) - 1, 2, 2, s.STATUS_END_OF_FILE),
        (INT64_MAX - 1, 1, 0, s.STATUS_END_OF_FILE),
        (INT64_MAX, 0, 0, 0),
        (INT64_MAX, 1, 0, s.STATUS_INVALID_PARAMETER),
        (INT64_MAX + 1, 0, 0, s.STATUS_INVALID_PARAMETER),
        (0xFFFFFFFFFFFFFFFF, 0, 0, s.STATUS_INVALID_PARAMETER),
    ],
)
def test_the_end_of_the_file(offset: int, length: int, minimum: int, status: int) -> None:
    made, open_ = bench()
    assert status_of(made, open_, offset, length, minimum) == status


@pytest.mark.parametrize(
    ("access", "status"),
    [
        (c.FILE_READ_DATA, 0),
        (c.FILE_EXECUTE, 0),
        (c.FILE_WRITE_DATA, s.STATUS_ACCESS_DENIED),
        (c.FILE_READ_ATTRIBUTES, s.STATUS_ACCESS_DENIED),
    ],
)
def test_access(access: int, status: int) -> None:
    made, open_ = bench(access)
    assert status_of(made, open_, 0, 1) == status


def test_limits() -> None:
    made, open_ = bench(max_read=1 << 20)
    assert status_of(made, open_, 0, 1 << 20) == 0
    assert status_of(made, open_, 0, (1 << 20) + 1) == s.STATUS_INVALID_PARAMETER
    made, open_ = bench(dialect=c.DIALECT_202)
    assert status_of(made, open_, 0, 65536) == 0
    assert status_of(made, open_, 0, 65537) == s.STATUS_INVALID_PARAMETER


def test_rdma_channels_are_refused() -> None:
    made, open_ = bench()
    assert status_of(made, open_, 0, 1, channel=1) == s.STATUS_INVALID_PARAMETER
    made, open_ = bench(dialect=c.DIALECT_210)  # reserved there: ignored
    assert status_of(made, open_, 0, 1, channel=1) == 0


def test_directories() -> None:
    made, _ = bench()
    open_ = made.open("dir")
    for length in (0, 10):
        assert status_of(made, open_, 0, length) == s.STATUS_INVALID_DEVICE_REQUEST


def test_locks() -> None:
    made, open_ = bench()
    other = OpenRef(file_of(open_).key, "", 999)
    made.table.locks.append((other, LockElement(10, 10, True)))
    assert status_of(made, open_, 0, 10) == 0
    assert status_of(made, open_, 5, 10) == s.STATUS_FILE_LOCK_CONFLICT


def test_pipes() -> None:
    made, _ = bench()
    open_ = made.open_pipe()
    made.daemon.rpc_write(77, b"an answer of mountd")
    reply = run(made, open_, 0, 9, tree=made.ipc)
    assert reply.status == s.STATUS_BUFFER_OVERFLOW
    assert body_of(reply) == pack("<HBBIII", 17, 80, 0, 9, 0, 0) + b"an answer"
    reply = run(made, open_, 0, 100, tree=made.ipc)
    assert reply.status == 0 and body_of(reply)[16:] == b" of mountd"


def spanning(made: Bench, open_: Open) -> None:
    file_of(open_).descriptor = 9


def test_zero_copy() -> None:
    made, open_ = bench()
    spanning(made, open_)
    reply = run(made, open_, 16, len(CONTENT))
    assert reply.span == FileSpan(file_of(open_), 16, len(CONTENT) - 16)
    assert body_of(reply) == pack("<HBBIII", 17, 80, 0, len(CONTENT) - 16, 0, 0)
    assert status_of(made, open_, len(CONTENT), THRESHOLD) == s.STATUS_END_OF_FILE
    assert status_of(made, open_, 1, len(CONTENT), len(CONTENT)) == s.STATUS_END_OF_FILE


@pytest.mark.parametrize(
    ("method", "span", "splice"),
    [(Transfer.COPY, False, False), (Transfer.SENDFILE, True, False), (Transfer.SPLICE, True, True)],
)
def test_the_administrator_chooses_the_method(method: Transfer, span: bool, splice: bool) -> None:
    made, open_ = bench(data_paths=DataPaths([Rule("read", "tmpfs", 32 << 10, method)]))
    spanning(made, open_)
    reply = run(made, open_, 0, 32 << 10)
    assert (reply.span is not None) == span
    if reply.span is not None:
        assert reply.span.splice == splice
    assert run(made, open_, 0, (32 << 10) - 1).span is None


@pytest.mark.parametrize("why", ["compound", "sealed", "signed", "signing", "short", "no descriptor"])
def test_what_is_not_sent_from_the_page_cache(why: str) -> None:
    made, open_ = bench()
    spanning(made, open_)
    length = THRESHOLD - 1 if why == "short" else THRESHOLD
    request = made.request(c.READ, m.read(open_.persistent_id, open_.volatile_id, 0, length))
    if why == "compound":
        request.chain.count = 2
    elif why == "sealed":
        request.sealed = True
    elif why == "signed":
        request.signed = True
    elif why == "signing":
        made.session.signing_required = True
    elif why == "no descriptor":
        file_of(open_).descriptor = -1
    reply = made.run(read.handle, request)
    assert reply.span is None and body_of(reply)[16:] == CONTENT[:length]


@settings(deadline=None)
@given(st.binary(min_size=48, max_size=64))
def test_any_bytes(body: bytes) -> None:
    made, _ = bench()
    try:
        made.run(read.handle, made.request(c.READ, body))
    except NtStatusError:
        pass


def test_what_came_from_the_disk_waits_until_the_client_reads() -> None:
    made, open_ = bench()
    file: Any = open_.file
    ahead: Future[None] = Future()
    rooms: list[Future[None]] = [Future(), Future()]
    asked = iter([*rooms, None])
    file.prefetch = lambda offset, length: ahead
    transport: Any = made.connection.transport
    transport.room = lambda: next(asked)
    body = m.read(open_.persistent_id, open_.volatile_id, 256, 5)
    task = started(read.handle(made.request(c.READ, body)))
    ahead.set_result(None)
    for room in rooms:
        assert not task.done
        room.set_result(None)
    assert body_of(task.result())[16:] == bytes(range(5))


@pytest.mark.parametrize("closed", [False, True])
def test_what_is_on_the_disk_alone_is_read_ahead_first(closed: bool) -> None:
    made, open_ = bench()
    file: Any = open_.file
    asked = []
    ahead: Future[None] = Future()

    def prefetch(offset: int, length: int) -> Future[None]:
        asked.append((offset, length))
        return ahead

    file.prefetch = prefetch
    body = m.read(open_.persistent_id, open_.volatile_id, 256, 5)
    task = started(read.handle(made.request(c.READ, body)))
    assert asked == [(256, 5)] and not is_done(task) and open_.current_byte_offset == 0
    open_.closed = closed
    ahead.set_result(None)
    assert is_done(task)
    if closed:
        with pytest.raises(NtStatusError) as caught:
            task.result()
        assert caught.value.status == s.STATUS_FILE_CLOSED
    else:
        assert body_of(task.result())[16:] == bytes(range(5))
