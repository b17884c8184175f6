# SPDX-License-Identifier: GPL-2.0-or-later
"""decide(record, request) -> Decision: a pure function for everything that can happen to one file's record.

The record passed in is not changed. Nothing here sends, sleeps or reads a clock: the decision returns actions, and the
time comes in as an argument. A store runs decide() atomically. The rules are in the modules that the tables below name.

OPERATIONS has the operations that may have to wait. Each is tried once when it arrives. If it must wait for others, it
is put into the record's waiters. All waiters are tried again, in order, when a break was acknowledged, an open closed,
a lock released or a deadline passed.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from ksmbd.limits import WAITERS_PER_FILE
from ksmbd.oplock.breaks import acknowledge, break_caching, directory_changed, remove_open, unreachable
from ksmbd.oplock.context import WAIT, Context
from ksmbd.oplock.local_breaks import limit_grant, local_process
from ksmbd.oplock.locking import lock, locks_of, unlock
from ksmbd.oplock.locks import LockView
from ksmbd.oplock.opening import open_file
from ksmbd.oplock.reconnects import adopt, disconnect, make_resilient, reconnect
from ksmbd.oplock.record import OpenEntry, Record, Waiter, WorkerTag
from ksmbd.oplock.renames import (
    move_with_folder,
    moved,
    rebase,
    rename,
    rename_stream,
    replace,
    set_delete,
    stream_moved,
)
from ksmbd.oplock.requests import (
    Acknowledge,
    Adopt,
    Break,
    Close,
    CloseResult,
    Decision,
    DirectoryChanged,
    Disconnect,
    Done,
    DropLocks,
    Expire,
    Failed,
    Forget,
    LeaseContext,
    LimitGrant,
    LocalProcess,
    LocksOf,
    MakeResilient,
    Moved,
    MoveWithFolder,
    Open,
    OpenResult,
    Rebase,
    Reconnect,
    Refused,
    Rename,
    RenameStream,
    Replace,
    Request,
    Result,
    SetDelete,
    StreamMoved,
    TakeLocks,
    TakeOutbox,
    Unreachable,
    WaitingRequest,
    WorkerDied,
)
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.upkeep import expire, forget, take_outbox, worker_died
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS


def close(context: Context, request: Close) -> CloseResult:
    """Close an open at its client's request."""
    return remove_open(context, context.entry(request.open_id))


# Any: the request of the kind that stands beside it; `_waiting` and `_at_once` hold each pair to that.
Operation = Callable[[Context, Any, bool], OpenResult | bool | None]
Action = Callable[[Context, Any], Result | None]

W = TypeVar("W", bound=WaitingRequest)
R = TypeVar("R", bound=Request)


def _waiting(
    kind: type[W], name: str, operation: Callable[[Context, W, bool], OpenResult | bool | None]
) -> tuple[type, tuple[str, Operation]]:
    return kind, (name, operation)


def _at_once(kind: type[R], action: Callable[[Context, R], Result | None]) -> tuple[type, Action]:
    return kind, action


OPERATIONS: Final[dict[type, tuple[str, Operation]]] = dict([
    _waiting(Open, "open", open_file),
    _waiting(Break, "break", break_caching),
    _waiting(SetDelete, "delete", set_delete),
    _waiting(Rename, "rename", rename),
    _waiting(RenameStream, "rename stream", rename_stream),
    _waiting(MoveWithFolder, "move with folder", move_with_folder),
    _waiting(Replace, "replace", replace),
    _waiting(TakeLocks, "lock", lock),
])
"""Request type -> (name in Waiter.operation, function), for operations that may have to wait."""

BY_NAME: Final = {name: (kind, operation) for kind, (name, operation) in OPERATIONS.items()}

AT_ONCE: Final[dict[type, Action]] = dict([
    _at_once(Close, close),
    _at_once(Acknowledge, acknowledge),
    _at_once(Unreachable, unreachable),
    _at_once(DirectoryChanged, directory_changed),
    _at_once(DropLocks, unlock),
    _at_once(Forget, forget),
    _at_once(Moved, moved),
    _at_once(Rebase, rebase),
    _at_once(StreamMoved, stream_moved),
    _at_once(Disconnect, disconnect),
    _at_once(MakeResilient, make_resilient),
    _at_once(Reconnect, reconnect),
    _at_once(Expire, expire),
    _at_once(LocalProcess, local_process),
    _at_once(LimitGrant, limit_grant),
    _at_once(LocksOf, locks_of),
    _at_once(Adopt, adopt),
    _at_once(WorkerDied, worker_died),
    _at_once(TakeOutbox, take_outbox),
])
"""Request type -> function, for requests that never wait."""


def exact(value: tuple[object, ...]) -> tuple[object, ...]:
    """A named tuple, and those nested in it, as plain tuples, because marshal encodes no subclasses."""
    return tuple([exact(field) if isinstance(field, tuple) else field for field in value])


def restore(kind: Callable[..., WaitingRequest], arguments: tuple[object, ...]) -> WaitingRequest:
    """Rebuild a request from a waiter's arguments."""
    request = kind(*arguments)
    if isinstance(request, Open):
        lease = request.lease
        return request._replace(
            entry=OpenEntry._make(request.entry), lease=LeaseContext._make(lease) if lease is not None else None
        )
    return request


def retry_waiters(context: Context) -> None:
    """Try all waiters again, in order, until a round changes nothing. After about two rounds Expire continues, so that
    one decision is bounded."""
    record = context.record
    tries = 2 * len(record.waiters) + 64
    while context.retry_needed:
        context.retry_needed = False
        for waiter in record.waiters.copy():
            if waiter not in record.waiters:
                continue
            tries -= 1
            if tries < 0:
                context.wake_at(context.now)
                return
            kind, operation = BY_NAME[waiter.operation]
            tag = (waiter.worker, waiter.epoch)
            try:
                result = operation(context, restore(kind, waiter.arguments), True)
            except Refused as refused:
                record.waiters.remove(waiter)
                context.emit(tag, Failed(waiter.waiter_id, refused.status))
                continue
            if result is not WAIT:
                record.waiters.remove(waiter)
                context.emit(tag, Done(waiter.waiter_id, exact(result) if isinstance(result, tuple) else result))


def decide(
    record: Record,
    request: Request,
    locks_of: Callable[[str], LockView],
    now: float,
    settings: OplockSettings,
    me: WorkerTag,
) -> Decision:
    """Decide on a request of worker `me` at `now` (monotonic seconds). `locks_of` gives the byte-range locks of a
    stream. Never raises: a refusal is in Decision.status."""
    context = Context(record.copy(), locks_of, now, settings, me)
    result: Result | None = WAIT
    status = STATUS_SUCCESS
    kind = type(request)
    try:
        if kind in OPERATIONS:
            name, operation = OPERATIONS[kind]
            result = operation(context, request, False)
            if result is WAIT:
                if len(context.record.waiters) >= WAITERS_PER_FILE.value:
                    raise Refused(STATUS_INSUFFICIENT_RESOURCES)
                waiting = cast("WaitingRequest", request)  # what OPERATIONS has
                open_id = getattr(waiting, "open_id", 0)
                context.record.waiters.append(
                    Waiter(waiting.waiter_id, me[0], me[1], name, open_id, exact(waiting))
                )
        else:
            result = AT_ONCE[kind](context, request)
    except Refused as refused:
        status = refused.status
    if context.record.waiters:
        retry_waiters(context)
    overlays = context.overlays
    if overlays:
        overlays = {stream: overlay for stream, overlay in overlays.items() if overlay.changed}
    return Decision(
        context.record, result, status, context.actions, context.doorbells, overlays, deadline=context.deadline
    )
