# SPDX-License-Identifier: GPL-2.0-or-later
"""OPLOCK_BREAK: notifications (MS-SMB2 2.2.23, 3.3.4.6, 3.3.4.7) and acknowledgements (2.2.24, 3.3.5.22)."""
from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ksmbd.smb.constants import (
    NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED,
    OPLOCK_BREAK,
    OPLOCK_LEVEL_II,
    OPLOCK_LEVEL_LEASE,
    OPLOCK_LEVEL_NONE,
)
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open, Server, Session
from ksmbd.smb.ports import BreakNotice
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import STATUS_INVALID_OPLOCK_PROTOCOL, STATUS_INVALID_PARAMETER, NtStatusError

if TYPE_CHECKING:
    from ksmbd.smb.connection import Connection

_OPLOCK: Final = Struct("<HBBIQQ")  # StructureSize, OplockLevel, Reserved, Reserved2, FileId
_LEASE: Final = Struct("<HHI16sIQ")  # StructureSize, Reserved, Flags, LeaseKey, LeaseState, LeaseDuration
# StructureSize, NewEpoch, Flags, LeaseKey, CurrentLeaseState, NewLeaseState, BreakReason, AccessMaskHint, ShareMaskHint
_LEASE_NOTICE: Final = Struct("<HHI16sIIIII")
_LEASE_ACK_SIZE: Final = 36


def handle(request: Request) -> Reply:
    """An acknowledgement; which of the two its StructureSize says."""
    message = request.message
    if message[HEADER_SIZE] == _LEASE_ACK_SIZE:
        return _acknowledge_lease(request)
    return _acknowledge_oplock(request)


def _acknowledge_oplock(request: Request) -> Reply:
    """MS-SMB2 3.3.5.22.1."""
    _, level, _, _, persistent, volatile = request.reader().unpack(_OPLOCK)
    open_ = request.find_open(persistent, volatile)
    if level == OPLOCK_LEVEL_LEASE or open_.ref is None:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no oplock's acknowledgement")
    if level not in (OPLOCK_LEVEL_NONE, OPLOCK_LEVEL_II):
        # Nothing is broken to a level that allows writing: the open keeps no oplock at all.
        open_.oplock_level = request.server.table.acknowledge_oplock(open_.ref, OPLOCK_LEVEL_NONE)
        raise NtStatusError(STATUS_INVALID_OPLOCK_PROTOCOL, f"level {level}")
    open_.oplock_level = request.server.table.acknowledge_oplock(open_.ref, level)
    return Reply(_OPLOCK.pack(24, open_.oplock_level, 0, 0, open_.persistent_id, open_.volatile_id))


def _acknowledge_lease(request: Request) -> Reply:
    """MS-SMB2 3.3.5.22.2."""
    _, _, _, key, state, _ = request.reader().unpack(_LEASE)
    session = request.session
    state = request.server.table.acknowledge_lease(session.client_guid, key, state)
    for open_ in session.opens.values():
        if open_.lease is not None and open_.lease.key == key:
            open_.lease.state = state
    return Reply(_LEASE.pack(_LEASE_ACK_SIZE, 0, 0, key, state, 0))


# ---------------------------------------------------------------------------------------------------- notifications


def send_break(server: Server, notice: BreakNotice) -> bool:
    """Send a notification on a channel of its client: the open's own connection first, then another of its session.

    False where none is left: the open table then purges the opens that nobody is there to answer for (3.3.4.6,
    3.3.4.7)."""
    opens = [open_ for number in notice.open_ids if (open_ := server.opens.get(number)) is not None]
    for open_ in opens:
        session = open_.session
        if session is None:
            continue
        connection = _channel(open_, session)
        if connection is None:
            continue
        encrypt = session.encrypt_data or (open_.tree is not None and open_.tree.encrypt_data)
        connection.send_unsolicited(session, OPLOCK_BREAK, _notice_body(open_, notice), encrypt=encrypt)
        _remember(opens, notice)
        return True
    return False


def _channel(open_: Open, session: Session) -> Connection | None:
    own = open_.connection
    if own is not None and own in session.channels:
        return own
    return next(iter(session.channels), None)


def _notice_body(open_: Open, notice: BreakNotice) -> bytes:
    if notice.lease_key:
        flags = NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED if notice.ack_required else 0
        return _LEASE_NOTICE.pack(
            44, notice.epoch, flags, notice.lease_key, notice.current_state, notice.new_state, 0, 0, 0
        )
    return _OPLOCK.pack(24, notice.oplock_level, 0, 0, open_.persistent_id, open_.volatile_id)


def _remember(opens: list[Open], notice: BreakNotice) -> None:
    """What the opens hold now, for the reply to a replayed or reconnecting CREATE."""
    for open_ in opens:
        if not notice.lease_key:
            open_.oplock_level = notice.oplock_level
        elif open_.lease is not None:
            open_.lease.state = notice.new_state
            open_.lease.epoch = notice.epoch or open_.lease.epoch
