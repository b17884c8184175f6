# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs decide() through the store and carries out what it decided, for one worker.

Carrying out means: complete futures, send break notifications through `on_break`, set timers, and tell other workers.
The rules themselves are in decide.py and the modules below it.
"""
from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ksmbd.oplock import requests
from ksmbd.oplock.decide import decide
from ksmbd.oplock.indexes import OpenIndexes
from ksmbd.oplock.kernel_sync import KernelSync
from ksmbd.oplock.lock_meter import LockMeter
from ksmbd.oplock.locks import Lock, LockView
from ksmbd.oplock.record import Record
from ksmbd.oplock.requests import Action, Decision, Encoded, LimitGrantResult, Request, Result
from ksmbd.oplock.retry import RetryQueue
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.state import StateDirectory, keeps_more
from ksmbd.oplock.store import Store
from ksmbd.smb.ports import BreakNotice, Clock, CloseOutcome, FileKey, OpenRef, PurgedOpen, Timer
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future

T = TypeVar("T")

DOORBELL = struct.Struct("<QQ")
"""The message to another worker: something is in this file's outbox (device, inode)."""


@dataclass(slots=True)
class _Waiting:
    """A caller in this process that waits for an answer."""

    file: FileKey
    future: Future[Any]
    finish: Callable[[Result | Encoded], object]
    """Turns the decision's result into the Future's."""
    undo: Callable[[], object]
    """Reverts a success that arrives after the Future was cancelled."""


def _nothing() -> None:
    return None


class DecisionExecutor:
    """Decides on requests and carries the decisions out; LocalOpenTable (table.py) is the public class."""

    def __init__(
        self, store: Store, clock: Clock, settings: OplockSettings | None = None, worker: int = 0, epoch: int = 0,
        state: StateDirectory | None = None,
    ) -> None:
        """`worker`, `epoch`: this worker's WorkerTag. `state`: the directory that keeps persistent opens; without it
        they are granted as durable opens."""
        self._store = store
        self._state = state
        self._clock = clock
        self._settings = settings or OplockSettings()
        self._me = (worker, epoch)
        self._waiting: dict[int, _Waiting] = {}
        # Locks of adopted persistent opens keep the numbers of the previous server, so numbers here start at the time.
        self._next = (clock.filetime() // 10_000_000 & 0xFFFFFFFF) << 16
        self._timers: dict[FileKey, tuple[float, Timer]] = {}
        self._handles: dict[int, tuple[object, bytes, bool]] = {}
        """Open id -> (the protocol's handle, ClientGuid, whether `on_keep` returned True)."""
        self.indexes = OpenIndexes(store)
        self.kernel_sync = KernelSync(self, store, clock)
        """The opens of this worker on shares with `kernel oplocks` or `posix locking`."""
        self._kernel_opens = self.kernel_sync.opens
        self.lock_meter = LockMeter(self._me)
        self.retries = RetryQueue(clock)
        """Calls that the store refused and that must still succeed."""
        self.on_break: Callable[[BreakNotice], bool] = lambda notice: False
        """Set by the protocol; see OpenTable."""
        self.on_purge: Callable[[PurgedOpen], None] = lambda purged: None
        """Set by the protocol; see OpenTable."""
        self.on_delete_pending: Callable[[FileKey], None] = lambda directory: None
        """Set by the protocol; see OpenTable."""
        self.deliver: Callable[[int, bytes], None] = lambda worker, message: None
        """Set by the process room: pass a message to another worker's on_message."""
        self.on_keep: Callable[[bytes], bool] = lambda client_guid: False
        """Set by the process room: called when this worker starts to keep a durable open of a client, so that the
        client's next connection is steered here. Returns whether `on_release` must be called for it."""
        self.on_release: Callable[[bytes], None] = lambda client_guid: None
        """Set by the process room: called when this worker no longer keeps an open of the client."""

    def _number(self) -> int:
        # Unique among all workers of this server, and ascending within one.
        self._next += 1
        return self._me[0] << 56 | (self._me[1] & 0xFF) << 48 | self._next

    def _decide(self, file: FileKey, request: Request) -> Decision:
        now = self._clock.monotonic()
        settings, me, state = self._settings, self._me, self._state

        def run(record: Record, locks_of: Callable[[str], LockView]) -> Decision:
            if state is not None and keeps_more(record, request):
                state.make_room()
            return decide(record, request, locks_of, now, settings, me)

        decision = self._store.update(file, run)
        if decision.locks:
            self.lock_meter.follow(decision)
        if state is not None:
            self.retries.do(partial(state.note, file, decision))
        return decision

    def _run(self, file: FileKey, request: Request) -> Result | None:
        """Decide and carry out a request that never waits. Returns its result. Raises NtStatusError."""
        decision = self._decide(file, request)
        self._apply(file, decision)
        if decision.status:
            raise NtStatusError(decision.status)
        return decision.result

    def _start(
        self, file: FileKey, waiter_id: int, request: Request, finish: Callable[[Result | Encoded], T],
        undo: Callable[[], object] = _nothing, finish_late: Callable[[Result | Encoded], T] | None = None,
    ) -> Future[T]:
        """Decide on an operation that may wait. `finish_late` replaces `finish` where the operation had to wait."""
        decision = self._decide(file, request)
        future: Future[T]
        if decision.status:
            future = Future.failed(NtStatusError(decision.status))
        elif decision.result is not None:
            future = _future_of(finish, decision.result)
        else:
            future = Future()
            # The answer may be among the actions of this same decision, so register the waiter first.
            self._waiting[waiter_id] = _Waiting(file, future, finish_late or finish, undo)
            future.on_cancel = partial(self._forget, waiter_id)
        self._apply(file, decision)
        return future

    def _forget(self, waiter_id: int) -> None:
        self.retries.do(partial(self._forget_now, waiter_id))

    def _forget_now(self, waiter_id: int) -> None:
        waiting = self._waiting.get(waiter_id)
        if waiting is None:
            return
        decision = self._decide(waiting.file, requests.Forget(waiter_id))
        if decision.result:
            del self._waiting[waiter_id]
        # Otherwise the answer is in an outbox: _waiting keeps the waiter, and a success is undone when it arrives.
        self._apply(waiting.file, decision)

    def _apply(self, file: FileKey, decision: Decision) -> None:
        if self._kernel_opens:
            self.kernel_sync.update_leases(file)
        if decision.deadline:
            self._arm(file, decision.deadline)
        for action in decision.actions:
            if isinstance(action, requests.Purged):  # first, because those who waited for it look at the disk then
                self._carry_out(file, action)
        for worker, _ in decision.doorbells:
            self.deliver(worker, DOORBELL.pack(*file))
        for action in decision.actions:
            if not isinstance(action, requests.Purged):
                self._carry_out(file, action)

    def _carry_out(self, file: FileKey, action: Action) -> None:
        if isinstance(action, requests.Notify):
            self._notify(file, action)
        elif isinstance(action, requests.Purged):
            self._purged(file, action)
        elif isinstance(action, requests.DeletePending):
            self.on_delete_pending(file)
        elif isinstance(action, requests.Overdue):
            self._expire(file)
        elif isinstance(action, requests.Reclaimed):
            self.kernel_sync.closed(action.open_id)
            handle = self._take_handle(action.open_id)
            if handle is not None:
                ref = OpenRef(file, action.stream, action.open_id)
                self.on_purge(PurgedOpen(ref, action.share, action.path, CloseOutcome(False), handle))
        else:
            waiting = self._waiting.pop(action.waiter_id, None)
            if waiting is None:
                return
            if isinstance(action, requests.Failed):
                waiting.future.set_error(NtStatusError(action.status))
            elif waiting.future.done:
                # The Future was cancelled before the answer arrived.
                with suppress(NtStatusError):
                    self.retries.do(waiting.undo)
            else:
                try:
                    result = waiting.finish(action.result)
                except NtStatusError as error:
                    waiting.future.set_error(error)
                else:
                    waiting.future.set_result(result)

    def _notify(self, file: FileKey, action: requests.Notify) -> None:
        notice = BreakNotice(
            client_guid=action.client_guid, session_id=action.session_id, open_ids=action.open_ids,
            oplock_level=action.oplock_level, lease_key=action.lease_key, current_state=action.current,
            new_state=action.new, epoch=action.epoch, ack_required=action.acknowledge,
        )  # fmt: skip
        if not self.on_break(notice):
            self.retries.do(partial(self._run, file, requests.Unreachable(action.holder)))

    def _purged(self, file: FileKey, action: requests.Purged) -> None:
        self.retries.do(
            partial(self.indexes.leave, file, action.open_id, action.lease, action.create_guid, action.client_guid)
        )
        self.kernel_sync.closed(action.open_id)
        self.on_purge(PurgedOpen(
            OpenRef(file, action.stream, action.open_id), action.share, action.path,
            CloseOutcome(action.delete, action.whole_file), self._take_handle(action.open_id),
        ))  # fmt: skip

    def _arm(self, file: FileKey, deadline: float) -> None:
        armed = self._timers.get(file)
        if armed is not None:
            if armed[0] <= deadline:
                return
            armed[1].cancel()
        delay = max(0.0, deadline - self._clock.monotonic())
        self._timers[file] = (deadline, self._clock.call_later(delay, partial(self._expire, file)))

    def _expire(self, file: FileKey) -> None:
        self._timers.pop(file, None)
        if self._store.peek(file) is not None:
            self.retries.do(partial(self._run, file, requests.Expire()))

    def on_message(self, message: bytes) -> None:
        """Carry out what another worker decided for this one. `message`: a DOORBELL that names the file."""
        device, inode = DOORBELL.unpack(message)
        file = (device, inode)
        self.retries.do(partial(self._run, file, requests.TakeOutbox()))

    def _take_handle(self, open_id: int) -> object:
        kept = self._handles.pop(open_id, None)
        if kept is None:
            return None
        handle, client_guid, told = kept
        if told:
            self.on_release(client_guid)
        return handle

    # -------------------------------------------------------------------------------------- what KernelSync asks for

    def local_process(self, file: FileKey, open_id: int, left: int) -> None:
        """Break the lease or oplock of an open to `left` (R, W, H), because a local process opens the file."""
        self._apply(file, self._decide(file, requests.LocalProcess(open_id, left)))

    def limit_grant(self, file: FileKey, open_id: int, left: int, known: int) -> LimitGrantResult:
        """Reduce the caching of a new open to `left`, because the kernel granted a weaker lease. Returns (state that
        remains, whether it is being broken); see requests.LimitGrant. Raises NtStatusError."""
        limited = self._run(file, requests.LimitGrant(open_id, left, known))
        assert isinstance(limited, LimitGrantResult)
        return limited

    def locks_of(self, file: FileKey, open_id: int) -> list[Lock]:
        """The byte-range locks of an open, oldest first. Raises NtStatusError."""
        locks = self._run(file, requests.LocksOf(open_id))
        assert isinstance(locks, list)
        return locks

    def drop_locks(self, ref: OpenRef, asked: tuple[tuple[int, int, bool], ...]) -> None:
        """Release (offset, length, exclusive) locks that the table granted and the kernel refused."""
        ranges = tuple((offset, length) for offset, length, _ in asked)
        self.retries.do(partial(self._run, ref.file, requests.DropLocks(ref.open_id, ranges)))


def _future_of(finish: Callable[[Result | Encoded], T], result: Result) -> Future[T]:
    try:
        return Future.of(finish(result))
    except NtStatusError as error:
        return Future.failed(error)
