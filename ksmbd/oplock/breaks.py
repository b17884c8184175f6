# SPDX-License-Identifier: GPL-2.0-or-later
"""Breaks oplocks and leases (MS-FSA 2.1.4.12, MS-SMB2 3.3.4.6, 3.3.4.7, 3.3.5.22), and removes opens.

Both are in one module because they call each other: a break whose client is not connected removes its durable opens,
and an open that is closed with a deletion breaks the leases of others.
"""
from __future__ import annotations

from typing import Final

from ksmbd.oplock import caching, local
from ksmbd.oplock.caching import Input, holders_of_others, step
from ksmbd.oplock.context import GRANTED, WAIT, Context
from ksmbd.oplock.record import RESILIENT, H, Holder, OpenEntry, R, Record, W, holder_key
from ksmbd.oplock.requests import (
    Acknowledge,
    Break,
    CloseResult,
    DeletePending,
    DirectoryChanged,
    Failed,
    Notify,
    Overdue,
    Purged,
    Refused,
    Unreachable,
)
from ksmbd.smb.constants import OPLOCK_LEVEL_NONE
from ksmbd.smb.status import (
    STATUS_FILE_CLOSED,
    STATUS_FILE_NOT_AVAILABLE,
    STATUS_INVALID_OPLOCK_PROTOCOL,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_RANGE_NOT_LOCKED,
)

CLOSED_STATUS: Final = {
    "open": STATUS_FILE_CLOSED,
    "break": STATUS_FILE_CLOSED,
    "delete": STATUS_FILE_CLOSED,
    "rename": STATUS_FILE_CLOSED,
    "move with folder": STATUS_FILE_CLOSED,
    "replace": STATUS_FILE_CLOSED,
    "lock": STATUS_RANGE_NOT_LOCKED,
}
"""The status of a waiting operation, by its name, when the open that it acts through is closed."""


def set_holder(context: Context, holder: Holder) -> None:
    """Store a holder's new state in the record. An oplock of level none is removed; a lease without state stays."""
    record = context.record
    key = holder_key(holder)
    old = record.holders.get(key)
    if old is None or old.state & ~holder.state or (old.breaking and not holder.breaking):
        context.retry_needed = True
    if holder.is_lease or holder.state or holder.breaking:
        record.holders[key] = holder
    else:
        record.holders.pop(key, None)


def notify(context: Context, holder: Holder, notice: caching.Notice) -> None:
    """Emit the break notification to the worker that has the client's connection."""
    connected = [entry for entry in context.record.opens_of(holder) if entry.connected]
    last = connected[-1]
    context.emit(
        (last.worker, last.epoch),
        Notify(
            holder=holder_key(holder),
            client_guid=last.client_guid,
            session_id=last.session_id,
            open_ids=tuple(entry.open_id for entry in connected),
            oplock_level=caching.STATE_LEVELS.get(notice.new, OPLOCK_LEVEL_NONE),
            lease_key=holder.key,
            current=notice.current,
            new=notice.new,
            epoch=notice.epoch if holder.version > 1 else 0,
            acknowledge=notice.acknowledge,
        ),
    )


def break_holder(context: Context, holder: Holder, left: int, opening: bool = False) -> bool:
    """Break a holder to `left` (R, W, H). Returns False where its client is not connected, so that there is no
    acknowledgment to wait for.

    In that case the holder's durable opens are removed. A persistent or resilient open stays: with `opening`, the new
    open is refused (STATUS_FILE_NOT_AVAILABLE); otherwise the client finds less caching when it reconnects. With
    `opening`, what another worker has to delete is removed by that worker, and the new open waits for it."""
    opens = context.record.opens_of(holder)
    if not any(entry.connected for entry in opens):
        if any(entry.persistent or entry.durable == RESILIENT for entry in opens):
            if opening:
                raise Refused(STATUS_FILE_NOT_AVAILABLE)
            set_holder(context, holder._replace(state=holder.state & left))
            return False
        if opening and any(entry.delete_on_close and (entry.worker, entry.epoch) != context.me for entry in opens):
            for entry in opens:
                overdue(context, entry)
            return True
        for entry in opens:
            purge(context, entry)
        return False
    seconds = context.settings.break_timeout
    if opens[0].kernel:
        left = local.backed(context.record, left)
        seconds = min(seconds, context.settings.lease_break_time)
    made = step(holder, Input.BREAK, left, context.now + seconds)
    if made.holder != holder:
        set_holder(context, made.holder)
        context.wake_at(made.holder.deadline)
    if made.notice is not None:
        notify(context, made.holder, made.notice)
    return True


def break_others(context: Context, stream: str, entry: OpenEntry | None, lose: int) -> bool:
    """Break `lose` (R, W, H) of all other holders of a stream; `entry` is the open that causes this. Returns whether a
    holder must still acknowledge the loss of W or H."""
    wait = False
    for holder in holders_of_others(context.record, stream, entry):
        left = holder.state & ~lose
        if lose & R:
            left = 0
        if left != holder.state and holder_key(holder) in context.record.holders and not break_holder(
            context, holder, left
        ):
            continue
        wait |= bool(holder.state & lose & (H | W))
    return wait


def purge(context: Context, entry: OpenEntry) -> None:
    """Remove an open without a CLOSE, and tell the worker that has it to close the file."""
    closed = remove_open(context, entry)
    if closed.delete:
        context.gone.add((entry.link, "" if closed.whole_file else entry.stream))
    purged = Purged(
        open_id=entry.open_id,
        stream=entry.stream,
        share=entry.share,
        path=entry.path,
        delete=closed.delete,
        whole_file=closed.whole_file,
        lease=closed.lease,
        create_guid=entry.create_guid,
        client_guid=entry.client_guid,
    )
    context.emit((entry.worker, entry.epoch), purged)


def overdue(context: Context, entry: OpenEntry) -> None:
    """End the time of a disconnected open, so that the worker that has it purges it at once."""
    if entry.deadline > context.now:
        context.record.opens[entry.open_id] = entry._replace(deadline=context.now)
        context.emit((entry.worker, entry.epoch), Overdue())


def remove_open(context: Context, entry: OpenEntry) -> CloseResult:
    """Remove an open with its locks and its oplock, and its lease if no other open shares it (MS-FSA 2.1.5.5)."""
    record = context.record
    context.retry_needed = True
    holder = record.holder_of(entry)
    del record.opens[entry.open_id]
    ended: tuple[bytes, bytes] | None = None
    if holder is not None and not record.opens_of(holder):
        del record.holders[holder_key(holder)]
        if holder.is_lease:
            ended = (holder.client_guid, holder.key)
    locks = context.locks(entry.stream)
    if locks.count:
        locks.drop_open(entry.open_id)
    if record.waiters:
        for waiter in [waiter for waiter in record.waiters if waiter.open_id == entry.open_id]:
            record.waiters.remove(waiter)
            context.emit((waiter.worker, waiter.epoch), Failed(waiter.waiter_id, CLOSED_STATUS[waiter.operation]))
    if entry.delete_on_close:
        record.mark_deleted(entry)
        if record.opens:
            break_others(context, entry.stream, entry, H)
    if record.deleted_links and entry.is_directory:
        for worker in {(other.worker, other.epoch) for other in record.opens.values()} - {context.me}:
            context.emit(worker, DeletePending())
    delete = whole = False
    if record.deleted_links or record.delete_pending:
        delete, whole = delete_at_end(record, entry)
    kept = bool(entry.durable or entry.persistent)
    return CloseResult(delete, whole, ended, entry.create_guid, entry.client_guid, kept)


def delete_at_end(record: Record, entry: OpenEntry) -> tuple[bool, bool]:
    """What must be deleted after an open was removed (MS-FSA 2.1.5.5): (whether anything, whether the name that it was
    opened by). Opens by other names of the file do not keep that name."""
    others = record.opens.values()
    link = entry.link
    whole = link in record.deleted_links and (
        entry.unlinks or (entry.posix and entry.delete_on_close and not entry.stream)
        or all(other.link != link for other in others)
    )  # fmt: skip
    if whole:
        record.deleted_links -= {link}
    delete = entry.stream in record.delete_pending and all(other.stream != entry.stream for other in others)
    if delete:
        record.delete_pending -= {entry.stream}
    if not others:
        record.deleted_links, record.delete_pending = frozenset(), frozenset()
    return whole or delete, whole


def break_caching(context: Context, request: Break, retried: bool) -> bool | None:
    """Break what others cache before a change through an open (MS-FSA 2.1.4.12). The change waits for acknowledgments
    of the loss of W or H, and not for the loss of R."""
    entry = context.entry(request.open_id)
    wait = break_others(context, entry.stream, entry, request.lose)
    own = context.record.holders.get(entry.open_id)
    if own is not None and own.state == R and request.lose & R:
        # A level II oplock, unlike a lease, is also broken by writes and locks of its own open (MS-FSA 2.1.4.12).
        break_holder(context, own, 0)
    return WAIT if wait and request.lose & (H | W) else GRANTED


def acknowledge(context: Context, request: Acknowledge) -> int:
    """Process a break acknowledgment (MS-SMB2 3.3.5.22). Returns the state that the holder has now. Raises Refused."""
    holder = context.record.holders.get(request.holder)
    if holder is None:
        is_lease = isinstance(request.holder, tuple)
        raise Refused(STATUS_OBJECT_NAME_NOT_FOUND if is_lease else STATUS_INVALID_OPLOCK_PROTOCOL)
    deadline = context.now + context.settings.break_timeout
    made = step(holder, Input.ACKNOWLEDGE, request.state, deadline)
    set_holder(context, made.holder)
    context.wake_at(made.holder.deadline)
    if made.notice is not None:
        notify(context, holder, made.notice)
    if made.status:
        raise Refused(made.status)
    return request.state


def unreachable(context: Context, request: Unreachable) -> bool:
    """Expire a holder whose client has no channel left, and purge its disconnected opens, except persistent ones."""
    holder = context.record.holders.get(request.holder)
    if holder is not None:
        opens = context.record.opens_of(holder)
        set_holder(context, step(holder, Input.EXPIRE).holder)
        for entry in opens:
            if not entry.connected and not entry.persistent:
                purge(context, entry)
    return GRANTED


def directory_changed(context: Context, request: DirectoryChanged) -> bool:
    """Break all leases on the directory, except the one whose key the change named. The change does not wait."""
    for holder in list(context.record.holders.values()):
        own = holder.key == request.parent_key and holder.client_guid == request.client_guid
        if holder.is_lease and holder.state and not (own and request.parent_key):
            break_holder(context, holder, 0)
    return GRANTED
