# SPDX-License-Identifier: GPL-2.0-or-later
"""Back-pressure: decides whether a client must read its replies before its further requests are read and handled.

While more than `HIGH_WATER` bytes wait for a client, no request of it is read, and a READ that waited for the disk
waits for room before it is answered. If all connections of the loop together exceed their budget, this applies to every
client that has replies left to read.
"""

from __future__ import annotations

from typing import Final

from ksmbd import limits
from ksmbd.conn.scratch import Scratch

HIGH_WATER: Final = limits.REPLIES_UNREAD.value
HIGH_WATER_IN_ALL: Final = HIGH_WATER + limits.REPLIES_OFFLOADED.value // 2
"""HIGH_WATER with the replies that helper threads work on: two of the longest replies at once."""
LOW_WATER: Final = 1 << 20
"""When no more than this many bytes wait, requests are read again."""


class BackPressure:
    """The bytes that wait for one client, as part of those that wait for all clients of the loop."""

    __slots__ = ("_scratch", "counted")

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self.counted = 0
        """Bytes of this connection that `Scratch.waiting` includes."""

    def is_crowded(self, waiting: int, offloaded: int) -> bool:
        """Whether the client must read first. `waiting`: bytes of replies that it has not read; `offloaded`: bytes of
        replies that helper threads work on."""
        own = waiting + offloaded
        if waiting > HIGH_WATER or own > HIGH_WATER_IN_ALL:
            return True
        scratch = self._scratch
        return own > 0 and scratch.waiting + own - self.counted > scratch.budget

    def count(self, own: int) -> None:
        """Report that `own` bytes in all wait for this client now."""
        self._scratch.waiting += own - self.counted
        self.counted = own
