# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions on opens that outlive their connection or the server: disconnect, reconnect, resiliency, adoption (MS-SMB2
3.3.5.9.7, 3.3.5.9.12, 3.3.5.15.9, 3.3.7.1)."""
from __future__ import annotations

from ksmbd.oplock import caching, durable
from ksmbd.oplock.context import GRANTED, Context
from ksmbd.oplock.locks import make_lock
from ksmbd.oplock.record import RESILIENT, holder_key
from ksmbd.oplock.requests import (
    Adopt,
    Disconnect,
    LeaseContext,
    MakeResilient,
    OpenResult,
    Reclaimed,
    Reconnect,
    ReconnectResult,
    Refused,
)
from ksmbd.smb.constants import LEASE_FLAG_PARENT_LEASE_KEY_SET, OPLOCK_LEVEL_LEASE, OPLOCK_LEVEL_NONE


def make_resilient(context: Context, request: MakeResilient) -> bool:
    """Make an open resilient: it is kept when its connection ends, whatever it caches (MS-SMB2 3.3.5.15.9)."""
    entry = context.entry(request.open_id)
    context.record.opens[entry.open_id] = entry._replace(durable=RESILIENT, timeout=request.timeout)
    return True


def disconnect(context: Context, request: Disconnect) -> bool:
    """Mark an open as disconnected if it is to be kept for its client (MS-SMB2 3.3.7.1). Returns whether it is."""
    entry = context.entry(request.open_id)
    if not durable.outlives_connection(entry, context.record.holder_of(entry)):
        return False
    deadline = context.now + entry.timeout / 1000
    context.record.opens[entry.open_id] = entry._replace(connected=False, deadline=deadline)
    context.wake_at(deadline)
    context.retry_needed = True
    return True


def reconnect(context: Context, request: Reconnect) -> ReconnectResult:
    """Give a kept open to its client, which has reconnected (MS-SMB2 3.3.5.9.7, 3.3.5.9.12). Raises Refused."""
    entry = context.record.opens.get(request.open_id)
    holder = context.record.holder_of(entry) if entry is not None else None
    status = durable.check_reconnect(entry, holder, request)
    if status or entry is None:
        raise Refused(status)
    worker, epoch = context.me
    if (entry.worker, entry.epoch) != context.me:
        context.emit((entry.worker, entry.epoch), Reclaimed(entry.open_id, entry.stream, entry.share, entry.path))
    entry = entry._replace(
        connected=True, deadline=0.0, worker=worker, epoch=epoch, session_id=request.session_id,
        client_guid=request.client_guid,
    )  # fmt: skip
    context.record.opens[entry.open_id] = entry
    level = OPLOCK_LEVEL_NONE
    lease: LeaseContext | None = None
    if holder is not None and holder.is_lease:
        level = OPLOCK_LEVEL_LEASE
        lease = LeaseContext(holder.key, holder.state, holder.version, holder.flags & LEASE_FLAG_PARENT_LEASE_KEY_SET,
                         holder.parent_key, holder.epoch)  # fmt: skip
    elif holder is not None:
        level = caching.STATE_LEVELS[holder.state]
    return ReconnectResult(entry, OpenResult(level, lease, entry.durable, entry.persistent, entry.timeout))


def adopt(context: Context, request: Adopt) -> bool:
    """Add persistent opens from the state directory. Each waits for its client, as if it had just been
    disconnected."""
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
        # No client can acknowledge a break of the previous server, so the state that it asked for holds.
        left = holder.state & holder.required if holder.breaking else holder.state
        record.holders[holder_key(holder)] = holder._replace(state=left, breaking=False, requested=0, required=0)
    record.delete_pending |= request.delete_pending
    record.deleted_links |= request.deleted_links
    for stream, offset, length, exclusive, open_id, number in request.locks:
        if open_id in record.opens:
            context.locks(stream).add(make_lock(offset, length, exclusive, open_id, number))
    return GRANTED
