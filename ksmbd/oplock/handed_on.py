# SPDX-License-Identifier: GPL-2.0-or-later
"""What a server that stops in order hands on to the next one: durable opens whose clients may come back, with their
leases, oplocks and locks. Persistent opens are in the state directory at any time (state.py)."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from ksmbd.oplock.record import OpenEntry, Record, WorkerTag, holder_key
from ksmbd.oplock.requests import Adopt
from ksmbd.oplock.state_records import Unreadable, pack, stored_of, unpack
from ksmbd.oplock.store import Store
from ksmbd.smb.ports import FileKey

DURABLE_VERSIONS: Final = (1, 2)
Kept = tuple[FileKey, Adopt]


def gather(store: Store, me: WorkerTag, handle_of: Callable[[int], bytes]) -> Iterator[Kept]:
    """The disconnected durable opens of this worker, by file. `handle_of(open id)` is File.handle; b"" where the open
    has no file. Raises StoreError."""
    for file in store.files():
        record = store.peek(file)
        if record is None:
            continue
        opens = [
            entry._replace(handle=handle_of(entry.open_id) or entry.handle) for entry in record.opens.values()
            if (entry.worker, entry.epoch) == me and _is_handed_on(entry, record)
        ]  # fmt: skip
        if opens:
            yield file, _adopt(store, file, record, opens)


def _is_handed_on(entry: OpenEntry, record: Record) -> bool:
    return (
        entry.durable in DURABLE_VERSIONS and not entry.connected and not entry.persistent
        and not entry.delete_on_close and not record.is_deleted(entry)
    )  # fmt: skip


def _adopt(store: Store, file: FileKey, record: Record, opens: list[OpenEntry]) -> Adopt:
    holders = {holder_key(holder): holder for entry in opens if (holder := record.holder_of(entry)) is not None}
    locks_of = store.locks_of(file)
    locks = [
        (entry.stream, lock.first, lock.last - lock.first + 1, lock.exclusive, lock.open_id, lock.number)
        for entry in opens for lock in locks_of(entry.stream).of_open(entry.open_id)
    ]  # fmt: skip
    # Deadlines are of this machine's clock since its start.
    return Adopt(
        record.serial, tuple([entry._replace(deadline=0.0) for entry in opens]),
        tuple([holder._replace(deadline=0.0) for holder in holders.values()]), frozenset(), frozenset(), tuple(locks),
    )  # fmt: skip


def encode(kept: list[Kept], now: int) -> bytes:
    """Encode opens that are handed on; `now`: the time of the stop, FILETIME."""
    rows = [
        (
            *file, adopt.serial, [tuple(entry) for entry in adopt.opens], [tuple(holder) for holder in adopt.holders],
            adopt.locks,
        ) for file, adopt in kept
    ]  # fmt: skip
    return pack((now, rows))


def decode(data: bytes, now: int) -> list[Kept]:
    """The opens that `encode` was given, without those whose time is over. `now`: FILETIME. Raises Unreadable."""
    fields = unpack(data)
    try:
        stopped, rows = fields
        gone = max(0, now - stopped) // 10_000  # milliseconds
        kept = [_row_of(*row) for row in rows]
    except (ValueError, TypeError) as error:
        raise Unreadable("damaged") from error
    return [(file, left) for file, adopt in kept if (left := _without_late(adopt, gone)).opens]


def _row_of(
    device: int, inode: int, serial: int, opens: list[Any], holders: list[Any], locks: tuple[Any, ...]
) -> Kept:
    stored = stored_of((serial, opens, holders, [], []))
    checked = [
        (str(stream), int(first), int(length), bool(exclusive), int(open_id), int(number))
        for stream, first, length, exclusive, open_id, number in locks
    ]
    none: frozenset[Any] = frozenset()
    return (int(device), int(inode)), Adopt(stored.serial, stored.opens, stored.holders, none, none, tuple(checked))


def _without_late(adopt: Adopt, gone: int) -> Adopt:
    opens = tuple([entry for entry in adopt.opens if gone < entry.timeout])
    if len(opens) == len(adopt.opens):
        return adopt
    record = Record({entry.open_id: entry for entry in opens})
    holders = tuple([holder for holder in adopt.holders if record.opens_of(holder)])
    return adopt._replace(opens=opens, holders=holders)
