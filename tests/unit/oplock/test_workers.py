# SPDX-License-Identifier: GPL-2.0-or-later
"""Several workers over one store: what one decides, the other carries out, and what a dead one leaves behind."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ksmbd.oplock.state import StateDirectory
from ksmbd.oplock.store import CREATE_GUIDS, Store
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.smb import constants
from ksmbd.smb.ports import DurableRequest, Reconnected

from .world import DATA, World, answer

PERSISTENT = DurableRequest(2, b"g" * 16, 10_000, persistent=True)


def test_a_break_reaches_the_other_workers_client(store: Store) -> None:
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    first, _ = a.open(lease="RWH", key="k")
    second, future = b.ask(lease="RWH", key="k2")
    assert world.notices == []
    assert world.breaks() == ["k:RWH>RH!"]
    assert a.acknowledge("k", "RH") == "RH"
    assert answer(future) == "wait"
    world.settle()
    assert answer(future) == "RH"
    a.table.close(first)
    b.table.close(second)
    world.settle()
    assert store.empty


def test_locks_count_across_workers(store: Store) -> None:
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    one, two = a.open()[0], b.open()[0]
    assert answer(a.lock(one, 0, 10)) == "ok"
    assert b.io(two, 5, 1, False) == "STATUS_FILE_LOCK_CONFLICT"
    waiting = b.lock(two, 5, 1, wait=True)
    a.unlock(one, 0, 10)
    assert answer(waiting) == "wait"
    world.post()
    assert answer(waiting) == "ok"
    assert a.io(one, 5, 1, False) == "STATUS_FILE_LOCK_CONFLICT"


def test_an_answer_that_nobody_wants_any_more_is_undone(store: Store) -> None:
    """The lock is granted in the record, and cancelled before the news arrives."""
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    one, two = a.open()[0], b.open()[0]
    a.lock(one, 0, 10)
    waiting = b.lock(two, 0, 10, wait=True)
    a.unlock(one, 0, 10)
    waiting.cancel()
    world.settle()
    assert answer(a.lock(one, 0, 10)) == "ok"
    third, opening = b.ask(2, oplock="b")
    fourth, late = a.ask(2, oplock="b")
    b.table.close(third)
    late.cancel()
    world.settle()
    assert b.open(2, oplock="b", share="")[1] == "b"
    assert opening.done
    assert fourth.open_id


def test_a_dead_worker_leaves_nothing_and_frees_who_waited(store: Store) -> None:
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    ref, _ = a.open(lease="RWH", key="k")
    a.lock(ref, 0, 10)
    second, future = b.ask(oplock="b")
    assert answer(future) == "wait"
    world.mail.clear()  # nobody there to read it
    world.tables[1].worker_died(0, 0)
    world.settle()
    assert answer(future) == "b"
    assert b.io(second, 0, 10, True) == "ok"
    assert [purged.ref for purged in world.purged] == [ref]
    b.table.close(second)
    assert store.empty


def test_a_dead_workers_deletions_are_carried_out(store: Store) -> None:
    world = World(store, workers=2)
    world.client("a", 0).open(options=constants.FILE_DELETE_ON_CLOSE, access=constants.FILE_ALL_ACCESS, path="x\\y")
    world.tables[1].worker_died(0, 0)
    assert [(purged.path, purged.outcome.delete) for purged in world.purged] == [("x\\y", True)]


@pytest.mark.parametrize("how", ["disposition", "option"])
def test_other_workers_hear_that_a_directory_is_to_go(store: Store, how: str) -> None:
    """MS-FSA 2.1.5.5: once the open that deletes it is closed, notifications pending on others end."""
    world = World(store, workers=3)
    a, b, c = (world.client(name, worker) for worker, name in enumerate("abc"))
    watching, _ = a.open(directory=True)
    options = constants.FILE_DELETE_ON_CLOSE if how == "option" else 0
    deleting, _ = b.open(directory=True, access=constants.FILE_ALL_ACCESS, options=options)
    elsewhere, _ = c.open(2, directory=True)
    if how == "disposition":
        assert answer(b.table.set_delete_on_close(deleting, True)) == "ok"
        world.settle()
    assert world.delete_pending == []
    b.table.close(deleting)
    world.settle()
    assert world.delete_pending == [(0, watching.file)]
    assert a.table.close(watching).delete
    c.table.close(elsewhere)
    assert store.empty


def test_an_open_ended_while_its_worker_died_leaves_the_indexes(store: Store) -> None:
    """The kept open gives way to another worker's; its own worker dies before it is told."""
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    kept, granted = b.open(lease="RH", key="k", durable=DurableRequest(1))
    assert granted == "RH" and b.table.disconnect(kept)
    other, _ = a.open(access=DATA | constants.DELETE, options=constants.FILE_DELETE_ON_CLOSE)
    world.mail.clear()
    a.table.worker_died(1, 0)
    world.settle(1000)
    a.table.close(other)
    world.settle(1000)
    assert store.empty


def test_a_persistent_open_outlives_its_worker(store: Store, state: StateDirectory) -> None:
    world = World(store, workers=2, state=state)
    a = world.client("a", 0)
    ref, _ = a.open(durable=PERSISTENT, lease="RWH", key="k", version=2)
    a.lock(ref, 0, 10)
    world.tables[1].worker_died(0, 0)
    assert world.purged == []
    a.worker = 1
    back = a.reconnect(ref, version=2, create_guid=b"g" * 16, lease="k", lease_version=2, persistent=True)
    assert isinstance(back, Reconnected)
    assert a.unlock(ref, 0, 10) == "ok"
    _, future = world.client("b", 1).ask()
    assert world.breaks() == ["k:RWH>RH!"]
    a.acknowledge("k", "RH")
    world.settle()
    assert answer(future) == ""


def test_an_open_that_waited_in_a_dead_worker_never_comes(store: Store) -> None:
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    ref, _ = a.open(oplock="b")
    b.ask(oplock="b", durable=DurableRequest(2, b"g" * 16))
    assert b.table.find_replay(b.guid, b"g" * 16) is not None
    world.tables[0].worker_died(1, 0)
    assert a.table.find_replay(b.guid, b"g" * 16) is None
    a.table.close(ref)
    assert store.empty


def test_an_open_refused_while_its_worker_died_leaves_the_indexes(store: Store) -> None:
    """It waited for another one, with its CreateGuid where replays look for it; its worker never hears the answer."""
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    first, _ = a.open(oplock="b", share="RWD")
    waiting, exclusive = a.ask(share="")
    b.ask(durable=DurableRequest(2, b"g" * 16))
    a.table.close(first)
    assert answer(exclusive) == ""
    assert store.index_items(CREATE_GUIDS), "the refusal is on its way"
    world.mail.clear()
    a.table.worker_died(1, 0)
    assert store.index_items(CREATE_GUIDS) == []
    a.table.close(waiting)
    world.settle(1000)
    assert store.empty


def test_a_successor_is_not_taken_for_its_predecessor(store: Store) -> None:
    world = World(store, workers=2)
    a = world.client("a", 0)
    a.open(1)
    world.start_worker(0, epoch=1)
    kept, _ = a.open(2)
    world.tables[1].worker_died(0, 0)
    assert store.files() == [(1, 2)]
    a.table.close(kept)
    assert store.empty


OTHER_PROCESS = """
import sys
from pathlib import Path
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.oplock.table import LocalOpenTable
from ksmbd.smb.ports import LockElement, OpenRef, OpenRequest

class Clock:
    def monotonic(self):
        return 1000.0
    def filetime(self):
        return 0
    def call_later(self, seconds, call):
        raise AssertionError("nothing to wait for")

table = LocalOpenTable(LmdbStore(Path(sys.argv[1])), Clock(), None, 1, 0)
ref = OpenRef((1, 1), "", 7)
table.open(OpenRequest(ref, b"f" * 16, 1, "far", "s", "f", False, False, 3, 7, 1, 0, 9)).result()
table.lock(ref, [LockElement(0, 10, True)], False).result()
print("locked", flush=True)
sys.stdin.read()
"""
"""Opens with a batch oplock, locks, and dies without a word."""


def test_processes_share_the_lmdb_store(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "table", fresh=True)
    process = subprocess.Popen(
        [sys.executable, "-Pc", OTHER_PROCESS, str(tmp_path / "table")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        world = World(store)
        near = world.client("near")
        world.next_open = 1000
        ref, future = near.ask(oplock="b")
        assert answer(future) == "wait"
        assert world.mail[0][0] == 1
        assert near.io(ref, 5, 1, True) == "STATUS_FILE_LOCK_CONFLICT"
    finally:
        process.kill()
        process.communicate()
    world.tables[0].worker_died(1, 0)
    assert answer(future) == "b"
    assert near.io(ref, 5, 1, True) == "ok"
    near.table.close(ref)
    assert store.empty
    store.close()


def test_a_break_that_a_dead_worker_watched_still_times_out(store: Store) -> None:
    """The open that waits and the cache that is to go belong to workers that live; the one that decided is dead."""
    world = World(store, workers=3)
    a, b, c = world.client("a", 0), world.client("b", 1), world.client("c", 2)
    a.open(oplock="b")
    b.ask()
    future = c.ask()[1]
    world.settle()
    world.start_worker(1, epoch=1)
    for _, timer in world.clock.timers():
        timer.cancel()  # of worker 1, the only one that armed any
    world.tables[2].worker_died(1, 0)
    assert answer(future) == "wait"
    world.settle(world.settings.break_timeout)
    assert answer(future) == ""


def test_deadlines_of_a_store_that_somebody_else_filled(store: Store, state: StateDirectory) -> None:
    """The forker adopts persistent opens and leaves; the first worker watches over them."""
    world = World(store, workers=2, state=state)
    ref, _ = world.client("a", 0).open(durable=PERSISTENT, lease="RH", key="k", version=2)
    world.tables[0].disconnect(ref)
    for _, timer in world.clock.timers():
        timer.cancel()
    world.tables[1].watch_deadlines()
    world.settle(10)
    assert [purged.ref for purged in world.purged] == [ref]
