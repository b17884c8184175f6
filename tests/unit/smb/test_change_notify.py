# SPDX-License-Identifier: GPL-2.0-or-later
"""CHANGE_NOTIFY (MS-SMB2 3.3.5.19)."""
from __future__ import annotations

from struct import pack
from typing import Any

import create_messages as m
import pytest
from bench import Bench, body_of, file_of, is_done
from fake_files import FakeWatch
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.smb import change_notify
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.model import Open
from ksmbd.smb.open_life import close_open
from ksmbd.smb.request import Reply
from ksmbd.smb.scheduler import SLICE_SECONDS
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Cancelled, Task


def bench(access: int = c.FILE_LIST_DIRECTORY) -> tuple[Bench, Open]:
    made = Bench()
    made.volume.add("dir", None)
    made.volume.add("file")
    return made, made.open("dir", access)


def start(made: Bench, open_: Open, **named: int) -> Task[Reply]:
    request = made.request(c.CHANGE_NOTIFY, m.notify(open_.persistent_id, open_.volatile_id, **named))
    return Task(change_notify.handle(request)).start()


def watch_of(open_: Open) -> FakeWatch:
    assert isinstance(open_.watch, FakeWatch)
    return open_.watch


def test_golden_encoding() -> None:
    """MS-FSCC 2.7.1: each entry on a multiple of 4, the last without NextEntryOffset."""
    assert change_notify.encode_changes([(4, "abc"), (5, "dé")]) == bytes.fromhex(
        "14000000" "04000000" "06000000" "610062006300" "0000" "00000000" "05000000" "04000000" "6400e900"
    )  # fmt: skip


def test_a_change() -> None:
    made, open_ = bench()
    task = start(made, open_, completion=0x17, flags=1)
    assert not is_done(task)
    assert file_of(open_).calls == [("watch", 0x17, True)]
    watch_of(open_).change(1, "neu")
    assert is_done(task)
    entry = pack("<III", 0, 1, 6) + "neu".encode("utf-16-le")
    assert body_of(task.result()) == pack("<HHI", 9, 72, len(entry)) + entry and task.result().status == 0
    assert not open_.waits


@pytest.mark.parametrize("completion", [0, 0xFFFFF000])
def test_an_empty_filter_waits_for_the_end(completion: int) -> None:
    """MS-SMB2 3.3.5.19 and MS-FSA 2.1.5.11 refuse no CompletionFilter: nothing matches, and CLOSE ends the wait. It is
    the first request's, so a later one with another filter waits as well."""
    made, open_ = bench()
    tasks = [start(made, open_, completion=completion), start(made, open_, completion=0x17)]
    assert file_of(open_).calls == [("watch", 0, False)]
    assert not any(task.done for task in tasks)
    close_open(open_)
    for task in tasks:
        assert isinstance(task.error, NtStatusError) and task.error.status == s.STATUS_NOTIFY_CLEANUP


def test_the_first_request_fixes_what_is_watched() -> None:
    made, open_ = bench()
    start(made, open_, completion=1).cancel()
    task = start(made, open_, completion=0xFFF, flags=1)
    assert file_of(open_).calls == [("watch", 1, False)]
    assert not task.done


def test_changes_between_requests_are_kept() -> None:
    made, open_ = bench()
    first = start(made, open_)
    watch = watch_of(open_)
    watch.change(1, "a")
    watch.change(2, "a")
    watch.change(1, "b")
    assert first.done
    second = start(made, open_)
    assert second.done and len(body_of(second.result())) == 8 + 16 + 14


def test_too_many_changes() -> None:
    """3.3.4.4: the client lists the directory itself."""
    made, open_ = bench()
    first = start(made, open_, length=20)
    watch_of(open_).change(1, "a long name that does not fit")
    assert first.result().status == s.STATUS_NOTIFY_ENUM_DIR and body_of(first.result()) == pack("<HHI", 9, 0, 0)
    watch_of(open_).change(1, "another long name")
    second = start(made, open_, length=20)
    assert second.result().status == s.STATUS_NOTIFY_ENUM_DIR


def test_a_closed_open_answers_cleanup() -> None:
    made, open_ = bench()
    tasks = [start(made, open_)]
    watch = watch_of(open_)
    close_open(open_)
    for task in tasks:
        assert isinstance(task.error, NtStatusError) and task.error.status == s.STATUS_NOTIFY_CLEANUP
    assert watch.closed and not open_.waits


def test_cancel() -> None:
    made, open_ = bench()
    task = start(made, open_)
    task.cancel()
    assert isinstance(task.error, Cancelled) and not open_.waits
    # The watch goes on for the open's next request.
    assert not watch_of(open_).closed


@pytest.mark.parametrize(
    ("named", "access", "status"),
    [
        ({"length": (4 << 20) + 1}, c.FILE_LIST_DIRECTORY, s.STATUS_INVALID_PARAMETER),
        ({}, c.FILE_READ_ATTRIBUTES, s.STATUS_ACCESS_DENIED),
    ],
)
def test_refused(named: dict[str, int], access: int, status: int) -> None:
    made, open_ = bench(access)
    with pytest.raises(NtStatusError) as caught:
        start(made, open_, **named).result()
    assert caught.value.status == status


@pytest.mark.parametrize(("completion", "watched"), [(0, 0), (0xFFFFF000, 0), (0x80000001, 1)])
def test_unknown_filters_never_match(completion: int, watched: int) -> None:
    made, open_ = bench()
    assert not start(made, open_, completion=completion).done
    assert file_of(open_).calls == [("watch", watched, False)]


def test_a_directory_that_is_to_be_deleted_is_not_watched_any_longer() -> None:
    made, open_ = bench()
    deleting = made.open("dir")
    bystander = made.open("")
    task, other = start(made, open_), start(made, bystander)
    made.table.pending_delete.add(file_of(open_).key)
    made.table.hold(open_)
    close_open(deleting)
    assert isinstance(task.error, NtStatusError) and task.error.status == s.STATUS_DELETE_PENDING
    assert not other.done
    with pytest.raises(NtStatusError) as caught:
        start(made, open_)
    assert caught.value.status == s.STATUS_DELETE_PENDING


def test_only_directories_are_watched() -> None:
    made, _ = bench()
    with pytest.raises(NtStatusError) as caught:
        start(made, made.open("file")).result()
    assert caught.value.status == s.STATUS_INVALID_PARAMETER


def test_a_share_without_change_notify() -> None:
    made, open_ = bench()
    made.tree.share.change_notify = False
    with pytest.raises(NtStatusError) as caught:
        start(made, open_).result()
    assert caught.value.status == s.STATUS_NOT_IMPLEMENTED


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=40))
def test_any_bytes(body: bytes) -> None:
    made, _ = bench()
    try:
        result: Any = change_notify.handle(made.request(c.CHANGE_NOTIFY, body))
    except NtStatusError:
        return
    Task(result).start().cancel()


def test_a_tree_of_many_directories_is_watched_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    made, open_ = bench()
    clock = made.clock
    clock.tick = SLICE_SECONDS / 2
    steps = [True] * 20
    monkeypatch.setattr(FakeWatch, "go_on", lambda watch: steps.pop() if steps else False)
    task = start(made, open_, completion=0x17, flags=1)
    assert 0 < len(steps) < 20 and not is_done(task)
    other = start(made, made.open("dir", c.FILE_LIST_DIRECTORY))
    assert not other.done
    clock.advance(1)
    assert not steps and not is_done(task)
    watch_of(open_).change(1, "new")
    assert is_done(task) and task.result().status == 0


def test_an_open_that_ends_while_its_tree_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    made, open_ = bench()
    clock = made.clock
    clock.tick = SLICE_SECONDS / 2
    steps = [True] * 20
    monkeypatch.setattr(FakeWatch, "go_on", lambda watch: steps.pop() if steps else False)
    monkeypatch.setattr(FakeWatch, "close", lambda watch: watch.waiter and watch.waiter.set_error(
        NtStatusError(s.STATUS_NOTIFY_CLEANUP)
    ))  # fmt: skip
    task = start(made, open_, completion=0x17, flags=1)
    close_open(open_)
    left = len(steps)
    clock.tick = 0.0
    clock.advance(1)
    assert task.done and isinstance(task.error, NtStatusError) and task.error.status == s.STATUS_NOTIFY_CLEANUP
    assert len(steps) == left
