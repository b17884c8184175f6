# SPDX-License-Identifier: GPL-2.0-or-later
"""What an open may cache, and how long it is kept: MS-FSA 2.1.5.18, MS-SMB2 3.3.5.9.6, 3.3.5.9.8, 3.3.5.9.10.

One pure function, for the first open of a file (`short`) and for one beside others (`opening`).
"""
from __future__ import annotations

from typing import NamedTuple

from ksmbd.oplock import durable
from ksmbd.oplock.caching import DIRECTORY_LEASES, LEVEL_STATES, STATE_LEVELS, Survey, grantable, upgrade
from ksmbd.oplock.record import Holder, OpenEntry, W
from ksmbd.oplock.requests import LeaseAsk, OpenResult
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb.constants import (
    LEASE_FLAG_BREAK_IN_PROGRESS,
    LEASE_FLAG_PARENT_LEASE_KEY_SET,
    OPLOCK_LEVEL_LEASE,
    OPLOCK_LEVEL_NONE,
)


class Grant(NamedTuple):
    """What is granted, and what the record has to keep of it."""

    result: OpenResult
    entry: OpenEntry
    holder: Holder | None
    """The lease or oplock; None where the open has none."""


def grant(
    entry: OpenEntry, oplock_level: int, lease: LeaseAsk | None, wanted: tuple[int, int, bool] | None,
    settings: OplockSettings, seen: Survey, own: Holder | None, locked: bool, unwatched: bool,
) -> Grant:  # fmt: skip
    """`wanted` is the durable request, `own` the lease that the open shares, `locked` whether its stream has byte-range
    locks, `unwatched` whether the kernel could give no read lease for it (see ksmbd.oplock.local)."""
    level = OPLOCK_LEVEL_NONE
    state = 0
    answer: LeaseAsk | None = None
    holder: Holder | None = None
    if lease is not None and entry.lease_key:
        state = grantable(seen, lease.state, True, entry.is_directory, locked)
        if unwatched and not state & W:
            state = 0
        if own is None:
            holder = new_lease(entry, lease, state)
        else:
            asked = lease.state & DIRECTORY_LEASES if entry.is_directory else lease.state
            holder = upgrade(own, asked, state)
        flags = lease.flags & LEASE_FLAG_PARENT_LEASE_KEY_SET
        if holder.breaking:
            flags |= LEASE_FLAG_BREAK_IN_PROGRESS
        level = OPLOCK_LEVEL_LEASE
        state = 0 if holder.breaking else holder.state
        answer = LeaseAsk(
            key=holder.key, state=holder.state, version=holder.version, flags=flags, parent_key=lease.parent_key,
            epoch=holder.epoch,
        )  # fmt: skip
    elif oplock_level and settings.oplocks:
        state = grantable(seen, LEVEL_STATES.get(oplock_level, 0), False, entry.is_directory, locked)
        if unwatched and not state & W:
            state = 0
        if state:
            level = STATE_LEVELS[state]
            holder = new_oplock(entry, state)
    kept = durable.granted(wanted, state, entry.is_directory, settings)
    if kept.version or kept.persistent:
        entry = entry._replace(durable=kept.version, persistent=kept.persistent, timeout=kept.timeout)
    return Grant(OpenResult(level, answer, kept.version, kept.persistent, kept.timeout), entry, holder)


def new_lease(entry: OpenEntry, lease: LeaseAsk, state: int) -> Holder:
    """A lease that the client did not have (MS-SMB2 3.3.5.9.8, 3.3.5.9.11)."""
    return Holder(
        stream=entry.stream, client_guid=entry.client_guid, key=lease.key, open_id=0, state=state, breaking=False,
        requested=0, required=0, epoch=lease.epoch + (1 if state else 0) & 0xFFFF, version=lease.version,
        flags=lease.flags, parent_key=lease.parent_key, deadline=0.0,
    )  # fmt: skip


def new_oplock(entry: OpenEntry, state: int) -> Holder:
    """An open's oplock, in a lease's terms."""
    return Holder(
        stream=entry.stream, client_guid=entry.client_guid, key=b"", open_id=entry.open_id, state=state,
        breaking=False, requested=0, required=0, epoch=0, version=0, flags=0, parent_key=b"", deadline=0.0,
    )  # fmt: skip
