# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps the connections without a session, which may be ended to make room for another connection (MS-SMB2 3.3.6.3).

Anybody may open such a connection, so none has a better claim than a new one. The oldest of the same address is ended
first, then the oldest of the address that has most. A connection with a session is never ended for this.
"""
from __future__ import annotations

from typing import Protocol

from ksmbd.limit import address_group


class SessionlessConnection(Protocol):
    """The part of ksmbd.conn.contract.Connected that is used here."""

    @property
    def peer(self) -> str:
        """The client's address."""
        ...

    @property
    def logged_on(self) -> bool:
        """Whether there is a session on it."""
        ...

    def end(self, reason: str) -> None:
        """End the connection now."""
        ...


class SessionlessConnections:
    """The connections without a session, by address, oldest first. One that has logged on meanwhile is removed when it
    is found."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[SessionlessConnection, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def enter(self, connection: SessionlessConnection) -> bool:
        """Add a connection that has begun, or whose last session has ended. Returns whether it was not there yet."""
        group = self._groups.setdefault(address_group(connection.peer), {})
        if connection in group:
            return False
        group[connection] = None
        return True

    def leave(self, connection: SessionlessConnection) -> None:
        """Remove a connection that is closed or has a session."""
        key = address_group(connection.peer)
        group = self._groups.get(key)
        if group is not None:
            group.pop(connection, None)
            if not group:
                del self._groups[key]

    def count(self, address: str) -> int:
        """How many connections of an address there are."""
        return len(self._groups.get(address_group(address), ()))

    def oldest_beyond(self, address: str, most: int) -> SessionlessConnection | None:
        """The oldest connection of an address that has more than `most`, or None. Many that log on within one sweep
        are found here, and count no longer."""
        group = self._groups.get(address_group(address))
        if group is None or len(group) <= most:
            return None
        self._forget_logged_on(group)
        return next(iter(group)) if len(group) > most else None

    def oldest_of(self, address: str) -> SessionlessConnection | None:
        """The oldest connection of an address (IPv6: of its /64 network), or None."""
        for connection in list(self._groups.get(address_group(address), ())):
            if not connection.logged_on:
                return connection
            self.leave(connection)
        return None

    def oldest_of_most(self) -> SessionlessConnection | None:
        """The oldest connection of the address that has most, or None."""
        while self._groups:
            group = max(self._groups.values(), key=len)
            if not self._forget_logged_on(group):
                return next(iter(group))
        return None

    def _forget_logged_on(self, group: dict[SessionlessConnection, None]) -> bool:
        """Whether any connection of a group had logged on."""
        found = [connection for connection in group if connection.logged_on]
        for connection in found:
            self.leave(connection)
        return bool(found)
