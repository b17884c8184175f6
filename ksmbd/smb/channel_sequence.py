# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks the ChannelSequence of a request against Open.ChannelSequence (MS-SMB2 3.3.5.2.10): after a channel failed, a
request sent before the failure must not overtake one that the client sends again.

The specification counts outstanding requests. Here they are derived from the pending requests of the session's
channels, so requests that are answered at once, nearly all, are not counted. OutstandingPreRequestCount is the number
of pending requests with another sequence number than the open's.
"""
from __future__ import annotations

from typing import Final

from ksmbd.smb.constants import DIALECT_300, FLAGS_REPLAY_OPERATION, IOCTL, SET_INFO, WRITE
from ksmbd.smb.model import Connection, Open, PendingRequest
from ksmbd.smb.status import STATUS_FILE_NOT_AVAILABLE, NtStatusError

_REFUSED: Final = frozenset((WRITE, SET_INFO, IOCTL))
"""Commands that change files. Others are carried out whatever their sequence number is."""
_HALF: Final = 0x7FFF


def verify(connection: Connection, request: PendingRequest, open_: Open) -> None:
    """Check a request that is a replay or whose number differs from the open's. Raises STATUS_FILE_NOT_AVAILABLE where
    the request is too old, or a replay comes while an earlier request is outstanding."""
    if connection.dialect < DIALECT_300:
        return
    number = request.header.channel_sequence
    ahead = (number - open_.channel_sequence) & 0xFFFF
    replay = bool(request.header.flags & FLAGS_REPLAY_OPERATION)
    if ahead <= _HALF and not (replay and _earlier_outstanding(open_)):
        open_.channel_sequence = number
    elif request.header.command in _REFUSED:
        detail = f"channel sequence {number}, the open's is {open_.channel_sequence}"
        raise NtStatusError(STATUS_FILE_NOT_AVAILABLE, detail)


def _earlier_outstanding(open_: Open) -> bool:
    session = open_.session
    if session is None:
        return False
    return any(
        waiting.open is open_ and waiting.header.channel_sequence != open_.channel_sequence
        for connection in session.channels
        for waiting in connection.pending.values()
    )
