# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients beside local processes, on a kernel that is a table: `kernel oplocks` and `posix locking`."""
from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.oplock import local
from ksmbd.oplock.locks import LockSet, make_lock
from ksmbd.oplock.record import RH, RW, RWH, R, Record, W
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb import constants as c
from ksmbd.smb.ports import (
    NO_LEASE,
    READ_LEASE,
    READ_LOCK,
    UNLOCKED,
    WRITE_LEASE,
    WRITE_LOCK,
    DurableRequest,
    OpenGrant,
    OpenRef,
)
from ksmbd.smb.waiting import Cancelled, Future

from .kernel_fake import BYTES, Kernel, Side
from .world import Client, World, answer

READS = c.FILE_READ_DATA


class Place:
    """A world and a kernel with one file."""

    def __init__(self, workers: int = 1) -> None:
        self.world = World(workers=workers)
        self.kernel = Kernel()
        self.sides: dict[int, Side] = {}

    def ask(
        self, client: Client, *, access: int = c.FILE_READ_DATA | c.FILE_WRITE_DATA, **more: Any
    ) -> tuple[OpenRef, Side, Future[OpenGrant]]:
        """Send an open, with a descriptor that can write where its access says so."""
        side = Side(self.kernel, bool(access & c.FILE_WRITE_DATA))
        ref, future = client.ask(access=access, local=side, **more)
        self.sides[ref.open_id] = side
        return ref, side, future

    def open(self, client: Client, **more: Any) -> tuple[OpenRef, str]:
        """Open at once; "later" where somebody's lease is in the way."""
        ref, side, future = self.ask(client, **more)
        assert future.done
        grant = client.table.admit(ref, side, future.result())
        return ref, "later" if grant is None else answer(Future.of(grant))

    def close(self, client: Client, ref: OpenRef) -> None:
        """As the protocol does: out of the table, then the descriptor."""
        client.table.close(ref)
        self.sides.pop(ref.open_id).close()

    def signal(self) -> None:
        """What the kernel has to say reaches the workers."""
        signals, self.kernel.signals = self.kernel.signals, set()
        for table in self.world.tables:
            table.kernel_sync.on_signals(signals)
        self.world.settle()


# ----------------------------------------------------------------------------------------------------------- the rules


@pytest.mark.parametrize(("state", "lease"), [(0, NO_LEASE), (R, READ_LEASE), (RH, READ_LEASE), (RW, WRITE_LEASE),
                                              (RWH, WRITE_LEASE)])  # fmt: skip
def test_each_state_has_its_lease_and_each_lease_its_state(state: int, lease: int) -> None:
    assert local.lease_for(state) == lease
    assert local.state_for(state, lease) == state
    assert local.state_for(state, NO_LEASE) == 0
    assert local.state_for(state, READ_LEASE) == state & ~W


def test_beside_a_writer_there_is_no_shared_caching() -> None:
    record = Record()
    assert local.backed(record, RH, local.WATCHED) == RH
    assert local.backed(record, RH, local.WATCHED | local.WRITER) == 0
    assert local.backed(record, RWH, local.WATCHED | local.WRITER) == RWH


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20), st.booleans()), max_size=8),
    st.integers(0, 40), st.integers(0, 20),
)  # fmt: skip
def test_segments_say_of_every_byte_what_its_locks_make_of_it(
    given_locks: list[tuple[int, int, bool]], first: int, length: int
) -> None:
    locks = [make_lock(offset, size, exclusive, 1, n) for n, (offset, size, exclusive) in enumerate(given_locks)]
    held = [LockSet(), LockSet(), LockSet()]
    held[1].add_all(locks[::2])
    held[2].add_all(locks[1::2])
    found = local.segments(held, first, first + length - 1)
    told = [(kind, byte) for kind, start, end in found for byte in range(start, end + 1)]
    wanted = []
    for byte in range(first, first + length):
        kinds = [lock.exclusive for lock in locks if lock.first <= byte <= lock.last]
        wanted.append((WRITE_LOCK if True in kinds else READ_LOCK if kinds else UNLOCKED, byte))
    assert told == wanted
    assert all(one[0] != two[0] for one, two in pairwise(found))


def test_what_the_kernel_cannot_lock_it_is_not_asked_for() -> None:
    last = local.LARGEST
    assert local.span([(5, 0), (last + 1, 10), (last, 10), (0, 1)]) == [(0, 0), (last, last + 9)]
    assert local.span([(10, 5), (0, 5), (15, 1), (12, 2), (5, 1), (30, 1)]) == [(0, 5), (10, 15), (30, 30)]
    lock = LockSet()
    lock.add(make_lock(last - 1, 100, True, 1, 1))
    assert local.segments([lock], last - 2, last + 98) == [(UNLOCKED, last - 2, last - 2), (WRITE_LOCK, last - 1, last)]
    assert local.segments([lock], last + 1, last + 2) == []


# -------------------------------------------------------------------------------------------------------------- leases


def test_the_process_waits_until_the_client_has_acknowledged() -> None:
    place = Place()
    client = place.world.client("a")
    ref, granted = place.open(client, lease="RWH", key="k")
    assert granted == "RWH"
    assert place.kernel.open(True, False) is None
    place.signal()
    assert place.world.breaks() == ["k:RWH>!"]
    assert place.kernel.open(True, False) is None
    place.signal()
    assert place.world.breaks() == []
    assert client.acknowledge("k", "") == ""
    assert place.kernel.open(True, False) is not None
    place.close(client, ref)
    assert place.world.store.peek(ref.file) is None


def test_a_client_that_does_not_answer_loses_its_lease_before_the_kernel_takes_it() -> None:
    place = Place()
    place.world.settings = OplockSettings(lease_break_time=8.0)
    place.world.start_worker(0)
    client = place.world.client("a")
    place.open(client, oplock="b")
    assert place.kernel.open(False, True) is None
    place.signal()
    place.world.settle(7.9)
    assert place.kernel.open(False, True) is None
    place.world.settle(0.2)
    assert place.kernel.open(False, True) is not None


def test_a_reader_keeps_what_a_read_lease_lets_it() -> None:
    place = Place()
    client = place.world.client("a")
    assert place.open(client, lease="RWH", key="k", access=READS)[1] == "RWH"
    assert place.kernel.open(True, False) is None
    place.signal()
    assert place.world.breaks() == ["k:RWH>RH!"]
    assert client.acknowledge("k", "RH") == "RH"
    assert place.kernel.open(True, False) is not None
    assert place.kernel.open(True, True) is None
    place.signal()
    assert place.world.breaks() == ["k:RH>!"]


@pytest.mark.parametrize(("reads", "writes", "access", "granted"), [
    (True, False, READS, "RH"), (True, False, READS | c.FILE_WRITE_DATA, ""), (True, True, READS, ""),
])  # fmt: skip
def test_what_is_open_already_makes_the_grant_less(reads: bool, writes: bool, access: int, granted: str) -> None:
    place = Place()
    place.kernel.open(reads, writes)
    client = place.world.client("a")
    ref, given_ = place.open(client, lease="RWH", key="k", access=access)
    assert given_ == granted
    record = place.world.store.peek(ref.file)
    assert record is not None
    assert [holder.state for holder in record.holders.values()] == [sum({"R": 1, "H": 2}[x] for x in granted)]


def test_a_kernel_without_leases_lets_nobody_cache() -> None:
    place = Place()
    place.kernel.refuse = True
    client = place.world.client("a")
    ref, granted = place.open(client, oplock="b", durable=DurableRequest(1))
    assert granted == ""
    assert not client.table.disconnect(ref)
    place.close(client, ref)
    assert place.world.store.empty


def test_opens_of_one_lease_share_one_open_file() -> None:
    place = Place()
    client = place.world.client("a")
    first, _ = place.open(client, lease="RWH", key="k", access=READS)
    second, granted = place.open(client, lease="RWH", key="k", access=READS)
    third, wider = place.open(client, lease="RWH", key="k")
    assert (granted, wider, place.world.breaks()) == ("RWH", "RWH", [])
    assert len(place.kernel.opens) == 1
    place.close(client, third)
    place.close(client, first)
    assert place.kernel.open(True, False) is None
    place.signal()
    # The only one left reads, but its open file can write: that shows when the kernel refuses the read lease.
    assert place.world.breaks() == ["k:RWH>RH!"]
    assert client.acknowledge("k", "RH") == "RH"
    assert place.world.breaks() == ["k:RH>!"]
    place.close(client, second)
    assert place.kernel.opens == []


def test_what_is_left_of_a_lease_inherits_the_kernels() -> None:
    place = Place()
    client = place.world.client("a")
    stranger = place.kernel.open(True, True)
    assert stranger is not None
    assert place.open(client, lease="RWH", key="k", access=READS)[1] == ""
    place.kernel.close(stranger)
    second, granted = place.open(client, lease="RH", key="k", access=READS)
    assert granted == "RH"
    place.close(client, second)
    assert place.kernel.open(True, True) is None
    place.signal()
    assert place.world.breaks() == ["k:RH>!"]


def test_what_is_left_of_a_lease_and_inherits_nothing_loses_it() -> None:
    place = Place()
    client = place.world.client("a")
    first, _ = place.open(client, lease="RH", key="k", access=READS)
    second, granted = place.open(client, lease="RH", key="k", access=READS)
    assert granted == "RH"
    place.sides[first.open_id].lease(NO_LEASE)
    client.table.kernel_sync.opens[first.open_id].lease = NO_LEASE
    place.kernel.refuse = True
    place.close(client, second)
    assert place.world.breaks() == ["k:RH>!"]


def test_what_the_client_never_had_needs_no_acknowledgment() -> None:
    """Another open breaks what was granted before the kernel could be asked, and the kernel refuses it."""
    place = Place()
    place.kernel.open(True, False)
    one, two = place.world.client("a"), place.world.client("b")
    ref, side, first = place.ask(one, oplock="b")
    assert first.done
    _, _, second = place.ask(two)
    assert not second.done
    grant = one.table.admit(ref, side, first.result())
    assert grant is not None and grant.oplock_level == c.OPLOCK_LEVEL_NONE
    assert second.done


def test_opens_of_one_lease_that_cannot_share_lose_it() -> None:
    place = Place()
    client = place.world.client("a")
    place.open(client, lease="RWH", key="k", access=READS)
    ref, side, future = place.ask(client, lease="RWH", key="k")
    side.reads = side.wide_allowed = False
    grant = client.table.admit(ref, side, future.result())
    assert grant is not None and grant.lease is not None
    assert grant.lease.flags & c.LEASE_FLAG_BREAK_IN_PROGRESS
    assert place.world.breaks() == ["k:RWH>!"]


def test_an_upgrade_that_the_kernel_refuses_was_never_there() -> None:
    place = Place()
    place.kernel.open(True, False)
    client = place.world.client("a")
    for _ in range(2):
        assert place.open(client, lease="RWH", key="k", access=READS)[1] == "RH"
    assert place.world.breaks() == []


def test_a_writer_of_ours_breaks_the_readers_and_opens_then() -> None:
    place = Place(2)
    reader, writer = place.world.client("a", 0), place.world.client("b", 1)
    assert place.open(reader, lease="RH", key="k", access=READS)[1] == "RH"
    ref, side, future = place.ask(writer, oplock="b")
    place.world.settle()
    assert answer(future) == "wait"
    assert place.world.breaks() == ["k:RH>!"]
    assert reader.acknowledge("k", "") == ""
    place.world.settle()
    assert future.done
    grant = writer.table.admit(ref, side, future.result())
    assert grant is not None and grant.oplock_level == c.OPLOCK_LEVEL_NONE
    assert place.world.breaks() == []


def test_the_lease_goes_when_time_ran_out_in_another_worker() -> None:
    place = Place(2)
    holder, second = place.world.client("a", 0), place.world.client("b", 1)
    place.open(holder, oplock="b")
    ref, side, future = place.ask(second)
    place.world.settle()
    place.world.settle(36)
    assert future.done
    assert second.table.admit(ref, side, future.result()) is None
    place.signal()
    assert second.table.admit(ref, side, future.result()) is not None


def test_a_signal_that_names_a_closed_descriptor_finds_its_lease_all_the_same() -> None:
    place = Place()
    client = place.world.client("a")
    place.open(client, lease="RWH", key="k")
    assert place.kernel.open(True, False) is None
    place.kernel.signals = {7}
    place.signal()
    assert place.world.breaks() == ["k:RWH>!"]


def test_signals_that_were_lost_are_made_up_for() -> None:
    place = Place()
    client = place.world.client("a")
    place.open(client, lease="RWH", key="k")
    assert place.kernel.open(True, False) is None
    client.table.kernel_sync.on_signals(None)
    assert place.world.breaks() == ["k:RWH>!"]


# --------------------------------------------------------------------------------------------------------------- locks


def lock_place(workers: int = 1) -> tuple[Place, list[tuple[Client, OpenRef]]]:
    place = Place(workers)
    opens = []
    for number in range(2):
        client = place.world.client("ab"[number], number % workers)
        side = Side(place.kernel, oplocks=False, locking=True)
        ref, future = client.ask(local=side)
        assert client.table.admit(ref, side, future.result()) is not None
        place.sides[ref.open_id] = side
        opens.append((client, ref))
    return place, opens


def test_a_refused_lock_leaves_nothing_in_the_table() -> None:
    place, [(one, mine), (two, theirs)] = lock_place()
    stranger = place.kernel.open(True, True)
    assert stranger is not None and place.kernel.lock(stranger, WRITE_LOCK, 5, 6)
    assert answer(one.lock(mine, 0, 10)) == "STATUS_LOCK_NOT_GRANTED"
    assert one.io(mine, 5, 1, False) == "STATUS_FILE_LOCK_CONFLICT"
    assert one.io(mine, 5, 0, False) == "ok"
    assert one.io(mine, 7, 1 << 63, False) == "ok"
    assert answer(two.lock(theirs, 0, 5)) == "ok"
    place.kernel.close(stranger)
    assert answer(one.lock(mine, 5, 5)) == "ok"


def test_a_lock_that_waits_is_tried_again_until_it_is_given_up() -> None:
    place, [(one, mine), (two, theirs)] = lock_place()
    stranger = place.kernel.open(True, True)
    assert stranger is not None and place.kernel.lock(stranger, WRITE_LOCK, 0, 0)
    first, second = one.lock(mine, 0, 1, wait=True), two.lock(theirs, 0, 2, wait=True)
    place.world.settle(10)
    assert (answer(first), answer(second)) == ("wait", "wait")
    first.cancel()
    with pytest.raises(Cancelled):
        first.result()
    place.kernel.close(stranger)
    place.world.settle(10)
    assert answer(second) == "ok"
    assert one.io(mine, 1, 1, True) == "STATUS_FILE_LOCK_CONFLICT"
    place.close(two, theirs)
    assert answer(one.lock(mine, 0, 1)) == "ok"


def test_a_wait_ends_with_its_open() -> None:
    place, [(one, mine), (_, _)] = lock_place()
    stranger = place.kernel.open(True, True)
    assert stranger is not None and place.kernel.lock(stranger, WRITE_LOCK, 0, 0)
    waiting = one.lock(mine, 0, 1, wait=True)
    place.close(one, mine)
    place.world.settle(10)
    assert not waiting.done  # who waits is answered by the end of the open
    place.kernel.close(stranger)
    place.world.settle(10)
    assert all(file.locks == [UNLOCKED] * BYTES for file in place.kernel.opens)


def test_an_open_that_locks_shares_its_locks_from_then_on() -> None:
    place = Place()
    one, two = place.world.client("a"), place.world.client("b")
    (mine, _), (theirs, _) = one.open(), two.open()
    assert answer(one.lock(mine, 0, 2)) == "ok"  # as of an open that was reclaimed
    side = Side(place.kernel, oplocks=False, locking=True)
    assert side.open_data()
    place.sides[mine.open_id] = side
    one.table.share_locks(mine, side)
    file = side.file
    assert file is not None and file.locks == [WRITE_LOCK] * 2 + [UNLOCKED] * (BYTES - 2)
    stranger = place.kernel.open(True, True)
    assert stranger is not None and place.kernel.lock(stranger, WRITE_LOCK, 5, 6)
    assert answer(one.lock(mine, 5, 1)) == "STATUS_LOCK_NOT_GRANTED"
    assert one.io(mine, 5, 1, False) == "STATUS_FILE_LOCK_CONFLICT"
    assert two.io(theirs, 5, 1, True) == "ok"  # it has locked nothing
    one.table.share_locks(mine, side)
    assert one.unlock(mine, 0, 2) == "ok"
    assert file.locks == [UNLOCKED] * BYTES
    place.kernel.close(stranger)
    place.close(one, mine)
    two.table.close(theirs)
    assert place.world.store.empty


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(
    st.integers(0, 1), st.booleans(), st.integers(0, 20), st.integers(0, 10), st.booleans(),
), max_size=30), st.integers(1, 2))  # fmt: skip
def test_the_kernel_knows_the_union_of_each_opens_locks(
    steps: list[tuple[int, bool, int, int, bool]], workers: int
) -> None:
    place, opens = lock_place(workers)
    held: list[list[tuple[int, int, bool]]] = [[], []]
    for who, unlocks, offset, length, exclusive in steps:
        client, ref = opens[who]
        if unlocks:
            if client.unlock(ref, offset, length) == "ok":
                mine = held[who]
                mine.remove((offset, length, True) if (offset, length, True) in mine else (offset, length, False))
        elif answer(client.lock(ref, offset, length, exclusive)) == "ok":
            held[who].append((offset, length, exclusive))
        for (_, each), locks in zip(opens, held, strict=True):
            file = place.sides[each.open_id].file
            assert file is not None
            wanted = [UNLOCKED] * BYTES
            for start, size, hard in locks:
                for byte in range(start, start + size):
                    wanted[byte] = max(wanted[byte], WRITE_LOCK if hard else READ_LOCK)
            assert file.locks == wanted
    for client, ref in opens:
        place.close(client, ref)
    assert place.world.store.empty


# --------------------------------------------------------------------------------------------------------------- model


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 2))
def test_no_client_caches_what_a_local_process_has_open(data: st.DataObject, workers: int) -> None:
    """Random opens, closes, acknowledgments and local processes; checked whenever all signals have arrived."""
    place = Place(workers)
    world, kernel = place.world, place.kernel
    clients = [world.client("ab"[number], number % workers) for number in range(2)]
    coming: list[tuple[Client, OpenRef, Side, Future[OpenGrant]]] = []
    opens: list[tuple[Client, OpenRef]] = []
    asked: list[Any] = []
    strangers: list[Any] = []

    def pump() -> None:
        for _ in range(8):
            world.settle()
            place.signal()
            for item in coming.copy():
                client, ref, side, future = item
                if future.done:
                    if answer(future).startswith("STATUS"):
                        coming.remove(item)
                        place.sides.pop(ref.open_id).close()
                    elif client.table.admit(ref, side, future.result()) is not None:
                        coming.remove(item)
                        opens.append((client, ref))
            asked.extend(world.notices)
            world.notices.clear()

    def acknowledge() -> None:
        notice = asked.pop(0)
        client = next(client for client in clients if client.guid == notice.client_guid)
        if notice.lease_key and notice.ack_required:
            client.acknowledge(notice.lease_key.rstrip(b"\0").decode(), "".join(
                letter for letter, bit in (("R", 1), ("H", 2), ("W", 4)) if notice.new_state & bit
            ))  # fmt: skip
        elif notice.ack_required:
            ref = next((ref for _, ref in opens if ref.open_id == notice.open_ids[0]), None)
            if ref is not None:
                client.acknowledge_oplock(ref, "s" if notice.oplock_level else "")

    def check() -> None:
        record = world.store.peek((1, 1))
        for holder in record.holders.values() if record is not None else ():
            members = [entry.open_id for entry in record.opens_of(holder)] if record is not None else []
            admitted = [ref.open_id for _, ref in opens if ref.open_id in members]
            if not admitted or not holder.state:
                continue
            files = [place.sides[open_id].file for open_id in admitted]
            for stranger in strangers:
                # Where our own writer ends the kernel's read lease, the notice has no more than been sent.
                assert not holder.state & W, "a local process was let through to what is not written yet"
                assert not stranger.writes or holder.breaking, "a local process may write what a client caches"
            if not holder.breaking:
                best = max(file.lease for file in files if file is not None)
                assert best >= local.lease_for(holder.state), "nothing stands behind what a client caches"

    for _ in range(data.draw(st.integers(1, 25))):
        step = data.draw(st.sampled_from(("open", "open", "close", "acknowledge", "local", "leave", "time")))
        if step == "open":
            client = data.draw(st.sampled_from(clients))
            access = data.draw(st.sampled_from((READS, READS | c.FILE_WRITE_DATA)))
            kind = data.draw(st.sampled_from(("RWH", "RW", "RH", "R", "b", "x", "s", "")))
            more: dict[str, Any] = {"oplock": kind}
            if "R" in kind:
                more = {"lease": kind, "key": client.name + data.draw(st.sampled_from("12"))}
            coming.append((client, *place.ask(client, access=access, **more)))
        elif step == "close" and opens:
            place.close(*opens.pop(data.draw(st.integers(0, len(opens) - 1))))
        elif step == "acknowledge" and asked:
            acknowledge()
        elif step == "local":
            came = kernel.open(True, data.draw(st.booleans()))
            if came is not None:
                strangers.append(came)
        elif step == "leave" and strangers:
            kernel.close(strangers.pop())
        elif step == "time":
            world.settle(data.draw(st.sampled_from((1.0, 50.0))))
        pump()
        check()
    for _ in range(40):
        while asked:
            acknowledge()
        pump()
        world.settle(1)
    world.settle(100)
    for _ in range(10):
        pump()
    assert not coming, "an open was never answered"
    for client, ref in opens:
        place.close(client, ref)
    assert world.store.empty
