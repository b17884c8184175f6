# SPDX-License-Identifier: GPL-2.0-or-later
"""OPLOCK_BREAK: sends notifications (MS-SMB2 2.2.23, 3.3.4.6, 3.3.4.7) and handles acknowledgements (2.2.24,
3.3.5.22)."""
from __future__ import annotations

from collections.abc import Container
from struct import Struct
from typing import Final

from ksmbd import debug
from ksmbd.smb import debug_lines
from ksmbd.smb.constants import (
    NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED,
    OPLOCK_BREAK,
    OPLOCK_LEVEL_II,
    OPLOCK_LEVEL_LEASE,
    OPLOCK_LEVEL_NONE,
)
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Connection, Delivery, DeliveryKey, Open, Server, Session
from ksmbd.smb.ports import BreakNotice
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import STATUS_INVALID_OPLOCK_PROTOCOL, STATUS_INVALID_PARAMETER, NtStatusError

_OPLOCK: Final = Struct("<HBBIQQ")  # StructureSize, OplockLevel, Reserved, Reserved2, FileId
_LEASE: Final = Struct("<HHI16sIQ")  # StructureSize, Reserved, Flags, LeaseKey, LeaseState, LeaseDuration
# StructureSize, NewEpoch, Flags, LeaseKey, CurrentLeaseState, NewLeaseState, BreakReason, AccessMaskHint, ShareMaskHint
_LEASE_NOTICE: Final = Struct("<HHI16sIIIII")
_LEASE_ACK_SIZE: Final = 36
PATIENT_TRIES: Final = 4
"""How many channels are given the full time to confirm; further ones get half of it."""
SILENCE_SECONDS: Final = 5.0
"""If a client confirms no bytes on any channel for this long while a break waits for it, its connections end. Others
wait for its files, and its durable opens survive."""


def handle(request: Request) -> Reply:
    """Handle an acknowledgement of an oplock or a lease break, as StructureSize says."""
    message = request.message
    if message[HEADER_SIZE] == _LEASE_ACK_SIZE:
        return _acknowledge_lease(request)
    return _acknowledge_oplock(request)


def _acknowledge_oplock(request: Request) -> Reply:
    """Handle an oplock break acknowledgement (MS-SMB2 3.3.5.22.1)."""
    _, level, _, _, persistent, volatile = request.reader().unpack(_OPLOCK)
    open_ = request.find_open(persistent, volatile)
    if level == OPLOCK_LEVEL_LEASE or open_.ref is None:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no oplock's acknowledgement")
    _settle(request.server, open_.persistent_id)
    if level not in (OPLOCK_LEVEL_NONE, OPLOCK_LEVEL_II):
        # Nothing is broken to a level that allows writing: the open keeps no oplock at all.
        open_.oplock_level = request.server.table.acknowledge_oplock(open_.ref, OPLOCK_LEVEL_NONE)
        raise NtStatusError(STATUS_INVALID_OPLOCK_PROTOCOL, f"level {level}")
    open_.oplock_level = request.server.table.acknowledge_oplock(open_.ref, level)
    if debug.mask[0] & debug.OPLOCK:
        path = open_.file.path if open_.file is not None else ""
        debug_lines.acknowledged(request, path, f"oplock level {level}")
    return Reply(_OPLOCK.pack(24, open_.oplock_level, 0, 0, open_.persistent_id, open_.volatile_id))


def _acknowledge_lease(request: Request) -> Reply:
    """Handle a lease break acknowledgement (MS-SMB2 3.3.5.22.2)."""
    _, _, _, key, state, _ = request.reader().unpack(_LEASE)
    session = request.session
    _settle(request.server, (session.client_guid, key))
    state = request.server.table.acknowledge_lease(session.client_guid, key, state)
    for open_ in session.opens.values():
        if open_.lease is not None and open_.lease.key == key:
            open_.lease.state = state
    if debug.mask[0] & debug.OPLOCK:
        paths = {
            each.file.path for each in session.opens.values()
            if each.file is not None and each.lease is not None and each.lease.key == key
        }  # fmt: skip
        debug_lines.acknowledged(request, ", ".join(sorted(paths)), f"lease {key.hex()} state {state}")
    return Reply(_LEASE.pack(_LEASE_ACK_SIZE, 0, 0, key, state, 0))


# ---------------------------------------------------------------------------------------------------- notifications


def send_break(server: Server, notice: BreakNotice) -> bool:
    """Send a notification on a channel of its client: an oplock's on the open's own connection first, then on another
    of its session; a lease's on the client's oldest connection first.

    False where none is left: the open table then purges the opens, since no client is left to answer (3.3.4.6,
    3.3.4.7). Where there are several channels, the next one is tried if the client's TCP did not confirm the bytes in
    time, and so on until the acknowledgement comes; where none confirms anything, see SILENCE_SECONDS."""
    _settle(server, _delivery_key(notice))
    return _send(server, Delivery(notice, server.clock.monotonic()))


def _delivery_key(notice: BreakNotice) -> DeliveryKey:
    return (notice.client_guid, notice.lease_key) if notice.lease_key else notice.open_ids[0]


def _settle(server: Server, key: DeliveryKey) -> None:
    """End the delivery of a notification, because the client has answered or a newer one replaces it."""
    delivery = server.deliveries.pop(key, None)
    if delivery is not None:
        delivery.end()


def _send(server: Server, delivery: Delivery) -> bool:
    notice = delivery.notice
    opens = [open_ for number in notice.open_ids if (open_ := server.opens.get(number)) is not None]
    for open_ in opens:
        session = open_.session
        if session is None:
            continue
        encrypt = session.encrypt_data or (open_.tree is not None and open_.tree.encrypt_data)
        connection = None
        if notice.lease_key and not encrypt and not delivery.tried:
            connection = _oldest(server, notice.client_guid)
        connection = connection or _channel(open_, session, delivery.tried)
        if connection is None:
            continue
        if debug.mask[0] & debug.OPLOCK:
            debug_lines.broken(notice, opens, connection)
        sealer = session.sealer if encrypt else None
        connection.sender.send_notification(OPLOCK_BREAK, _notice_body(open_, notice), sealer, session.session_id)
        if not delivery.tried:
            _remember(opens, notice)
        delivery.tried[connection] = connection.transport.delivery_mark()
        delivery.confirmed += connection.transport.confirmed()
        if len(session.channels) > 1:
            # After some failures it is the client rather than a channel: the others follow faster.
            seconds = connection.transport.delivery_seconds()
            _watch(server, delivery, seconds / 2 if len(delivery.tried) > PATIENT_TRIES else seconds)
        elif notice.ack_required:
            _watch(server, delivery, SILENCE_SECONDS)
        return True
    if debug.mask[0] & debug.OPLOCK:
        debug_lines.broken(notice, opens, None)
    return False


def _watch(server: Server, delivery: Delivery, seconds: float) -> None:
    """Check after `seconds` whether the client confirmed the notification; if not, send it on another channel."""
    key = _delivery_key(delivery.notice)

    def look() -> None:
        if server.deliveries.get(key) is not delivery:
            return
        del server.deliveries[key]
        if not any(number in server.opens for number in delivery.notice.open_ids):
            return  # closed meanwhile: nobody waits for an answer
        left = [channel for channel in delivery.tried if not channel.closed]
        if any(channel.transport.delivered(delivery.tried[channel]) for channel in left) or _send(server, delivery):
            return
        confirmed = sum(channel.transport.confirmed() for channel in left)
        if confirmed > delivery.confirmed:
            # It is there: much that was sent before the notification is still on its way.
            delivery.confirmed = confirmed
            delivery.since = server.clock.monotonic()
        rest = delivery.since + SILENCE_SECONDS - server.clock.monotonic()
        if rest > 0:
            _watch(server, delivery, rest)
            return
        for channel in left:
            channel.fail("the client confirms nothing on any channel, and others wait for its answer")

    delivery.timer = server.clock.call_later(seconds, look)
    server.deliveries[key] = delivery


def _oldest(server: Server, client_guid: bytes) -> Connection | None:
    """The client's oldest connection: a lease is the client's, not a session's, and that is where Windows tells of its
    break (3.3.4.7 lets the server choose)."""
    for session in server.sessions.values():
        if session.client_guid == client_guid and session.channels:
            return next(iter(session.channels))
    return None


def _channel(open_: Open, session: Session, tried: Container[Connection]) -> Connection | None:
    own = open_.connection
    if own is not None and own not in tried and own in session.channels:
        return own
    return next((channel for channel in session.channels if channel not in tried), None)


def _notice_body(open_: Open, notice: BreakNotice) -> bytes:
    if notice.lease_key:
        flags = NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED if notice.ack_required else 0
        return _LEASE_NOTICE.pack(
            44, notice.epoch, flags, notice.lease_key, notice.current_state, notice.new_state, 0, 0, 0
        )
    return _OPLOCK.pack(24, notice.oplock_level, 0, 0, open_.persistent_id, open_.volatile_id)


def _remember(opens: list[Open], notice: BreakNotice) -> None:
    """Store the new oplock level or lease state in the Opens, for the reply to a replayed or reconnecting CREATE."""
    for open_ in opens:
        if not notice.lease_key:
            open_.oplock_level = notice.oplock_level
        elif open_.lease is not None:
            open_.lease.state = notice.new_state
            open_.lease.epoch = notice.epoch or open_.lease.epoch
