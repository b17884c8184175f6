# SPDX-License-Identifier: GPL-2.0-or-later
"""Byte-range locks of one stream (MS-FSA 2.1.1.10, 2.1.4.10, 2.1.5.8, 2.1.5.9).

Locks sort into classes by length, each a list sorted by start. Whoever overlaps [first, last] in the class of lengths
up to 16**c starts after first - 16**c, so a search looks at a few neighbours per class, however many locks there are.
A store without lists (LMDB) uses the same order as its keys.

`last` is inclusive, so a lock of length zero at p has last = p - 1: the plain test for overlap then gives the rule for
empty ranges, which conflict with what lies around p on both sides and with nothing else.
"""
from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from ksmbd.smb.status import STATUS_INVALID_LOCK_RANGE, STATUS_SUCCESS

CLASSES: Final = 17
MAXIMUM: Final = (1 << 64) - 1


class Lock(NamedTuple):
    """One granted lock. `number` tells equal locks apart and keeps their order."""

    first: int
    last: int
    exclusive: bool
    open_id: int
    number: int


def make_lock(offset: int, length: int, exclusive: bool, open_id: int, number: int) -> Lock:
    """A lock on `length` bytes from `offset`."""
    return Lock(offset, offset + length - 1, exclusive, open_id, number)


def length_class(length: int) -> int:
    """The class of a length in bytes: lengths below 16**c are in class c or below."""
    return (length.bit_length() + 3) >> 2


def check_range(offset: int, length: int) -> int:
    """STATUS_INVALID_LOCK_RANGE where a range runs over the end of the 64-bit space (MS-FSA 2.1.5.8)."""
    return STATUS_INVALID_LOCK_RANGE if length and offset + length - 1 > MAXIMUM else STATUS_SUCCESS


class LockView(Protocol):
    """The locks of one stream, to be read."""

    def overlapping(self, first: int, last: int) -> Iterator[Lock]:
        """The locks that share a byte with the range, or enclose or lie inside an empty one."""
        ...

    def starting(self, first: int, last: int, open_id: int) -> list[Lock]:
        """The locks of one open on exactly this range, exclusive ones first."""
        ...

    def of_open(self, open_id: int) -> list[Lock]:
        """All locks of one open."""
        ...

    @property
    def count(self) -> int:
        """How many locks there are."""
        ...


class LockSet:
    """A LockView in memory that can be changed."""

    __slots__ = ("_by_open", "_classes", "count")

    def __init__(self) -> None:
        self._classes: list[list[Lock]] = [[] for _ in range(CLASSES)]
        self._by_open: dict[int, dict[int, Lock]] = {}
        self.count = 0
        """How many locks there are."""

    def overlapping(self, first: int, last: int) -> Iterator[Lock]:
        """The locks that overlap the range; in order of start within a class."""
        for number, locks in enumerate(self._classes):
            if locks:
                index = bisect_left(locks, first - (1 << (number << 2)), key=_first)
                while index < len(locks) and locks[index].first <= last:
                    if locks[index].last >= first:
                        yield locks[index]
                    index += 1

    def starting(self, first: int, last: int, open_id: int) -> list[Lock]:
        """The open's locks on exactly this range, exclusive ones first (MS-FSA 2.1.5.9)."""
        locks = self._classes[length_class(last - first + 1)]
        found = []
        index = bisect_left(locks, first, key=_first)
        while index < len(locks) and locks[index].first == first:
            lock = locks[index]
            if lock.last == last and lock.open_id == open_id:
                found.append(lock)
            index += 1
        return sorted(found, key=lambda lock: (not lock.exclusive, lock.number))

    def of_open(self, open_id: int) -> list[Lock]:
        """All locks of one open, oldest first."""
        return list(self._by_open.get(open_id, {}).values())

    def add(self, lock: Lock) -> None:
        """Put a lock in."""
        self.count += 1
        insort(self._classes[length_class(lock.last - lock.first + 1)], lock)
        self._by_open.setdefault(lock.open_id, {})[lock.number] = lock

    def remove(self, lock: Lock) -> None:
        """Take a lock out; it must be in."""
        self.count -= 1
        locks = self._classes[length_class(lock.last - lock.first + 1)]
        del locks[bisect_left(locks, lock)]
        owned = self._by_open[lock.open_id]
        del owned[lock.number]
        if not owned:
            del self._by_open[lock.open_id]


def _first(lock: Lock) -> int:
    return lock.first


EMPTY: Final = LockSet()
"""The view of a stream without locks. Never added to."""


class LockOverlay:
    """A view with changes that are not made yet, so that one decision sees what it did before."""

    __slots__ = ("_base", "_hidden", "added")

    def __init__(self, base: LockView) -> None:
        self._base = base
        self.added: dict[int, Lock] = {}
        self._hidden: dict[int, Lock] = {}

    @property
    def removed(self) -> list[Lock]:
        """What the store has to take out."""
        return list(self._hidden.values())

    @property
    def changed(self) -> bool:
        """Whether the store has anything to do."""
        return bool(self.added or self._hidden)

    @property
    def count(self) -> int:
        """As LockView."""
        return self._base.count - len(self._hidden) + len(self.added)

    def overlapping(self, first: int, last: int) -> Iterator[Lock]:
        """As LockView."""
        for lock in self._base.overlapping(first, last):
            if lock.number not in self._hidden:
                yield lock
        for lock in self.added.values():
            if lock.first <= last and first <= lock.last:
                yield lock

    def starting(self, first: int, last: int, open_id: int) -> list[Lock]:
        """As LockView."""
        found = [lock for lock in self._base.starting(first, last, open_id) if lock.number not in self._hidden]
        found += [
            lock for lock in self.added.values()
            if lock.first == first and lock.last == last and lock.open_id == open_id
        ]  # fmt: skip
        return sorted(found, key=lambda lock: (not lock.exclusive, lock.number))

    def of_open(self, open_id: int) -> list[Lock]:
        """As LockView."""
        found = [lock for lock in self._base.of_open(open_id) if lock.number not in self._hidden]
        return found + [lock for lock in self.added.values() if lock.open_id == open_id]

    def add(self, lock: Lock) -> None:
        """Put a lock in."""
        self.added[lock.number] = lock

    def remove(self, lock: Lock) -> None:
        """Take a lock out."""
        if self.added.pop(lock.number, None) is None:
            self._hidden[lock.number] = lock


def lock_conflict(view: LockView, offset: int, length: int, exclusive: bool, open_id: int) -> bool:
    """Whether a new lock must wait (MS-FSA 2.1.4.10). An exclusive one excludes all, also the open's own locks; a
    shared one stacks on the open's own exclusive lock."""
    last = offset + length - 1
    return any(
        exclusive or (lock.exclusive and lock.open_id != open_id) for lock in view.overlapping(offset, last)
    )


def io_conflict(view: LockView, offset: int, length: int, write: bool, open_id: int) -> bool:
    """Whether a lock forbids reading or writing (MS-FSA 2.1.4.10). A shared lock forbids writing to everybody, to its
    owner too; an exclusive one forbids both to all others. An empty read or write conflicts with nothing."""
    if not length:
        return False
    for lock in view.overlapping(offset, min(offset + length - 1, MAXIMUM)):
        if lock.open_id != open_id if lock.exclusive else write:
            return True
    return False


def take_locks(
    overlay: LockOverlay, elements: Sequence[tuple[int, int, bool]], open_id: int, number: int
) -> bool:
    """Take all (offset, length, exclusive) or none; numbered from `number` on. False where one conflicts."""
    taken: list[Lock] = []
    for offset, length, exclusive in elements:
        if lock_conflict(overlay, offset, length, exclusive, open_id):
            for lock in taken:
                overlay.remove(lock)
            return False
        lock = make_lock(offset, length, exclusive, open_id, number + len(taken))
        overlay.add(lock)
        taken.append(lock)
    return True
