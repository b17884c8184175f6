# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way through `decide` for what most opens are: the first of a file that nobody else has open, closed again
while it is the only one.

Nobody is there to be asked, told or made to wait, so neither copy nor context nor actions are needed. The rules are
those of `decide`: where the short way applies its answer is the same, which
tests/unit/oplock/test_short.py holds both against each other for.
"""
from __future__ import annotations

from typing import Final

from ksmbd.oplock.caching import LEVEL_STATES, STATE_LEVELS, Survey, grantable
from ksmbd.oplock.record import Holder, OpenEntry, Record
from ksmbd.oplock.requests import CloseResult
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb.constants import OPLOCK_LEVEL_NONE

_NOBODY: Final = Survey()


def first_open(entry: OpenEntry, oplock_level: int, settings: OplockSettings) -> tuple[Record, int]:
    """The record of a file that had none, once `entry` is open with neither lease nor durable request nor application
    instance; and the oplock level that is granted. What `decide` makes of Open on an empty record without locks."""
    record = Record()
    record.serial = 1
    record.opens[entry.open_id] = entry
    if oplock_level and settings.oplocks:
        state = grantable(_NOBODY, LEVEL_STATES.get(oplock_level, 0), False, entry.is_directory, False)
        if state:
            record.holders[entry.open_id] = Holder(
                entry.stream, entry.client_guid, b"", entry.open_id, state, False, 0, 0, 0, 0, 0, b"", 0.0
            )
            return record, STATE_LEVELS[state]
    return record, OPLOCK_LEVEL_NONE


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
    if entry.delete_on_close or record.delete_pending:
        whole = "" in record.delete_pending or (entry.delete_on_close and not entry.stream)
        delete = whole or entry.delete_on_close or entry.stream in record.delete_pending
    return CloseResult(delete, whole, ended, entry.create_guid, entry.client_guid, entry.durable > 0)
