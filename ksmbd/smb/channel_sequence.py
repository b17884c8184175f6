# SPDX-License-Identifier: GPL-2.0-or-later
"""Open.ChannelSequence (MS-SMB2 3.3.5.2.10): after a channel was lost, what was sent before it must not overtake what
the client sends again.

The specification counts outstanding requests; here they are the pending ones of the session's channels, so that what
is answered at once, which is nearly all, is not counted up and down. OutstandingPreRequestCount is the number of those
that carry another sequence number than the open.
"""
from __future__ import annotations

from typing import Final

from ksmbd.smb.constants import DIALECT_300, FLAGS_REPLAY_OPERATION, IOCTL, SET_INFO, WRITE
from ksmbd.smb.model import Connection, Open, PendingRequest
from ksmbd.smb.status import STATUS_FILE_NOT_AVAILABLE, NtStatusError

_REFUSED: Final = frozenset((WRITE, SET_INFO, IOCTL))
"""What changes files; everything else goes on whatever its number."""
_HALF: Final = 0x7FFF


def verify(connection: Connection, request: PendingRequest, open_: Open) -> None:
    """For a request whose number is not the open's, or that is a replay. STATUS_FILE_NOT_AVAILABLE where it comes too
    late, or too early."""
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
