# SPDX-License-Identifier: GPL-2.0-or-later
"""Credits: the command sequence window, the credits that a reply grants, and the CreditCharge that a request must have.

MS-SMB2 3.3.1.1 and 3.3.1.2 (algorithms), 3.3.5.2.3 (message ids), 3.3.5.2.5 (payload).
"""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.constants import (
    CHANGE_NOTIFY,
    ECHO,
    IOCTL,
    NEGOTIATE,
    QUERY_DIRECTORY,
    QUERY_INFO,
    READ,
    SESSION_SETUP,
    SET_INFO,
    WRITE,
)
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.status import STATUS_PENDING, STATUS_SUCCESS, ConnectionFatal

CREDIT_UNIT: Final = 65536
"""Bytes of payload that one credit pays for."""


def max_charge(credit_charge: int, multi_credit: bool) -> int:
    """The number of MessageIds that a request uses and of credits that it pays: its CreditCharge, at least 1. Without
    multi-credit requests (dialect 2.0.2) the field is reserved, and each request counts 1 (MS-SMB2 2.2.1.2, 3.3.5.2.3,
    3.3.5.2.5)."""
    return credit_charge if credit_charge > 1 and multi_credit else 1


class SequenceWindow:
    """Connection.CommandSequenceWindow: the MessageIds from `low` up to, not including, `high`, without those in
    `used`."""

    __slots__ = ("low", "high", "used", "maximum")

    def __init__(self, maximum: int) -> None:
        self.low = 0
        self.high = 1
        self.used: set[int] = set()
        self.maximum = maximum

    @property
    def outstanding(self) -> int:
        """Credits that the client holds."""
        return self.high - self.low - len(self.used)

    def consume(self, message_id: int, charge: int) -> None:
        """Mark `charge` ids from `message_id` as used. Raises ConnectionFatal for an id that was not granted or was
        used before."""
        end = message_id + charge
        if message_id < self.low or end > self.high:
            raise ConnectionFatal(f"message id {message_id} (charge {charge}) outside {self.low}..{self.high}")
        used = self.used
        if message_id == self.low and not used:
            self.low = end
            return
        wanted = range(message_id, end)
        if not used.isdisjoint(wanted):
            raise ConnectionFatal(f"message id {message_id} used twice")
        used.update(wanted)
        while self.low in used:
            used.remove(self.low)
            self.low += 1

    def consume_and_grant(self, message_id: int, charge: int, requested: int) -> int:
        """`consume`, then `grant` for a reply that succeeds, in one step. Returns the credits granted. Raises
        ConnectionFatal."""
        if message_id != self.low or self.used or message_id + charge > self.high:
            self.consume(message_id, charge)
            return self.grant(ECHO, STATUS_SUCCESS, requested, charge)
        low = self.low = message_id + charge
        granted = charge + requested - 1 if requested > 1 else charge
        span = self.high - low
        if granted + span > self.maximum:
            return self.grant(ECHO, STATUS_SUCCESS, requested, charge)
        if granted > 0xFFFF:
            granted = 0xFFFF
        self.high += granted
        return granted

    def grant_interim(self, command: int, requested: int) -> int:
        """Grant credits with STATUS_PENDING: as many as the request asks for, at least one, within the maximum. If the
        request cost more, the rest is not given back, since the client did not ask for it (MS-SMB2 3.3.1.2)."""
        return self.grant(command, STATUS_PENDING, requested, 1)

    def grant(self, command: int, status: int, requested: int, charge: int) -> int:
        """Grant credits with a reply: the CreditCharge, and as many more as the request asks for, within the maximum.
        NEGOTIATE and an unfinished SESSION_SETUP get no more than their charge, so before log-on a client holds one
        credit. The span of the window is bounded: if a client never uses some ids, grants stop, but the client keeps at
        least one credit."""
        more = requested - 1 if requested > 1 else 0
        if command <= SESSION_SETUP and (command == NEGOTIATE or status != STATUS_SUCCESS):
            more = 0
        span = self.high - self.low
        room = self.maximum - span + len(self.used)
        if room > 2 * self.maximum - span:
            room = 2 * self.maximum - span
        granted = charge + more
        if granted > room:
            granted = room if room > 0 else 0
        if granted > 0xFFFF:
            granted = 0xFFFF
        if not granted and span == len(self.used):
            granted = 1
        self.high += granted
        return granted


_U32: Final = Struct("<I")
# Offsets from the header's start of the 32-bit lengths that count, sent and expected (MS-SMB2 3.3.5.2.5)
PAYLOAD_FIELDS: Final[dict[int, tuple[int, ...]]] = {
    READ: (HEADER_SIZE + 4,),
    WRITE: (HEADER_SIZE + 4,),
    IOCTL: (HEADER_SIZE + 28, HEADER_SIZE + 32, HEADER_SIZE + 40, HEADER_SIZE + 44),
    QUERY_DIRECTORY: (HEADER_SIZE + 28,),
    CHANGE_NOTIFY: (HEADER_SIZE + 4,),
    QUERY_INFO: (HEADER_SIZE + 4, HEADER_SIZE + 12),
    SET_INFO: (HEADER_SIZE + 4,),
}


def payload_size(command: int, message: memoryview) -> int:
    """The payload in bytes that CreditCharge must cover: the larger of what the request carries and of the largest
    reply that it allows (MS-SMB2 3.3.5.2.5). The length of the fixed part was checked before."""
    fields = PAYLOAD_FIELDS.get(command)
    if fields is None:
        return 0
    if len(fields) == 1:
        return int(_U32.unpack_from(message, fields[0])[0])
    if command == IOCTL:  # InputCount + OutputCount against MaxInputResponse + MaxOutputResponse
        input_count, max_input, output_count, max_output = (int(_U32.unpack_from(message, at)[0]) for at in fields)
        return max(input_count + output_count, max_input + max_output)
    return max(int(_U32.unpack_from(message, at)[0]) for at in fields)


def charge_is_enough(charge: int, payload: int) -> bool:
    """Whether the CreditCharge covers the payload in bytes, on a connection with multi-credit requests."""
    return payload <= max_charge(charge, True) * CREDIT_UNIT
