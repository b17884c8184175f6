# SPDX-License-Identifier: GPL-2.0-or-later
"""Durable opens over an orderly restart: what a server hands on, and what the next one makes of it."""
from __future__ import annotations

import pytest

from ksmbd.oplock.handed_on import Kept, decode, encode, gather
from ksmbd.oplock.state_records import Unreadable
from ksmbd.oplock.store import Store
from ksmbd.smb import constants
from ksmbd.smb.ports import DurableRequest, Reconnected

from .world import World

GUID = b"g" * 16
V2 = DurableRequest(2, GUID, 60_000)
NOW = 5_000_000_000
SECOND = 10_000_000


def handle_of(open_id: int) -> bytes:
    return b"handle%d" % open_id


def left_by(world: World, number: int = 0) -> list[Kept]:
    """What one of the workers hands on."""
    return list(gather(world.store, world.tables[number]._me, handle_of))


def test_a_durable_open_is_taken_up_after_a_restart(store: Store) -> None:
    """With its lease and its locks."""
    world = World(store=store)
    client = world.client("a")
    ref, _ = client.open(1, durable=V2, lease="RWH", key="k", version=2, epoch=7, path="F", share="")
    client.lock(ref, 5, 10)
    client.table.disconnect(ref)
    kept = decode(encode(left_by(world), NOW), NOW + SECOND)
    assert [entry.handle for _, adopt in kept for entry in adopt.opens] == [b"handle%d" % ref.open_id]

    world = World()
    world.next_open = 100
    assert world.tables[0].adopt(kept) == 1
    client, other = world.client("a"), world.client("b")
    assert world.store.lock_count((1, 1), "") == 1
    back = client.reconnect(ref, version=2, create_guid=GUID, lease="k", lease_version=2, path="f")
    assert isinstance(back, Reconnected)
    assert back.grant.lease is not None and back.grant.lease.state == 7 and back.handle is None
    assert other.ask(1) is not None
    assert world.breaks() == ["k:RWH>RW!"]
    assert client.unlock(ref, 5, 10) == "ok"
    client.table.close(ref)


def test_one_that_is_not_taken_up_ends(store: Store) -> None:
    """After its time-out, and when another client wants the file."""
    world = World(store=store)
    client = world.client("a")
    for inode in (1, 2):
        ref, _ = client.open(inode, durable=DurableRequest(2, bytes((inode,)) * 16, 60_000), oplock="b", share="")
        client.table.disconnect(ref)
    world = World()
    world.next_open = 100
    world.tables[0].adopt(left_by(World(store=store)))
    assert world.client("b").open(1)[1] == ""
    world.settle(61.0)
    assert len(world.purged) == 2


def test_what_is_not_handed_on(store: Store) -> None:
    world = World(store=store)
    client = world.client("a")
    plain, _ = client.open(1)
    connected, _ = client.open(2, durable=V2, oplock="b")
    deletes, _ = client.open(
        3, durable=DurableRequest(2, b"d" * 16, 60_000), oplock="b", access=constants.FILE_ALL_ACCESS,
        options=constants.FILE_DELETE_ON_CLOSE,
    )  # fmt: skip
    client.table.disconnect(deletes)
    assert left_by(world) == []
    client.table.disconnect(connected)
    assert [file for file, _ in left_by(world)] == [connected.file]
    assert plain.file != connected.file


def test_each_worker_hands_on_its_own(store: Store) -> None:
    world = World(store=store, workers=2)
    first, second = world.client("a", 0), world.client("b", 1)
    ours, _ = first.open(1, durable=V2, lease="RH", key="k", version=2)
    theirs, _ = second.open(1, durable=DurableRequest(2, b"h" * 16, 60_000), lease="RH", key="l", version=2)
    first.table.disconnect(ours)
    second.table.disconnect(theirs)
    found = [[entry.open_id for _, adopt in left_by(world, number) for entry in adopt.opens] for number in (0, 1)]
    assert found == [[ours.open_id], [theirs.open_id]]
    world = World()
    for kept in (left_by(World(store=store, workers=2), 0), left_by(World(store=store, workers=2), 1)):
        world.tables[0].adopt(kept)
    record = world.store.peek((1, 1))
    assert record is not None and len(record.opens) == len(record.holders) == 2


def test_the_time_of_the_stop_counts(store: Store) -> None:
    """A clock that was set back ends nothing."""
    world = World(store=store)
    client = world.client("a")
    for inode, seconds in ((1, 60), (2, 120)):
        wanted = DurableRequest(2, bytes((inode,)) * 16, seconds * 1000)
        ref, _ = client.open(inode, durable=wanted, lease="RWH", key=str(inode), version=2)
        client.table.disconnect(ref)
    data = encode(left_by(world), NOW)
    for passed, left in ((0, [1, 2]), (59, [1, 2]), (60, [2]), (86_400, []), (-86_400, [1, 2])):
        assert sorted(file[1] for file, _ in decode(data, NOW + passed * SECOND)) == left


def test_damaged_bytes_are_no_opens() -> None:
    with pytest.raises(Unreadable):
        decode(encode([], NOW)[:-1], NOW)
