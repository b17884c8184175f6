# SPDX-License-Identifier: GPL-2.0-or-later
"""Pure rules for files that local processes use, too: which caching a kernel lease allows, and which kernel locks stand
for SMB's byte-range locks.

With `kernel oplocks = yes`, a client may cache only as much as a kernel lease (fcntl(2), F_SETLEASE) protects:

    write caching            needs a write lease: this is the only open descriptor of the file
    read and handle caching  needs a read lease: no descriptor is open for writing, the holder's own included
    none                     needs no lease

So beside an open that can write, no client caches anything, not even by a level II oplock; a break that would leave
read caching then leaves none. OpenEntry.kernel has an open's flags for this: WATCHED, WRITER; 0 on other shares.

SMB's byte-range locks stack and never merge, while the kernel has one kind of lock per byte. So the kernel's locks are
computed anew for each range that changed: a write lock where an exclusive lock is, else a read lock where a shared one
is. Locks of length 0, and bytes from 2**63 on, exist in SMB only.
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
    """The kernel lease that a caching state needs."""
    if state & W:
        return WRITE_LEASE
    return READ_LEASE if state else NO_LEASE


def state_for(state: int, lease: int) -> int:
    """The part of a caching state that a kernel lease allows."""
    if lease == WRITE_LEASE:
        return state
    return state & ~W if lease == READ_LEASE else 0


def backed(record: Record, state: int, kernel: int = 0) -> int:
    """The part of a caching state for which the kernel can grant a lease, beside the opens of the record and one more
    with the flags `kernel`."""
    if state & W or not state:
        return state
    return 0 if writes(record, kernel) else state


def writes(record: Record, kernel: int = 0) -> bool:
    """Whether one of the record's opens, or one more with the flags `kernel`, has a descriptor that can write."""
    return bool(kernel & WRITER) or any(entry.kernel & WRITER for entry in record.opens.values())


def break_for_descriptor(holder: Holder, entry: OpenEntry, left: int, wait: bool) -> tuple[int, bool]:
    """What an open breaks of a holder on a share with `kernel oplocks`, where SMB's rules leave `left`: (state that is
    left, whether the open waits). Nothing is left if the new descriptor can write."""
    if not entry.kernel & WRITER or not left or left & W:
        return left, wait
    return 0, wait or holder.breaking or bool(holder.state & (W | H))


def segments(held: Sequence[LockSet], first: int, last: int) -> list[tuple[int, int, int]]:
    """The kernel locks for the bytes from `first` to `last`, where `held` are the locks of all opens that share the
    file description: (kind, first, last), in order, without gaps. O(n log n) in the locks that begin or end there."""
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
    """Convert (offset, length) ranges to (first, last), sorted and merged. Ranges that the kernel cannot lock are left
    out."""
    found: list[tuple[int, int]] = []
    for offset, length in sorted(ranges):
        if length and offset <= LARGEST:
            if found and offset <= found[-1][1] + 1:
                found[-1] = (found[-1][0], max(found[-1][1], offset + length - 1))
            else:
                found.append((offset, offset + length - 1))
    return found
