# SPDX-License-Identifier: GPL-2.0-or-later
"""Enforces `max connections` and `max ip connections` over all workers, by their shared memory."""

from __future__ import annotations

from ksmbd.conn.connections import OF_ADDRESS, Limits
from ksmbd.process.shared import SharedState


class SharedAdmission:
    """The `Admission` of ksmbd.conn.connections for one of several workers.

    The total is the sum of the counters of all workers, read without a lock: workers that accept at the same moment may
    exceed it by one each. Connections of an address are counted exactly."""

    def __init__(self, shared: SharedState, worker: int, limits: Limits) -> None:
        self._shared = shared
        self._worker = worker
        self._limits = limits

    def admit(self, address: str) -> str | None:
        """See Admission."""
        shared, limits = self._shared, self._limits
        total = sum(counters.connections for counters in shared.counters[1:])
        if limits.max_connections and total >= limits.max_connections:
            return f"`max connections` = {limits.max_connections} is reached"
        epoch = shared.counters[self._worker].epoch
        if not shared.table.add_connection(address, self._worker, epoch, shared.workers, limits.max_ip_connections):
            return f"{OF_ADDRESS} = {limits.max_ip_connections} is reached"
        return None

    def release(self, address: str) -> None:
        """See Admission."""
        self._shared.table.remove_connection(address, self._worker, self._shared.counters[self._worker].epoch)
