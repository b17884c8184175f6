# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits the log-ons in progress by connection, by address and in all, and their duration (MS-SMB2 3.3.5.5, 3.3.6.3).

A new log-on is always accepted. Where there are too many, the oldest one in progress is dropped: of the same connection
first, then of the same address, then of the address that has most. So a client cannot lock others out by beginning
log-ons, and a log-on that proceeds without delay is not affected.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ksmbd import limits
from ksmbd.limit import Limit, Meter, address_group
from ksmbd.smb.ports import Clock, Timer
from ksmbd.smb.waiting import Future

SECONDS: Final = limits.LOGON_IN_PROGRESS_SECONDS.value


class _Entry:
    """One exchange that is counted."""

    __slots__ = ("address", "connection", "drop", "since")

    def __init__(self, connection: object, address: str, since: float, drop: Callable[[], None]) -> None:
        self.connection = connection
        self.address = address
        self.since = since
        self.drop = drop


class LogonsInProgress:
    """The exchanges in progress on all connections of a worker, oldest first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[object, _Entry] = {}
        self._by_address: dict[str, dict[object, None]] = {}
        self._by_connection: dict[object, dict[object, None]] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, exchange: object, connection: object, peer: str, drop: Callable[[], None]) -> None:
        """Count an exchange of a connection from the address `peer`. Where there are too many, the oldest is dropped.
        `drop` is called to drop this one: it ends the exchange and calls `end`."""
        address = address_group(peer)
        own, others = self._by_connection.get(connection, {}), self._by_address.get(address, {})
        if len(own) >= limits.LOGONS_IN_PROGRESS_PER_CONNECTION.value:
            self._drop_oldest(own)
        elif len(others) >= limits.LOGONS_IN_PROGRESS_PER_ADDRESS.value:
            self._drop_oldest(others)
        elif len(self._entries) >= limits.LOGONS_IN_PROGRESS.value:
            self._drop_oldest(max(self._by_address.values(), key=len))
        self._entries[exchange] = _Entry(connection, address, self._clock.monotonic(), drop)
        self._by_connection.setdefault(connection, {})[exchange] = None
        self._by_address.setdefault(address, {})[exchange] = None
        if self._timer is None:
            self._timer = self._clock.call_later(SECONDS, self._expire)

    def end(self, exchange: object) -> None:
        """Count the exchange no longer, after success or failure. Unknown exchanges are ignored."""
        entry = self._entries.pop(exchange, None)
        if entry is None:
            return
        own, others = self._by_connection[entry.connection], self._by_address[entry.address]
        del own[exchange], others[exchange]
        if not own:
            del self._by_connection[entry.connection]
        if not others:
            del self._by_address[entry.address]
        if not self._entries and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop_oldest(self, group: dict[object, None]) -> None:
        exchange = next(iter(group))
        self._entries[exchange].drop()
        self.end(exchange)

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for exchange, entry in list(self._entries.items()):
            left = entry.since + SECONDS - now
            if left > 0:
                self._timer = self._clock.call_later(left, self._expire)
                return
            entry.drop()
            self.end(exchange)


class LogonQueue:
    """Lets only as many callers per key proceed at once as `limit` allows. The others wait, first come, first
    served."""

    def __init__(self, limit: Limit) -> None:
        self._inside = Meter(limit)
        self._waiting: dict[str, dict[Future[None], None]] = {}
        self._serving: set[str] = set()

    def __len__(self) -> int:
        """How many keys have a caller that proceeds or waits."""
        return len(self._inside)

    def enter(self, key: str) -> Future[None]:
        """Complete when the caller may proceed. The caller must call `leave` afterwards."""
        if key not in self._waiting and self._inside.take(key):
            return Future.of(None)
        future: Future[None] = Future()
        queue = self._waiting.setdefault(key, {})
        queue[future] = None

        def forget() -> None:
            del queue[future]
            if not queue and self._waiting.get(key) is queue:
                del self._waiting[key]

        future.on_cancel = forget
        return future

    def leave(self, key: str) -> None:
        """The caller has finished: let the next one proceed."""
        self._inside.give(key)
        if key in self._serving:
            return  # the loop below called a caller that is leaving already: the loop serves the next one
        self._serving.add(key)
        try:
            while key in self._waiting and self._inside.take(key):
                queue = self._waiting[key]
                future = next(iter(queue))
                del queue[future]
                if not queue:
                    del self._waiting[key]
                future.set_result(None)
        finally:
            self._serving.discard(key)
