# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way through `decide` for what most opens are: the first of a file that nobody else has open, closed again
while it is the only one.

Nobody is there to be asked, told or made to wait, so neither copy nor context nor actions are needed. The rules are
those of `decide`: where the short way applies its answer is the same, which
tests/unit/oplock/test_short.py holds both against each other for.
"""
from __future__ import annotations

from typing import Final

from ksmbd.oplock import durable
from ksmbd.oplock.caching import LEVEL_STATES, STATE_LEVELS, Survey, grantable
from ksmbd.oplock.record import Holder, OpenEntry, Record
from ksmbd.oplock.requests import CloseResult, LeaseAsk, OpenResult
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb.constants import LEASE_FLAG_PARENT_LEASE_KEY_SET, OPLOCK_LEVEL_LEASE, OPLOCK_LEVEL_NONE

_NOBODY: Final = Survey()
_NOTHING: Final = OpenResult(OPLOCK_LEVEL_NONE, None, 0, False, 0)


def first_open(
    entry: OpenEntry, oplock_level: int, lease: LeaseAsk | None, wanted: tuple[int, int, bool] | None,
    settings: OplockSettings,
) -> tuple[Record, OpenResult] | None:  # fmt: skip
    """The record of a file that had none, once `entry` is open, and what that is answered: what `decide` makes of
    requests.Open on an empty record without locks. `wanted` is the durable request.

    None for an open beside local processes and for one that is to be persistent: they go the long way."""
    if entry.kernel or (wanted is not None and wanted[2]):
        return None
    record = Record()
    record.serial = 1
    level, state, answer = OPLOCK_LEVEL_NONE, 0, None
    if lease is not None and entry.lease_key:
        state = grantable(_NOBODY, lease.state, True, entry.is_directory, False)
        epoch = lease.epoch + (1 if state else 0) & 0xFFFF
        record.holders[entry.client_guid, lease.key] = Holder(
            entry.stream, entry.client_guid, lease.key, 0, state, False, 0, 0, epoch, lease.version, lease.flags,
            lease.parent_key, 0.0,
        )  # fmt: skip
        level = OPLOCK_LEVEL_LEASE
        flags = lease.flags & LEASE_FLAG_PARENT_LEASE_KEY_SET
        answer = LeaseAsk(lease.key, state, lease.version, flags, lease.parent_key, epoch)
    elif oplock_level and settings.oplocks:
        state = grantable(_NOBODY, LEVEL_STATES.get(oplock_level, 0), False, entry.is_directory, False)
        if state:
            level = STATE_LEVELS[state]
            record.holders[entry.open_id] = Holder(
                entry.stream, entry.client_guid, b"", entry.open_id, state, False, 0, 0, 0, 0, 0, b"", 0.0
            )
    if wanted is not None:
        kept = durable.granted(wanted, state, entry.is_directory, settings)
        if kept.version:
            entry = entry._replace(durable=kept.version, timeout=kept.timeout)
            record.opens[entry.open_id] = entry
            return record, OpenResult(level, answer, kept.version, False, kept.timeout)
    record.opens[entry.open_id] = entry
    return record, _NOTHING if level == OPLOCK_LEVEL_NONE else OpenResult(level, answer, 0, False, 0)


def last_close(record: Record, open_id: int) -> CloseResult | None:
    """What `decide` answers to Close of an open without locks that is all there is in `record`: nothing is left of it
    then. None where there is anything else, and the long way is to be gone."""
    entry = record.opens.get(open_id)
    if entry is None or len(record.opens) > 1 or record.waiters or record.outbox or entry.persistent:
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
    return CloseResult(delete, whole, ended, entry.create_guid, entry.client_guid, entry.durable > 0)
