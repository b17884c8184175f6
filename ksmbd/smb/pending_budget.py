# SPDX-License-Identifier: GPL-2.0-or-later
"""What waits on one connection: how many requests, of whatever kind, and how many bytes are kept for them
(MS-SMB2 3.3.4.2). Beyond it a request is refused with STATUS_INSUFFICIENT_RESOURCES, and the connection goes on."""
from __future__ import annotations

from ksmbd import limits


class PendingBudget:
    """Counts what is let in and out again; empty, both counts are 0."""

    __slots__ = ("requests", "bytes")

    def __init__(self) -> None:
        self.requests = 0
        """Requests whose wait can last: for changes, locks, breaks, pipes."""
        self.bytes = 0
        """Of messages that are kept, and of the elements behind them in their compounds; of short waits, too."""

    def enter(self, requests: int, size: int) -> bool:
        """Count them. False: there is no room, and nothing is counted."""
        if requests and self.requests + requests > limits.WAITING_REQUESTS.value:
            return False
        if size and self.bytes + size > limits.WAITING_BYTES.value:
            return False
        self.requests += requests
        self.bytes += size
        return True

    def add(self) -> None:
        """A request that waits already will wait for longer than was to be seen."""
        self.requests += 1

    def leave(self, requests: int, size: int) -> None:
        """They wait no longer."""
        self.requests -= requests
        self.bytes -= size
