# SPDX-License-Identifier: GPL-2.0-or-later
"""This worker's opens beside local processes: the kernel's leases and locks follow what the open table decides.

Order, with `kernel oplocks`: the table decides first, and breaks what others cache; then the file's data is opened
(`admit`), so that our own opens meet no lease of ours that still counts; then the lease is taken that must stand behind
what was granted, and where the kernel refuses it the grant is less. After every decision the leases follow (`settle`).
When the kernel says that a local process opens the file (`on_signals`), its holder is broken as another client's open
would; once it has acknowledged, or its time is over, `settle` gives the lease back and the process goes on.

Opens that share a lease with write caching share one open file (LocalOpen.join), because the kernel gives a write lease
only where there is no second one.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from ksmbd.oplock import caching, local
from ksmbd.oplock.local import segments, span
from ksmbd.oplock.locks import Lock, LockOverlay, LockSet, make_lock
from ksmbd.oplock.record import H, OpenEntry, R, Record, W
from ksmbd.oplock.store import DURABLES, Store
from ksmbd.smb.constants import LEASE_FLAG_BREAK_IN_PROGRESS, OPLOCK_LEVEL_NONE
from ksmbd.smb.ports import (
    NO_LEASE,
    READ_LEASE,
    UNLOCKED,
    WRITE_LEASE,
    Clock,
    FileKey,
    LocalOpen,
    OpenGrant,
    OpenRef,
    Timer,
)
from ksmbd.smb.status import STATUS_FILE_NOT_AVAILABLE, STATUS_LOCK_NOT_GRANTED, NtStatusError
from ksmbd.smb.waiting import Cancelled, Future

FIRST_RETRY: Final = 0.02
LAST_RETRY: Final = 0.5
"""Seconds between two tries for a lock that a local process has: nobody tells when it is free."""


class Table(Protocol):
    """What the open table does for this side."""

    def local_process(self, file: FileKey, open_id: int, left: int) -> None: ...
    def limit_grant(self, file: FileKey, open_id: int, left: int, known: int) -> tuple[int, bool]: ...
    def locks_of(self, file: FileKey, open_id: int) -> list[Lock]: ...
    def drop_locks(self, ref: OpenRef, asked: tuple[tuple[int, int, bool], ...]) -> None: ...


def kernel_flags(side: LocalOpen) -> int:
    """OpenEntry.kernel."""
    if not side.kernel_oplocks:
        return 0
    return local.WATCHED | local.WRITER if side.writable else local.WATCHED


class WorkerOpen:
    """One open of this worker on a share with `kernel oplocks` or `posix locking`."""

    __slots__ = ("admitted", "group", "known", "lease", "locks", "number", "ref", "side")

    def __init__(self, ref: OpenRef, side: LocalOpen) -> None:
        self.ref = ref
        self.side = side
        self.admitted = False
        """It is open, and leased as far as it can be."""
        self.lease = NO_LEASE
        self.known = NO_LEASE
        """The lease behind what its client had when this open came, through other opens."""
        self.group: list[WorkerOpen] = [self]
        """All that share its open file."""
        self.locks = LockSet()
        """Its byte-range locks, with `posix locking`."""
        self.number = 0


class LocalSide:
    """See the module."""

    def __init__(self, table: Table, store: Store, clock: Clock) -> None:
        self.table = table
        self.clock = clock
        self._store = store
        self.opens: dict[int, WorkerOpen] = {}
        self._files: dict[FileKey, list[WorkerOpen]] = {}

    # ------------------------------------------------------------------------------------------------------ opens

    def admit(self, ref: OpenRef, side: LocalOpen, grant: OpenGrant) -> OpenGrant | None:
        """See OpenTable.admit."""
        own = self._register(ref, side)
        state = _state_of(grant)
        if side.kernel_oplocks and state & W and not self._unite(own):
            return None
        if not side.enter():
            return None
        own.admitted = True
        if not side.kernel_oplocks or not state:
            return grant
        left = local.state_for(state, self._take(own, local.lease_for(state)))
        if left == state:
            return grant
        return self._less(own, grant, left)

    def readmit(self, ref: OpenRef, side: LocalOpen) -> None:
        """See OpenTable.readmit."""
        own = self._register(ref, side)
        try:
            if not side.enter():
                raise NtStatusError(STATUS_FILE_NOT_AVAILABLE, "somebody has a lease on the file")
        except NtStatusError:
            self.closed(ref.open_id)
            raise
        if side.posix_locking:
            kept = self.table.locks_of(ref.file, ref.open_id)
            own.locks.add_all(kept)
            self._apply_locks(own, _ranges(kept))
        own.admitted = True
        state = self._held(own)
        if side.kernel_oplocks and state:
            left = local.state_for(state, self._take(own, local.lease_for(state)))
            if left != state:
                self.table.local_process(ref.file, ref.open_id, left)

    def _register(self, ref: OpenRef, side: LocalOpen) -> WorkerOpen:
        own = self.opens.get(ref.open_id)
        if own is None:
            own = self.opens[ref.open_id] = WorkerOpen(ref, side)
            here = self._files.setdefault(ref.file, [])
            here.append(own)
            if side.kernel_oplocks:
                own.known = self._known(own)
        return own

    def _known(self, own: WorkerOpen) -> int:
        record, entry = self._entry(own)
        holder = record.holder_of(entry) if record is not None and entry is not None else None
        if record is None or holder is None:
            return NO_LEASE
        others = [entry.open_id for entry in record.opens_of(holder) if entry.open_id != own.ref.open_id]
        if not all(open_id in self.opens for open_id in others):
            return WRITE_LEASE  # another worker's
        return max((self.opens[open_id].lease for open_id in others), default=NO_LEASE)

    def closed(self, open_id: int) -> None:
        """The open ends; its descriptor is closed after this. What is unknown here is no error."""
        own = self.opens.pop(open_id, None)
        if own is None:
            return
        here = self._files[own.ref.file]
        here.remove(own)
        if not here:
            del self._files[own.ref.file]
        own.group.remove(own)
        owned = own.locks.of_open(open_id) if own.locks.count else []
        if own.group:
            # The open file stays with the others, and its locks with it.
            self._apply_locks(own.group[0], _ranges(owned))
            return
        # Said, not left to the descriptor's end: a helper thread may have a copy of it for a moment.
        if owned:
            own.side.lock(UNLOCKED, 0, local.LARGEST)
        if own.lease:
            own.side.lease(NO_LEASE)
            for heir in here:
                self._inherit(heir)

    def _inherit(self, heir: WorkerOpen) -> None:
        """Another open has closed, whose lease of the kernel stood behind what this one shares with it."""
        wanted = local.lease_for(self._held(heir))
        if heir.admitted and heir.side.kernel_oplocks and heir.lease < wanted and self._take(heir, wanted) < wanted:
            self.clock.call_later(0.0, partial(self._lost, heir.ref))

    def _entry(self, own: WorkerOpen) -> tuple[Record | None, OpenEntry | None]:
        record = self._store.peek(own.ref.file)
        return record, record.opens.get(own.ref.open_id) if record is not None else None

    def _held(self, own: WorkerOpen) -> int:
        """What is cached through an open, as long as its holder has not given it up."""
        record, entry = self._entry(own)
        if record is None or entry is None:
            return 0
        holder = record.holder_of(entry)
        return holder.state if holder is not None else 0

    # ----------------------------------------------------------------------------------------------------- leases

    def _unite(self, own: WorkerOpen) -> bool:
        """Have one open file for all opens that share this one's lease. False: try again."""
        record, entry = self._entry(own)
        if record is None or entry is None or not entry.lease_key:
            return True
        for other in self._files[own.ref.file].copy():
            if other in own.group:
                continue
            theirs = record.opens.get(other.ref.open_id)
            if theirs is None or (theirs.lease_key, theirs.client_guid) != (entry.lease_key, entry.client_guid):
                continue
            if own.side.join(other.side):
                own.lease = other.lease
                self._merge(other.group, own)
                continue
            # Neither reads nor writes enough for both: a new open file takes the place of theirs.
            self._set_lease(other, NO_LEASE)
            if not own.side.enter(True):
                wanted = local.lease_for(self._held(other))
                if self._take(other, wanted) < wanted:
                    self.clock.call_later(0.0, partial(self._lost, other.ref))
                return False
            for member in other.group.copy():
                if member.side.join(own.side):
                    member.group.remove(member)
                    member.group = [member]
                    self._merge(own.group, member)
                    self._apply_locks(member, _ranges(member.locks.of_open(member.ref.open_id)))
        return True

    @staticmethod
    def _merge(group: list[WorkerOpen], own: WorkerOpen) -> None:
        for member in own.group:
            if member not in group:
                group.append(member)
            member.group = group

    def _set_lease(self, own: WorkerOpen, kind: int) -> bool:
        if not own.side.lease(kind):
            return False
        for member in own.group:
            member.lease = kind
        return True

    def _take(self, own: WorkerOpen, kind: int) -> int:
        """The lease, or as much of it as the kernel gives."""
        if self._set_lease(own, kind):
            return kind
        if kind == WRITE_LEASE and self._set_lease(own, READ_LEASE):
            return READ_LEASE
        self._set_lease(own, NO_LEASE)
        return NO_LEASE

    def _less(self, own: WorkerOpen, grant: OpenGrant, left: int) -> OpenGrant:
        """The grant without what the kernel does not stand behind."""
        ref = own.ref
        known = local.state_for(_state_of(grant), own.known)
        left, breaking = self.table.limit_grant(ref.file, ref.open_id, left, known)
        self.settle(ref.file)
        if grant.durable and not grant.persistent and not left & H:
            self._store.index_remove(DURABLES, ref.open_id.to_bytes(8, "big"))
            grant = replace(grant, durable=False, durable_timeout=0)
        if grant.lease is not None:
            flags = grant.lease.flags | LEASE_FLAG_BREAK_IN_PROGRESS if breaking else grant.lease.flags
            return replace(grant, lease=replace(grant.lease, state=left, flags=flags))
        return replace(grant, oplock_level=caching.STATE_LEVELS.get(left, OPLOCK_LEVEL_NONE))

    def settle(self, file: FileKey) -> None:
        """The kernel's leases on a file are no more than what its holders have by now."""
        for own in self._files.get(file, ()):
            if own.lease:
                wanted = local.lease_for(self._held(own))
                if wanted < own.lease and not self._set_lease(own, wanted):
                    self._set_lease(own, NO_LEASE)
                    # Not from here: what is being decided is to be carried out first.
                    self.clock.call_later(0.0, partial(self._lost, own.ref))

    def _lost(self, ref: OpenRef) -> None:
        if ref.open_id in self.opens:
            self.table.local_process(ref.file, ref.open_id, 0)

    def on_signals(self, descriptors: set[int] | None) -> None:
        """The kernel is to break the leases of these descriptors; None: it could not say which."""
        leased = [own for own in self.opens.values() if own.lease]
        named = [own for own in leased if descriptors is not None and own.side.fileno() in descriptors]
        # A lease that several descriptors share is known to the kernel by one that may be closed by now.
        if not [True for own in named if self._breaks(own)]:
            for own in leased:
                if own not in named:
                    self._breaks(own)

    def _breaks(self, own: WorkerOpen) -> bool:
        """Carry out what the kernel asks for. Whether it asks for anything."""
        ref = own.ref
        if ref.open_id not in self.opens:
            return False
        left = own.side.lease_left()
        if left >= own.lease:
            return False
        self.table.local_process(ref.file, ref.open_id, R | H if left == READ_LEASE else 0)
        self.settle(ref.file)
        return True

    # ------------------------------------------------------------------------------------------------------ locks

    def locking(self, open_id: int) -> WorkerOpen | None:
        """The open, where it has `posix locking`."""
        own = self.opens.get(open_id)
        return own if own is not None and own.side.posix_locking else None

    def io_conflict(self, open_id: int, offset: int, length: int, write: bool) -> bool:
        """Whether a local process has a lock that forbids reading or writing through an open."""
        own = self.locking(open_id)
        if own is None or not length or offset > local.LARGEST:
            return False
        return own.side.locked(offset, min(offset + length - 1, local.LARGEST), write)

    def locked(self, own: WorkerOpen, elements: Sequence[tuple[int, int, bool]]) -> bool:
        """The table has granted (offset, length, exclusive): have them for local processes, too. False: they have a
        lock in one of them, and none is taken."""
        taken = []
        for offset, length, exclusive in elements:
            own.number += 1
            taken.append(make_lock(offset, length, exclusive, own.ref.open_id, own.number))
        own.locks.add_all(taken)
        ranges = span([(offset, length) for offset, length, _ in elements])
        if self._apply_locks(own, ranges):
            return True
        own.locks.remove_all(taken[::-1])
        self._apply_locks(own, ranges)
        return False

    def unlocked(self, own: WorkerOpen, ranges: Sequence[tuple[int, int]]) -> None:
        """The table has unlocked (offset, length), as many as there were before one that was not locked."""
        pending = LockOverlay(own.locks)
        done = 0
        for offset, length in ranges:
            if not pending.take_out(offset, offset + length - 1, own.ref.open_id):
                break
            done += 1
        own.locks.remove_all(pending.removed)
        self._apply_locks(own, span(ranges[:done]))

    def _apply_locks(self, own: WorkerOpen, ranges: Sequence[tuple[int, int]]) -> bool:
        """Tell the kernel what is locked in (first, last). False: refused, what comes after was not told."""
        for first, last in ranges:
            for kind, start, end in segments([member.locks for member in own.group], first, last):
                if not own.side.lock(kind, start, end):
                    return False
        return True


class LocalLock:
    """One LOCK that local processes have a say in: the table grants it, then the kernel; where the kernel does not, the
    table has it back, and one that may wait tries again."""

    def __init__(
        self, side: LocalSide, own: WorkerOpen, elements: tuple[tuple[int, int, bool], ...], wait: bool,
        ask: Callable[[], Future[None]],
    ) -> None:
        self.future: Future[None] = Future()
        self.future.on_cancel = self._cancel
        self._side = side
        self._own = own
        self._elements = elements
        self._wait = wait
        self._ask = ask
        self._pause = FIRST_RETRY
        self._asked: Future[None] | None = None
        self._timer: Timer | None = None
        self._begin()

    def _begin(self) -> None:
        self._timer = None
        self._asked = asked = self._ask()
        if asked.done:
            self._answered(asked)
        else:
            asked.add_callback(self._answered)

    def _answered(self, asked: Future[Any]) -> None:
        self._asked = None
        if self.future.done:
            return
        try:
            asked.result()
        except (NtStatusError, Cancelled) as error:
            self.future.set_error(error)
            return
        side, own = self._side, self._own
        if side.locked(own, self._elements):
            self.future.set_result(None)
            return
        side.table.drop_locks(own.ref, self._elements)
        if not self._wait:
            self.future.set_error(NtStatusError(STATUS_LOCK_NOT_GRANTED, "a local process has a lock"))
            return
        self._timer = side.clock.call_later(self._pause, self._again)
        self._pause = min(self._pause * 2, LAST_RETRY)

    def _again(self) -> None:
        if self._own.ref.open_id in self._side.opens:
            self._begin()
        # Otherwise the open has ended, and its end has answered who waits.

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._asked is not None:
            self._asked.cancel()


def _ranges(locks: Sequence[Lock]) -> list[tuple[int, int]]:
    return span([(lock.first, lock.last - lock.first + 1) for lock in locks])


def _state_of(grant: OpenGrant) -> int:
    """What a grant lets its client cache."""
    if grant.lease is not None:
        return grant.lease.state
    return caching.LEVEL_STATES.get(grant.oplock_level, 0)
