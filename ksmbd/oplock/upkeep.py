# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions that no client requests: expired deadlines, dead workers, messages between workers, cancelled waits."""
from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ksmbd.oplock.breaks import purge, set_holder
from ksmbd.oplock.caching import Input, step
from ksmbd.oplock.context import GRANTED, Context
from ksmbd.oplock.requests import ACTIONS, Action, Expire, Forget, Purged, TakeOutbox, WorkerDied

ACTION_TYPES: Final[dict[str, Callable[..., Action]]] = {kind.__name__: kind for kind in ACTIONS}


def forget(context: Context, request: Forget) -> bool:
    """Remove a cancelled waiter. False: it is already done, and its result is on the way."""
    waiters = context.record.waiters
    for waiter in waiters:
        if waiter.waiter_id == request.waiter_id and (waiter.worker, waiter.epoch) == context.me:
            waiters.remove(waiter)
            context.retry_needed = True
            return True
    return False


def expire(context: Context, request: Expire) -> bool:
    """End breaks that were not acknowledged in time, and purge durable opens that were not reclaimed in time."""
    record = context.record
    context.retry_needed = bool(record.waiters)
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
    """Remove a dead worker's waiters and opens. A persistent open stays and waits for its client."""
    record = context.record
    tag = (request.worker, request.epoch)
    record.waiters[:] = [waiter for waiter in record.waiters if (waiter.worker, waiter.epoch) != tag]
    orphans = [entry for entry in record.opens.values() if (entry.worker, entry.epoch) == tag]
    # No action may go to the dead worker, so all its opens are taken over before the first one is purged.
    for number, entry in enumerate(orphans):
        deadline = entry.deadline or context.now + entry.timeout / 1000
        orphans[number] = record.opens[entry.open_id] = entry._replace(
            worker=context.me[0], epoch=context.me[1], connected=False,
            deadline=deadline if entry.persistent else entry.deadline,
        )  # fmt: skip
        if entry.persistent:
            context.wake_at(deadline)
    for entry in orphans:
        context.retry_needed = True
        if not entry.persistent and entry.open_id in record.opens:
            purge(context, entry)
    # The dead worker's timers are lost: set the deadlines again.
    for deadline in [holder.deadline for holder in record.holders.values()]:
        context.wake_at(deadline)
    for deadline in [entry.deadline for entry in record.opens.values()]:
        context.wake_at(deadline)
    # Drop the actions for the dead worker, except Purged: those opens must still be removed from the indexes.
    record.outbox[:] = [
        item if (item[0], item[1]) != tag else (*context.me, *item[2:])
        for item in record.outbox if (item[0], item[1]) != tag or item[2] == Purged.__name__
    ]  # fmt: skip
    # The dead worker may not have rung for its last decisions: ring for all actions in the outbox.
    context.doorbells.update((item[0], item[1]) for item in record.outbox if (item[0], item[1]) != context.me)
    if any((item[0], item[1]) == context.me for item in record.outbox):
        own = context.actions
        context.actions = []
        take_outbox(context, TakeOutbox())
        context.actions += own


def take_outbox(context: Context, request: TakeOutbox) -> bool:
    """Take the actions of the asking worker out of the outbox."""
    rest = []
    for item in context.record.outbox:
        if (item[0], item[1]) == context.me:
            context.actions.append(ACTION_TYPES[item[2]](*item[3:]))
        else:
            rest.append(item)
    context.record.outbox = rest
    return GRANTED
