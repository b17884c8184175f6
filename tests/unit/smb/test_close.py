# SPDX-License-Identifier: GPL-2.0-or-later
"""CLOSE (MS-SMB2 3.3.5.10) and the end of an open in general."""
from __future__ import annotations

from struct import pack

import create_messages as m
import pytest
import wire
from bench import Bench, body_of, file_of

from ksmbd.smb import close, flush
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.open_life import close_open
from ksmbd.smb.ports import CloseOutcome
from ksmbd.smb.status import NtStatusError


def bench() -> Bench:
    made = Bench()
    made.volume.add("file", b"content")
    made.volume.add("dir", None)
    return made


def run(made: Bench, *arguments: int) -> bytes:
    return body_of(made.run(close.handle, made.request(c.CLOSE, m.close(*arguments))))


def test_close() -> None:
    made = bench()
    open_ = made.open("file")
    assert run(made, open_.persistent_id, open_.volatile_id) == pack("<HH56x", 60, 0)
    assert open_.closed and file_of(open_).closed and ("close", open_.ref) in made.table.calls
    assert not made.server.opens and not made.session.opens


def test_postquery() -> None:
    made = bench()
    open_ = made.open("file")
    info = file_of(open_).info()
    assert run(made, open_.persistent_id, open_.volatile_id, 1) == pack(
        "<HHIQQQQQQI", 60, 1, 0, info.creation_time, info.last_access_time, info.last_write_time, info.change_time,
        4096, 7, c.FILE_ATTRIBUTE_NORMAL,
    )  # fmt: skip


def test_postquery_that_fails_still_closes() -> None:
    made = bench()
    open_ = made.open("file")
    file_of(open_).fail["info"] = s.STATUS_UNEXPECTED_IO_ERROR
    assert run(made, open_.persistent_id, open_.volatile_id, 1) == pack("<HH56x", 60, 0)
    assert open_.closed


def test_what_another_worker_has_ended() -> None:
    """The open table has the open no longer, and this worker has not heard of it yet."""
    made = bench()
    open_ = made.open("file")
    made.table.fail["close"] = s.STATUS_FILE_CLOSED
    wire.raises(s.STATUS_FILE_CLOSED, run, made, open_.persistent_id, open_.volatile_id)
    assert open_.closed and file_of(open_).closed and not made.server.opens


def test_unknown_file_ids() -> None:
    made = bench()
    open_ = made.open("file")
    pairs = [(open_.persistent_id + 1, open_.volatile_id), (open_.persistent_id, open_.volatile_id + 1), (0, 0)]
    for pair in [*pairs, (c.NO_FILE_ID, c.NO_FILE_ID)]:
        with pytest.raises(NtStatusError) as caught:
            run(made, *pair)
        assert caught.value.status == s.STATUS_FILE_CLOSED
    run(made, open_.persistent_id, open_.volatile_id)
    with pytest.raises(NtStatusError):
        run(made, open_.persistent_id, open_.volatile_id)


def test_the_last_close_deletes() -> None:
    made = bench()
    first, second = made.open("file"), made.open("file")
    for open_ in (first, second):
        made.table.hold(open_)
    made.table.pending_delete.add(file_of(first).key)
    close_open(first)
    assert made.volume.find("file") is not None
    close_open(second)
    assert made.volume.find("file") is None
    assert ("directory_changed", (1, made.volume.root.inode), b"", b"G" * 16) in made.table.calls


def test_a_directory_that_is_not_empty_stays() -> None:
    made = bench()
    made.volume.add("dir\\entry")
    open_ = made.open("dir")
    made.table.pending_delete.add(file_of(open_).key)
    close_open(open_)
    assert made.volume.find("dir") is not None and file_of(open_).closed


def test_the_last_close_of_a_stream_deletes_the_file() -> None:
    made = bench()
    node = made.volume.find("file")
    assert node is not None
    node.streams["s"] = bytearray(b"x")
    open_ = made.open("file", stream="s")
    made.table.outcome = CloseOutcome(True, True)
    close_open(open_)
    assert made.volume.find("file") is None


def test_a_record_that_the_table_lost_does_not_stop_a_close() -> None:
    made = bench()
    open_ = made.open("file")
    made.table.fail["close"] = s.STATUS_OBJECT_NAME_NOT_FOUND
    close_open(open_)
    assert file_of(open_).closed and not made.server.opens


@pytest.mark.parametrize(("access", "status"), [(c.FILE_WRITE_DATA, 0), (c.FILE_APPEND_DATA, 0), (c.FILE_READ_DATA, 1)])
def test_flush(access: int, status: int) -> None:
    """MS-SMB2 3.3.5.11; Apple's Reserved1 of all ones asks for the drive's cache, too."""
    made = bench()
    open_ = made.open("file", access)
    for reserved in (0, 0xFFFF):
        request = made.request(c.FLUSH, pack("<HHIQQ", 24, reserved, 0, open_.persistent_id, open_.volatile_id))
        if status:
            with pytest.raises(NtStatusError) as caught:
                made.run(flush.handle, request)
            assert caught.value.status == s.STATUS_ACCESS_DENIED
        else:
            assert body_of(made.run(flush.handle, request)) == b"\4\0\0\0"
            assert file_of(open_).calls[-1] == ("flush", reserved == 0xFFFF)


@pytest.mark.parametrize("wrote", [False, True])
def test_closing_what_was_written_changes_the_directory(wrote: bool) -> None:
    """MS-SMB2 3.3.1.4: who caches the directory's entries has another size and time to learn of."""
    made = bench()
    open_ = made.open("file")
    open_.wrote = wrote
    assert open_.file is not None
    parent = open_.file.parent_key
    assert parent is not None
    run(made, open_.persistent_id, open_.volatile_id)
    told = [call for call in made.table.calls if call[0] == "directory_changed"]
    assert [call[1] for call in told] == ([parent] if wrote else [])
