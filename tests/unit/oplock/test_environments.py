# SPDX-License-Identifier: GPL-2.0-or-later
"""The environments that LmdbStore spreads files and indexes over, each with a writer lock of its own."""
from __future__ import annotations

import os
import signal
from pathlib import Path

import lmdb
import pytest

from ksmbd.oplock.record import Record
from ksmbd.oplock.store import DURABLES, LEASES, IndexEntry, StoreError
from ksmbd.oplock.store_lmdb import ENVIRONMENTS_MAX, LmdbStore, environments_for
from ksmbd.smb.ports import FileKey

from .test_fast_path import entry
from .test_store_contract import put, update


def one_open(open_id: int = 7) -> Record:
    opened = entry(open_id=open_id)
    return Record({opened.open_id: opened})


@pytest.mark.parametrize(
    ("workers", "environments"), [(1, 4), (2, 4), (3, 8), (4, 8), (16, 32), (32, 64), (64, 64), (1000, 64)]
)
def test_two_for_each_worker(workers: int, environments: int) -> None:
    assert environments_for(workers) == environments <= ENVIRONMENTS_MAX


def test_all_processes_use_as_many_as_it_was_made_with(tmp_path: Path) -> None:
    LmdbStore(tmp_path / "table", fresh=True, environments=8).close()
    store = LmdbStore(tmp_path / "table")
    assert len(store._shards) == 8
    store.close()
    (tmp_path / "table" / "counters").write_bytes(b"")
    with pytest.raises(StoreError):
        LmdbStore(tmp_path / "table")


@pytest.mark.parametrize("step", [1, 8, 4096], ids=lambda step: f"every {step}th inode")
def test_files_are_spread_over_all(tmp_path: Path, step: int) -> None:
    store = LmdbStore(tmp_path / "table", fresh=True, environments=8)
    files: list[FileKey] = [(64769, 1_000_000 + step * number) for number in range(400)]
    for file in files:
        assert store.begin(file, one_open())
    counts = [len(shard.files()) for shard in store._shards]
    assert sum(counts) == 400 and min(counts) >= 25 and max(counts) <= 100
    assert sorted(store.files()) == files
    for file in files:
        assert store.end(file, 7) is not None
    assert store.empty
    store.close()


def test_indexes_are_spread_over_all_and_listed_in_order(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "table", fresh=True, environments=8)
    keys = [number.to_bytes(8, "big") for number in range(1 << 32, (1 << 32) + 200)]
    for key in keys:
        store.index_put(LEASES, key, IndexEntry((1, 2), "s"))
        store.index_put(DURABLES, key, IndexEntry((1, 2), "", 9))
    assert all(8 <= shard.entries() <= 100 for shard in store._shards)
    assert [key for key, _ in store.index_items(LEASES)] == keys
    assert store.index_get(DURABLES, keys[77]) == IndexEntry((1, 2), "", 9)
    for key in keys:
        store.index_remove(LEASES, key)
    assert store.index_items(LEASES) == [] and len(store.index_items(DURABLES)) == 200
    store.close()


def die_with_the_lock(directory: Path, shard: int, go: int, ready: int) -> None:
    """The process that is killed: it has a writer lock, and has written something that it has not committed."""
    os.read(go, 1)
    store = LmdbStore(directory)
    environment = store._shards[shard].environment
    transaction = environment.begin(True)
    for database in environment.databases:
        transaction.put(b"half", b"done", db=database)
    os.write(ready, b"x")
    signal.pause()


@pytest.mark.parametrize("shard", range(4))
def test_a_worker_that_dies_with_a_writer_lock_leaves_it_to_the_others(tmp_path: Path, shard: int) -> None:
    LmdbStore(tmp_path / "table", fresh=True).close()
    (reader, writer), (go, begin) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            die_with_the_lock(tmp_path / "table", shard, go, writer)
        finally:
            os._exit(1)
    store = LmdbStore(tmp_path / "table")  # opened now, since opening takes the writer lock, too
    os.write(begin, b"x")
    assert os.read(reader, 1) == b"x"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for number in range(40):
        update(store, (1, number), put(entry(open_id=number + 1)))
        store.index_put(LEASES, number.to_bytes(8, "big"), IndexEntry((1, number), ""))
    store.recover()
    assert sorted(store.files()) == [(1, number) for number in range(40)]
    assert len(store.index_items(LEASES)) == 40
    assert sum(shard.entries() for shard in store._shards) == 80, "what was not committed is nowhere"
    store.close()
    for fd in (reader, writer, go, begin):
        os.close(fd)


class GrowingMeanwhile:
    """An LMDB environment that another process makes larger, again each time that the size was taken over."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.sizes: list[int] = []

    def begin(self, db: object, parent: object, write: bool) -> str:
        if self.left:
            self.left -= 1
            raise lmdb.MapResizedError("grown")
        return "a transaction"

    def set_mapsize(self, size: int) -> None:
        self.sizes.append(size)


def test_an_environment_that_many_others_make_larger_is_followed(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "table", fresh=True)
    environment = store._shards[0].environment
    real, environment.env = environment.env, (growing := GrowingMeanwhile(5))
    begun: object = environment.begin(True)
    assert begun == "a transaction"
    assert growing.sizes == [(tmp_path / "table" / "files0" / "data.mdb").stat().st_size] * 5
    environment.env = real
    store.close()
