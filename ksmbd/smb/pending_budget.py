# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits the requests that wait on one connection and the bytes kept for them (MS-SMB2 3.3.4.2). A request beyond the
limits is refused with STATUS_INSUFFICIENT_RESOURCES, and the connection goes on."""
from __future__ import annotations

from ksmbd import limits


class PendingBudget:
    """Counts pending requests and their bytes."""

    __slots__ = ("requests", "bytes")

    def __init__(self) -> None:
        self.requests = 0
        """Requests whose wait may be long: for changes, locks, breaks, pipes."""
        self.bytes = 0
        """Bytes of messages that are kept, and of the requests behind them in their compounds, for short waits, too."""

    def enter(self, requests: int, size: int) -> bool:
        """Count them. False: the limit is reached, and nothing is counted."""
        if requests and self.requests + requests > limits.WAITING_REQUESTS.value:
            return False
        if size and self.bytes + size > limits.WAITING_BYTES.value:
            return False
        self.requests += requests
        self.bytes += size
        return True

    def add(self) -> None:
        """Count one request more, whose wait turned out to be long; never refused."""
        self.requests += 1

    def leave(self, requests: int, size: int) -> None:
        """Count them no longer."""
        self.requests -= requests
        self.bytes -= size
