# SPDX-License-Identifier: GPL-2.0-or-later
"""Byte-range locks: MS-FSA 2.1.4.10, 2.1.5.8, 2.1.5.9; MS-SMB2 3.3.5.14."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd import limits
from ksmbd.oplock.locks import LockSet, make_lock
from ksmbd.oplock.store import Store
from ksmbd.smb.ports import LockElement, OpenRef
from ksmbd.smb.status import NtStatusError

from .world import Client, World, answer, calls_of

REFUSED = "STATUS_LOCK_NOT_GRANTED"
CONFLICT = "STATUS_FILE_LOCK_CONFLICT"
TOP = (1 << 64) - 1


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((10, 0), (10, 0), "ok"), ((10, 0), (9, 1), "ok"), ((10, 0), (10, 1), "ok"), ((10, 0), (11, 1), "ok"),
        ((10, 0), (9, 2), REFUSED), ((10, 0), (10, 2), "ok"), ((10, 0), (9, 3), REFUSED),
        ((9, 1), (10, 0), "ok"), ((10, 1), (10, 0), "ok"), ((11, 1), (10, 0), "ok"), ((9, 2), (10, 0), REFUSED),
        ((10, 2), (10, 0), "ok"), ((9, 3), (10, 0), REFUSED), ((0, 0), (0, 0), "ok"), ((TOP, 0), (TOP, 0), "ok"),
        ((0, 10), (10, 10), "ok"), ((0, 10), (9, 1), REFUSED), ((5, 1), (0, TOP), REFUSED),
        ((TOP, 1), (TOP, 1), REFUSED),
        ((1 << 63, 1), ((1 << 63) - 1, 2), REFUSED), ((0, TOP), (TOP, 1), "ok"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("same_open", [True, False])
def test_exclusive_ranges(
    store: Store, first: tuple[int, int], second: tuple[int, int], expected: str, same_open: bool
) -> None:
    """An empty range conflicts with what reaches over both its sides, and with nothing else."""
    client = World(store).client("a")
    one, _ = client.open()
    other = one if same_open else client.open()[0]
    assert answer(client.lock(one, *first)) == "ok"
    assert answer(client.lock(other, *second)) == expected


@pytest.mark.parametrize(
    ("held", "asked", "own", "others"),
    [("shared", "shared", "ok", "ok"), ("exclusive", "shared", "ok", REFUSED),
     ("shared", "exclusive", REFUSED, REFUSED), ("exclusive", "exclusive", REFUSED, REFUSED)],
)  # fmt: skip
def test_stacking(store: Store, held: str, asked: str, own: str, others: str) -> None:
    """Shared locks stack on one's own exclusive lock, and nothing else on an exclusive one."""
    client = World(store).client("a")
    one, _ = client.open()
    two, _ = client.open()
    assert answer(client.lock(one, 5, 10, held == "exclusive")) == "ok"
    assert answer(client.lock(two, 5, 10, asked == "exclusive")) == others
    if others == "ok":
        client.unlock(two, 5, 10)
    assert answer(client.lock(one, 5, 10, asked == "exclusive")) == own


@pytest.mark.parametrize(
    ("exclusive", "own_write", "own_read", "others_write", "others_read"),
    [(True, "ok", "ok", CONFLICT, CONFLICT), (False, CONFLICT, "ok", CONFLICT, "ok")],
)
def test_reads_and_writes(
    store: Store, exclusive: bool, own_write: str, own_read: str, others_write: str, others_read: str
) -> None:
    """MS-FSA 2.1.4.10: a shared lock forbids writing to its owner too."""
    client = World(store).client("a")
    one, _ = client.open()
    two, _ = client.open()
    client.lock(one, 100, 50, exclusive)
    assert client.io(one, 149, 10, True) == own_write
    assert client.io(one, 149, 10, False) == own_read
    assert client.io(two, 90, 11, True) == others_write
    assert client.io(two, 90, 11, False) == others_read
    for offset, length in ((150, 10), (90, 10), (120, 0)):
        assert client.io(two, offset, length, True) == "ok"
    assert client.io(two._replace(stream="s"), 100, 50, True) == "ok"
    assert client.unlock(one, 100, 50) == "ok"
    assert client.io(two, 90, 11, True) == "ok"


def test_unlock_names_the_exact_range_and_takes_exclusive_ones_first(store: Store) -> None:
    client = World(store).client("a")
    one, _ = client.open()
    two, _ = client.open()
    client.lock(one, 10, 10)
    client.lock(one, 10, 10, exclusive=False)
    assert client.unlock(one, 10, 9) == "STATUS_RANGE_NOT_LOCKED"
    assert client.unlock(one, 11, 9) == "STATUS_RANGE_NOT_LOCKED"
    assert client.unlock(two, 10, 10) == "STATUS_RANGE_NOT_LOCKED"
    assert client.unlock(one, 10, 10) == "ok"
    assert answer(client.lock(two, 5, 10, exclusive=False)) == "ok"
    assert client.unlock(one, 10, 10) == "ok"
    assert client.unlock(one, 10, 10) == "STATUS_RANGE_NOT_LOCKED"


def test_several_are_taken_all_or_none_and_released_in_order(store: Store) -> None:
    """MS-SMB2 3.3.5.14.1, 3.3.5.14.2."""
    client = World(store).client("a")
    one, _ = client.open()
    both = [LockElement(0, 10, True), LockElement(10, 10, True)]
    client.lock(one, 10, 10)
    assert answer(client.table.lock(one, both, False)) == REFUSED
    assert client.unlock(one, 0, 10) == "STATUS_RANGE_NOT_LOCKED"
    with pytest.raises(NtStatusError):
        client.table.unlock(one, both)
    assert client.unlock(one, 10, 10) == "ok"
    assert answer(client.table.lock(one, both, False)) == "ok"
    with pytest.raises(NtStatusError):
        client.table.unlock(one, [both[0], LockElement(1, 1, True)])
    assert client.unlock(one, 0, 10) == "STATUS_RANGE_NOT_LOCKED"
    assert client.unlock(one, 10, 10) == "ok"
    overlapping = [LockElement(0, 10, True), LockElement(5, 10, True)]
    assert answer(client.table.lock(one, overlapping, False)) == REFUSED


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(TOP, 0, "ok"), (TOP, 1, "ok"), (TOP, 2, "STATUS_INVALID_LOCK_RANGE"), (TOP, TOP, "STATUS_INVALID_LOCK_RANGE"),
     (1, TOP, "ok"), (2, TOP, "STATUS_INVALID_LOCK_RANGE")],
)  # fmt: skip
def test_ranges_end_with_the_64_bit_space(store: Store, offset: int, length: int, expected: str) -> None:
    client = World(store).client("a")
    ref, _ = client.open()
    assert answer(client.lock(ref, offset, length)) == expected
    assert client.unlock(ref, offset, length) == expected


def test_waiting_locks_are_granted_in_order(store: Store) -> None:
    client = World(store).client("a")
    one, two, three = (client.open()[0] for _ in range(3))
    client.lock(one, 0, 10)
    second = client.lock(two, 0, 10, wait=True)
    third = client.lock(three, 5, 1, wait=True)
    beside = client.lock(three, 20, 1, wait=True)
    assert [answer(future) for future in (second, third, beside)] == ["wait", "wait", "ok"]
    assert client.unlock(two, 0, 10) == "STATUS_RANGE_NOT_LOCKED"
    client.unlock(one, 0, 10)
    assert [answer(second), answer(third)] == ["ok", "wait"]
    client.table.close(two)
    assert answer(third) == "ok"


def test_a_cancelled_lock_is_not_taken(store: Store) -> None:
    client = World(store).client("a")
    one, two = client.open()[0], client.open()[0]
    client.lock(one, 0, 10)
    waiting = client.lock(two, 0, 10, wait=True)
    waiting.cancel()
    client.unlock(one, 0, 10)
    assert client.unlock(two, 0, 10) == "STATUS_RANGE_NOT_LOCKED"


def test_closing_ends_locks_and_waits(store: Store) -> None:
    client = World(store).client("a")
    one, two, three = (client.open()[0] for _ in range(3))
    client.lock(one, 0, 10)
    second = client.lock(two, 0, 10, wait=True)
    client.table.close(two)
    assert answer(second) == "STATUS_RANGE_NOT_LOCKED"
    client.table.close(one)
    assert answer(client.lock(three, 0, 10)) == "ok"
    client.table.close(three)
    assert store.empty


def test_many_locks(store: Store) -> None:
    """Locks far apart and of mixed lengths do not get in each other's way, and go with their open."""
    client = World(store).client("a")
    one, two = client.open()[0], client.open()[0]
    for number in range(500):
        assert answer(client.lock(one, number * 100, 1 + number % 50)) == "ok"
    assert answer(client.lock(one, 1 << 40, 1 << 40)) == "ok"
    assert store.lock_count((1, 1), "") == 501
    for number in range(0, 500, 7):
        assert answer(client.lock(two, number * 100 + number % 50, 1)) == REFUSED
        assert answer(client.lock(two, number * 100 + 1 + number % 50, 1)) == "ok"
    assert client.io(two, (1 << 41) - 1, 1, False) == CONFLICT
    client.table.close(one)
    client.table.close(two)
    assert store.empty


def test_as_many_locks_as_there_may_be(store: Store) -> None:
    """A lock, a read, a write and an unlock cost about the same beside 30,000 locks as beside 1,000."""
    client = World(store).client("a")
    opens, two = [client.open()[0], client.open()[0]], client.open()[0]
    costs = []
    taken = 0
    for wanted in (1_000, 30_000):
        while taken < wanted:
            elements = [LockElement(number * 10, 5, True) for number in range(taken, taken + 1_000)]
            assert answer(client.table.lock(opens[taken // 15_000], elements, False)) == "ok"
            taken += 1_000
        middle = 500 * 10
        costs.append([
            calls_of(lambda: client.lock(two, middle + 5, 2)),  # noqa: B023 - called here and now
            calls_of(lambda: client.lock(two, middle + 4, 1)),  # noqa: B023
            calls_of(lambda: client.io(two, middle, 1, True)),  # noqa: B023
            calls_of(lambda: client.io(opens[0], middle, 5, True)),  # noqa: B023
            calls_of(lambda: client.unlock(two, middle + 5, 2)),  # noqa: B023
        ])  # fmt: skip
    assert store.lock_count((1, 1), "") == 30_000
    assert all(many <= 2 * few for few, many in zip(*costs, strict=True)), costs
    assert client.io(two, 0, 1, False) == CONFLICT and answer(client.lock(two, 4, 1)) == REFUSED
    for ref in (*opens, two):
        client.table.close(ref)
    assert store.empty


INSUFFICIENT = "STATUS_INSUFFICIENT_RESOURCES"


def fill(client: Client, ref: OpenRef, count: int, start: int = 0) -> str:
    """Lock so many single bytes; how the last request was answered."""
    answered = "ok"
    for first in range(start, start + count, 1024):
        number = min(1024, start + count - first)
        elements = [LockElement(2 * (first + index), 1, True) for index in range(number)]
        answered = answer(client.table.lock(ref, elements, False))
        if answered != "ok":
            break
    return answered


def test_an_open_has_only_so_many_locks(store: Store) -> None:
    client = World(store).client("a")
    one, two = client.open()[0], client.open()[0]
    assert fill(client, one, limits.LOCKS_PER_OPEN.value) == "ok"
    assert answer(client.lock(one, 1, 1)) == INSUFFICIENT
    assert answer(client.lock(one, 0, 1)) == INSUFFICIENT
    assert answer(client.lock(two, 1, 1)) == "ok"
    assert client.unlock(one, 0, 1) == "ok"
    assert answer(client.lock(one, 0, 1)) == "ok"
    client.table.close(one)
    client.table.close(two)
    assert store.empty and not len(client.table.lock_meter)


def test_a_stream_has_only_so_many_locks(store: Store) -> None:
    world = World(store)
    clients = [world.client(name) for name in "abc"]
    refs = []
    left = limits.LOCKS_PER_FILE.value
    for session, client in enumerate(clients):
        refs.append(client.open(session=session)[0])
        count = min(left, limits.LOCKS_PER_OPEN.value)
        assert fill(client, refs[-1], count, limits.LOCKS_PER_FILE.value - left) == "ok"
        left -= count
    assert answer(clients[2].lock(refs[2], 1, 1)) == INSUFFICIENT
    for client, ref in zip(clients, refs, strict=True):
        client.table.close(ref)
    assert store.empty


def test_a_session_and_the_server_have_only_so_many_locks(store: Store) -> None:
    world = World(store)
    client = world.client("a")
    each = limits.LOCKS_PER_OPEN.value
    opens: list[OpenRef] = []
    for session in range(limits.LOCKS.value // limits.LOCKS_PER_SESSION.value):
        for _ in range(limits.LOCKS_PER_SESSION.value // each):
            opens.append(client.open(100 + len(opens), session=session)[0])
            assert fill(client, opens[-1], each) == "ok"
        assert client.table.lock_meter.count(session) == limits.LOCKS_PER_SESSION.value
        other = client.open(1, session=session)[0]
        with pytest.raises(NtStatusError, match="INSUFFICIENT"):
            client.lock(other, 0, 1)
        client.table.close(other)
    last = client.open(1, session=9)[0]
    with pytest.raises(NtStatusError, match="INSUFFICIENT"):
        client.lock(last, 0, 1)
    client.table.close(opens.pop())
    assert answer(client.lock(last, 0, 1)) == "ok"
    for ref in [*opens, last]:
        client.table.close(ref)
    assert store.empty and not len(client.table.lock_meter)


def test_unlocking_many_is_one_decision(store: Store) -> None:
    """Equal locks, thousands of them, go one by one; what is left stays."""
    client = World(store).client("a")
    one, two = client.open()[0], client.open()[0]
    same = [LockElement(5, 10, False)] * 1024
    for _ in range(4):
        assert answer(client.table.lock(one, same, False)) == "ok"
    serial = store.peek((1, 1)).serial  # type: ignore[union-attr]
    client.table.unlock(one, same)
    assert store.peek((1, 1)).serial == serial + 1  # type: ignore[union-attr]
    assert store.lock_count((1, 1), "") == 3 * 1024
    assert answer(client.lock(two, 5, 1)) == REFUSED
    for _ in range(3):
        client.table.unlock(one, same)
    assert answer(client.lock(two, 5, 1)) == "ok"


RANGES = st.tuples(st.integers(0, 600), st.one_of(st.integers(0, 20), st.integers(0, 600)))


@given(st.lists(RANGES, max_size=60), RANGES)
def test_the_ends_count_what_a_plain_search_finds(ranges: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    locks = LockSet()
    everything = [make_lock(offset, length, True, 1, number) for number, (offset, length) in enumerate(ranges)]
    locks.add_all(everything[:40])
    for lock in everything[40:]:
        locks.add(lock)
    first, last = asked[0], asked[0] + asked[1] - 1
    expected = [lock for lock in everything if lock.first <= last and first <= lock.last]
    assert locks.overlapping(first, last) == locks.exclusive(first, last) == len(expected)
    assert locks.own_exclusive(first, last, 1) == len(expected)
    assert locks.own_exclusive(first, last, 2) == 0
    for lock in everything[:5]:
        locks.remove(lock)
    locks.remove_all(everything[5:])
    assert locks.count == locks.overlapping(0, TOP) == 0
