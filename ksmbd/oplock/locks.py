# SPDX-License-Identifier: GPL-2.0-or-later
"""The byte-range locks of one stream, and their conflicts (MS-FSA 2.1.1.10, 2.1.4.10, 2.1.5.8, 2.1.5.9).

To decide whether a lock, read or write conflicts, only three numbers are needed: how many locks overlap its range, how
many of these are exclusive, and how many are the open's own exclusive ones. `Spans` counts each in O(log n), however
the locks nest. A decision's changes are counted separately and added. So a request costs O(n log n) in the number of
its elements, and hardly more for the locks that exist already.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from ksmbd.oplock.spans import FEW, Spans
from ksmbd.smb.status import STATUS_INVALID_LOCK_RANGE, STATUS_SUCCESS

MAXIMUM: Final = (1 << 64) - 1


class Lock(NamedTuple):
    """One granted lock on the bytes `first` to `last`, inclusive. `number` distinguishes equal locks, and orders
    them."""

    first: int
    last: int
    exclusive: bool
    open_id: int
    number: int


def make_lock(offset: int, length: int, exclusive: bool, open_id: int, number: int) -> Lock:
    """A lock on `length` bytes from `offset`. A lock of length 0 has last = offset - 1."""
    return Lock(offset, offset + length - 1, exclusive, open_id, number)


def check_range(offset: int, length: int) -> int:
    """STATUS_INVALID_LOCK_RANGE for a range that wraps around the 64-bit space (MS-FSA 2.1.5.8), else
    STATUS_SUCCESS."""
    return STATUS_INVALID_LOCK_RANGE if length and offset + length - 1 > MAXIMUM else STATUS_SUCCESS


class LockView(Protocol):
    """A read-only view of the locks of one stream."""

    @property
    def count(self) -> int:
        """How many locks there are."""
        ...

    def overlapping(self, first: int, last: int) -> int:
        """How many locks share a byte with the range, or enclose or lie inside an empty one."""
        ...

    def exclusive(self, first: int, last: int) -> int:
        """How many exclusive locks do so."""
        ...

    def own_exclusive(self, first: int, last: int, open_id: int) -> int:
        """How many exclusive locks of this open do so."""
        ...

    def equal(self, first: int, last: int, exclusive: bool, open_id: int) -> Sequence[Lock]:
        """The locks of one open, of this kind, on exactly this range, oldest first. The caller does not change the
        sequence."""
        ...

    def of_open(self, open_id: int) -> list[Lock]:
        """All locks of one open, oldest first."""
        ...

    def count_of(self, open_id: int) -> int:
        """How many locks an open has."""
        ...


class _Owned:
    """The locks of one open."""

    __slots__ = ("equal", "exclusive", "locks")

    def __init__(self) -> None:
        self.locks: dict[int, Lock] = {}
        self.equal: dict[tuple[int, int, bool], list[Lock]] = {}
        """(first, last, exclusive) -> locks, oldest first."""
        self.exclusive = Spans()


class LockSet:
    """The locks of one stream in memory: a LockView that can be changed."""

    __slots__ = ("_all", "_exclusive", "_owned", "count")

    def __init__(self) -> None:
        self._all = Spans()
        self._exclusive = Spans()
        self._owned: dict[int, _Owned] = {}
        self.count = 0
        """How many locks there are."""

    def overlapping(self, first: int, last: int) -> int:
        """As LockView."""
        return self._all.count(first, last)

    def exclusive(self, first: int, last: int) -> int:
        """As LockView."""
        return self._exclusive.count(first, last)

    def own_exclusive(self, first: int, last: int, open_id: int) -> int:
        """As LockView."""
        owned = self._owned.get(open_id)
        return owned.exclusive.count(first, last) if owned is not None else 0

    def equal(self, first: int, last: int, exclusive: bool, open_id: int) -> Sequence[Lock]:
        """As LockView."""
        owned = self._owned.get(open_id)
        return owned.equal.get((first, last, exclusive), ()) if owned is not None else ()

    def of_open(self, open_id: int) -> list[Lock]:
        """As LockView."""
        owned = self._owned.get(open_id)
        return list(owned.locks.values()) if owned is not None else []

    def count_of(self, open_id: int) -> int:
        """As LockView."""
        owned = self._owned.get(open_id)
        return len(owned.locks) if owned is not None else 0

    def find(self, open_id: int, number: int) -> Lock:
        """The lock with this number, which must be in the set."""
        return self._owned[open_id].locks[number]

    def owners(self) -> list[int]:
        """The opens that have locks."""
        return list(self._owned)

    def edges(self, first: int, last: int) -> tuple[list[int], list[int], list[int], list[int]]:
        """The bytes in [first, last] where locks begin, where locks end, and where exclusive locks begin and end."""
        return *self._all.edges(first, last), *self._exclusive.edges(first, last)

    def add(self, lock: Lock) -> None:
        """Add a lock."""
        owned = self._enter(lock)
        self._all.add(lock.first, lock.last)
        if lock.exclusive:
            self._exclusive.add(lock.first, lock.last)
            owned.exclusive.add(lock.first, lock.last)

    def remove(self, lock: Lock) -> None:
        """Remove a lock, which must be in the set."""
        owned = self._leave(lock)
        self._all.remove(lock.first, lock.last)
        if lock.exclusive:
            self._exclusive.remove(lock.first, lock.last)
            owned.exclusive.remove(lock.first, lock.last)

    def add_all(self, locks: Sequence[Lock]) -> None:
        """Add locks."""
        if len(locks) == 1:
            self.add(locks[0])
            return
        for lock in locks:
            self._enter(lock)
        self._all.add_all([(lock.first, lock.last) for lock in locks])
        for open_id, ranges in _exclusive_by_open(locks):
            self._exclusive.add_all(ranges)
            self._owned[open_id].exclusive.add_all(ranges)

    def remove_all(self, locks: Sequence[Lock]) -> None:
        """Remove locks, which must be in the set. This is fastest where equal ones come youngest first."""
        if len(locks) == 1:
            self.remove(locks[0])
            return
        for lock in locks:
            self._leave(lock)
        self._all.remove_all([(lock.first, lock.last) for lock in locks])
        for open_id, ranges in _exclusive_by_open(locks):
            self._exclusive.remove_all(ranges)
            if open_id in self._owned:
                self._owned[open_id].exclusive.remove_all(ranges)

    def apply(self, overlay: LockOverlay) -> None:
        """Apply the changes of an overlay over this set."""
        if overlay.dropped:
            for open_id in overlay.dropped:
                self.drop_open(open_id)
            self.remove_all([lock for lock in overlay.removed if lock.open_id not in overlay.dropped])
        elif overlay.removed:
            self.remove_all(overlay.removed)
        if overlay.added:
            self.add_all(list(overlay.added.values()))

    def drop_open(self, open_id: int) -> None:
        """Remove all locks of an open."""
        owned = self._owned.pop(open_id, None)
        if owned is None:
            return
        locks = list(owned.locks.values())
        self.count -= len(locks)
        self._all.remove_all([(lock.first, lock.last) for lock in locks])
        self._exclusive.remove_all([(lock.first, lock.last) for lock in locks if lock.exclusive])

    def _enter(self, lock: Lock) -> _Owned:
        self.count += 1
        owned = self._owned.get(lock.open_id)
        if owned is None:
            owned = self._owned[lock.open_id] = _Owned()
        owned.locks[lock.number] = lock
        key = (lock.first, lock.last, lock.exclusive)
        equal = owned.equal.get(key)
        if equal is None:
            owned.equal[key] = [lock]
        else:
            equal.append(lock)
        return owned

    def _leave(self, lock: Lock) -> _Owned:
        self.count -= 1
        owned = self._owned[lock.open_id]
        del owned.locks[lock.number]
        key = (lock.first, lock.last, lock.exclusive)
        equal = owned.equal[key]
        if equal[-1] == lock:
            equal.pop()
        else:
            equal.remove(lock)
        if not equal:
            del owned.equal[key]
        if not owned.locks:
            del self._owned[lock.open_id]
        return owned


def _exclusive_by_open(locks: Iterable[Lock]) -> list[tuple[int, list[tuple[int, int]]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for lock in locks:
        if lock.exclusive:
            found.setdefault(lock.open_id, []).append((lock.first, lock.last))
    return list(found.items())


EMPTY: Final = LockSet()
"""The view of a stream without locks. It is never changed."""


class LockOverlay:
    """A LockView with pending changes, so that a decision sees the changes that it has made itself."""

    __slots__ = ("_base", "_gone", "_hidden", "_made", "_put", "_waiting", "added", "dropped", "removed")

    def __init__(self, base: LockView) -> None:
        self._base = base
        self.added: dict[int, Lock] = {}
        """Number -> lock that the store must add."""
        self.removed: list[Lock] = []
        """The locks that the store must remove."""
        self.dropped: list[int] = []
        """The opens all of whose locks are among `removed`."""
        # `_put` and `_gone` are filled on demand: most decisions change a lock and ask nothing afterwards.
        self._put: LockSet | None = None
        """The added locks."""
        self._waiting: list[Lock] = []
        """Added locks that are not in `_put` yet."""
        self._gone: LockSet | None = None
        """The removed locks."""
        self._made = 0
        """How many of `removed` are in `_gone`."""
        self._hidden: dict[tuple[int, int, bool, int], int] = {}
        """(first, last, exclusive, open id) -> how many of the base's equal locks are removed, the youngest first."""

    @property
    def changed(self) -> bool:
        """Whether there are changes for the store."""
        return bool(self.added or self.removed)

    @property
    def count(self) -> int:
        """As LockView."""
        return self._base.count - len(self.removed) + len(self.added)

    def _more(self) -> LockSet:
        put = self._put
        if put is None:
            put = self._put = LockSet()
        if self._waiting:
            put.add_all(self._waiting)
            self._waiting = []
        return put

    def _less(self) -> LockSet:
        gone = self._gone
        if gone is None:
            gone = self._gone = LockSet()
        if self._made < len(self.removed):
            gone.add_all(self.removed[self._made :])
            self._made = len(self.removed)
        return gone

    def overlapping(self, first: int, last: int) -> int:
        """As LockView."""
        found = self._base.overlapping(first, last)
        if self.added:
            found += self._more().overlapping(first, last)
        return found - self._less().overlapping(first, last) if self.removed else found

    def exclusive(self, first: int, last: int) -> int:
        """As LockView."""
        found = self._base.exclusive(first, last)
        if self.added:
            found += self._more().exclusive(first, last)
        return found - self._less().exclusive(first, last) if self.removed else found

    def own_exclusive(self, first: int, last: int, open_id: int) -> int:
        """As LockView."""
        found = self._base.own_exclusive(first, last, open_id)
        if self.added:
            found += self._more().own_exclusive(first, last, open_id)
        return found - self._less().own_exclusive(first, last, open_id) if self.removed else found

    def equal(self, first: int, last: int, exclusive: bool, open_id: int) -> Sequence[Lock]:
        """As LockView."""
        base = self._base.equal(first, last, exclusive, open_id) if open_id not in self.dropped else ()
        hidden = self._hidden.get((first, last, exclusive, open_id), 0)
        return [*base[: len(base) - hidden], *self._more().equal(first, last, exclusive, open_id)]

    def of_open(self, open_id: int) -> list[Lock]:
        """As LockView."""
        found = self._base.of_open(open_id) if open_id not in self.dropped else []
        if self.removed and found:
            gone = self._less()
            if gone.count_of(open_id):
                numbers = {lock.number for lock in gone.of_open(open_id)}
                found = [lock for lock in found if lock.number not in numbers]
        return found + self._more().of_open(open_id) if self.added else found

    def count_of(self, open_id: int) -> int:
        """As LockView."""
        found = self._base.count_of(open_id)
        if len(self.added) == 1:
            found += sum([lock.open_id == open_id for lock in self.added.values()])
        elif self.added:
            found += self._more().count_of(open_id)
        if len(self.removed) == 1:
            return found - (self.removed[0].open_id == open_id)
        return found - self._less().count_of(open_id) if self.removed else found

    def add(self, lock: Lock) -> None:
        """Add a lock."""
        self.added[lock.number] = lock
        self._waiting.append(lock)

    def add_all(self, locks: Sequence[Lock]) -> None:
        """Add locks."""
        self.added.update([(lock.number, lock) for lock in locks])
        self._waiting += locks

    def take_back(self, lock: Lock) -> None:
        """Remove a lock that was added to this overlay."""
        self._more().remove(lock)
        del self.added[lock.number]

    def take_out(self, first: int, last: int, open_id: int) -> bool:
        """Unlock: remove a lock of the open on exactly this range, an exclusive one first (MS-FSA 2.1.5.9), and of
        equal ones the youngest. False where there is none."""
        for exclusive in (True, False):
            here = self._more().equal(first, last, exclusive, open_id) if self.added else ()
            if here:
                self.take_back(here[-1])
                return True
            base = self._base.equal(first, last, exclusive, open_id) if open_id not in self.dropped else ()
            if base:
                key = (first, last, exclusive, open_id)
                hidden = self._hidden.get(key, 0)
                if hidden < len(base):
                    self._hidden[key] = hidden + 1
                    self.removed.append(base[-1 - hidden])
                    return True
        return False

    def drop_open(self, open_id: int) -> None:
        """Remove all locks of an open that ends."""
        if self.added:
            for lock in reversed(self._more().of_open(open_id)):
                self.take_back(lock)
        left = self.of_open(open_id)
        if not left:
            return
        self.dropped.append(open_id)
        self.removed += left


def lock_conflict(view: LockView, offset: int, length: int, exclusive: bool, open_id: int) -> bool:
    """Whether a new lock conflicts (MS-FSA 2.1.4.10). An exclusive lock conflicts with every overlapping lock, the
    open's own included. A shared lock may overlap the open's own exclusive lock."""
    last = offset + length - 1
    if exclusive:
        return view.overlapping(offset, last) > 0
    return _foreign(view, offset, last, open_id)


def _foreign(view: LockView, first: int, last: int, open_id: int) -> bool:
    """Whether another open has an exclusive lock in the range."""
    found = view.exclusive(first, last)
    return found > 0 and found > view.own_exclusive(first, last, open_id)


def io_conflict(view: LockView, offset: int, length: int, write: bool, open_id: int) -> bool:
    """Whether a lock forbids reading or writing (MS-FSA 2.1.4.10). A shared lock forbids writing by every open, its
    owner's included; an exclusive lock forbids both to other opens. Reading or writing 0 bytes never conflicts."""
    if not length:
        return False
    last = min(offset + length - 1, MAXIMUM)
    if not write:
        return _foreign(view, offset, last, open_id)
    found = view.overlapping(offset, last)
    return found > 0 and found > view.own_exclusive(offset, last, open_id)


def take_locks(
    overlay: LockOverlay, elements: Sequence[tuple[int, int, bool]], open_id: int, number: int
) -> bool:
    """Take all locks (offset, length, exclusive) or none, numbered from `number` on. False where one conflicts."""
    if len(elements) > FEW and len({exclusive for _, _, exclusive in elements}) == 1:
        return _take_alike(overlay, elements, open_id, number)
    taken: list[Lock] = []
    for offset, length, exclusive in elements:
        if lock_conflict(overlay, offset, length, exclusive, open_id):
            for lock in reversed(taken):
                overlay.take_back(lock)
            return False
        lock = make_lock(offset, length, exclusive, open_id, number + len(taken))
        overlay.add(lock)
        taken.append(lock)
    return True


def _take_alike(
    overlay: LockOverlay, elements: Sequence[tuple[int, int, bool]], open_id: int, number: int
) -> bool:
    """`take_locks` for locks that are all shared or all exclusive. Whether they conflict with each other does not
    depend on their order then, so it is counted once for all; shared ones never do."""
    exclusive = elements[0][2]
    ranges = [(offset, offset + length - 1) for offset, length, _ in elements]
    among = Spans()
    if exclusive:
        among.add_all(ranges)
    for first, last in ranges:
        if exclusive:
            if among.count(first, last) > (first <= last) or overlay.overlapping(first, last):
                return False
        elif _foreign(overlay, first, last, open_id):
            return False
    overlay.add_all([
        Lock(first, last, exclusive, open_id, number + index) for index, (first, last) in enumerate(ranges)
    ])  # fmt: skip
    return True
