# SPDX-License-Identifier: GPL-2.0-or-later
"""Many opens of a file: the map against a dict, and what is counted against what a search finds; and that an open costs
the same beside thousands of them."""
from __future__ import annotations

import random

import pytest

from ksmbd.oplock.caching import Survey, survey
from ksmbd.oplock.open_map import FEW, OpenMap
from ksmbd.oplock.record import Holder, OpenEntry, Record, holder_key
from ksmbd.oplock.share import conflict, delete_conflict, is_stat_open, sharing_violation
from ksmbd.oplock.store import Store
from ksmbd.smb import constants as c
from ksmbd.smb.ports import OpenRef

from .test_fast_path import entry
from .world import World, calls_of

ACCESSES = (0, c.FILE_READ_ATTRIBUTES, c.READ_CONTROL, c.FILE_READ_DATA, c.FILE_EXECUTE, c.FILE_WRITE_DATA,
            c.FILE_APPEND_DATA, c.DELETE, c.FILE_READ_DATA | c.DELETE, c.FILE_ALL_ACCESS)  # fmt: skip
STREAMS = ("", "", "s", "t")
KEYS = (b"", b"", b"k" * 16, b"l" * 16)
GUIDS = (b"a" * 16, b"b" * 16)


def random_entry(draw: random.Random, open_id: int) -> OpenEntry:
    return entry(
        open_id=open_id, stream=draw.choice(STREAMS), access=draw.choice(ACCESSES), share_access=draw.randrange(8),
        lease_key=draw.choice(KEYS), client_guid=draw.choice(GUIDS),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_the_map_is_a_dict_whose_copies_do_not_meet(seed: int) -> None:
    """Copies are changed, and kept or thrown away; what is kept is what a dict would be."""
    draw = random.Random(seed)
    opens: OpenMap[OpenEntry] = OpenMap()
    plain: dict[int, OpenEntry] = {}
    number = 0
    for _ in range(120):
        copy, other = opens.copy(), plain.copy()
        for _ in range(draw.choice((1, 1, 2, 6))):
            if other and draw.random() < 0.42:
                gone = draw.choice(list(other))
                del copy[gone], other[gone]
                with pytest.raises(KeyError):
                    del copy[gone]
            elif other and draw.random() < 0.3:
                changed = draw.choice(list(other))
                copy[changed] = other[changed] = random_entry(draw, changed)._replace(lease_key=b"")
            else:
                number += 1
                copy[number] = other[number] = random_entry(draw, number)
        assert dict(copy.items()) == other and len(copy) == len(other) and bool(copy) == bool(other)
        assert sorted(copy) == sorted(other) and len(copy.values()) == len(other)
        assert all(number in copy and copy[number] is copy.get(number) for number in other)
        assert all(copy.only(number) is (copy.get(number) if len(other) == 1 else None) for number in other)
        assert opens.only(number + 1) is None and opens.get(number + 1) is None and number + 1 not in opens
        changes = {key for key in {*plain, *other} if plain.get(key) is not other.get(key)}
        assert {key for key, _ in copy.changes_since(opens)} >= changes
        assert all(copy.get(key) is now for key, now in copy.changes_since(opens))
        if draw.random() < 0.8:
            copy.commit()
            opens, plain = copy, other
        assert dict(opens.items()) == plain
    assert opens == OpenMap(dict(opens.items()))


def record_with(draw: random.Random, settled: int, pending: int) -> Record:
    """Many opens with holders; the last changes are not settled."""
    record = Record()
    number = 0
    for count in (settled, pending):
        record = record.copy()
        for _ in range(count):
            number += 1
            if number > 3 and draw.random() < 0.2:
                gone = draw.choice(list(record.opens))
                holder = record.holder_of(record.opens[gone])
                del record.opens[gone]
                if holder is not None and not record.opens_of(holder):
                    del record.holders[holder_key(holder)]
            made = record.opens[number] = random_entry(draw, number)
            if made.lease_key and (made.client_guid, made.lease_key) in record.holders:
                # A lease is of one stream.
                stream = record.holders[made.client_guid, made.lease_key].stream
                record.opens[number] = made._replace(stream=stream)
            elif made.lease_key or draw.random() < 0.3:
                holder = Holder(
                    made.stream, made.client_guid, made.lease_key, 0 if made.lease_key else number,
                    draw.randrange(1, 8), False, 0, 0, 0, 1, 0, b"", 0.0,
                )  # fmt: skip
                record.holders[holder_key(holder)] = holder
        if count == settled:
            record.opens.commit()
    return record


def searched_violation(record: Record, stream: str, access: int, share_access: int) -> bool:
    for one in record.opens.values():
        if one.stream == stream:
            if conflict(access, share_access, one.access, one.share_access):
                return True
        elif delete_conflict(one, stream, access, share_access):
            return True
    return False


def searched_survey(record: Record, stream: str, client_guid: bytes, lease_key: bytes) -> Survey:
    handle = oplock = write = occupied = False
    for one in record.opens.values():
        if one.stream != stream or (lease_key and (one.lease_key, one.client_guid) == (lease_key, client_guid)):
            continue
        holder = record.holder_of(one)
        if holder is not None:
            occupied = True
            handle |= bool(holder.state & c.LEASE_HANDLE_CACHING)
            write |= bool(holder.state & c.LEASE_WRITE_CACHING)
            oplock |= not holder.is_lease
        elif not is_stat_open(one.access):
            occupied = True
    return Survey(handle, oplock, write, occupied)


@pytest.mark.parametrize("settled", [3, 30, 60])
@pytest.mark.parametrize("seed", range(25))
def test_what_is_counted_is_what_a_search_finds(seed: int, settled: int) -> None:
    draw = random.Random(seed)
    record = record_with(draw, settled, draw.randrange(12)).copy()
    assert record.opens.counted == (settled > FEW)
    for access in ACCESSES:
        for stream in ("", "s", "u"):
            share_access = draw.randrange(8)
            found = sharing_violation(record, stream, access, share_access)
            assert found == searched_violation(record, stream, access, share_access)
    for stream in ("", "s", "u"):
        for guid in GUIDS:
            for key in KEYS:
                assert survey(record, stream, guid, key) == searched_survey(record, stream, guid, key)
    for holder in record.holders.values():
        expected = [one for one in record.opens.values() if record.holder_of(one) is holder]
        assert sorted(record.opens_of(holder)) == sorted(expected)


def test_an_open_costs_the_same_beside_thousands(store: Store) -> None:
    world = World(store, workers=2)
    clients = [world.client("a", 0), world.client("b", 1)]
    refs: list[OpenRef] = []
    costs = []
    for wanted in (100, 3000):
        while len(refs) < wanted:
            refs.append(clients[len(refs) % 2].open(access=c.FILE_READ_DATA)[0])

        def one_more() -> None:
            for client in clients:
                client.table.close(client.open(access=c.FILE_READ_DATA)[0])

        one_more()
        # Now and then a journal is written anew: the least of some is what one costs.
        costs.append(min(calls_of(one_more) for _ in range(5)))
    assert costs[1] <= 1.5 * costs[0], costs
    for number, ref in enumerate(refs):
        clients[number % 2].table.close(ref)
    assert store.empty
