# SPDX-License-Identifier: GPL-2.0-or-later
"""Byte-range locks against a list that is searched: random locks, unlocks, waiters, closes and reads of several opens,
of two workers (MS-FSA 2.1.4.10, 2.1.5.8, 2.1.5.9)."""
from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from ksmbd.oplock.locks import LockOverlay, LockSet, make_lock
from ksmbd.oplock.store import Store
from ksmbd.smb.ports import LockElement, OpenRef
from ksmbd.smb.waiting import Future

from .world import Client, World, answer

PLACES = (0, 1, 2, 3, 5, 8, 9, 10, 11, 20, 1 << 63, (1 << 64) - 1)
LENGTHS = (0, 1, 1, 2, 3, 5, 10, 40)


@dataclass
class Held:
    """A lock of the list."""

    open_id: int
    offset: int
    length: int
    exclusive: bool

    def overlaps(self, offset: int, length: int) -> bool:
        """Byte by byte in words: ranges share a byte, or an empty one lies between two bytes of the other."""
        if self.length and length:
            return self.offset < offset + length and offset < self.offset + self.length
        if not self.length and not length:
            return False
        empty, start, size = (self.offset, offset, length) if length else (offset, self.offset, self.length)
        return start < empty < start + size


class Plain:
    """The rules, over a list."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self.waiting: list[tuple[Held, Future[None]]] = []

    def free(self, wanted: Held) -> bool:
        for lock in self.held:
            if lock.overlaps(wanted.offset, wanted.length) and (
                wanted.exclusive or (lock.exclusive and lock.open_id != wanted.open_id)
            ):
                return False
        return True

    def lock(self, wanted: list[Held]) -> bool:
        before = self.held.copy()
        for lock in wanted:
            if not self.free(lock):
                self.held = before
                return False
            self.held.append(lock)
        return True

    def unlock(self, open_id: int, ranges: list[tuple[int, int]]) -> bool:
        for offset, length in ranges:
            found = [lock for lock in self.held
                     if (lock.open_id, lock.offset, lock.length) == (open_id, offset, length)]  # fmt: skip
            if not found:
                return False
            self.held.remove(next((lock for lock in found if lock.exclusive), found[0]))
        return True

    def retry(self) -> None:
        """Whoever waits, in order."""
        self.waiting = [(lock, future) for lock, future in self.waiting if not self.lock([lock])]

    def close(self, open_id: int) -> None:
        self.held = [lock for lock in self.held if lock.open_id != open_id]
        self.waiting = [(lock, future) for lock, future in self.waiting if lock.open_id != open_id]

    def io(self, open_id: int, offset: int, length: int, write: bool) -> bool:
        return not length or not any(
            lock.overlaps(offset, length) and (lock.open_id != open_id if lock.exclusive else write)
            for lock in self.held
        )


def ranges(draw: random.Random, apart: bool = False) -> tuple[int, int]:
    """An offset and a length; `apart`: such as do not meet often."""
    offset, length = draw.choice(PLACES), draw.choice(LENGTHS)
    if apart:
        return draw.randrange(1 << 32, 1 << 34), draw.choice((0, 1, 50))
    return offset, min(length, (1 << 64) - offset)


class Game:
    """The table and the list, asked the same."""

    def __init__(self, store: Store, seed: int) -> None:
        self.draw = random.Random(seed)
        self.world = World(store, workers=2)
        self.clients = [self.world.client("a", 0), self.world.client("b", 1)]
        self.plain = Plain()
        self.opens: list[tuple[Client, OpenRef]] = []

    def step(self) -> None:
        draw = self.draw
        if len(self.opens) < 2 or draw.random() < 0.04:
            client = draw.choice(self.clients)
            self.opens.append((client, client.open()[0]))
        client, ref = draw.choice(self.opens)
        what = draw.random()
        if what < 0.4:
            wanted = [Held(ref.open_id, *ranges(draw), draw.random() < 0.5) for _ in range(draw.choice((1, 1, 2, 9)))]
            if draw.random() < 0.3:
                kind = draw.random() < 0.5
                wanted = [Held(ref.open_id, *ranges(draw, kind), kind) for _ in range(draw.choice((33, 40)))]
            self.lock(client, ref, wanted, len(wanted) == 1 and draw.random() < 0.4)
        elif what < 0.75:
            own = [(lock.offset, lock.length) for lock in self.plain.held if lock.open_id == ref.open_id]
            draw.shuffle(own)
            asked = own[: draw.choice((1, 2, 20))] + [ranges(draw)] * draw.choice((0, 0, 1))
            self.unlock(client, ref, asked or [ranges(draw)])
        elif what < 0.8 and len(self.opens) > 2:
            client.table.close(ref)
            self.opens.remove((client, ref))
            self.plain.close(ref.open_id)
            self.plain.retry()
        elif what < 0.85 and self.plain.waiting:
            gone = draw.choice(self.plain.waiting)
            gone[1].cancel()
            self.plain.waiting.remove(gone)
            self.plain.retry()
        self.compare()

    def lock(self, client: Client, ref: OpenRef, wanted: list[Held], wait: bool) -> None:
        elements = [LockElement(lock.offset, lock.length, lock.exclusive) for lock in wanted]
        future = client.table.lock(ref, elements, wait)
        if self.plain.lock(wanted):
            assert answer(future) == "ok"
            self.plain.retry()
        elif wait:
            assert answer(future) == "wait"
            self.plain.waiting.append((wanted[0], future))
        else:
            assert answer(future) == "STATUS_LOCK_NOT_GRANTED"

    def unlock(self, client: Client, ref: OpenRef, asked: list[tuple[int, int]]) -> None:
        elements = [LockElement(offset, length, False) for offset, length in asked]
        done = self.plain.unlock(ref.open_id, asked)
        try:
            client.table.unlock(ref, elements)
        except Exception as error:  # noqa: BLE001 - whatever it is, the list must say the same
            assert not done, error
        else:
            assert done
        self.plain.retry()

    def compare(self) -> None:
        self.world.settle()
        still = {id(future) for _, future in self.plain.waiting}
        for _, future in self.plain.waiting:
            assert not future.done
        view = self.world.store.locks_of((1, 1))("")
        assert view.count == len(self.plain.held)
        for _, ref in self.opens:
            mine = sorted((lock.offset, lock.length, lock.exclusive) for lock in self.plain.held
                          if lock.open_id == ref.open_id)  # fmt: skip
            found = [(lock.first, lock.last - lock.first + 1, lock.exclusive) for lock in view.of_open(ref.open_id)]
            assert sorted(found) == mine
        record = self.world.store.peek((1, 1))
        assert record is not None and len(record.waiters) == len(still) and not record.outbox
        for client, ref in self.opens:
            offset, length = ranges(self.draw)
            write = self.draw.random() < 0.5
            expected = "ok" if self.plain.io(ref.open_id, offset, length, write) else "STATUS_FILE_LOCK_CONFLICT"
            assert client.io(ref, offset, length, write) == expected

    def end(self) -> None:
        for client, ref in self.opens:
            client.table.close(ref)
            self.plain.close(ref.open_id)
            self.plain.retry()
        self.world.settle()
        assert self.world.store.empty
        assert not any(table._waiting for table in self.world.tables)
        assert not any(len(table.lock_meter) for table in self.world.tables)


@pytest.mark.parametrize("seed", range(12))
def test_locks_are_those_of_a_plain_list(store: Store, seed: int) -> None:
    game = Game(store, seed)
    for _ in range(120):
        game.step()
    game.end()


@pytest.mark.parametrize("seed", range(40))
def test_pending_changes_count_as_if_they_were_made(seed: int) -> None:
    """An overlay says what the set says once its changes are settled."""
    draw = random.Random(seed)
    base = LockSet()
    number = 0
    for _ in range(draw.choice((0, 5, 80))):
        number += 1
        base.add(make_lock(*ranges(draw), draw.random() < 0.5, draw.randrange(3), number))
    overlay = LockOverlay(base)
    for _ in range(draw.choice((1, 10, 60))):
        what = draw.random()
        if what < 0.5:
            number += 1
            overlay.add(make_lock(*ranges(draw), draw.random() < 0.5, draw.randrange(3), number))
        elif what < 0.9:
            offset, length = ranges(draw)
            overlay.take_out(offset, offset + length - 1, draw.randrange(3))
        else:
            overlay.drop_open(draw.randrange(3))
    asked = [ranges(draw) for _ in range(50)]
    says = [
        [(overlay.overlapping(o, o + n - 1), overlay.exclusive(o, o + n - 1)) for o, n in asked],
        [[overlay.own_exclusive(o, o + n - 1, owner) for o, n in asked] for owner in range(3)],
        [sorted(overlay.of_open(owner)) for owner in range(3)],
        [overlay.count_of(owner) for owner in range(3)],
        [[len(overlay.equal(o, o + n - 1, exclusive, 1)) for o, n in asked] for exclusive in (True, False)],
    ]
    base.apply(overlay)
    assert says == [
        [(base.overlapping(o, o + n - 1), base.exclusive(o, o + n - 1)) for o, n in asked],
        [[base.own_exclusive(o, o + n - 1, owner) for o, n in asked] for owner in range(3)],
        [sorted(base.of_open(owner)) for owner in range(3)],
        [base.count_of(owner) for owner in range(3)],
        [[len(base.equal(o, o + n - 1, exclusive, 1)) for o, n in asked] for exclusive in (True, False)],
    ]
