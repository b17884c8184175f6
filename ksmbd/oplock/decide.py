# SPDX-License-Identifier: GPL-2.0-or-later
"""decide(record, request) -> Decision: all that can happen to one file's record, as a pure function.

The record passed in is left alone. Nothing here sends, sleeps or looks at a clock: what is to be done comes back as
actions, the time comes in with the Context. A store runs it atomically.

Operations that may have to wait are in OPERATIONS: tried once when they come, put into the record's waiters if others
must give way first, and tried again, in order, whenever something gave way: a break was acknowledged, an open closed, a
lock released, time ran out.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ksmbd.limits import LOCKS_PER_FILE, LOCKS_PER_OPEN, OPENS_PER_FILE, WAITERS_PER_FILE
from ksmbd.oplock import caching, durable, local
from ksmbd.oplock.caching import Input, break_for_open, grantable, holders_of_others, step, survey
from ksmbd.oplock.locks import LockOverlay, LockView, check_range, make_lock, take_locks
from ksmbd.oplock.modes import DATA_ACCESS
from ksmbd.oplock.record import (
    RESILIENT,
    H,
    Holder,
    HolderKey,
    OpenEntry,
    R,
    Record,
    W,
    Waiter,
    WorkerTag,
    holder_key,
)
from ksmbd.oplock.requests import (
    ACTIONS,
    Acknowledge,
    Adopt,
    Break,
    Close,
    CloseResult,
    Curb,
    Decision,
    DirectoryChanged,
    Disconnect,
    Done,
    Doomed,
    DropLocks,
    Expire,
    Failed,
    Forget,
    LeaseAsk,
    LocalProcess,
    LocksOf,
    MakeResilient,
    Moved,
    Notify,
    Open,
    OpenResult,
    Purged,
    Rebase,
    Reconnect,
    Refused,
    Rename,
    Replace,
    SetDelete,
    TakeLocks,
    Taken,
    TakeOutbox,
    Unreachable,
    Vacate,
    WorkerDied,
)
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.share import OVERWRITES, is_stat_open, replace_refused, sharing_violation
from ksmbd.smb.constants import (
    DELETE,
    FILE_READ_DATA,
    FILE_SHARE_DELETE,
    FILE_WRITE_DATA,
    LEASE_FLAG_BREAK_IN_PROGRESS,
    LEASE_FLAG_PARENT_LEASE_KEY_SET,
    OPLOCK_LEVEL_LEASE,
    OPLOCK_LEVEL_NONE,
)
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_DELETE_PENDING,
    STATUS_FILE_CLOSED,
    STATUS_FILE_NOT_AVAILABLE,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_OPLOCK_PROTOCOL,
    STATUS_LOCK_NOT_GRANTED,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_RANGE_NOT_LOCKED,
    STATUS_SHARING_VIOLATION,
    STATUS_SUCCESS,
)

WAIT: Final = None
"""An operation's answer when others must give way first."""

GRANTED: Final = True


@dataclass(slots=True)
class Context:
    """One decision on its way: the record's copy that it may change, and what it wants done."""

    record: Record
    locks_of: Callable[[str], LockView]
    now: float
    settings: OplockSettings
    me: WorkerTag
    actions: list[Any] = field(default_factory=list)
    doorbells: set[WorkerTag] = field(default_factory=set)
    overlays: dict[str, LockOverlay] = field(default_factory=dict)
    deadline: float = 0.0
    gave_way: bool = False
    """Something others may wait for has happened."""

    def locks(self, stream: str) -> LockOverlay:
        """The stream's locks, to be read and changed."""
        overlay = self.overlays.get(stream)
        if overlay is None:
            overlay = self.overlays[stream] = LockOverlay(self.locks_of(stream))
        return overlay

    def entry(self, open_id: int) -> OpenEntry:
        """An open of this record. Refused with FILE_CLOSED where there is none."""
        entry = self.record.opens.get(open_id)
        if entry is None:
            raise Refused(STATUS_FILE_CLOSED)
        return entry

    def emit(self, tag: WorkerTag, action: Any) -> None:
        """Have a worker do something: the one that asked now, others through the outbox."""
        if tag == self.me:
            self.actions.append(action)
        else:
            item = (*tag, type(action).__name__, *action)
            # No more of these than opens, holders and waiters, but for what says the same again.
            if len(action) or item not in self.record.outbox:
                self.record.outbox.append(item)
            self.doorbells.add(tag)

    def wake_at(self, deadline: float) -> None:
        """Ask for Expire at this time."""
        if deadline and (not self.deadline or deadline < self.deadline):
            self.deadline = deadline


# ---------------------------------------------------------------------------------------------------- breaking caches


def set_holder(context: Context, holder: Holder) -> None:
    """Store a holder's new state. An oplock that is gone leaves no trace; a lease without state is still a lease."""
    record = context.record
    key = holder_key(holder)
    old = record.holders.get(key)
    if old is None or old.state & ~holder.state or (old.breaking and not holder.breaking):
        context.gave_way = True
    if holder.is_lease or holder.state or holder.breaking:
        record.holders[key] = holder
    else:
        record.holders.pop(key, None)


def notify(context: Context, holder: Holder, notice: caching.Notice) -> None:
    """Have the break notification sent by the worker that has the client."""
    connected = [entry for entry in context.record.opens_of(holder) if entry.connected]
    last = connected[-1]
    context.emit(
        (last.worker, last.epoch),
        Notify(
            holder_key(holder), last.client_guid, last.session_id, tuple(entry.open_id for entry in connected),
            caching.STATE_LEVELS.get(notice.new, OPLOCK_LEVEL_NONE), holder.key, notice.current, notice.new,
            notice.epoch if holder.version > 1 else 0, notice.acknowledge,
        ),
    )  # fmt: skip


def take_away(context: Context, holder: Holder, left: int, opening: bool = False) -> bool:
    """Break a holder to `left`. False: nobody is there to be told, so nobody has to wait either: durable opens are
    given up then; a persistent or resilient one refuses who opens the file, and learns what it lost when its client is
    back."""
    opens = context.record.opens_of(holder)
    if not any(entry.connected for entry in opens):
        if any(entry.persistent or entry.durable == RESILIENT for entry in opens):
            if opening:
                raise Refused(STATUS_FILE_NOT_AVAILABLE)
            set_holder(context, holder._replace(state=holder.state & left))
            return False
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


def purge(context: Context, entry: OpenEntry) -> None:
    """The table itself ends an open: its owner is told to let the file go."""
    closed = remove_open(context, entry)
    tag = (entry.worker, entry.epoch)
    context.emit(tag, Purged(entry.open_id, entry.stream, entry.share, entry.path, closed.delete, closed.whole_file,
                             closed.lease, entry.create_guid, entry.client_guid))  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- opens


def remove_open(context: Context, entry: OpenEntry) -> CloseResult:
    """Take an open out with its locks, its oplock and its share of a lease (MS-FSA 2.1.5.4)."""
    record = context.record
    context.gave_way = True
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
            context.emit(worker, Doomed())
    delete = whole = False
    if record.deleted_links or record.delete_pending:
        delete, whole = delete_at_end(record, entry)
    kept = bool(entry.durable or entry.persistent)
    return CloseResult(delete, whole, ended, entry.create_guid, entry.client_guid, kept)


def delete_at_end(record: Record, entry: OpenEntry) -> tuple[bool, bool]:
    """What goes with an open that has just been taken out (MS-FSA 2.1.5.5): anything, and then whether it is the name
    that it came by. That is of no concern to opens that came by other names."""
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


def open_file(context: Context, request: Open, retried: bool) -> OpenResult | None:
    """Decide on an open: MS-FSA 2.1.5.1.2 with the order of Windows: break first, then look at share modes."""
    record = context.record
    entry = request.entry
    overwrite = request.disposition in OVERWRITES and not request.created
    access = entry.access | FILE_WRITE_DATA if overwrite else entry.access
    if (record.deleted_links or record.delete_pending) and record.is_deleted(entry):
        raise Refused(STATUS_DELETE_PENDING)
    displace_instance(context, entry)
    own = record.holders.get((entry.client_guid, entry.lease_key)) if entry.lease_key else None
    if own is not None and own.stream != entry.stream:
        own = None
    if not is_stat_open(access):
        again = True
        while again:
            again = wait = False
            violation = sharing_violation(record, entry.stream, access, entry.share_access)
            for holder in list(record.holders.values()):
                if holder.stream != entry.stream or holder is own:
                    continue
                left, holds_up = break_for_open(holder, access, overwrite, violation, retried)
                if entry.kernel and not violation:
                    left, holds_up = local.break_for_descriptor(holder, entry, left, holds_up)
                if left != holder.state and not take_away(context, holder, left, True):
                    again = True
                    break
                wait |= holds_up
            if wait and not again:
                return WAIT
        if violation:
            check_available(record, entry.stream, access, entry.share_access)
            raise Refused(STATUS_SHARING_VIOLATION)
    return grant_open(context, request, own)


def check_available(record: Record, stream: str, access: int, share_access: int) -> None:
    """Where only a persistent open without a client stands in the way, the file is not available for now."""
    if any(entry.persistent and not entry.connected and entry.stream == stream for entry in record.opens.values()):
        raise Refused(STATUS_FILE_NOT_AVAILABLE)


def displace_instance(context: Context, entry: OpenEntry) -> None:
    """An application failed over to another client: its old opens of the share are closed, where the new one's user may
    read the file (MS-SMB2 3.3.5.9.13)."""
    if not entry.app_instance_id:
        return
    for other in list(context.record.opens.values()):
        if (
            other.app_instance_id == entry.app_instance_id and other.client_guid != entry.client_guid
            and other.share.lower() == entry.share.lower()
            and (other.owner == entry.owner or entry.access & FILE_READ_DATA)
        ):  # fmt: skip
            durable.check_instance_version(other, entry)
            purge(context, other)


def grant_open(context: Context, request: Open, own: Holder | None) -> OpenResult:
    """Put the open into the record with what it may cache."""
    record = context.record
    if len(record.opens) >= OPENS_PER_FILE.value:
        raise Refused(STATUS_INSUFFICIENT_RESOURCES)
    settings = context.settings
    entry = request.entry
    lease = request.lease
    seen = survey(record, entry.stream, entry.client_guid, entry.lease_key)
    locked = context.locks(entry.stream).count > 0
    level = OPLOCK_LEVEL_NONE
    answer: LeaseAsk | None = None
    state = 0
    if lease is not None and entry.lease_key:
        granted = grantable(seen, lease.state, True, entry.is_directory, locked)
        if entry.kernel:
            granted = local.backed(record, granted, entry.kernel)
        if own is None:
            own = Holder(
                entry.stream, entry.client_guid, lease.key, 0, granted, False, 0, 0,
                lease.epoch + (1 if granted else 0) & 0xFFFF, lease.version, lease.flags, lease.parent_key, 0.0,
            )  # fmt: skip
        else:
            asked = lease.state & caching.DIRECTORY_LEASES if entry.is_directory else lease.state
            own = caching.upgrade(own, asked, granted)
        record.holders[holder_key(own)] = own
        flags = lease.flags & LEASE_FLAG_PARENT_LEASE_KEY_SET
        if own.breaking:
            flags |= LEASE_FLAG_BREAK_IN_PROGRESS
        level = OPLOCK_LEVEL_LEASE
        state = 0 if own.breaking else own.state
        answer = LeaseAsk(own.key, own.state, own.version, flags, lease.parent_key, own.epoch)
    elif request.oplock_level in caching.LEVEL_STATES and settings.oplocks:
        wanted = caching.LEVEL_STATES[request.oplock_level]
        state = grantable(seen, wanted, False, entry.is_directory, locked) if wanted else 0
        if entry.kernel:
            state = local.backed(record, state, entry.kernel)
        if state:
            level = caching.STATE_LEVELS[state]
            record.holders[entry.open_id] = Holder(
                entry.stream, entry.client_guid, b"", entry.open_id, state, False, 0, 0, 0, 0, 0, b"", 0.0
            )
    kept = durable.granted(request.durable, state, entry.is_directory, settings)
    if kept.version or kept.persistent:
        entry = entry._replace(durable=kept.version, persistent=kept.persistent, timeout=kept.timeout)
    record.opens[entry.open_id] = entry
    if entry.delete_on_close:
        break_others(context, entry.stream, entry, H)
    return OpenResult(level, answer, kept.version, kept.persistent, kept.timeout)


def break_others(context: Context, stream: str, entry: OpenEntry | None, lose: int) -> bool:
    """Take `lose` from all other holders of a stream. Whether one of them has still to give up H or W that is asked."""
    wait = False
    for holder in holders_of_others(context.record, stream, entry):
        left = holder.state & ~lose
        if lose & R:
            left = 0
        if left != holder.state and holder_key(holder) in context.record.holders and not take_away(
            context, holder, left
        ):
            continue
        wait |= bool(holder.state & lose & (H | W))
    return wait


# ------------------------------------------------------------------------- operations of an open on what others cache


def break_caching(context: Context, request: Break, retried: bool) -> bool | None:
    """Before a change through an open. Losing R alone holds nobody up; losing W or H does, until acknowledged."""
    entry = context.entry(request.open_id)
    wait = break_others(context, entry.stream, entry, request.lose)
    own = context.record.holders.get(entry.open_id)
    if own is not None and own.state == R and request.lose & R:
        # A level II oplock, unlike a lease, goes with its own open's writes and locks too (MS-FSA 2.1.4.12).
        take_away(context, own, 0)
    return WAIT if wait and request.lose & (H | W) else GRANTED


def set_delete(context: Context, request: SetDelete, retried: bool) -> bool | None:
    """Mark for deletion, or take the mark off (MS-FSA 2.1.5.15.3)."""
    entry = context.entry(request.open_id)
    if not entry.access & DELETE:
        raise Refused(STATUS_ACCESS_DENIED)
    record = context.record
    if not request.delete:
        if entry.stream:
            record.delete_pending -= {entry.stream}
        else:
            record.deleted_links -= {entry.link}
            record.opens[entry.open_id] = entry._replace(unlinks=False)
        return GRANTED
    if break_others(context, entry.stream, entry, H):
        return WAIT
    record.mark_deleted(entry)
    if (request.posix or entry.posix) and not entry.stream:
        record.opens[entry.open_id] = entry._replace(unlinks=True)
    return GRANTED


def rename(context: Context, request: Rename, retried: bool) -> bool | None:
    """Others must give up their cached handles, and those that are really open must share deletion."""
    entry = context.entry(request.open_id)
    if break_others(context, entry.stream, entry, H):
        return WAIT
    for other in context.record.opens.values():
        if (
            other.open_id != entry.open_id and other.stream == entry.stream and other.access & DATA_ACCESS
            and not other.share_access & FILE_SHARE_DELETE
        ):  # fmt: skip
            raise Refused(STATUS_SHARING_VIOLATION)
    return GRANTED


def vacate(context: Context, request: Vacate, retried: bool) -> bool | None:
    """A file that moves with its folder must not be open; cached handles are called back first."""
    if break_handles(context):
        return WAIT
    if context.record.opens:
        raise Refused(STATUS_ACCESS_DENIED)
    return GRANTED


def break_handles(context: Context) -> bool:
    """Call back all handles that are only cached. Whether one of them is still to be given up."""
    wait = False
    for stream in {entry.stream for entry in context.record.opens.values()}:
        wait |= break_others(context, stream, None, H)
    return wait


def replace(context: Context, request: Replace, retried: bool) -> bool | None:
    """Opens that share deletion go on with a file that has lost its name, as after a deletion with POSIX semantics.

    MS-FSA 2.1.5.15.11 refuses whatever is open with ACCESS_DENIED. The Linux client then deletes the target and tries
    again: it is open still, so that both are lost, the old file and the name. Samba and KSMBD replace as this does."""
    if break_handles(context):
        return WAIT
    if status := replace_refused(context.record, request.link, request.posix):
        raise Refused(status)
    return GRANTED


def lock(context: Context, request: TakeLocks, retried: bool) -> bool | None:
    """All of the locks or none (MS-FSA 2.1.5.8, MS-SMB2 3.3.5.14.2)."""
    entry = context.entry(request.open_id)
    for offset, length, _ in request.elements:
        if status := check_range(offset, length):
            raise Refused(status)
    locks = context.locks(entry.stream)
    held, here = locks.count_of(request.open_id), locks.count
    if len(request.elements) > min(LOCKS_PER_OPEN.value - held, LOCKS_PER_FILE.value - here):
        raise Refused(STATUS_INSUFFICIENT_RESOURCES)
    if not take_locks(locks, request.elements, request.open_id, request.number):
        if request.wait:
            return WAIT
        raise Refused(STATUS_LOCK_NOT_GRANTED)
    # Whoever reads from a cache would not see the lock (MS-FSA 2.1.4.12 for LOCK_CONTROL).
    break_caching(context, Break(0, request.open_id, R), retried)
    return GRANTED


Operation = Callable[[Context, Any, bool], Any]

OPERATIONS: Final[dict[type, tuple[str, Operation]]] = {
    Open: ("open", open_file),
    Break: ("break", break_caching),
    SetDelete: ("delete", set_delete),
    Rename: ("rename", rename),
    Vacate: ("vacate", vacate),
    Replace: ("replace", replace),
    TakeLocks: ("lock", lock),
}
"""What may have to wait."""

BY_NAME: Final = {name: (kind, operation) for kind, (name, operation) in OPERATIONS.items()}

CLOSED_STATUS: Final = {
    "open": STATUS_FILE_CLOSED,
    "break": STATUS_FILE_CLOSED,
    "delete": STATUS_FILE_CLOSED,
    "rename": STATUS_FILE_CLOSED,
    "vacate": STATUS_FILE_CLOSED,
    "replace": STATUS_FILE_CLOSED,
    "lock": STATUS_RANGE_NOT_LOCKED,
}
"""How a waiting operation ends when the open it acts through is closed."""


def plain(value: Any) -> Any:
    """Nested tuples as exact tuples, for the encoding."""
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


def restore(kind: type, arguments: tuple[Any, ...]) -> Any:
    """A request from a waiter's arguments."""
    request = kind(*arguments)
    if isinstance(request, Open):
        lease = request.lease
        return request._replace(
            entry=OpenEntry._make(request.entry), lease=LeaseAsk._make(lease) if lease is not None else None
        )
    return request


def retry_waiters(context: Context) -> None:
    """Try all that waits again, in order, until nothing more gives way; as often as each of many once or twice, then
    Expire goes on with it."""
    record = context.record
    tries = 2 * len(record.waiters) + 64
    while context.gave_way:
        context.gave_way = False
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
                context.emit(tag, Done(waiter.waiter_id, plain(result)))


# ------------------------------------------------------------------------------------------- what is decided at once


def close(context: Context, request: Close) -> CloseResult:
    """The client closes."""
    return remove_open(context, context.entry(request.open_id))


def acknowledge(context: Context, request: Acknowledge) -> int:
    """The state that holds now (MS-SMB2 3.3.5.22)."""
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
    """No channel of the client is left: it caches nothing any longer, and what it left behind is given up."""
    holder = context.record.holders.get(request.holder)
    if holder is not None:
        opens = context.record.opens_of(holder)
        set_holder(context, step(holder, Input.EXPIRE).holder)
        for entry in opens:
            if not entry.connected and not entry.persistent:
                purge(context, entry)
    return GRANTED


def local_process(context: Context, request: LocalProcess) -> bool:
    """The kernel holds up a local process until this holder has given way."""
    entry = context.record.opens.get(request.open_id)
    holder = context.record.holder_of(entry) if entry is not None else None
    if holder is not None and holder.state & ~request.left:
        take_away(context, holder, holder.state & request.left)
    return GRANTED


def curb(context: Context, request: Curb) -> tuple[int, bool]:
    """Less than was granted: the client is told of what it has heard of through other opens, and of nothing else."""
    record = context.record
    entry = context.entry(request.open_id)
    holder = record.holder_of(entry)
    if holder is None:
        return 0, False
    left = local.backed(record, holder.state & request.left)
    if not entry.persistent and not left & H:
        entry = record.opens[entry.open_id] = entry._replace(durable=0, timeout=0)
    known = holder.state & request.known
    if holder.breaking:
        left &= holder.required
    if known & ~left == 0:
        # A break of what the client never had needs no acknowledgment.
        ended = holder._replace(state=left, breaking=False, requested=0, required=0, deadline=0.0)
        set_holder(context, ended)
        return left, False
    holder = holder._replace(state=known | left)
    if holder.breaking:
        # Asked for already: what comes back is no more than this.
        set_holder(context, holder._replace(required=left))
        return holder.state, True
    set_holder(context, holder)
    take_away(context, holder, left)
    now = record.holders.get(holder_key(holder))
    return (now.state, now.breaking) if now is not None else (0, False)


def locks_of(context: Context, request: LocksOf) -> list[Any]:
    """Oldest first."""
    return context.locks(context.entry(request.open_id).stream).of_open(request.open_id)


def directory_changed(context: Context, request: DirectoryChanged) -> bool:
    """All directory leases go but the one through which the change was made; nobody waits for that."""
    for holder in list(context.record.holders.values()):
        own = holder.key == request.parent_key and holder.client_guid == request.client_guid
        if holder.is_lease and holder.state and not (own and request.parent_key):
            take_away(context, holder, 0)
    return GRANTED


def unlock(context: Context, request: DropLocks) -> bool:
    """In order; the first that is no range or not locked ends it, those before stay unlocked (MS-SMB2 3.3.5.14.1)."""
    entry = context.entry(request.open_id)
    locks = context.locks(entry.stream)
    for offset, length in request.elements:
        if status := check_range(offset, length):
            raise Refused(status)
        if not locks.take_out(offset, offset + length - 1, request.open_id):
            raise Refused(STATUS_RANGE_NOT_LOCKED)
        context.gave_way = True
    return GRANTED


def forget(context: Context, request: Forget) -> bool:
    """A waiter was cancelled. False: it is done already, its answer is on the way."""
    waiters = context.record.waiters
    for waiter in waiters:
        if waiter.waiter_id == request.waiter_id and (waiter.worker, waiter.epoch) == context.me:
            waiters.remove(waiter)
            context.gave_way = True
            return True
    return False


def moved(context: Context, request: Moved) -> bool:
    """All opens that came by the name have the new one; a path is told to those of the same share alone."""
    record = context.record
    opens = record.opens
    mover = context.entry(request.open_id)
    old = mover.link
    for open_id, entry in opens.items():
        if entry.link == old:
            path = request.path if entry.share == mover.share else entry.path
            opens[open_id] = entry._replace(path=path, parent=request.parent or entry.parent, name=request.name)
    if old in record.deleted_links:
        # Somebody in another worker was quicker: the name is to go, whatever it is called.
        record.deleted_links = record.deleted_links - {old} | {opens[request.open_id].link}
    return GRANTED


def rebase(context: Context, request: Rebase) -> bool:
    """All opens of the share that have a path below the folder."""
    opens = context.record.opens
    above = request.old + "\\"
    for open_id, entry in opens.items():
        if entry.share == request.share and entry.path.startswith(above):
            opens[open_id] = entry._replace(path=request.new + entry.path[len(request.old) :])
    return GRANTED


def make_resilient(context: Context, request: MakeResilient) -> bool:
    """Keep the open when its connection ends, whatever it caches; a persistent one is that already."""
    entry = context.entry(request.open_id)
    context.record.opens[entry.open_id] = entry._replace(durable=RESILIENT, timeout=request.timeout)
    return True


def disconnect(context: Context, request: Disconnect) -> bool:
    """Whether the open is kept for its client to come back (MS-SMB2 3.3.7.1)."""
    entry = context.entry(request.open_id)
    if not durable.keeps(entry, context.record.holder_of(entry)):
        return False
    deadline = context.now + entry.timeout / 1000
    context.record.opens[entry.open_id] = entry._replace(connected=False, deadline=deadline)
    context.wake_at(deadline)
    context.gave_way = True
    return True


def reconnect(context: Context, request: Reconnect) -> tuple[OpenEntry, OpenResult]:
    """The client is back."""
    entry = context.record.opens.get(request.open_id)
    holder = context.record.holder_of(entry) if entry is not None else None
    status = durable.check_reconnect(entry, holder, request)
    if status or entry is None:
        raise Refused(status)
    worker, epoch = context.me
    if (entry.worker, entry.epoch) != context.me:
        context.emit((entry.worker, entry.epoch), Taken(entry.open_id, entry.stream, entry.share, entry.path))
    entry = entry._replace(
        connected=True, deadline=0.0, worker=worker, epoch=epoch, session_id=request.session_id,
        client_guid=request.client_guid,
    )  # fmt: skip
    context.record.opens[entry.open_id] = entry
    level = OPLOCK_LEVEL_NONE
    lease: LeaseAsk | None = None
    if holder is not None and holder.is_lease:
        level = OPLOCK_LEVEL_LEASE
        lease = LeaseAsk(holder.key, holder.state, holder.version, holder.flags & LEASE_FLAG_PARENT_LEASE_KEY_SET,
                         holder.parent_key, holder.epoch)  # fmt: skip
    elif holder is not None:
        level = caching.STATE_LEVELS[holder.state]
    return entry, OpenResult(level, lease, entry.durable, entry.persistent, entry.timeout)


def expire(context: Context, request: Expire) -> bool:
    """Take what was not acknowledged in time, and the durable opens nobody came back for."""
    record = context.record
    context.gave_way = bool(record.waiters)
    for holder in list(record.holders.values()):
        if holder.deadline:
            if holder.deadline <= context.now:
                set_holder(context, step(holder, Input.EXPIRE).holder)
            else:
                context.wake_at(holder.deadline)
    for entry in list(record.opens.values()):
        if entry.deadline:
            if entry.deadline <= context.now:
                purge(context, entry)
            else:
                context.wake_at(entry.deadline)
    return GRANTED


def worker_died(context: Context, request: WorkerDied) -> None:
    """Remove what a dead worker had; a persistent open waits for its client, the others are gone with their files."""
    record = context.record
    tag = (request.worker, request.epoch)
    record.waiters[:] = [waiter for waiter in record.waiters if (waiter.worker, waiter.epoch) != tag]
    orphans = [entry for entry in record.opens.values() if (entry.worker, entry.epoch) == tag]
    # Nothing may be sent to who is dead, so all opens change hands before the first one goes.
    for number, entry in enumerate(orphans):
        deadline = entry.deadline or context.now + entry.timeout / 1000
        orphans[number] = record.opens[entry.open_id] = entry._replace(
            worker=context.me[0], epoch=context.me[1], connected=False,
            deadline=deadline if entry.persistent else entry.deadline,
        )  # fmt: skip
        if entry.persistent:
            context.wake_at(deadline)
    for entry in orphans:
        context.gave_way = True
        if not entry.persistent and entry.open_id in record.opens:
            purge(context, entry)
    # The dead one's timers went with it.
    for deadline in [holder.deadline for holder in record.holders.values()]:
        context.wake_at(deadline)
    for deadline in [entry.deadline for entry in record.opens.values()]:
        context.wake_at(deadline)
    # What it was still to be told is gone with it, but for opens that were ended: they are in indexes over all files,
    # which somebody has to clear.
    record.outbox[:] = [
        item if (item[0], item[1]) != tag else (*context.me, *item[2:])
        for item in record.outbox if (item[0], item[1]) != tag or item[2] == Purged.__name__
    ]  # fmt: skip
    # What it decided and could not say any more.
    context.doorbells.update((item[0], item[1]) for item in record.outbox if (item[0], item[1]) != context.me)
    if any((item[0], item[1]) == context.me for item in record.outbox):
        own = context.actions
        context.actions = []
        take_outbox(context, TakeOutbox())
        context.actions += own


def adopt(context: Context, request: Adopt) -> bool:
    """Take in persistent opens from the disk; each waits for its client as one does that was disconnected just now."""
    record = context.record
    record.serial = max(record.serial, request.serial + 1)
    worker, epoch = context.me
    for entry in request.opens:
        deadline = context.now + entry.timeout / 1000
        record.opens[entry.open_id] = entry._replace(
            worker=worker, epoch=epoch, connected=False, deadline=deadline
        )
        context.wake_at(deadline)
    for holder in request.holders:
        # Nobody can acknowledge a break of the server that ended: what was asked for is taken.
        left = holder.state & holder.required if holder.breaking else holder.state
        record.holders[holder_key(holder)] = holder._replace(state=left, breaking=False, requested=0, required=0)
    record.delete_pending |= request.delete_pending
    record.deleted_links |= request.deleted_links
    for stream, offset, length, exclusive, open_id, number in request.locks:
        if open_id in record.opens:
            context.locks(stream).add(make_lock(offset, length, exclusive, open_id, number))
    return GRANTED


def take_outbox(context: Context, request: TakeOutbox) -> bool:
    """What others decided for the worker that asks."""
    rest = []
    for item in context.record.outbox:
        if (item[0], item[1]) == context.me:
            context.actions.append(ACTION_TYPES[item[2]](*item[3:]))
        else:
            rest.append(item)
    context.record.outbox = rest
    return GRANTED


ACTION_TYPES: Final[dict[str, Callable[..., Any]]] = {kind.__name__: kind for kind in ACTIONS}

AT_ONCE: Final[dict[type, Callable[[Context, Any], Any]]] = {
    Close: close,
    Acknowledge: acknowledge,
    Unreachable: unreachable,
    DirectoryChanged: directory_changed,
    DropLocks: unlock,
    Forget: forget,
    Moved: moved,
    Rebase: rebase,
    Disconnect: disconnect,
    MakeResilient: make_resilient,
    Reconnect: reconnect,
    Expire: expire,
    LocalProcess: local_process,
    Curb: curb,
    LocksOf: locks_of,
    Adopt: adopt,
    WorkerDied: worker_died,
    TakeOutbox: take_outbox,
}
"""What never waits."""


def decide(
    record: Record,
    request: Any,
    locks_of: Callable[[str], LockView],
    now: float,
    settings: OplockSettings,
    me: WorkerTag,
) -> Decision:
    """What `request`, made by worker `me` at `now` (monotonic seconds), makes of `record`."""
    context = Context(record.copy(), locks_of, now, settings, me)
    result: Any = WAIT
    status = STATUS_SUCCESS
    kind = type(request)
    try:
        if kind in OPERATIONS:
            name, operation = OPERATIONS[kind]
            result = operation(context, request, False)
            if result is WAIT:
                if len(context.record.waiters) >= WAITERS_PER_FILE.value:
                    raise Refused(STATUS_INSUFFICIENT_RESOURCES)
                open_id = getattr(request, "open_id", 0)
                context.record.waiters.append(
                    Waiter(request.waiter_id, me[0], me[1], name, open_id, plain(request))
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
        context.record, result, status, context.actions, context.doorbells, overlays, context.deadline
    )


def held(record: Record, key: HolderKey) -> int:
    """The caching state of a holder, for reports and tests; 0 where there is none."""
    holder = record.holders.get(key)
    return holder.state if holder is not None else 0

