# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of local processes, as decisions (`kernel oplocks`)."""
from __future__ import annotations

from ksmbd.oplock import local
from ksmbd.oplock.breaks import break_holder, set_holder
from ksmbd.oplock.context import GRANTED, Context
from ksmbd.oplock.record import H, holder_key
from ksmbd.oplock.requests import LimitGrant, LimitGrantResult, LocalProcess


def local_process(context: Context, request: LocalProcess) -> bool:
    """The kernel holds up a local process until this holder has given way."""
    entry = context.record.opens.get(request.open_id)
    holder = context.record.holder_of(entry) if entry is not None else None
    if holder is not None and holder.state & ~request.left:
        break_holder(context, holder, holder.state & request.left)
    return GRANTED


def limit_grant(context: Context, request: LimitGrant) -> LimitGrantResult:
    """Less than was granted: the client is told of what it has heard of through other opens, and of nothing else."""
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
        # Asked for already: what comes back is no more than this.
        set_holder(context, holder._replace(required=left))
        return LimitGrantResult(holder.state, True)
    set_holder(context, holder)
    break_holder(context, holder, left)
    now = record.holders.get(holder_key(holder))
    return LimitGrantResult(now.state, now.breaking) if now is not None else LimitGrantResult(0, False)
