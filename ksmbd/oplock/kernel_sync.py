# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps the kernel's leases and locks of this worker's opens in step with the open table (`kernel oplocks`, `posix
locking`).

With `kernel oplocks` an open takes three steps. First the table decides on it and breaks the caching of others. Then
`admit` opens the file's data: by now no lease of this server blocks that. Then `admit` takes the kernel lease
(fcntl(2), F_SETLEASE) that the granted caching needs; where the kernel refuses it, the grant is reduced. After every
decision `update_leases` weakens the kernel leases to what clients still cache.

When the kernel signals that a local process opens the file, `on_signals` breaks the client's lease or oplock, as
another client's open would. Once the client has acknowledged, or the time is over, `update_leases` releases the kernel
lease, and the local process continues.

Opens that share a lease with write caching share one open file description (LocalOpen.join), because the kernel grants
a write lease only where no second one exists.
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
    """What KernelSync needs of the open table; DecisionExecutor (executor.py) implements it."""

    def local_process(self, file: FileKey, open_id: int, left: int) -> None: ...
    def limit_grant(self, file: FileKey, open_id: int, left: int, known: int) -> tuple[int, bool]: ...
    def locks_of(self, file: FileKey, open_id: int) -> list[Lock]: ...
    def drop_locks(self, ref: OpenRef, asked: tuple[tuple[int, int, bool], ...]) -> None: ...


def kernel_flags(side: LocalOpen) -> int:
    """The value of OpenEntry.kernel for an open: WATCHED, WRITER or 0."""
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
        """`admit` or `readmit` is done: the data is open and the lease taken, as far as the kernel grants it."""
        self.lease = NO_LEASE
        self.known = NO_LEASE
        """The kernel lease that the client's other opens of the same lease already had when this open arrived."""
        self.group: list[WorkerOpen] = [self]
        """All opens that share its open file description."""
        self.locks = LockSet()
        """Its byte-range locks, on a share with `posix locking`."""
        self.number = 0


class KernelSync:
    """Takes, weakens and releases the kernel's leases and locks for this worker's opens; see the module."""

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
        if not side.open_data():
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
            if not side.open_data():
                raise NtStatusError(STATUS_FILE_NOT_AVAILABLE, "somebody has a lease on the file")
        except NtStatusError:
            self.closed(ref.open_id)
            raise
        if side.posix_locking:
            self._take_locks_over(own)
        own.admitted = True
        state = self._held(own)
        if side.kernel_oplocks and state:
            left = local.state_for(state, self._take(own, local.lease_for(state)))
            if left != state:
                self.table.local_process(ref.file, ref.open_id, left)

    def share_locks(self, ref: OpenRef, side: LocalOpen) -> None:
        """See OpenTable.share_locks. An open of `kernel oplocks` has been admitted already."""
        if ref.open_id not in self.opens and side.posix_locking:
            own = self._register(ref, side)
            self._take_locks_over(own)
            own.admitted = True

    def _take_locks_over(self, own: WorkerOpen) -> None:
        kept = self.table.locks_of(own.ref.file, own.ref.open_id)
        own.locks.add_all(kept)
        self._apply_locks(own, _ranges(kept))

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
        """Forget an open that ends; the caller closes its descriptor afterwards. An unknown open is no error."""
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
            # The others keep the open file description, and the locks with it.
            self._apply_locks(own.group[0], _ranges(owned))
            return
        # Unlock explicitly: closing is not enough, because a helper thread may still hold a copy of the descriptor.
        if owned:
            own.side.lock(UNLOCKED, 0, local.LARGEST)
        if own.lease:
            own.side.lease(NO_LEASE)
            for heir in here:
                self._inherit(heir)

    def _inherit(self, heir: WorkerOpen) -> None:
        """Take the kernel lease over from an open that closed and shared its SMB lease with `heir`."""
        wanted = local.lease_for(self._held(heir))
        if heir.admitted and heir.side.kernel_oplocks and heir.lease < wanted and self._take(heir, wanted) < wanted:
            self.clock.call_later(0.0, partial(self._lost, heir.ref))

    def _entry(self, own: WorkerOpen) -> tuple[Record | None, OpenEntry | None]:
        record = self._store.peek(own.ref.file)
        return record, record.opens.get(own.ref.open_id) if record is not None else None

    def _held(self, own: WorkerOpen) -> int:
        """The caching state (R, W, H) of an open's lease or oplock; 0 where it has none."""
        record, entry = self._entry(own)
        if record is None or entry is None:
            return 0
        holder = record.holder_of(entry)
        return holder.state if holder is not None else 0

    # ----------------------------------------------------------------------------------------------------- leases

    def _unite(self, own: WorkerOpen) -> bool:
        """Make all opens that share this one's lease use one open file description. False: the caller tries again."""
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
            # The other's access mode does not suffice for both: open the file anew, for reading and writing.
            self._set_lease(other, NO_LEASE)
            if not own.side.open_data(True):
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
        """Take a kernel lease, or the strongest weaker one that the kernel grants. Returns the one taken."""
        if self._set_lease(own, kind):
            return kind
        if kind == WRITE_LEASE and self._set_lease(own, READ_LEASE):
            return READ_LEASE
        self._set_lease(own, NO_LEASE)
        return NO_LEASE

    def _less(self, own: WorkerOpen, grant: OpenGrant, left: int) -> OpenGrant:
        """Reduce a grant to `left`, the caching that the kernel lease allows."""
        ref = own.ref
        known = local.state_for(_state_of(grant), own.known)
        left, breaking = self.table.limit_grant(ref.file, ref.open_id, left, known)
        self.update_leases(ref.file)
        if grant.durable and not grant.persistent and not left & H:
            self._store.index_remove(DURABLES, ref.open_id.to_bytes(8, "big"))
            grant = replace(grant, durable=False, durable_timeout=0)
        if grant.lease is not None:
            flags = grant.lease.flags | LEASE_FLAG_BREAK_IN_PROGRESS if breaking else grant.lease.flags
            return replace(grant, lease=replace(grant.lease, state=left, flags=flags))
        return replace(grant, oplock_level=caching.STATE_LEVELS.get(left, OPLOCK_LEVEL_NONE))

    def update_leases(self, file: FileKey) -> None:
        """Weaken the kernel's leases on a file to what its leases and oplocks still allow clients to cache."""
        for own in self._files.get(file, ()):
            if own.lease:
                wanted = local.lease_for(self._held(own))
                if wanted < own.lease and not self._set_lease(own, wanted):
                    self._set_lease(own, NO_LEASE)
                    # By timer: the decision that led here must be carried out first.
                    self.clock.call_later(0.0, partial(self._lost, own.ref))

    def _lost(self, ref: OpenRef) -> None:
        if ref.open_id in self.opens:
            self.table.local_process(ref.file, ref.open_id, 0)

    def on_signals(self, descriptors: set[int] | None) -> None:
        """Break the client leases behind these descriptors, whose kernel leases are being broken. None: the signal
        queue overflowed, so all leased opens are checked."""
        leased = [own for own in self.opens.values() if own.lease]
        named = [own for own in leased if descriptors is not None and own.side.fileno() in descriptors]
        # Where several descriptors share a lease, the kernel names one of them, which may be closed by now.
        if not [True for own in named if self._breaks(own)]:
            for own in leased:
                if own not in named:
                    self._breaks(own)

    def _breaks(self, own: WorkerOpen) -> bool:
        """Break the client's caching to what the kernel lease is being broken to. Returns whether it is."""
        ref = own.ref
        if ref.open_id not in self.opens:
            return False
        left = own.side.lease_left()
        if left >= own.lease:
            return False
        self.table.local_process(ref.file, ref.open_id, R | H if left == READ_LEASE else 0)
        self.update_leases(ref.file)
        return True

    # ------------------------------------------------------------------------------------------------------ locks

    def locking(self, open_id: int) -> WorkerOpen | None:
        """The open if it is on a share with `posix locking`, else None."""
        own = self.opens.get(open_id)
        return own if own is not None and own.side.posix_locking else None

    def io_conflict(self, open_id: int, offset: int, length: int, write: bool) -> bool:
        """Whether a lock of a local process forbids reading or writing these bytes through an open."""
        own = self.locking(open_id)
        if own is None or not length or offset > local.LARGEST:
            return False
        return own.side.locked(offset, min(offset + length - 1, local.LARGEST), write)

    def locked(self, own: WorkerOpen, elements: Sequence[tuple[int, int, bool]]) -> bool:
        """Take kernel locks for (offset, length, exclusive) locks that the table has granted. False: a local process
        has a conflicting lock, and no kernel lock is taken."""
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
        """Release kernel locks after the table has processed an unlock of (offset, length) ranges. As there, the first
        range that was not locked ends it."""
        pending = LockOverlay(own.locks)
        done = 0
        for offset, length in ranges:
            if not pending.take_out(offset, offset + length - 1, own.ref.open_id):
                break
            done += 1
        own.locks.remove_all(pending.removed)
        self._apply_locks(own, span(ranges[:done]))

    def _apply_locks(self, own: WorkerOpen, ranges: Sequence[tuple[int, int]]) -> bool:
        """Set the kernel's locks in each range (first, last). False: the kernel refused one, and the rest is unset."""
        for first, last in ranges:
            for kind, start, end in segments([member.locks for member in own.group], first, last):
                if not own.side.lock(kind, start, end):
                    return False
        return True


class LocalLock:
    """One LOCK request on a share with `posix locking`. The table grants it first, then the kernel. Where the kernel
    refuses, the table's locks are released; a request that may wait is then tried again by a timer."""

    def __init__(
        self, side: KernelSync, own: WorkerOpen, elements: tuple[tuple[int, int, bool], ...], wait: bool,
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
        # Otherwise the open was closed, which answered the request.

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._asked is not None:
            self._asked.cancel()


def _ranges(locks: Sequence[Lock]) -> list[tuple[int, int]]:
    return span([(lock.first, lock.last - lock.first + 1) for lock in locks])


def _state_of(grant: OpenGrant) -> int:
    """The caching state (R, W, H) of a grant."""
    if grant.lease is not None:
        return grant.lease.state
    return caching.LEVEL_STATES.get(grant.oplock_level, 0)
