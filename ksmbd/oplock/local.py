# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel lets clients cache beside local processes, and which byte-range locks it is told of. Pure.

With `kernel oplocks = yes` a client may cache what a lease of the kernel watches over (fcntl(2), F_SETLEASE):

    write caching       a write lease: this descriptor is the only one of the file
    read, handle        a read lease: nobody has the file open for writing, the holder itself neither
    none                no lease

So beside an open that writes nobody caches anything, not even a level II oplock; a break that would leave that leaves
nothing. An open's place in this is in OpenEntry.kernel: 0 on other shares.

Byte-range locks of SMB stack and never merge; those of the kernel are one kind a byte. What the kernel is told of an
open's locks is therefore computed anew wherever something changed: for writing where an exclusive lock is, else for
reading where a shared one is. Locks of no length, and bytes from 2**63 on, exist for SMB alone.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ksmbd.oplock.locks import LockSet
from ksmbd.oplock.record import H, Holder, OpenEntry, Record, W
from ksmbd.smb.ports import NO_LEASE, READ_LEASE, READ_LOCK, UNLOCKED, WRITE_LEASE, WRITE_LOCK

WATCHED: Final = 1
"""OpenEntry.kernel: the open is on a share with `kernel oplocks = yes`."""
WRITER: Final = 2
"""OpenEntry.kernel: its descriptor can write."""

LARGEST: Final = (1 << 63) - 1
"""The last byte that the kernel can lock."""


def lease_for(state: int) -> int:
    """The kernel's lease that must stand behind a caching state."""
    if state & W:
        return WRITE_LEASE
    return READ_LEASE if state else NO_LEASE


def state_for(state: int, lease: int) -> int:
    """What remains of a caching state with this lease of the kernel."""
    if lease == WRITE_LEASE:
        return state
    return state & ~W if lease == READ_LEASE else 0


def backed(record: Record, state: int, kernel: int = 0) -> int:
    """What of a state the kernel can watch over beside the opens of the record and one more with `kernel`."""
    if state & W or not state:
        return state
    return 0 if writes(record, kernel) else state


def writes(record: Record, kernel: int = 0) -> bool:
    """Whether one of the record's opens can write, or one more with `kernel`."""
    return bool(kernel & WRITER) or any(entry.kernel & WRITER for entry in record.opens.values())


def break_for_descriptor(holder: Holder, entry: OpenEntry, left: int, wait: bool) -> tuple[int, bool]:
    """What an open takes from a holder that the kernel watches over, where the rules of SMB leave `left`: all of it, if
    its descriptor can write."""
    if not entry.kernel & WRITER or not left or left & W:
        return left, wait
    return 0, wait or holder.breaking or bool(holder.state & (W | H))


def segments(held: Sequence[LockSet], first: int, last: int) -> list[tuple[int, int, int]]:
    """What the kernel is to know of the bytes from `first` to `last`, where opens with one descriptor have these locks:
    (kind, first, last), in order, without gaps. n log n in the number of locks that begin or end there."""
    last = min(last, LARGEST)
    if first > last:
        return []
    every = exclusive = 0
    events: list[tuple[int, int, int]] = []
    for locks in held:
        if locks.count:
            every += locks.overlapping(first, first)
            exclusive += locks.exclusive(first, first)
            begins, ends, exclusive_begins, exclusive_ends = locks.edges(first, last)
            events += [(place, 1, 0) for place in begins if place > first]
            events += [(place + 1, -1, 0) for place in ends if place < last]
            events += [(place, 0, 1) for place in exclusive_begins if place > first]
            events += [(place + 1, 0, -1) for place in exclusive_ends if place < last]
    events.sort()
    found: list[tuple[int, int, int]] = []
    at = first
    for place, change, exclusive_change in [*events, (last + 1, 0, 0)]:
        if place > at:
            kind = WRITE_LOCK if exclusive else READ_LOCK if every else UNLOCKED
            if found and found[-1][0] == kind:
                found[-1] = (kind, found[-1][1], place - 1)
            else:
                found.append((kind, at, place - 1))
            at = place
        every += change
        exclusive += exclusive_change
    return found


def span(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(offset, length) as (first, last): those that the kernel can know, what touches joined, in order."""
    found: list[tuple[int, int]] = []
    for offset, length in sorted(ranges):
        if length and offset <= LARGEST:
            if found and offset <= found[-1][1] + 1:
                found[-1] = (found[-1][0], max(found[-1][1], offset + length - 1))
            else:
                found.append((offset, offset + length - 1))
    return found
