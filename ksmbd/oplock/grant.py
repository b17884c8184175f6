# SPDX-License-Identifier: GPL-2.0-or-later
"""Grants an open its oplock or lease and its durability: MS-FSA 2.1.5.18, MS-SMB2 3.3.5.9.6, 3.3.5.9.8, 3.3.5.9.10.

`grant` is one pure function for the first open of a file (fast_path.py) and for later ones (opening.py).
"""
from __future__ import annotations

from typing import Final, NamedTuple

from ksmbd.oplock import durable
from ksmbd.oplock.caching import DIRECTORY_LEASES, LEVEL_STATES, STATE_LEVELS, Survey, grantable, upgrade
from ksmbd.oplock.record import Holder, OpenEntry, W
from ksmbd.oplock.requests import LeaseContext, OpenResult
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb.constants import (
    LEASE_FLAG_BREAK_IN_PROGRESS,
    LEASE_FLAG_PARENT_LEASE_KEY_SET,
    OPLOCK_LEVEL_LEASE,
    OPLOCK_LEVEL_NONE,
)


class Beside(NamedTuple):
    """What else there is on the file of an open, as far as it limits the grant."""

    seen: Survey
    own: Holder | None
    """The existing lease that the open shares; None: its client has no lease with this key."""
    locked: bool
    """The stream has byte-range locks."""
    unwatched: bool
    """The kernel could not grant a read lease for the open (see ksmbd.oplock.local)."""


ALONE: Final = Beside(Survey(), None, False, False)
"""For the first open of a file."""


class Grant(NamedTuple):
    """The result for the client, and the entries for the record."""

    result: OpenResult
    entry: OpenEntry
    holder: Holder | None
    """The lease or oplock; None where none is granted."""


def grant(
    entry: OpenEntry, oplock_level: int, lease: LeaseContext | None, wanted: tuple[int, int, bool] | None,
    settings: OplockSettings, beside: Beside,
) -> Grant:  # fmt: skip
    """Grant caching and durability to the open `entry`. `wanted` is the durable request: (version, milliseconds,
    persistent)."""
    seen, own, locked, unwatched = beside
    level = OPLOCK_LEVEL_NONE
    state = 0
    answer: LeaseContext | None = None
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
        answer = LeaseContext(holder.key, holder.state, holder.version, flags, lease.parent_key, holder.epoch)
    elif oplock_level and settings.oplocks:
        state = grantable(seen, LEVEL_STATES.get(oplock_level, 0), False, entry.is_directory, locked)
        if unwatched and not state & W:
            state = 0
        if state:
            level = STATE_LEVELS[state]
            holder = new_oplock(entry, state)
    kept = durable.grant_durable(wanted, state, entry.is_directory, settings)
    if kept.version or kept.persistent:
        entry = entry._replace(durable=kept.version, persistent=kept.persistent, timeout=kept.timeout)
    return Grant(OpenResult(level, answer, kept.version, kept.persistent, kept.timeout), entry, holder)


def new_lease(entry: OpenEntry, lease: LeaseContext, state: int) -> Holder:
    """A new lease with the caching `state` (MS-SMB2 3.3.5.9.8, 3.3.5.9.11)."""
    epoch = lease.epoch + (1 if state else 0) & 0xFFFF
    # By position, in the order of the fields: keywords would cost four times as much on every open that caches.
    return Holder(
        entry.stream, entry.client_guid, lease.key, 0, state, False, 0, 0, epoch, lease.version, lease.flags,
        lease.parent_key, 0.0,
    )  # fmt: skip


def new_oplock(entry: OpenEntry, state: int) -> Holder:
    """A new oplock, as a Holder with the caching `state`."""
    # By position, as above.
    return Holder(entry.stream, entry.client_guid, b"", entry.open_id, state, False, 0, 0, 0, 0, 0, b"", 0.0)
