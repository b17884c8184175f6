# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions on LOCK requests: lock and unlock byte ranges (MS-FSA 2.1.5.8, 2.1.5.9; MS-SMB2 3.3.5.14)."""
from __future__ import annotations

from ksmbd.limits import LOCKS_PER_FILE, LOCKS_PER_OPEN
from ksmbd.oplock.breaks import break_caching
from ksmbd.oplock.context import GRANTED, WAIT, Context
from ksmbd.oplock.locks import Lock, check_range, take_locks
from ksmbd.oplock.record import R
from ksmbd.oplock.requests import Break, DropLocks, LocksOf, Refused, TakeLocks
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, STATUS_LOCK_NOT_GRANTED, STATUS_RANGE_NOT_LOCKED


def lock(context: Context, request: TakeLocks, retried: bool) -> bool | None:
    """Take all of the locks or none (MS-FSA 2.1.5.8, MS-SMB2 3.3.5.14.2). Raises Refused."""
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
    # A client that reads from its cache would not notice the lock (MS-FSA 2.1.4.12 for LOCK_CONTROL).
    break_caching(context, Break(0, request.open_id, R), retried)
    return GRANTED


def unlock(context: Context, request: DropLocks) -> bool:
    """Unlock in order. The first range that is invalid or not locked raises Refused; those before it stay unlocked
    (MS-SMB2 3.3.5.14.1)."""
    entry = context.entry(request.open_id)
    locks = context.locks(entry.stream)
    for offset, length in request.elements:
        if status := check_range(offset, length):
            raise Refused(status)
        if not locks.take_out(offset, offset + length - 1, request.open_id):
            raise Refused(STATUS_RANGE_NOT_LOCKED)
        context.retry_needed = True
    return GRANTED


def locks_of(context: Context, request: LocksOf) -> list[Lock]:
    """The locks of an open, oldest first."""
    return context.locks(context.entry(request.open_id).stream).of_open(request.open_id)
