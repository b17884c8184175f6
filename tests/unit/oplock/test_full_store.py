# SPDX-License-Identifier: GPL-2.0-or-later
"""A store that fails: an operation is refused and has changed nothing, what ends things is done in the end, and nothing
outlives its owner."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from ksmbd.oplock import environment
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.smb import constants
from ksmbd.smb.ports import DurableRequest, LockElement, OpenRef
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, NtStatusError
from ksmbd.smb.waiting import Future

from .world import DATA, Client, World, answer

INSUFFICIENT = "STATUS_INSUFFICIENT_RESOURCES"


class Faults:
    """Lets so many changes of LMDB succeed, and then `fails` of them not; -1: all that come."""

    def __init__(self) -> None:
        self.before = 1 << 60
        self.fails = 0
        self.failed = 0

    def arm(self, before: int, fails: int = -1) -> None:
        self.before, self.fails, self.failed = before, fails, 0

    def rest(self) -> None:
        self.before, self.fails = 1 << 60, 0

    def step(self) -> None:
        if self.before > 0:
            self.before -= 1
        elif self.fails:
            self.fails -= 1
            self.failed += 1
            raise lmdb.MapFullError("no room")


class Transaction:
    """A write transaction with faults."""

    def __init__(self, real: Any, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __enter__(self) -> Transaction:
        self._real.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        if kind is None:
            try:
                self._faults.step()
            except lmdb.Error as full:
                self._real.__exit__(type(full), full, None)
                raise
        return self._real.__exit__(kind, error, trace)

    def commit(self) -> None:
        try:
            self._faults.step()
        except lmdb.Error:
            self._real.abort()
            raise
        self._real.commit()

    def put(self, *arguments: Any, **more: Any) -> Any:
        self._faults.step()
        return self._real.put(*arguments, **more)

    def delete(self, *arguments: Any, **more: Any) -> Any:
        self._faults.step()
        return self._real.delete(*arguments, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Faulty:
    """An environment of LMDB with faults; it never grows while there are any."""

    def __init__(self, real: Any, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def begin(self, db: object = None, parent: object = None, write: bool = False) -> Any:
        real = self._real.begin(db, parent, write)
        return Transaction(real, self._faults) if write else real

    def set_mapsize(self, size: int) -> None:
        raise lmdb.MapFullError("no room")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[tuple[Faults, LmdbStore]]:
    store = LmdbStore(tmp_path / "table", fresh=True)
    made = Faults()
    for part in [shard.environment for shard in store._shards]:
        part.env = Faulty(part.env, made)
    yield made, store
    store.close()


def picture(store: LmdbStore) -> list[Any]:
    """All that the store says, decoded by nobody before."""
    for known in (store._decoded.records, store._decoded.journals, store._decoded.held):
        known.clear()
    found: list[Any] = []
    for file in sorted(store.files()):
        record = store.peek(file)
        assert record is not None
        locks = store.locks_of(file)("")
        found.append((
            file, dict(record.opens.items()), dict(record.holders), record.waiters, record.outbox,
            record.delete_pending, record.deleted_links, record.serial,
            [sorted(locks.of_open(open_id)) for open_id in record.opens], locks.count, store.lock_count(file, ""),
        ))  # fmt: skip
    return [
        found, *(store.index_items(index) for index in (b"L", b"C", b"D")), [n for n in store._counters.counters if n],
        store._counters.locks(),
    ]  # fmt: skip


Prepared = tuple[World, Client, Client, OpenRef]


def plain(world: World) -> Prepared:
    """One open, nothing else."""
    a, b = world.client("a", 0), world.client("b", 1)
    return world, a, b, a.open()[0]


def crowded(world: World) -> Prepared:
    """A file with a journal: many opens, and locks."""
    world, a, b, ref = plain(world)
    for number in range(12):
        other = (a, b)[number % 2].open()[0]
        (a, b)[number % 2].lock(other, 1000 + 10 * number, 5, exclusive=number % 3 > 0)
    a.lock(ref, 50, 5)
    return world, a, b, ref


def cached(world: World) -> Prepared:
    """Somebody has a lease with all rights, and keeps the open over a lost connection."""
    a, b = world.client("a", 0), world.client("b", 1)
    durable = DurableRequest(2, b"g" * 16, 10_000)
    ref, granted = a.open(lease="RWH", key="k", version=2, durable=durable, access=DATA | constants.DELETE)
    assert granted == "RWH"
    return world, a, b, ref


def _open(client: Client, **more: Any) -> Callable[[], Any]:
    return lambda: client.ask(**more)[1]


OPERATIONS: dict[str, Callable[[Prepared], Callable[[], Any]]] = {
    "open": lambda p: _open(p[1]),
    "open with a lease": lambda p: _open(p[2], lease="RH", key="n"),
    "durable open": lambda p: _open(p[1], file=7, lease="RWH", key="d", durable=DurableRequest(2, b"x" * 16)),
    "first open": lambda p: _open(p[1], file=8),
    "lock": lambda p: lambda: p[1].lock(p[3], 10, 5),
    "many locks": lambda p: lambda: p[1].table.lock(p[3], [LockElement(9 * n, 4, True) for n in range(5, 105)], False),
    "unlock": lambda p: lambda: p[1].table.unlock(p[3], [LockElement(50, 5, True)]),
    "delete": lambda p: lambda: p[1].table.set_delete_on_close(p[3], True),
    "resilient": lambda p: lambda: p[1].table.make_resilient(p[3], 1000),
}


@pytest.mark.parametrize("prepare", [plain, crowded, cached])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_change_that_fails_has_changed_nothing(
    faults: tuple[Faults, LmdbStore], prepare: Callable[[World], Prepared], name: str
) -> None:
    """At each change of the store in turn: the operation is refused, and all is as it was."""
    made, store = faults
    failed = 0
    for before in range(100):
        prepared = prepare(World(store, workers=2))
        world = prepared[0]
        operation = OPERATIONS[name](prepared)
        seen = picture(store)
        made.arm(before)
        try:
            result = operation()
            if isinstance(result, Future) and result.done:
                result.result()
        except NtStatusError as error:
            if made.failed:
                assert error.status == STATUS_INSUFFICIENT_RESOURCES
                failed += 1
                made.rest()
                world.settle(1.0)
                now = picture(store)
                # An open that was granted and taken back again leaves the record as it was, but decided on.
                for one, other in zip(seen[0], now[0], strict=True):
                    assert one[:7] + one[8:] == other[:7] + other[8:]
                assert seen[1:] == now[1:]
        hit = made.failed
        made.rest()
        end_of(world, store)
        if not hit:
            break
    assert failed == before > 0


def end_of(world: World, store: LmdbStore) -> None:
    """All go home, and nothing is left."""
    for _ in range(3):
        world.settle(50.0)
        for file in store.files():
            for open_id, entry in list(store.peek(file).opens.items()):  # type: ignore[union-attr]
                world.tables[entry.worker].close(OpenRef(file, entry.stream, open_id))
                world.settle()
    assert store.empty
    for table in world.tables:
        assert not table._waiting and not len(table.retries) and not len(table.lock_meter)


@pytest.mark.parametrize("fails", [1, 3, -1])
@pytest.mark.parametrize("prepare", [plain, crowded, cached])
def test_a_close_that_fails_is_made_up_for(
    faults: tuple[Faults, LmdbStore], prepare: Callable[[World], Prepared], fails: int
) -> None:
    made, store = faults
    for before in range(100):
        world, a, _, ref = prepare(World(store, workers=2))
        made.arm(before, fails)
        a.table.close(ref)
        hit = made.failed
        if fails == -1 and hit:
            world.clock.turn(2.0)
            assert len(a.table.retries) == 1, "it goes on trying"
        made.rest()
        world.settle(1.0)
        record = store.peek(ref.file)
        assert record is None or ref.open_id not in record.opens
        end_of(world, store)
        if not hit:
            break
    assert before > 0


@pytest.mark.parametrize("before", range(12))
def test_a_dead_workers_opens_end_in_a_full_store(faults: tuple[Faults, LmdbStore], before: int) -> None:
    made, store = faults
    world, a, b, _ = crowded(World(store, workers=2))
    a.open(3, lease="RWH", key="z")
    a.open(4, durable=DurableRequest(2, b"h" * 16), oplock="b")
    waiting = b.ask(4)[1]
    world.mail.clear()
    made.arm(before)
    world.tables[1].worker_died(0, 0)
    world.start_worker(0, epoch=1)
    made.rest()
    world.settle(1.0)
    assert answer(waiting) == ""
    assert {entry.worker for file in store.files() for entry in store.peek(file).opens.values()} == {1}  # type: ignore[union-attr]
    end_of(world, store)


@pytest.mark.parametrize("before", range(4))
def test_a_cancelled_wait_and_a_message_that_fail_are_made_up_for(
    faults: tuple[Faults, LmdbStore], before: int
) -> None:
    made, store = faults
    world, a, b, ref = crowded(World(store, workers=2))
    other = b.open()[0]
    cancelled, granted = b.lock(other, 50, 5, wait=True), b.lock(other, 50, 1, wait=True)
    made.arm(before)
    cancelled.cancel()
    made.rest()
    world.settle(1.0)
    assert len(store.peek(ref.file).waiters) == 1  # type: ignore[union-attr]
    a.unlock(ref, 50, 5)
    made.arm(before)
    world.post()
    made.rest()
    world.settle(1.0)
    assert answer(granted) == "ok"
    assert not store.peek(ref.file).outbox  # type: ignore[union-attr]
    end_of(world, store)


def test_a_full_store_takes_no_more_and_lets_all_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens until there is no room: then refused, while closes, unlocks and answers still go; and again with room."""
    store = LmdbStore(tmp_path / "table", fresh=True)
    made = Faults()
    for shard in store._shards:
        shard.environment.env = Faulty(shard.environment.env, made)  # which does not grow
    world = World(store, workers=2)
    client = world.client("a")
    refs = []
    with pytest.raises(NtStatusError, match="INSUFFICIENT"):
        for number in range(100_000):
            refs.append(client.open(number % 40, path="a" * 1000)[0])
            if number % 10 == 0:
                assert answer(client.lock(refs[-1], number, 1)) == "ok"
    assert len(refs) > 300
    second = len(refs) // 2
    for ref in refs[:second]:
        client.table.close(ref)
        assert not len(client.table.retries)
    again = [client.open(number % 40)[0] for number in range(second // 4)]
    for ref in [*refs[second:], *again]:
        client.table.close(ref)
        assert not len(client.table.retries)
    assert store.empty
    store.close()


def test_the_map_is_allocated_before_it_is_written(tmp_path: Path) -> None:
    """No page is written that the file system has not given, whatever the store grows to."""
    store = LmdbStore(tmp_path / "table", fresh=True)
    world = World(store)
    client = world.client("a")
    refs = [client.open(number, path="b" * 300)[0] for number in range(6000)]
    grown = 0
    for folder in (tmp_path / "table").iterdir():
        for name in ("data.mdb", "lock.mdb"):
            if folder.is_dir():
                status = (folder / name).stat()
                assert status.st_blocks * 512 >= status.st_size
                grown += status.st_size > environment.INITIAL
    assert grown
    for ref in refs:
        client.table.close(ref)
    assert store.empty
    store.close()
