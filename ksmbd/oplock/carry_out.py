# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions of one worker: asked of the store, and carried out. Futures are completed, notices sent through `on_break`,
timers set, other workers told. All rules are in decide and below it."""
from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ksmbd import debug
from ksmbd.oplock import requests
from ksmbd.oplock.again import Again
from ksmbd.oplock.decide import decide
from ksmbd.oplock.indexes import OpenIndexes
from ksmbd.oplock.local_side import LocalSide
from ksmbd.oplock.lock_meter import LockMeter
from ksmbd.oplock.locks import Lock
from ksmbd.oplock.record import Record
from ksmbd.oplock.requests import Action, Decision, Request
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.state import StateDirectory, keeps_more
from ksmbd.oplock.store import Store
from ksmbd.smb.ports import BreakNotice, Clock, CloseOutcome, FileKey, OpenRef, PurgedOpen, Timer
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future

logger = logging.getLogger("ksmbd.oplock")

DOORBELL = struct.Struct("<QQ")
"""The message to another worker: something is in this file's outbox (device, inode)."""


@dataclass(slots=True)
class _Waiting:
    """Somebody in this process waits for an answer."""

    file: FileKey
    future: Future[Any]
    finish: Callable[[Any], Any]
    """Makes the Future's result of the decision's."""
    undo: Callable[[], object]
    """Takes the success back, when nobody wants it any longer."""


def _nothing() -> None:
    return None


class Decisions:
    """What LocalOpenTable does with requests, whatever they are about."""

    def __init__(
        self, store: Store, clock: Clock, settings: OplockSettings | None = None, worker: int = 0, epoch: int = 0,
        state: StateDirectory | None = None,
    ) -> None:
        """`state`: where persistent opens are kept; without it they are granted as durable ones only."""
        self._store = store
        self._state = state
        self._clock = clock
        self._settings = settings or OplockSettings()
        self._me = (worker, epoch)
        self._waiting: dict[int, _Waiting] = {}
        # Adopted locks have numbers of the server before this one, so ours begin with the time.
        self._next = (clock.filetime() // 10_000_000 & 0xFFFFFFFF) << 16
        self._timers: dict[FileKey, tuple[float, Timer]] = {}
        self._handles: dict[int, tuple[Any, bytes, bool]] = {}
        """What is kept with an open, its client, and whether `on_keep` took note of it."""
        self.indexes = OpenIndexes(store)
        self.local = LocalSide(self, store, clock)
        """The opens here that local processes count for; empty without `kernel oplocks` and `posix locking`."""
        self._locals = self.local.opens
        self.lock_meter = LockMeter(self._me)
        self.again = Again(clock)
        """What the store could not do yet, and is to do."""
        self.on_break: Callable[[BreakNotice], bool] = lambda notice: False
        """Set by the protocol; see OpenTable."""
        self.on_purge: Callable[[PurgedOpen], None] = lambda purged: None
        """Set by the protocol; see OpenTable."""
        self.on_doomed: Callable[[FileKey], None] = lambda directory: None
        """Set by the protocol; see OpenTable."""
        self.deliver: Callable[[int, bytes], None] = lambda worker, message: None
        """Set by the process room: pass a message to another worker's on_message."""
        self.on_keep: Callable[[bytes], bool] = lambda client_guid: False
        """Set by the process room: something of this client is kept here, so it had better come back to this worker.
        Whether `on_let_go` is to be called for it."""
        self.on_let_go: Callable[[bytes], None] = lambda client_guid: None
        """The opposite."""

    def _number(self) -> int:
        # Unique among all workers of this server, and growing within one.
        self._next += 1
        return self._me[0] << 56 | (self._me[1] & 0xFF) << 48 | self._next

    def _decide(self, file: FileKey, request: Request) -> Decision:
        now = self._clock.monotonic()
        settings, me, state = self._settings, self._me, self._state

        def run(record: Record, locks_of: Any) -> Decision:
            if state is not None and keeps_more(record, request):
                state.make_room()
            return decide(record, request, locks_of, now, settings, me)

        decision = self._store.update(file, run)
        if decision.locks:
            self.lock_meter.follow(decision)
        if state is not None:
            self.again.do(partial(state.note, file, decision))
        return decision

    def _run(self, file: FileKey, request: Request) -> Any:
        """Decide, carry out, and give the result or raise."""
        decision = self._decide(file, request)
        self._apply(file, decision)
        if decision.status:
            raise NtStatusError(decision.status)
        return decision.result

    def _start(
        self, file: FileKey, waiter_id: int, request: Request, finish: Callable[[Any], Any],
        undo: Callable[[], object] = _nothing, finish_late: Callable[[Any], Any] | None = None,
    ) -> Future[Any]:
        """Decide on an operation that may wait. `finish_late`: instead of `finish`, where it had to."""
        decision = self._decide(file, request)
        future: Future[Any]
        if decision.status:
            future = Future.failed(NtStatusError(decision.status))
        elif decision.result is not None:
            future = _future_of(finish, decision.result)
        else:
            future = Future()
            # The answer may be among this very decision's actions, so be ready for it first.
            self._waiting[waiter_id] = _Waiting(file, future, finish_late or finish, undo)
            future.on_cancel = partial(self._forget, waiter_id)
        self._apply(file, decision)
        return future

    def _forget(self, waiter_id: int) -> None:
        self.again.do(partial(self._forget_now, waiter_id))

    def _forget_now(self, waiter_id: int) -> None:
        waiting = self._waiting.get(waiter_id)
        if waiting is None:
            return
        decision = self._decide(waiting.file, requests.Forget(waiter_id))
        if decision.result:
            del self._waiting[waiter_id]
        # Otherwise the answer is in an outbox: _waiting stays, and a success is undone when it comes.
        self._apply(waiting.file, decision)

    def _apply(self, file: FileKey, decision: Decision) -> None:
        if self._locals:
            self.local.settle(file)
        if decision.deadline:
            self._arm(file, decision.deadline)
        for worker, _ in decision.doorbells:
            self.deliver(worker, DOORBELL.pack(*file))
        for action in decision.actions:
            self._carry_out(file, action)

    def _carry_out(self, file: FileKey, action: Action) -> None:
        if isinstance(action, requests.Notify):
            self._notify(file, action)
        elif isinstance(action, requests.Purged):
            self._purged(file, action)
        elif isinstance(action, requests.Doomed):
            self.on_doomed(file)
        elif isinstance(action, requests.Taken):
            self.local.closed(action.open_id)
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
                # Cancelled while the answer was on its way.
                with suppress(NtStatusError):
                    self.again.do(waiting.undo)
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
        if debug.mask[0] & debug.OPLOCK:
            logger.debug("break of %s: %s", file, notice)
        if not self.on_break(notice):
            self.again.do(partial(self._run, file, requests.Unreachable(action.holder)))

    def _purged(self, file: FileKey, action: requests.Purged) -> None:
        self.again.do(
            partial(self.indexes.leave, file, action.open_id, action.lease, action.create_guid, action.client_guid)
        )
        self.local.closed(action.open_id)
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
            self.again.do(partial(self._run, file, requests.Expire()))

    def on_message(self, message: bytes) -> None:
        """Another worker decided something that this one has to carry out."""
        device, inode = DOORBELL.unpack(message)
        file = (device, inode)
        self.again.do(partial(self._run, file, requests.TakeOutbox()))

    def _take_handle(self, open_id: int) -> Any:
        kept = self._handles.pop(open_id, None)
        if kept is None:
            return None
        handle, client_guid, told = kept
        if told:
            self.on_let_go(client_guid)
        return handle

    # -------------------------------------------------------------------------------------- what LocalSide asks for

    def local_process(self, file: FileKey, open_id: int, left: int) -> None:
        """A local process opens the file: who caches it through this open keeps no more than `left`."""
        self._apply(file, self._decide(file, requests.LocalProcess(open_id, left)))

    def limit_grant(self, file: FileKey, open_id: int, left: int, known: int) -> tuple[int, bool]:
        """The kernel stands behind no more than `left` of what an open was granted; see requests.LimitGrant."""
        state, breaking = self._run(file, requests.LimitGrant(open_id, left, known))
        return int(state), bool(breaking)

    def locks_of(self, file: FileKey, open_id: int) -> list[Lock]:
        """An open's byte-range locks."""
        return [Lock._make(lock) for lock in self._run(file, requests.LocksOf(open_id))]

    def drop_locks(self, ref: OpenRef, asked: tuple[tuple[int, int, bool], ...]) -> None:
        """Take locks back that the kernel has none for."""
        ranges = tuple((offset, length) for offset, length, _ in asked)
        self.again.do(partial(self._run, ref.file, requests.DropLocks(ref.open_id, ranges)))


def _future_of(finish: Callable[[Any], Any], result: Any) -> Future[Any]:
    try:
        return Future.of(finish(result))
    except NtStatusError as error:
        return Future.failed(error)
