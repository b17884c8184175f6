# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast path of `decide` for the most common case: the first open of a file, and its close while it is the only one.

There is no other open to check, break or wait for, so neither a copy of the record nor a Context nor actions are
needed. The rules are those of `decide`; tests/unit/oplock/test_fast_path.py compares the results of both.
"""
from __future__ import annotations

from typing import Final

from ksmbd.oplock.grant import ALONE, grant
from ksmbd.oplock.record import OpenEntry, Record, holder_key
from ksmbd.oplock.requests import CloseResult, LeaseContext, OpenResult
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb.constants import OPLOCK_LEVEL_NONE

_new: Final = tuple.__new__
_NOTHING: Final = OpenResult(OPLOCK_LEVEL_NONE, None, 0, False, 0)


def first_open(
    entry: OpenEntry, oplock_level: int, lease: LeaseContext | None, wanted: tuple[int, int, bool] | None,
    settings: OplockSettings,
) -> tuple[Record, OpenResult] | None:  # fmt: skip
    """The new record of a file without one, with the open `entry`, and the result for the client: the same as `decide`
    makes of requests.Open on an empty record. `wanted` is the durable request.

    None for opens that `decide` must handle: on shares with `kernel oplocks`, and persistent ones."""
    if entry.kernel or (wanted is not None and wanted[2]):
        return None
    if lease is None and wanted is None and not oplock_level:
        record = Record({entry.open_id: entry})
        record.serial = 1
        return record, _NOTHING
    granted = grant(entry, oplock_level, lease, wanted, settings, ALONE)
    record = Record({entry.open_id: granted.entry})
    record.serial = 1
    if granted.holder is not None:
        record.holders[holder_key(granted.holder)] = granted.holder
    return record, granted.result


def last_close(record: Record, open_id: int) -> CloseResult | None:
    """The result of closing an open without locks that is the only content of `record`; the record is empty then. None
    where the record has more, so that `decide` must handle the close."""
    entry = record.opens.only(open_id)
    if entry is None or record.waiters or record.outbox or entry.persistent:
        return None
    ended = None
    if record.holders:
        holder = record.holder_of(entry)
        if holder is None or len(record.holders) > 1:
            return None
        if holder.key:
            ended = (holder.client_guid, holder.key)
    delete = whole = False
    if entry.delete_on_close or record.deleted_links or record.delete_pending:
        whole = entry.link in record.deleted_links or (entry.delete_on_close and not entry.stream)
        delete = whole or entry.delete_on_close or entry.stream in record.delete_pending
    return _new(CloseResult, (delete, whole, ended, entry.create_guid, entry.client_guid, entry.durable > 0))
