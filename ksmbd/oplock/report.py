# SPDX-License-Identifier: GPL-2.0-or-later
"""What the open table knows of one open, for lists of the administrator."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ksmbd.oplock.locks import Lock
from ksmbd.oplock.record import H, OpenEntry, R, W, WorkerTag
from ksmbd.oplock.store import Store
from ksmbd.smb.ports import OpenRef


@dataclass(frozen=True, slots=True)
class OpenReport:
    """The state of one open in the table."""

    share: str
    caching: int
    """The caching that its oplock or lease allows now: of R, W, H."""
    is_lease: bool
    lease_key: bytes
    breaking: bool
    delete_pending: bool
    locks: int
    """How many byte-range locks it has."""


def report(store: Store, ref: OpenRef) -> OpenReport | None:
    """The state of an open; None where the table has no such open. Raises StoreError."""
    record = store.peek(ref.file)
    entry = record.opens.get(ref.open_id) if record is not None else None
    if record is None or entry is None:
        return None
    holder = record.holder_of(entry)
    locks = 0
    if store.lock_count(ref.file, entry.stream):
        locks = store.locks_of(ref.file)(entry.stream).count_of(ref.open_id)
    return OpenReport(
        share=entry.share,
        caching=holder.state if holder is not None else 0,
        is_lease=bool(entry.lease_key),
        lease_key=entry.lease_key,
        breaking=holder is not None and holder.breaking,
        delete_pending=record.is_deleted(entry),
        locks=locks,
    )


def locks_of(store: Store, ref: OpenRef) -> list[Lock]:
    """The byte-range locks of an open, oldest first. Raises StoreError."""
    return store.locks_of(ref.file)(ref.stream).of_open(ref.open_id)


def caching_text(state: int) -> str:
    """A caching state as letters: of `RWH`."""
    return "".join(letter for letter, bit in (("R", R), ("W", W), ("H", H)) if state & bit)


def kept_opens(store: Store, me: WorkerTag) -> Iterator[tuple[OpenRef, OpenEntry] | None]:
    """The opens that the worker `me` keeps for disconnected clients; None for each file without any, so that its time
    counts, too. Raises StoreError."""
    for file in store.files():
        record = store.peek(file)
        found = list(record.opens.values()) if record is not None else []
        kept = [entry for entry in found if not entry.connected and (entry.worker, entry.epoch) == me]
        yield from [(OpenRef(file, entry.stream, entry.open_id), entry) for entry in kept]
        if not kept:
            yield None
