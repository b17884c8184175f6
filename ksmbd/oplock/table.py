# SPDX-License-Identifier: GPL-2.0-or-later
"""Implements the port OpenTable over a store: LocalOpenTable.

It turns the port's calls into requests of decide(), and maintains the indexes over all files. Its base class
DecisionExecutor (executor.py) carries the decisions out. The rules are in decide.py and the modules below it.
"""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ksmbd.oplock import caching, requests
from ksmbd.oplock.conversion import durable_of, entry_of, grant_of, reconnect_of, request_of
from ksmbd.oplock.durable import check_reconnect
from ksmbd.oplock.fast_path import first_open
from ksmbd.oplock.kernel_sync import LocalLock
from ksmbd.oplock.naming import NamingTable
from ksmbd.oplock.record import H, HolderKey, OpenEntry, R, Record, W
from ksmbd.oplock.requests import CloseResult, Encoded, LeaseContext, OpenResult, ReconnectResult, Result
from ksmbd.oplock.store import CREATE_GUIDS, DURABLES, LEASES, IndexEntry, StoreError
from ksmbd.smb.constants import (
    LEASE_FLAG_PARENT_LEASE_KEY_SET,
    OPLOCK_LEVEL_LEASE,
    OPLOCK_LEVEL_NONE,
)
from ksmbd.smb.ports import (
    BreakKind,
    CloseOutcome,
    DurableReconnect,
    FileKey,
    LocalOpen,
    LockElement,
    OpenGrant,
    OpenRef,
    OpenRequest,
    Reconnected,
)
from ksmbd.smb.status import (
    STATUS_FILE_LOCK_CONFLICT,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_OPLOCK_PROTOCOL,
    STATUS_INVALID_PARAMETER,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.smb.waiting import Cancelled, Future

logger = logging.getLogger("ksmbd.oplock")

class LocalOpenTable(NamingTable):
    """The open table as one worker sees it."""

    def worker_died(self, worker: int, epoch: int) -> None:
        """Remove a dead worker's opens, locks and leases, so that waiting operations continue. One surviving worker
        calls this."""
        self.retries.do(self._store.recover)
        request = requests.WorkerDied(worker, epoch)
        for file in self._store.files():
            self.retries.do(partial(self._run, file, request))
        # The dead worker may have left CreateGuids of opens that were refused or still waited. An open is in its record
        # before it is in this index, so one that is neither open nor waiting in the record has ended.
        for key, place in self._store.index_items(CREATE_GUIDS):
            record = self._store.peek(place.file)
            if record is None or (place.open_id not in record.opens and not record.waits_to_open(place.open_id)):
                self.retries.do(partial(self.indexes.forget_create_guid, key, place.open_id))

    def adopt_persistent(self) -> int:
        """Add the persistent opens of the previous server. Returns how many files have some. One worker calls this
        once, before the server listens. Raises StoreError."""
        if self._state is None:
            return 0
        return self.adopt(self._state.load())

    def adopt(self, kept: Sequence[tuple[FileKey, requests.Adopt]]) -> int:
        """Add disconnected opens of the previous server. Returns how many files have some. Raises StoreError."""
        for file, request in kept:
            self._apply(file, self._decide(file, request))
            for entry in request.opens:
                self.indexes.enter(file, entry, bool(entry.lease_key), True)
        return len(kept)

    def watch_deadlines(self) -> None:
        """Set timers for the deadlines in a store that another process has filled."""
        for file in self._store.files():
            self._expire(file)

    # -------------------------------------------------------------------------------------------------------- opens

    def open(self, request: OpenRequest) -> Future[OpenGrant]:
        """See OpenTable.open."""
        if self._state is None and request.durable is not None and request.durable.persistent:
            request = replace(request, durable=replace(request.durable, persistent=False))
        lease = None
        if request.lease is not None:
            other = self._leased(request)
            if other is not None:
                if not _was_named(other, request):
                    return Future.failed(NtStatusError(STATUS_INVALID_PARAMETER, "the lease key names another file"))
                request = replace(request, lease=None, oplock_level=OPLOCK_LEVEL_NONE)
            lease = self._lease_of(request)
        entry = entry_of(request, lease, self._me)
        durable = durable_of(request) if request.durable is not None else None
        level = OPLOCK_LEVEL_NONE if request.oplock_level == OPLOCK_LEVEL_LEASE else request.oplock_level
        first = first_open(entry, level, lease, durable, self._settings)
        if first is not None and self._store.begin(request.ref.file, first[0]):
            return Future.of(self._opened(request, entry, first[1]))
        waiter_id = self._number()
        ask = requests.Open(waiter_id, entry, request.disposition, request.created, level, lease, durable=durable)

        def finish(result: Result | Encoded, entry: OpenEntry | None = entry) -> OpenGrant:
            assert isinstance(result, tuple)
            return self._opened(request, entry, OpenResult._make(result))

        def finish_late(result: Result | Encoded) -> OpenGrant:
            # Since the grant, the file may have been renamed or the open purged.
            record = self._store.peek(request.ref.file)
            return finish(result, record.opens.get(request.ref.open_id) if record is not None else None)

        future = self._start(
            request.ref.file, waiter_id, ask, finish, lambda: self.close(request.ref), finish_late
        )
        if not future.done and ask.entry.create_guid:
            # A replay must find an open that still waits, too (MS-SMB2 3.3.5.9.10).
            key = request.client_guid + ask.entry.create_guid
            place = IndexEntry(request.ref.file, request.ref.stream, request.ref.open_id)
            try:
                self._store.index_put(CREATE_GUIDS, key, place)
            except StoreError:
                future.cancel()
                raise
            future.add_callback(partial(self._forget_failed, key, request.ref.open_id))
        return future

    def _opened(self, request: OpenRequest, entry: OpenEntry | None, granted: OpenResult) -> OpenGrant:
        """Add a granted open to the indexes, and return the grant for the protocol. `entry` is None where the open was
        removed again meanwhile."""
        if granted.lease is None and not granted.durable and not granted.persistent and not request.durable:
            return OpenGrant(granted.oplock_level)
        if entry is not None:
            durable = bool(granted.durable or granted.persistent)
            try:
                self.indexes.enter(request.ref.file, entry, granted.lease is not None, durable)
            except StoreError:
                self.close(request.ref)
                raise
        return grant_of(granted)

    def _forget_failed(self, key: bytes, open_id: int, future: Future[OpenGrant]) -> None:
        try:
            future.result()
        except (NtStatusError, Cancelled):
            self.retries.do(partial(self.indexes.forget_create_guid, key, open_id))

    def _lease_of(self, request: OpenRequest) -> LeaseContext | None:
        lease = request.lease
        settings = self._settings
        if lease is None or not (settings.oplocks and settings.leases):
            return None
        if request.is_directory and not (settings.directory_leases and lease.version > 1):
            return None
        has_parent = lease.flags & LEASE_FLAG_PARENT_LEASE_KEY_SET
        return LeaseContext(
            lease.key, lease.state & (R | W | H), lease.version, has_parent, lease.parent_key if has_parent else b"",
            lease.epoch,
        )  # fmt: skip

    def _leased(self, request: OpenRequest) -> list[OpenEntry] | None:
        """Find another stream with the requested LeaseKey: a key belongs to one stream while the lease exists (MS-SMB2
        3.3.5.9.8). Returns None where there is none; else the opens of that lease, [] if it is on the same file."""
        lease = request.lease
        if lease is None or not (self._settings.oplocks and self._settings.leases):
            return None
        bound = self._store.index_get(LEASES, request.client_guid + lease.key)
        if bound is None or (bound.file == request.ref.file and bound.stream == request.ref.stream):
            return None
        record = self._store.peek(bound.file)
        holder = record.holders.get((request.client_guid, lease.key)) if record is not None else None
        if record is None or holder is None:
            return None
        return [] if bound.file == request.ref.file else record.opens_of(holder)

    def close(self, ref: OpenRef) -> CloseOutcome:
        """See OpenTable.close."""
        if self._kernel_opens:
            self.kernel_sync.closed(ref.open_id)
        if self._handles:
            self._take_handle(ref.open_id)
        try:
            return self._close(ref)
        except StoreError:
            self.retries.do(partial(self._close_late, ref))
            return CloseOutcome(False)

    def _close(self, ref: OpenRef) -> CloseOutcome:
        file, _, open_id = ref
        closed = self._store.end(file, open_id)
        if closed is None:
            result = self._run(file, requests.Close(open_id))
            assert isinstance(result, CloseResult)
            closed = result
        delete, whole, lease, create_guid, client_guid, durable = closed
        if durable or create_guid or lease is not None:
            self.retries.do(
                partial(self.indexes.leave, file, open_id, lease, create_guid, client_guid, durable)
            )
        return CloseOutcome(delete, whole)

    def _close_late(self, ref: OpenRef) -> None:
        if self._close(ref).delete:
            logger.warning("what is open as %s is not deleted: the store was full when it was closed", ref)

    # ------------------------------------------------------------------------------------------------------- caches

    def break_caching(self, ref: OpenRef, kind: BreakKind) -> Future[None]:
        """See OpenTable.break_caching. It is called for every write, so it reads the record before it decides."""
        lose = (R if kind.lose_read else 0) | (W if kind.lose_write else 0) | (H if kind.lose_handle else 0)
        record = self._store.peek(ref.file)
        if record is None or not _caches(record, ref, lose):
            return Future.of(None)
        waiter_id = self._number()
        return self._start(ref.file, waiter_id, requests.Break(waiter_id, ref.open_id, lose), _none)

    def directory_changed(self, directory: FileKey, parent_lease_key: bytes, client_guid: bytes) -> None:
        """See OpenTable.directory_changed."""
        record = self._store.peek(directory)
        if record is None or not any(holder.is_lease and holder.state for holder in record.holders.values()):
            return
        self._apply(directory, self._decide(directory, requests.DirectoryChanged(client_guid, parent_lease_key)))

    def acknowledge_oplock(self, ref: OpenRef, level: int) -> int:
        """See OpenTable.acknowledge_oplock."""
        if level not in caching.LEVEL_STATES:
            raise NtStatusError(STATUS_INVALID_PARAMETER)
        record = self._store.peek(ref.file)
        if record is None:
            raise NtStatusError(STATUS_INVALID_OPLOCK_PROTOCOL)
        state = self._acknowledge(ref.file, ref.open_id, caching.LEVEL_STATES[level])
        return caching.STATE_LEVELS[state]

    def acknowledge_lease(self, client_guid: bytes, key: bytes, state: int) -> int:
        """See OpenTable.acknowledge_lease."""
        bound = self._store.index_get(LEASES, client_guid + key)
        if bound is None:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no such lease")
        return self._acknowledge(bound.file, (client_guid, key), state)

    def _acknowledge(self, file: FileKey, holder: HolderKey, state: int) -> int:
        decision = self._decide(file, requests.Acknowledge(holder, state))
        if self._kernel_opens:
            self.kernel_sync.update_leases(file)
        # By timer, so that the acknowledgment's response is sent before further notifications and waiting replies.
        if decision.actions or decision.doorbells or decision.deadline:
            self._clock.call_later(0.0, partial(self._apply, file, decision))
        if decision.status:
            raise NtStatusError(decision.status)
        assert isinstance(decision.result, int)
        return decision.result

    # -------------------------------------------------------------------------------------------- byte-range locks

    def lock(self, ref: OpenRef, elements: Sequence[LockElement], wait: bool) -> Future[None]:
        """See OpenTable.lock."""
        if not self.lock_meter.room(ref.open_id, len(elements), lambda: self._entry(ref).session_id):
            raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "the session has too many locks")
        number = self._number()
        self._next += len(elements)
        asked = tuple((element.offset, element.length, element.exclusive) for element in elements)
        if self._kernel_opens and (own := self.kernel_sync.locking(ref.open_id)) is not None:
            return LocalLock(self.kernel_sync, own, asked, wait, partial(self._lock, ref, asked, wait)).future
        ask = requests.TakeLocks(number, ref.open_id, asked, wait, number)
        return self._start(
            ref.file, number, ask, _none, lambda: self.unlock(ref, elements), lambda _: self._locked_late(ref)
        )

    def _locked_late(self, ref: OpenRef) -> None:
        """Count a lock that was granted after a wait, perhaps by another worker."""
        record = self._store.peek(ref.file)
        entry = record.opens.get(ref.open_id) if record is not None else None
        if entry is not None:
            held = self._store.locks_of(ref.file)(ref.stream).count_of(ref.open_id)
            self.lock_meter.set(ref.open_id, entry.session_id, held)

    def _lock(self, ref: OpenRef, asked: tuple[tuple[int, int, bool], ...], wait: bool) -> Future[None]:
        """Take the locks in the table, for `lock` on a share with `posix locking`."""
        number = self._number()
        self._next += len(asked)
        ask = requests.TakeLocks(number, ref.open_id, asked, wait, number)
        return self._start(ref.file, number, ask, _none, lambda: self.drop_locks(ref, asked))

    def unlock(self, ref: OpenRef, elements: Sequence[LockElement]) -> None:
        """See OpenTable.unlock."""
        ranges = tuple((element.offset, element.length) for element in elements)
        own = self.kernel_sync.locking(ref.open_id) if self._kernel_opens else None
        try:
            self._run(ref.file, requests.DropLocks(ref.open_id, ranges))
        finally:
            if own is not None:
                self.kernel_sync.unlocked(own, ranges)

    def check_io(self, ref: OpenRef, offset: int, length: int, write: bool) -> None:
        """See OpenTable.check_io."""
        if self._store.io_conflict(ref.file, ref.stream, offset, length, write, ref.open_id):
            raise NtStatusError(STATUS_FILE_LOCK_CONFLICT)
        if self._kernel_opens and self.kernel_sync.io_conflict(ref.open_id, offset, length, write):
            raise NtStatusError(STATUS_FILE_LOCK_CONFLICT, "a local process has a lock")

    # -------------------------------------------------------------------------------------------- local processes

    def admit(self, ref: OpenRef, local: LocalOpen, grant: OpenGrant) -> OpenGrant | None:
        """See OpenTable.admit."""
        return self.kernel_sync.admit(ref, local, grant)

    def share_locks(self, ref: OpenRef, local: LocalOpen) -> None:
        """See OpenTable.share_locks."""
        self.kernel_sync.share_locks(ref, local)

    def readmit(self, ref: OpenRef, local: LocalOpen) -> None:
        """See OpenTable.readmit."""
        self.kernel_sync.readmit(ref, local)

    # ------------------------------------------------------------------------------------------------ durable opens

    def make_resilient(self, ref: OpenRef, timeout: int) -> None:
        """See OpenTable.make_resilient."""
        file, stream, open_id = ref
        key = open_id.to_bytes(8, "big")
        before = self._store.index_get(DURABLES, key)
        self._store.index_put(DURABLES, key, IndexEntry(file, stream, open_id))
        try:
            self._run(file, requests.MakeResilient(open_id, timeout))
        except NtStatusError:
            if before is None:
                self.retries.do(partial(self._store.index_remove, DURABLES, key))
            raise

    def keep(self, ref: OpenRef, handle: object) -> None:
        """See OpenTable.keep."""
        entry = self._entry(ref)
        self._handles[ref.open_id] = (handle, entry.client_guid, self.on_keep(entry.client_guid))

    def disconnect(self, ref: OpenRef) -> bool:
        """See OpenTable.disconnect."""
        return bool(self._run(ref.file, requests.Disconnect(ref.open_id)))

    def find_kept(self, request: DurableReconnect) -> OpenRequest | None:
        """See OpenTable.find_kept."""
        file = self._kept_file(request)
        record = self._store.peek(file)
        entry = record.opens.get(request.persistent_id) if record is not None else None
        holder = record.holder_of(entry) if record is not None and entry is not None else None
        status = check_reconnect(entry, holder, reconnect_of(request))
        if status or entry is None:
            raise NtStatusError(status or STATUS_OBJECT_NAME_NOT_FOUND, "not to be taken up like this")
        return None if entry.open_id in self._handles else request_of(file, entry)

    def _kept_file(self, request: DurableReconnect) -> FileKey:
        bound = self._store.index_get(DURABLES, request.persistent_id.to_bytes(8, "big"))
        if bound is None:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no such durable open")
        return bound.file

    def reconnect(self, request: DurableReconnect) -> Reconnected:
        """See OpenTable.reconnect."""
        file = self._kept_file(request)
        back = self._run(file, reconnect_of(request))
        assert isinstance(back, ReconnectResult)
        handle = self._take_handle(back.entry.open_id)
        return Reconnected(request_of(file, back.entry), grant_of(back.granted), handle)

    def find_replay(self, client_guid: bytes, create_guid: bytes) -> OpenRef | None:
        """See OpenTable.find_replay; it also finds an open that still waits."""
        bound = self._store.index_get(CREATE_GUIDS, client_guid + create_guid)
        if bound is None:
            return None
        record = self._store.peek(bound.file)
        if record is None or not (bound.open_id in record.opens or record.waits_to_open(bound.open_id)):
            return None  # its worker died before it could clean up
        return OpenRef(bound.file, bound.stream, bound.open_id)


def _none(result: Result | Encoded) -> None:
    return None


def _was_named(opens: list[OpenEntry], request: OpenRequest) -> bool:
    """Whether a lease is on a file that had the requested name before (it was deleted or replaced with POSIX
    semantics). The specification binds a LeaseKey to the name, so the request is valid; the client still caches the old
    file."""
    return any(entry.share == request.share and entry.path == request.path for entry in opens)


def _caches(record: Record, ref: OpenRef, lose: int) -> bool:
    """Whether a holder, or the open's own level II oplock, has caching that `lose` would break."""
    entry = record.opens.get(ref.open_id)
    own = record.holder_of(entry) if entry is not None else None
    for holder in record.holders.values():
        if holder.stream == ref.stream and holder.state & lose and (
            holder is not own or (not holder.is_lease and holder.state == R)
        ):  # fmt: skip
            return True
    return False
