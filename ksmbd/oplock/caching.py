# SPDX-License-Identifier: GPL-2.0-or-later
"""The state machine of oplocks and leases on one stream: which caching is granted, and how it is broken.

MS-FSA 2.1.4.12, 2.1.5.18; MS-SMB2 3.3.1.4, 3.3.5.9.8, 3.3.5.22.

An oplock and a lease are both a Holder, with R, W and H caching. A holder is in one of three phases, and TRANSITIONS
has the function for each input:

    HELD      no break is in progress
    BREAKING  a notification was sent that must be acknowledged; `requested` is the state that it asked for
    DEEPER    as BREAKING, but another break must follow: `required` is less than `requested`

A holder that must lose more than it was asked for is broken in steps (RWH, RH, R, nothing), because a client that
writes back data under RH may still need its handles. Only the loss of R alone needs no acknowledgment.
"""
from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, NamedTuple

from ksmbd.oplock.record import RH, RW, RWH, H, Holder, OpenEntry, R, Record, W
from ksmbd.oplock.share import LEASE_STAT_ACCESS, is_stat_open
from ksmbd.smb.constants import (
    OPLOCK_LEVEL_BATCH,
    OPLOCK_LEVEL_EXCLUSIVE,
    OPLOCK_LEVEL_II,
    OPLOCK_LEVEL_NONE,
)
from ksmbd.smb.status import STATUS_INVALID_OPLOCK_PROTOCOL, STATUS_REQUEST_NOT_ACCEPTED, STATUS_UNSUCCESSFUL

LEVEL_STATES: Final = {
    OPLOCK_LEVEL_NONE: 0,
    OPLOCK_LEVEL_II: R,
    OPLOCK_LEVEL_EXCLUSIVE: RW,
    OPLOCK_LEVEL_BATCH: RWH,
}
"""Oplock level -> caching state."""

STATE_LEVELS: Final = {0: OPLOCK_LEVEL_NONE, R: OPLOCK_LEVEL_II, RH: OPLOCK_LEVEL_II, RW: OPLOCK_LEVEL_EXCLUSIVE,
                       RWH: OPLOCK_LEVEL_BATCH}  # fmt: skip
"""Caching state -> oplock level."""

VALID_LEASES: Final = frozenset((R, RH, RW, RWH))
"""The valid lease states; a request for another state is granted none (MS-SMB2 3.3.5.9.8)."""

DIRECTORY_LEASES: Final = RH
"""The largest lease state of a directory."""


class Phase(enum.Enum):
    """The phase of a holder; see the module's docstring."""

    HELD = 0
    BREAKING = 1
    DEEPER = 2


class Input(enum.Enum):
    """An input of the state machine."""

    BREAK = 0
    """An operation of another client conflicts with the caching."""
    ACKNOWLEDGE = 1
    EXPIRE = 2
    """No acknowledgment came in time, or the client has no connection to send one."""


class Notice(NamedTuple):
    """A break notification to send (MS-SMB2 2.2.23)."""

    current: int
    """CurrentLeaseState."""
    new: int
    """NewLeaseState."""
    epoch: int
    """NewEpoch."""
    acknowledge: bool
    """Whether the client must acknowledge it."""


class Step(NamedTuple):
    """The result of an input."""

    holder: Holder
    notice: Notice | None = None
    status: int = 0
    """Not 0: the NTSTATUS of a wrong acknowledgment; `holder` is valid nevertheless."""


def phase(holder: Holder) -> Phase:
    """The phase a holder is in."""
    if not holder.breaking:
        return Phase.HELD
    return Phase.DEEPER if holder.requested & ~holder.required else Phase.BREAKING


def _begin_break(holder: Holder, to: int, deadline: float) -> Step:
    to &= holder.state
    if to == holder.state:
        return Step(holder)
    if not holder.is_lease:
        to &= R
    epoch = holder.epoch + 1 & 0xFFFF
    notice = Notice(holder.state, to, epoch, holder.state != R)
    if holder.state == R:
        return Step(holder._replace(state=to, epoch=epoch), notice)
    return Step(
        holder._replace(breaking=True, requested=to, required=to, epoch=epoch, deadline=deadline), notice
    )


def _deepen_break(holder: Holder, to: int, deadline: float) -> Step:
    # As on Windows, no second notification is sent before the first is acknowledged, and the epoch does not change.
    return Step(holder._replace(required=holder.required & to))


def _refuse_acknowledgment(holder: Holder, to: int, deadline: float) -> Step:
    return Step(holder, status=STATUS_UNSUCCESSFUL if holder.is_lease else STATUS_INVALID_OPLOCK_PROTOCOL)


def _acknowledge(holder: Holder, to: int, deadline: float) -> Step:
    # MS-SMB2 3.3.5.22.2: LeaseState must be a subset of BreakToLeaseState.
    if to & ~holder.requested:
        if holder.is_lease:
            return Step(holder, status=STATUS_REQUEST_NOT_ACCEPTED)
        # MS-SMB2 3.3.5.22.1: the break ends nevertheless, with level none.
        return Step(_expire(holder, 0, 0.0).holder, status=STATUS_INVALID_OPLOCK_PROTOCOL)
    if to & ~holder.required == 0:
        return Step(holder._replace(state=to, breaking=False, requested=0, required=0, deadline=0.0))
    if to & (W | H):
        requested = holder.required | R
        if to & ~requested:
            notice = Notice(to, requested, holder.epoch, True)
            return Step(holder._replace(state=to, requested=requested, deadline=deadline), notice)
    # Only R is left and must go: this notification needs no acknowledgment.
    notice = Notice(to, holder.required, holder.epoch, False)
    return Step(
        holder._replace(state=holder.required, breaking=False, requested=0, required=0, deadline=0.0), notice
    )


def _expire(holder: Holder, to: int, deadline: float) -> Step:
    return Step(holder._replace(state=0, breaking=False, requested=0, required=0, deadline=0.0))


TRANSITIONS: Final[dict[tuple[Phase, Input], Callable[[Holder, int, float], Step]]] = {
    (Phase.HELD, Input.BREAK): _begin_break,
    (Phase.HELD, Input.ACKNOWLEDGE): _refuse_acknowledgment,
    (Phase.HELD, Input.EXPIRE): _expire,
    (Phase.BREAKING, Input.BREAK): _deepen_break,
    (Phase.BREAKING, Input.ACKNOWLEDGE): _acknowledge,
    (Phase.BREAKING, Input.EXPIRE): _expire,
    (Phase.DEEPER, Input.BREAK): _deepen_break,
    (Phase.DEEPER, Input.ACKNOWLEDGE): _acknowledge,
    (Phase.DEEPER, Input.EXPIRE): _expire,
}


def step(holder: Holder, event: Input, to: int = 0, deadline: float = 0.0) -> Step:
    """Apply an input to a holder: break or acknowledge to the state `to`. `deadline` (monotonic seconds) is for the
    next acknowledgment."""
    return TRANSITIONS[phase(holder), event](holder, to, deadline)


class Survey(NamedTuple):
    """What other opens hold on a stream, as far as it limits the grant to a new open."""

    handle_lease: bool = False
    """Another holder has H caching: no oplock can be granted."""
    oplock: bool = False
    """Another open has an oplock: no H caching can be granted."""
    write: bool = False
    """Another holder caches writes: nothing can be granted."""
    occupied: bool = False
    """There is another open or holder: no W caching can be granted. Stat opens without a holder do not count (MS-FSA
    2.1.5.18.1)."""


def survey(record: Record, stream: str, client_guid: bytes, lease_key: bytes, open_id: int = 0) -> Survey:
    """Survey the opens of a stream, without those that share the requested lease and without the open `open_id`."""
    if record.opens.counted and not open_id:
        return _counted_survey(record, stream, client_guid, lease_key)
    handle_lease = oplock = write = occupied = False
    for entry in record.opens.values():
        if entry.stream != stream or entry.open_id == open_id:
            continue
        if lease_key and entry.lease_key == lease_key and entry.client_guid == client_guid:
            continue
        holder = record.holder_of(entry)
        if holder is not None:
            occupied = True
            handle_lease |= bool(holder.state & H)
            write |= bool(holder.state & W)
            oplock |= not holder.is_lease and holder.state != 0
        elif not is_stat_open(entry.access):
            occupied = True
    return Survey(handle_lease, oplock, write, occupied)


def _counted_survey(record: Record, stream: str, client_guid: bytes, lease_key: bytes) -> Survey:
    """As `survey`, for a record with many opens: it looks at the holders, and uses the map's count of the others."""
    handle_lease = oplock = write = False
    opens = record.opens
    active = opens.counts(stream).active
    if lease_key:
        own = [entry for entry in opens.sharing(client_guid, lease_key) if entry.stream == stream]
        active -= sum([not is_stat_open(entry.access) for entry in own])
    occupied = active > 0
    for holder in record.holders.values():
        if holder.stream == stream and not (
            lease_key and holder.key == lease_key and holder.client_guid == client_guid
        ):
            occupied = True
            handle_lease |= bool(holder.state & H)
            write |= bool(holder.state & W)
            oplock |= not holder.is_lease and holder.state != 0
    return Survey(handle_lease, oplock, write, occupied)


def grantable(seen: Survey, requested: int, is_lease: bool, is_directory: bool, locked: bool) -> int:
    """The part of the requested caching state that can be granted (MS-FSA 2.1.5.18, MS-SMB2 3.3.5.9.8). `locked`:
    the stream has byte-range locks."""
    if is_directory:
        if not is_lease:
            return 0
        requested &= DIRECTORY_LEASES
    if requested not in VALID_LEASES or seen.write or locked:
        return 0
    if seen.occupied:
        requested &= ~W
    if is_lease:
        if seen.oplock:
            requested &= ~H
        return requested
    # An oplock excludes H caching of others: its notification could not ask them to close their handles.
    if seen.handle_lease or requested not in STATE_LEVELS:
        return 0
    return LEVEL_STATES[STATE_LEVELS[requested]]


def upgrade(holder: Holder, requested: int, granted: int) -> Holder:
    """The lease after another open has requested it: it can only grow, and only to the full request (MS-SMB2
    3.3.5.9.8)."""
    if holder.breaking or granted != requested or granted == holder.state or holder.state & ~granted:
        return holder
    return holder._replace(state=granted, epoch=holder.epoch + 1 & 0xFFFF)


def break_for_open(holder: Holder, access: int, overwrite: bool, violation: bool, retried: bool) -> tuple[int, bool]:
    """What an open breaks of another holder: (state that is left, whether the open waits). MS-FSA 2.1.4.12 for OPEN.

    `violation`: the share modes conflict, so H caching is broken, because closing a cached handle may resolve the
    conflict; data caching stays. `retried`: the open has waited already, so it also waits for a break that began
    meanwhile."""
    if holder.is_lease and is_stat_open(access, LEASE_STAT_ACCESS) and not overwrite:
        return holder.state, False
    lost = H if violation else W
    left = holder.state & ~lost
    if overwrite and not violation:
        left = 0
    if not holder.state & ~left:
        return holder.state, holder.breaking
    if not holder.is_lease:
        left &= R
    wait = bool(holder.state & lost) or (holder.breaking and retried)
    return left, wait


def holders_of_others(record: Record, stream: str, entry: OpenEntry | None) -> list[Holder]:
    """The holders on a stream, without the one of this open."""
    own = record.holder_of(entry) if entry is not None else None
    return [holder for holder in record.holders.values() if holder.stream == stream and holder is not own]
