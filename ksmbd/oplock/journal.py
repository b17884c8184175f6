# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes what a decision changed in a file's record and locks, so that a shared store need not write or read a record
with thousands of opens or locks as a whole each time.

A journal is a sequence of pieces; a piece is a marshalled list of changes, which are small tuples. Applied in order to
an empty record, the pieces give the record. marshal is safe here because the data never crosses a trust boundary (see
Record.encode).
"""
from __future__ import annotations

import marshal
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ksmbd.oplock.locks import Lock, LockOverlay, LockSet
from ksmbd.oplock.record import Holder, OpenEntry, Record, Waiter, holder_key

OPEN: Final = "o"
CLOSED: Final = "c"
HOLDER: Final = "h"
HOLDER_GONE: Final = "g"
WAITER: Final = "w"
WAITER_GONE: Final = "v"
DELETED: Final = "d"
SENT: Final = "x"
OUTBOX: Final = "y"
LOCKED: Final = "l"
UNLOCKED: Final = "u"
LOCKS_GONE: Final = "e"

PIECE: Final = 1900
"""Bytes of a piece at most, so that two fit on a page of LMDB; a single change may be longer."""
TOGETHER: Final = 40
"""Locks in one change at most."""
LOCK: Final = struct.Struct("<QQ?QQ")
"""first, length, exclusive, open id, number."""
NUMBER: Final = struct.Struct("<QQ")
"""open id, number."""

Change = tuple[Any, ...]
Locks = dict[str, LockSet]
"""Stream -> its byte-range locks; streams without locks are left out."""


def changes(old: Record, new: Record) -> list[Change]:
    """The changes from `old` to `new`, without the serial."""
    found: list[Change] = []
    for open_id, entry in new.opens.changes_since(old.opens):
        found.append((OPEN, tuple(entry)) if entry is not None else (CLOSED, open_id))
    if new.holders != old.holders:
        for key, holder in new.holders.items():
            if old.holders.get(key) is not holder:
                found.append((HOLDER, tuple(holder)))
        found += [(HOLDER_GONE, key) for key in old.holders if key not in new.holders]
    if new.waiters != old.waiters:
        left = {waiter.waiter_id for waiter in new.waiters}
        known = {waiter.waiter_id for waiter in old.waiters}
        found += [(WAITER_GONE, number) for number in known if number not in left]
        found += [(WAITER, tuple(waiter)) for waiter in new.waiters if waiter.waiter_id not in known]
    if new.delete_pending != old.delete_pending or new.deleted_links != old.deleted_links:
        found.append((DELETED, new.delete_pending, new.deleted_links))
    if new.outbox != old.outbox:
        count = len(old.outbox)
        if new.outbox[:count] == old.outbox:
            found += [(SENT, item) for item in new.outbox[count:]]
        else:
            found.append((OUTBOX, []))
            found += [(SENT, item) for item in new.outbox]
    return found


def lock_changes(stream: str, overlay: LockOverlay) -> list[Change]:
    """The changes that a decision makes to the locks of a stream."""
    found: list[Change] = [(LOCKS_GONE, stream, open_id) for open_id in overlay.dropped]
    gone = [lock for lock in overlay.removed if lock.open_id not in overlay.dropped]
    for start in range(0, len(gone), TOGETHER * 2):
        some = gone[start : start + TOGETHER * 2]
        found.append((UNLOCKED, stream, b"".join([NUMBER.pack(lock.open_id, lock.number) for lock in some])))
    return found + _locked(stream, list(overlay.added.values()))


def _locked(stream: str, locks: Sequence[Lock]) -> list[Change]:
    found: list[Change] = []
    for start in range(0, len(locks), TOGETHER):
        packed = b"".join([
            LOCK.pack(lock.first, lock.last - lock.first + 1, lock.exclusive, lock.open_id, lock.number)
            for lock in locks[start : start + TOGETHER]
        ])  # fmt: skip
        found.append((LOCKED, stream, packed))
    return found


def everything(record: Record, locks: Locks) -> list[Change]:
    """The changes that make a whole record from an empty one."""
    found = changes(Record(), record)
    for stream, held in locks.items():
        for open_id in held.owners():
            found += _locked(stream, held.of_open(open_id))
    return found


def size(record: Record, locks: Locks) -> int:
    """The number of opens, holders, waiters, actions and locks in a record, as `weight` counts them."""
    held = sum(held.count for held in locks.values())
    return len(record.opens) + len(record.holders) + len(record.waiters) + len(record.outbox) + held


def weight(change: Change) -> int:
    """The number of things that a change adds or removes."""
    kind = change[0]
    if kind == LOCKED:
        return len(change[2]) // LOCK.size
    return len(change[2]) // NUMBER.size if kind == UNLOCKED else 1


def pieces(found: list[Change]) -> Iterator[bytes]:
    """Encode changes as pieces of at most PIECE bytes."""
    whole = marshal.dumps(found)
    if len(whole) <= PIECE:
        yield whole
        return
    some: list[Change] = []
    length = 0
    for change in found:
        more = len(marshal.dumps(change))
        if some and length + more > PIECE:
            yield marshal.dumps(some)
            some = []
            length = 0
        some.append(change)
        length += more
    if some:
        yield marshal.dumps(some)


def apply(piece: bytes, record: Record, locks: Locks) -> None:
    """Apply the changes of a piece to a record and its locks."""
    for change in marshal.loads(piece):  # noqa: S302 - our own bytes
        kind = change[0]
        if kind == OPEN:
            record.opens[change[1][0]] = OpenEntry._make(change[1])
        elif kind == CLOSED:
            del record.opens[change[1]]
        elif kind == HOLDER:
            holder = Holder._make(change[1])
            record.holders[holder_key(holder)] = holder
        elif kind == HOLDER_GONE:
            del record.holders[change[1]]
        elif kind == WAITER:
            record.waiters.append(Waiter._make(change[1]))
        elif kind == WAITER_GONE:
            record.waiters[:] = [waiter for waiter in record.waiters if waiter.waiter_id != change[1]]
        elif kind == DELETED:
            record.delete_pending, record.deleted_links = change[1:]
        elif kind == SENT:
            record.outbox.append(change[1])
        elif kind == OUTBOX:
            record.outbox = change[1]
        else:
            _apply_locks(change, locks)


def _apply_locks(change: Change, locks: Locks) -> None:
    kind, stream, what = change
    held = locks.get(stream)
    if held is None:
        held = locks[stream] = LockSet()
    if kind == LOCKED:
        held.add_all([
            Lock(first, first + length - 1, exclusive, open_id, number)
            for first, length, exclusive, open_id, number in LOCK.iter_unpack(what)
        ])  # fmt: skip
    elif kind == UNLOCKED:
        held.remove_all([held.find(open_id, number) for open_id, number in NUMBER.iter_unpack(what)])
    else:
        held.drop_open(what)
    if not held.count:
        del locks[stream]


def apply_overlays(decided: dict[str, LockOverlay], locks: Locks) -> None:
    """Apply a decision's changes of locks."""
    for stream, overlay in decided.items():
        held = locks.get(stream)
        if held is None:
            held = locks[stream] = LockSet()
        held.apply(overlay)
        if not held.count:
            del locks[stream]


def view_changes(stream: str, overlay: LockOverlay, opens: Iterable[int]) -> list[Change]:
    """The changes that make all locks of a stream, as a decision leaves them."""
    found: list[Change] = []
    for open_id in opens:
        if overlay.count_of(open_id):
            found += _locked(stream, overlay.of_open(open_id))
    return found
