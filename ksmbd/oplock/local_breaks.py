# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions on what the kernel reports about local processes (`kernel oplocks`)."""
from __future__ import annotations

from ksmbd.oplock import local
from ksmbd.oplock.breaks import break_holder, set_holder
from ksmbd.oplock.context import GRANTED, Context
from ksmbd.oplock.record import H, holder_key
from ksmbd.oplock.requests import LimitGrant, LimitGrantResult, LocalProcess


def local_process(context: Context, request: LocalProcess) -> bool:
    """Break the holder of an open to `left`, because the kernel lets a local process wait for that."""
    entry = context.record.opens.get(request.open_id)
    holder = context.record.holder_of(entry) if entry is not None else None
    if holder is not None and holder.state & ~request.left:
        break_holder(context, holder, holder.state & request.left)
    return GRANTED


def limit_grant(context: Context, request: LimitGrant) -> LimitGrantResult:
    """Reduce the caching of a new open to what the kernel lease allows. Only the part that the client already knows of,
    through other opens, is broken by a notification."""
    record = context.record
    entry = context.entry(request.open_id)
    holder = record.holder_of(entry)
    if holder is None:
        return LimitGrantResult(0, False)
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
        return LimitGrantResult(left, False)
    holder = holder._replace(state=known | left)
    if holder.breaking:
        # A break is in progress: its acknowledgment must not leave more than this.
        set_holder(context, holder._replace(required=left))
        return LimitGrantResult(holder.state, True)
    set_holder(context, holder)
    break_holder(context, holder, left)
    now = record.holders.get(holder_key(holder))
    return LimitGrantResult(now.state, now.breaking) if now is not None else LimitGrantResult(0, False)
