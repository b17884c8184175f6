# SPDX-License-Identifier: GPL-2.0-or-later
"""Back-pressure: whether a client has to read replies before its further requests are read and handled.

While more than `HIGH_WATER` bytes wait for the client, no further request is, and what has been waiting for the disk
asks for room before it answers. Where all connections of the loop together have more than their budget, this holds for
every client that has anything left to read.
"""

from __future__ import annotations

from typing import Final

from ksmbd import limits
from ksmbd.conn.scratch import Scratch

HIGH_WATER: Final = limits.REPLIES_UNREAD.value
HIGH_WATER_IN_ALL: Final = HIGH_WATER + limits.REPLIES_OFFLOADED.value // 2
"""With what other threads work on: two of the longest replies at once."""
LOW_WATER: Final = 1 << 20
"""Bytes; when no more than this is left to read, requests are read again."""


class BackPressure:
    """One connection's part in what waits for all clients of the loop."""

    __slots__ = ("_scratch", "counted")

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self.counted = 0
        """Bytes that `Scratch.waiting` has of this connection."""

    def is_crowded(self, waiting: int, offloaded: int) -> bool:
        """Whether the client must read first. `waiting`: bytes that are sent and not read; `offloaded`: bytes of
        replies that other threads work on."""
        own = waiting + offloaded
        if waiting > HIGH_WATER or own > HIGH_WATER_IN_ALL:
            return True
        scratch = self._scratch
        return own > 0 and scratch.waiting + own - self.counted > scratch.budget

    def count(self, own: int) -> None:
        """So many bytes, in all, wait for this client now."""
        self._scratch.waiting += own - self.counted
        self.counted = own
