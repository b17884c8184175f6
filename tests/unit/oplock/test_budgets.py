# SPDX-License-Identifier: GPL-2.0-or-later
"""What one file's record may hold: opens, waiters, messages to other workers; and what the disk must have room for."""
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ksmbd import limits
from ksmbd.oplock import requests
from ksmbd.oplock.context import Context
from ksmbd.oplock.decide import BY_NAME, decide
from ksmbd.oplock.locks import EMPTY
from ksmbd.oplock.record import Record, Waiter
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.state import StateDirectory
from ksmbd.oplock.store import Store
from ksmbd.smb import constants as c
from ksmbd.smb.ports import DurableRequest, OpenRef
from ksmbd.smb.status import NtStatusError

from .test_fast_path import entry
from .world import World, answer

INSUFFICIENT = "STATUS_INSUFFICIENT_RESOURCES"
PERSISTENT = DurableRequest(2, b"g" * 16, 10_000, persistent=True)


def test_a_file_has_only_so_many_opens(store: Store) -> None:
    client = World(store).client("a")
    refs = [client.open()[0] for _ in range(limits.OPENS_PER_FILE.value)]
    assert client.open()[1] == INSUFFICIENT
    assert client.open(2)[1] == ""
    client.table.close(refs.pop())
    assert client.open()[1] == ""
    record = store.peek((1, 1))
    assert record is not None and len(record.opens) == limits.OPENS_PER_FILE.value


def test_only_so_many_wait_for_a_file(store: Store) -> None:
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    one = a.open()[0]
    assert answer(a.lock(one, 0, 1)) == "ok"
    two = b.open()[0]
    waiting = [b.lock(two, 0, 1, wait=True) for _ in range(limits.WAITERS_PER_FILE.value)]
    assert answer(b.lock(two, 0, 1, wait=True)) == INSUFFICIENT
    assert all(answer(future) == "wait" for future in waiting)
    waiting.pop().cancel()
    waiting.append(b.lock(two, 0, 1, wait=True))
    assert answer(waiting[-1]) == "wait"
    a.table.close(one)
    world.settle()
    assert [answer(future) for future in waiting].count("ok") == 1
    b.table.close(two)
    world.settle()
    assert [answer(future) for future in waiting].count("STATUS_RANGE_NOT_LOCKED") == len(waiting) - 1
    assert store.empty
    assert not any(table._waiting for table in world.tables)


def test_a_worker_that_does_not_read_is_told_once(store: Store) -> None:
    """Each end of an open of a folder that is to go says so to the workers that have it open; they need to hear it
    once."""
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    held = a.open(directory=True)[0]
    refs = [b.open(directory=True, access=c.FILE_ALL_ACCESS)[0] for _ in range(50)]
    assert answer(b.table.set_delete_on_close(refs[0], True)) == "ok"
    for ref in refs:
        b.table.close(ref)
    assert len(store.peek((1, 1)).outbox) == 1  # type: ignore[union-attr]
    world.settle()
    assert world.delete_pending == [(0, held.file)]
    a.table.close(held)
    assert store.empty


def test_waiters_who_give_way_to_each_other_are_tried_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try of one lets others try again: a decision ends with it after a while, and asks to go on at once."""
    number = 300
    tries = 0

    def never(context: Context, request: object, retried: bool) -> None:
        nonlocal tries
        tries += 1
        context.retry_needed = True

    monkeypatch.setitem(BY_NAME, "lock", (requests.TakeLocks, never))
    record = Record()
    record.opens[1] = entry(open_id=1)
    ask = tuple(requests.TakeLocks(1, 1, ((0, 1, True),), True, 1))
    record.waiters = [Waiter(100 + count, 1, 2, "lock", 1, ask) for count in range(number)]
    for turn in (1, 2):
        decision = decide(record, requests.Expire(), lambda stream: EMPTY, 7.0, OplockSettings(), (1, 2))
        assert number * turn < tries <= (2 * number + 65) * turn
        assert decision.deadline == 7.0
        assert len(decision.record.waiters) == number


def test_a_full_disk_refuses_what_would_have_to_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    state = StateDirectory(tmp_path / "kept")
    world = World(store, state=state)
    client = world.client("a")
    kept, _ = client.open(durable=PERSISTENT, lease="RWH", key="k", version=2)
    assert answer(client.lock(kept, 0, 1)) == "ok"
    plain = client.open(2)[0]
    with monkeypatch.context() as full:

        def no_room(descriptor: int, offset: int, length: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(os, "posix_fallocate", no_room)
        state._allocated = 0
        with pytest.raises(NtStatusError, match="DISK_FULL"):
            client.open(3, durable=DurableRequest(2, b"h" * 16, 10_000, persistent=True))
        with pytest.raises(NtStatusError, match="DISK_FULL"):
            client.lock(kept, 5, 1)
        assert store.peek((1, 3)) is None
        assert store.lock_count((1, 1), "") == 1
        assert answer(client.lock(plain, 5, 1)) == "ok"
        assert client.open(4)[1] == ""
        assert client.unlock(kept, 0, 1) == "ok"
        client.table.close(kept)
    assert client.open(3, durable=DurableRequest(2, b"h" * 16, 10_000, persistent=True))[1] == ""
    state.close()
    again = StateDirectory(tmp_path / "kept")
    assert [file for file, _ in again.load()] == [(1, 3)]
    again.close()


def test_what_is_kept_is_written_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """An error of the disk: the open goes on, and what it is gets there when it can."""
    state = StateDirectory(tmp_path / "kept")
    world = World(store, state=state)
    client = world.client("a")
    real = state._env

    class Broken:
        def begin(self, write: bool = False) -> object:
            import lmdb

            raise lmdb.DiskError("input/output error")

        def info(self) -> dict[str, int]:
            return {"last_pgno": 1}

    monkeypatch.setattr(state, "_env", Broken())
    ref: OpenRef
    ref, _ = client.open(durable=PERSISTENT)
    assert len(client.table.retries) == 1
    monkeypatch.setattr(state, "_env", real)
    assert state.load() == []
    world.settle(1.0)
    assert len(client.table.retries) == 0
    assert [file for file, _ in state.load()] == [ref.file]
    client.table.close(ref)
    assert state.load() == []
    state.close()
