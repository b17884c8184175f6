# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way of opening and closing gives what `decide` gives, for everything that it applies to."""
from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ksmbd.oplock import decoded, requests
from ksmbd.oplock.caching import LEVEL_STATES
from ksmbd.oplock.decide import decide
from ksmbd.oplock.fast_path import first_open, last_close
from ksmbd.oplock.locks import EMPTY
from ksmbd.oplock.record import RWH, Holder, OpenEntry, R, Record, Waiter
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.store import Store
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.smb import constants as c

from .world import STAT, World

ME = (1, 2)
GUID = b"g" * 16


def entry(**changes: Any) -> OpenEntry:
    """An open with what the test changes."""
    fields: dict[str, Any] = {
        "open_id": 7, "stream": "", "worker": 1, "epoch": 2, "client_guid": GUID, "session_id": 3, "owner": "me",
        "share": "share", "path": "a\\b", "is_directory": False, "access": c.FILE_READ_DATA, "share_access": 7,
        "options": 0, "parent": (1, 1), "delete_on_close": False, "lease_key": b"", "durable": 0, "persistent": False,
        "create_guid": b"", "app_instance_id": b"", "app_instance_version": None, "timeout": 0, "connected": True,
        "deadline": 0.0, "reconnectable_state": b"",
    }  # fmt: skip
    return OpenEntry(**(fields | changes))


def parts(record: Record) -> tuple[Any, ...]:
    """All of a record."""
    return (
        record.opens, record.holders, record.waiters, record.delete_pending, record.deleted_links, record.outbox,
        record.serial,
    )  # fmt: skip


def same(opened: OpenEntry, request: requests.Open, level: int, settings: OplockSettings) -> requests.OpenResult:
    """Both ways give the same; what that is."""
    long = decide(Record(), request, lambda stream: EMPTY, 5.0, settings, ME)
    short = first_open(opened, level, request.lease, request.durable, settings)
    assert short is not None
    record, granted = short
    assert parts(record) == parts(long.record)
    assert long.result == granted
    assert not (long.status or long.actions or long.doorbells or long.locks or long.deadline)
    return granted


@pytest.mark.parametrize("oplocks", [True, False])
@pytest.mark.parametrize("created", [True, False])
def test_the_first_open_of_a_file(oplocks: bool, created: bool) -> None:
    settings = OplockSettings(oplocks=oplocks)
    levels = [*LEVEL_STATES, 0x55]
    accesses = (0, STAT, c.FILE_READ_DATA, c.FILE_WRITE_DATA | c.DELETE, c.FILE_ALL_ACCESS)
    seen = set()
    for level, access, share, disposition, stream, is_directory, deletes in product(
        levels, accesses, (0, 1, 7), range(6), ("", "s"), (False, True), (False, True)
    ):
        opened = entry(
            access=access, share_access=share, stream=stream, is_directory=is_directory, delete_on_close=deletes
        )
        request = requests.Open(9, opened, disposition, created, level, None, None)
        seen.add(same(opened, request, level, settings).oplock_level)
    assert len(seen) == (4 if oplocks else 1)


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("version", [1, 2])
def test_the_first_open_with_a_lease_or_a_durable_request(durable: bool, version: int) -> None:
    settings = OplockSettings(durable=durable)
    answers = set()
    for state, flags, epoch, wanted, level, is_directory, instance in product(
        (None, *range(8)), (0, c.LEASE_FLAG_PARENT_LEASE_KEY_SET), (0, 5, 0xFFFF),
        (None, (1, 0, False), (2, 0, False), (2, 10**9, False)), (0, c.OPLOCK_LEVEL_BATCH), (False, True), (b"", b"i"),
    ):  # fmt: skip
        lease = None
        if state is not None:
            lease = requests.LeaseContext(b"k" * 16, state, version, flags, b"p" * 16 if flags else b"", epoch)
        opened = entry(
            lease_key=lease.key if lease else b"", is_directory=is_directory, app_instance_id=instance,
            create_guid=b"c" if wanted else b"",
        )  # fmt: skip
        request = requests.Open(9, opened, c.FILE_OPEN, False, level, lease, wanted)
        answers.add(same(opened, request, level, settings)[:1] + same(opened, request, level, settings)[2:])
    assert len(answers) == (9 if durable else 3), answers


def test_what_goes_the_long_way() -> None:
    assert first_open(entry(), 0, None, (2, 0, True), OplockSettings()) is None
    assert first_open(entry(kernel=1), 0, None, None, OplockSettings()) is None


def records() -> Iterator[Record]:
    """Records with the open 7 and with all that may be beside it."""
    other = entry(open_id=8, client_guid=b"h" * 16)
    waiter = Waiter(5, 1, 2, "break", 8, (5, 8, R))
    for stream, deletes, durable, lease, holder, pending, beside in product(
        ("", "s"), (False, True), (0, 1, 2), (b"", b"k" * 16), (None, False, True),
        (frozenset[str](), frozenset(("",)), frozenset(("s",)), frozenset(("", "s"))),
        ("", "open", "same lease", "waiter", "outbox", "persistent", "disconnected"),
    ):  # fmt: skip
        record = Record()
        own = entry(
            stream=stream, delete_on_close=deletes, durable=durable, lease_key=lease, create_guid=b"c" * durable,
            persistent=beside == "persistent", connected=beside != "disconnected",
        )  # fmt: skip
        record.opens[7] = own
        if holder is not None:  # that one may be breaking
            key = (GUID, lease) if lease else 7
            record.holders[key] = Holder(
                stream, GUID, lease, 0 if lease else 7, RWH, holder, R, R, 1, 2 if lease else 0, 0, b"", 40.0 * holder
            )
        if beside == "open":
            record.opens[8] = other
        elif beside == "same lease":
            record.opens[8] = own._replace(open_id=8)
        elif beside == "waiter":
            record.opens[8] = other
            record.waiters.append(waiter)
        elif beside == "outbox":
            record.outbox.append((3, 0, "Done", 4, True))
        record.delete_pending = pending - {""}
        record.deleted_links = frozenset({own.link} if "" in pending else ())
        record.serial = 11
        yield record


def test_the_last_close_of_a_file() -> None:
    short_ways = 0
    for record in records():
        before = parts(record.copy())[:-1]
        short = last_close(record, 7)
        assert parts(record)[:-1] == before
        alone = len(record.opens) == 1 and not record.outbox and not record.opens[7].persistent
        assert (short is not None) == alone
        if short is None:
            continue
        short_ways += 1
        long = decide(record, requests.Close(7), lambda stream: EMPTY, 5.0, OplockSettings(), ME)
        assert long.result == short
        assert long.record.empty
        assert not (long.status or long.actions or long.doorbells or long.locks or long.deadline)
    assert short_ways > 500
    assert last_close(Record(), 7) is None


def test_locks_are_taken_along(store: Store) -> None:
    """An open that has locks is closed the long way, in either store; nothing is left."""
    world = World(store)
    client = world.client("a")
    ref, _ = client.open()
    client.lock(ref, 0, 10)
    assert store.end(ref.file, ref.open_id) is None
    assert store.lock_count(ref.file, "") == 1
    client.table.close(ref)
    assert store.empty


def test_a_second_open_finds_the_first(store: Store) -> None:
    world = World(store)
    first, _ = world.client("a").open()
    record = store.peek(first.file)
    assert record is not None
    assert not store.begin(first.file, Record())
    second, _ = world.client("b").open()
    assert store.end(first.file, first.open_id) is None
    world.client("a").table.close(first)
    world.client("b").table.close(second)
    assert store.empty


def test_what_a_worker_knows_of_records_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker may end what this one began; what was known of it gives way to others in the end, and is never
    taken for what is there."""
    if hasattr(LmdbStore, "__mypyc_attrs__"):
        pytest.skip("compiled, a store cannot be copied, nor a constant be changed")
    monkeypatch.setattr(decoded, "KNOWN", 3)
    one = LmdbStore(tmp_path, fresh=True)
    other = copy(one)  # as another process has it: the same environments, knowledge of its own
    other._decoded = decoded.Decoded()
    other._shards = [copy(shard) for shard in one._shards]
    for shard in other._shards:
        shard._decoded = other._decoded
    for inode in range(10):
        file = (1, inode)
        record = Record()
        record.opens[7] = entry(path=str(inode))
        assert one.begin(file, record)
        changed = other.peek(file)
        assert changed is not None and parts(changed) == parts(record)
        assert other.end(file, 7) is not None
        assert one.peek(file) is None and one.end(file, 7) is None
        record.serial = inode + 20
        assert other.begin(file, record)
        seen = one.peek(file)
        assert seen is not None and seen.serial == inode + 20
        assert one.end(file, 7) is not None
        assert len(one._decoded.records) <= 3 and len(other._decoded.records) <= 3
    assert one.empty
    one.close()
