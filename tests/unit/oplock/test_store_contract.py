# SPDX-License-Identifier: GPL-2.0-or-later
"""What the open table demands of a store (ksmbd.oplock.store.Store). Every store passes this: a new one is added to the
fixture `store`."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from ksmbd.limits import LOCKS
from ksmbd.oplock.locks import LockOverlay, LockView, make_lock
from ksmbd.oplock.record import RWH, Holder, OpenEntry, R, Record, Waiter, holder_key
from ksmbd.oplock.requests import CloseResult, Decision
from ksmbd.oplock.store import CREATE_GUIDS, DURABLES, LEASES, IndexEntry, Store, StoreError, StoreFull
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.smb.ports import FileKey
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, NtStatusError

from .test_fast_path import GUID, entry, parts
from .world import World

FILE: FileKey = (7, 1 << 40)
KEYS: list[FileKey] = [(0, 0), (0, 1), (1, 0), (1 << 63, 5), ((1 << 64) - 1, (1 << 64) - 1)]
"""Two numbers of 64 bits, and nothing else: another machine's are as good as this one's."""

Change = Callable[[Record, dict[str, LockOverlay]], None]


def update(store: Store, file: FileKey, change: Change) -> Decision:
    """Change a record as a decision would."""

    def decide(record: Record, locks_of: Callable[[str], LockView]) -> Decision:
        new = record.copy()
        overlays = {stream: LockOverlay(locks_of(stream)) for stream in ("", "s")}
        change(new, overlays)
        changed = {stream: overlay for stream, overlay in overlays.items() if overlay.changed}
        return Decision(new, True, 0, [], set(), changed, 0.0)

    return store.update(file, decide)


def put(opened: OpenEntry) -> Change:
    """Add an open."""

    def change(record: Record, overlays: dict[str, LockOverlay]) -> None:
        record.opens[opened.open_id] = opened

    return change


def lock(stream: str, first: int, count: int = 1, open_id: int = 7) -> Change:
    """Lock `count` bytes one by one."""

    def change(record: Record, overlays: dict[str, LockOverlay]) -> None:
        overlays[stream].add_all([make_lock(at, 1, True, open_id, at + 1) for at in range(first, first + count)])

    return change


def clear(record: Record, overlays: dict[str, LockOverlay]) -> None:
    """End all that there is."""
    for open_id in list(record.opens):
        for overlay in overlays.values():
            overlay.drop_open(open_id)
        del record.opens[open_id]
    record.holders.clear()
    record.waiters.clear()
    record.outbox.clear()
    record.delete_pending = frozenset()
    record.deleted_links = frozenset()


def full_record() -> Record:
    """A record in which every field of everything says something."""
    record = Record()
    record.opens[7] = OpenEntry(
        open_id=7, stream="s", worker=3, epoch=9, client_guid=GUID, session_id=1 << 63, owner="me", share="Share",
        path="A\\ß\udcff", is_directory=True, access=0x1F01FF, share_access=7, options=0x1000, parent=KEYS[-1],
        delete_on_close=True, lease_key=b"k" * 16, durable=2, persistent=True, create_guid=b"c" * 16,
        app_instance_id=b"i" * 16, app_instance_version=(1, 2), timeout=60_000, connected=False,
        deadline=123456789.000000123, reconnectable_state=b"\0state", kernel=3, name=b"\xff", posix=True, unlinks=True,
        dialect=0x311, protection=2,
    )  # fmt: skip
    lease = Holder(
        stream="s", client_guid=GUID, key=b"k" * 16, open_id=0, state=RWH, breaking=True, requested=R, required=0,
        epoch=0xFFFF, version=2, flags=4, parent_key=b"p" * 16, deadline=0.1 + 0.2,
    )  # fmt: skip
    record.holders[holder_key(lease)] = lease
    record.waiters.append(Waiter(11, 4, 1, "break", 7, (11, 7, R)))
    record.delete_pending = frozenset({"s"})
    record.deleted_links = frozenset({record.opens[7].link})
    record.outbox.append((4, 1, "Done", 12, True))
    record.serial = 41
    return record


def test_a_file_without_a_record(store: Store) -> None:
    assert store.empty and store.files() == [] and store.peek(FILE) is None
    assert store.end(FILE, 7) is None
    assert store.lock_count(FILE, "") == 0 and store.locks_of(FILE)("s").count == 0
    assert not store.io_conflict(FILE, "", 0, 1, True, 7)
    seen: list[tuple[Any, ...]] = []
    update(store, FILE, lambda record, overlays: seen.append((record.empty, record.serial, overlays[""].count)))
    assert seen == [(True, 1, 0)]
    assert store.empty and store.files() == []


def test_a_record_is_kept_as_it_is(store: Store) -> None:
    """Workers' tags and deadlines too: the store reads nothing from them."""
    wanted = full_record()

    def change(record: Record, overlays: dict[str, LockOverlay]) -> None:
        record.opens[7] = wanted.opens[7]
        record.holders.update(wanted.holders)
        record.waiters += wanted.waiters
        record.delete_pending, record.deleted_links = wanted.delete_pending, wanted.deleted_links
        record.outbox += wanted.outbox
        record.serial = wanted.serial

    update(store, FILE, change)
    kept = store.peek(FILE)
    assert kept is not None and parts(kept) == parts(wanted)
    store.recover()
    kept = store.peek(FILE)
    assert kept is not None and parts(kept) == parts(wanted)
    update(store, FILE, clear)
    assert store.empty


@pytest.mark.parametrize("many", [1, 400])
def test_an_update_that_fails_has_changed_nothing(store: Store, many: int) -> None:
    """A record with many opens and locks is kept in another way than a small one."""
    for open_id in range(7, 7 + many):
        update(store, FILE, put(entry(open_id=open_id)))
    update(store, FILE, lock("", 0, many))
    before = store.peek(FILE)
    assert before is not None
    known = parts(before.copy())

    def fails(record: Record, overlays: dict[str, LockOverlay]) -> None:
        clear(record, overlays)
        record.opens[99_999] = entry(open_id=99_999)
        lock("s", 5)(record, overlays)
        raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "in the middle")

    with pytest.raises(NtStatusError, match="in the middle"):
        update(store, FILE, fails)
    after = store.peek(FILE)
    assert after is not None and parts(after.copy()) == known
    assert (store.lock_count(FILE, ""), store.lock_count(FILE, "s")) == (many, 0)
    assert store.files() == [FILE]
    assert not store.io_conflict(FILE, "s", 5, 1, True, 8) and store.io_conflict(FILE, "", 0, 1, True, 8)
    update(store, FILE, clear)
    assert store.empty


@pytest.mark.parametrize("many", [1, 400])
def test_locks_come_and_go_with_their_record(store: Store, many: int) -> None:
    update(store, FILE, put(entry()))
    update(store, FILE, lock("", 100, many))
    update(store, FILE, lock("s", 100))
    assert (store.lock_count(FILE, ""), store.lock_count(FILE, "s")) == (many, 1)
    view = store.locks_of(FILE)("")
    assert [held.first for held in view.of_open(7)] == list(range(100, 100 + many))
    assert store.io_conflict(FILE, "", 100, 1, False, 8) and not store.io_conflict(FILE, "", 100, 1, False, 7)
    assert not store.io_conflict(FILE, "", 0, 100, True, 8)
    store.recover()
    assert store.io_conflict(FILE, "", 100, 1, False, 8) and store.lock_count(FILE, "") == many
    assert store.end(FILE, 7) is None, "its locks have to be dropped, too"

    def unlock(record: Record, overlays: dict[str, LockOverlay]) -> None:
        for at in range(100, 100 + many):
            assert overlays[""].take_out(at, at, 7)

    update(store, FILE, unlock)
    assert (store.lock_count(FILE, ""), store.lock_count(FILE, "s")) == (0, 1)
    assert not store.io_conflict(FILE, "", 100, 1, False, 8)
    update(store, FILE, clear)
    assert store.empty


def test_an_update_sees_the_locks_that_are_there(store: Store) -> None:
    update(store, FILE, put(entry()))
    update(store, FILE, lock("", 0, 40))
    seen: list[int] = []
    update(store, FILE, lambda record, overlays: seen.append(overlays[""].overlapping(0, 9)))
    assert seen == [10]
    update(store, FILE, clear)


def test_many_opens_one_after_the_other(store: Store) -> None:
    for open_id in range(1, 301):
        update(store, FILE, put(entry(open_id=open_id, path=str(open_id))))
    kept = store.peek(FILE)
    assert kept is not None
    assert [opened.path for opened in kept.opens.values()] == [str(open_id) for open_id in range(1, 301)]
    assert kept.serial == 300

    def close(open_id: int) -> Change:
        def change(record: Record, overlays: dict[str, LockOverlay]) -> None:
            del record.opens[open_id]

        return change

    for open_id in range(1, 301):
        update(store, FILE, close(open_id))
    assert store.empty


def test_a_first_open_and_a_last_close(store: Store) -> None:
    first = Record()
    first.opens[7] = entry()
    first.serial = 1
    assert store.begin(FILE, first)
    second = Record()
    second.opens[8] = entry(open_id=8)
    assert not store.begin(FILE, second)
    kept = store.peek(FILE)
    assert kept is not None and list(kept.opens) == [7]
    assert store.end(FILE, 8) is None
    assert store.end(FILE, 7) == CloseResult(False, False, None, b"", GUID, False)
    assert store.end(FILE, 7) is None and store.empty
    assert store.begin(FILE, second)
    update(store, FILE, put(entry()))
    assert store.end(FILE, 7) is None, "another open is there"
    update(store, FILE, clear)
    assert store.empty


def test_a_file_key_is_two_numbers_and_no_more(store: Store) -> None:
    """Keys of another machine, or of no device at all; each file has a record, locks and a place of its own."""
    for number, file in enumerate(KEYS):
        update(store, file, put(entry(open_id=number + 1, path=f"d\\{number}")))
        update(store, file, lock("", number, open_id=number + 1))
        store.index_put(DURABLES, number.to_bytes(8, "big"), IndexEntry(file, "", number + 1))
    assert sorted(store.files()) == sorted(KEYS)
    assert store.files_below("share", "d") == KEYS
    for number, file in enumerate(KEYS):
        record = store.peek(file)
        assert record is not None and list(record.opens) == [number + 1]
        conflicts = [at for at in range(len(KEYS)) if store.io_conflict(file, "", at, 1, True, 99)]
        assert conflicts == [number]
        assert store.index_get(DURABLES, number.to_bytes(8, "big")) == IndexEntry(file, "", number + 1)
        store.index_remove(DURABLES, number.to_bytes(8, "big"))
        update(store, file, clear)
        assert store.peek(file) is None
    assert store.empty


def test_indexes_lead_to_places(store: Store) -> None:
    key = GUID + b"k" * 16
    for number, index in enumerate((LEASES, CREATE_GUIDS, DURABLES)):
        assert store.index_get(index, key) is None and store.index_items(index) == []
        store.index_remove(index, key)
        store.index_put(index, key, IndexEntry(FILE, "old", 1))
        store.index_put(index, key, IndexEntry(FILE, "ß\udcff", number))
        store.index_put(index, key + bytes(32), IndexEntry(KEYS[-1], "", (1 << 64) - 1))
        found = store.index_get(index, key)
        assert found == IndexEntry(FILE, "ß\udcff", number)
        assert found is not None and (found.file, found.stream, found.open_id) == (FILE, "ß\udcff", number)
    for index in (LEASES, CREATE_GUIDS, DURABLES):
        assert [at for at, _ in sorted(store.index_items(index))] == [key, key + bytes(32)]
        store.index_remove(index, key)
        assert store.index_get(index, key) is None
        assert store.index_items(index) == [(key + bytes(32), IndexEntry(KEYS[-1], "", (1 << 64) - 1))]
        assert not store.empty
        store.index_remove(index, key + bytes(32))
    assert store.empty


def test_files_below_a_directory(store: Store) -> None:
    """By share and path without case, in the order of their paths, each once; the directory itself is not below."""
    places = {
        1: ("Share", "Dir"), 2: ("share", "dir\\b"), 3: ("SHARE", "DIR\\A\\c"), 4: ("share", "dirt"),
        5: ("other", "dir\\x"), 6: ("share", ""),
    }  # fmt: skip
    for number, (share, path) in places.items():
        update(store, (1, number), put(entry(open_id=number, share=share, path=path)))
    for open_id in range(100, 130):  # as many as make it a large record
        update(store, (1, 2), put(entry(open_id=open_id, path=f"dir\\b{open_id}")))
    assert store.files_below("share", "dir") == [(1, 3), (1, 2)]
    assert store.files_below("share", "") == [(1, 1), (1, 3), (1, 2), (1, 4)]
    assert store.files_below("other", "dir") == [(1, 5)]
    assert store.files_below("none", "dir") == []


def test_more_locks_than_there_may_be(store: Store) -> None:
    """StoreFull changes nothing; ending something still works."""
    update(store, FILE, put(entry()))
    most = LOCKS.value
    update(store, FILE, lock("", 0, most - 1))
    with pytest.raises(StoreFull) as full:
        update(store, FILE, lock("s", 0, 2))
    assert isinstance(full.value, StoreError) and full.value.status == STATUS_INSUFFICIENT_RESOURCES
    assert full.value.detail and full.value.detail in str(full.value)
    assert (store.lock_count(FILE, ""), store.lock_count(FILE, "s")) == (most - 1, 0)
    update(store, FILE, lock("s", 0, 1))
    update(store, FILE, clear)
    assert store.empty


def test_a_dead_workers_opens_are_ended_by_the_tag_that_they_carry(store: Store) -> None:
    """The store itself ends nothing: the epoch tells a successor's opens from its predecessor's."""
    world = World(store, workers=2)
    mine, _ = world.client("a", 0).open(lease="RWH", key="k")
    theirs, _ = world.client("b", 1).open(2)
    store.recover()
    assert sorted(store.files()) == sorted([mine.file, theirs.file])
    world.tables[1].worker_died(0, 1)
    assert sorted(store.files()) == sorted([mine.file, theirs.file]), "another epoch died"
    world.tables[1].worker_died(0, 0)
    assert store.files() == [theirs.file] and store.index_items(LEASES) == []
    world.client("b", 1).table.close(theirs)
    assert store.empty


class Broken:
    """What a store is made of, that does nothing any longer."""

    def begin(self, *arguments: Any, **more: Any) -> Any:
        raise lmdb.InvalidError("broken")

    def __getattr__(self, name: str) -> Any:
        raise lmdb.InvalidError("broken")


@pytest.mark.parametrize(
    "call",
    [
        lambda store: update(store, FILE, put(entry())),
        lambda store: store.begin(FILE, Record()),
        lambda store: store.end(FILE, 7),
        lambda store: store.peek(FILE),
        lambda store: store.locks_of(FILE),
        lambda store: store.files(),
        lambda store: store.lock_count(FILE, ""),
        lambda store: store.index_get(LEASES, b"k"),
        lambda store: store.index_put(LEASES, b"k", IndexEntry(FILE, "")),
        lambda store: store.index_remove(LEASES, b"k"),
        lambda store: store.index_items(LEASES),
        lambda store: store.files_below("share", "dir"),
        lambda store: store.recover(),
        lambda store: store.empty,
    ],
    ids=["update", "begin", "end", "peek", "locks_of", "files", "lock_count", "index_get", "index_put", "index_remove",
         "index_items", "files_below", "recover", "empty"],
)  # fmt: skip
def test_a_broken_store_says_so_in_its_own_words(tmp_path: Path, call: Callable[[Store], object]) -> None:
    """Nobody above a store knows what it is made of. A store in memory cannot break."""
    store = LmdbStore(tmp_path / "table", fresh=True)
    whole = [shard.environment for shard in store._shards]
    kept = [part.env for part in whole]
    for part in whole:
        part.env = Broken()
    with pytest.raises(StoreError, match="broken"):
        call(store)
    for part, real in zip(whole, kept, strict=True):
        part.env = real
    assert store.empty
    store.close()


@pytest.mark.parametrize("fresh", [True, False])
def test_a_store_that_cannot_be_opened_says_so_in_its_own_words(tmp_path: Path, fresh: bool) -> None:
    if fresh:
        (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError) as told:
        LmdbStore(tmp_path / "file", fresh=fresh)
    assert told.value.detail


def test_updates_of_several_processes_are_one_after_the_other(tmp_path: Path) -> None:
    """Each of them adds what it adds to what is there: nothing is lost. A store in memory is one process's."""
    LmdbStore(tmp_path / "table", fresh=True).close()
    children = []
    for number in range(1, 4):
        child = os.fork()
        if not child:
            status = 1
            try:
                own = LmdbStore(tmp_path / "table")
                for at in range(50):
                    update(own, FILE, put(entry(open_id=number * 1000 + at, worker=number)))
                    update(own, FILE, lock("", number * 1000 + at, open_id=number * 1000 + at))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    store = LmdbStore(tmp_path / "table")
    record = store.peek(FILE)
    assert record is not None and len(record.opens) == 150 and record.serial == 300
    assert {opened.worker for opened in record.opens.values()} == {1, 2, 3}
    assert store.lock_count(FILE, "") == 150
    update(store, FILE, clear)
    assert store.empty
    store.close()
