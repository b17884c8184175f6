# SPDX-License-Identifier: GPL-2.0-or-later
"""The connections that nobody has logged on with yet: whose place is given to another one when places are short.

Anybody may have one, so none of them is worth more than a newcomer. The oldest of the same address goes first, then the
oldest of the address that has most; a connection with a session never does. MS-SMB2 3.3.6.3.
"""
from __future__ import annotations

from typing import Protocol

from ksmbd.limits import address_group


class SessionlessConnection(Protocol):
    """A connection (ksmbd.conn.contract.Connected)."""

    @property
    def peer(self) -> str:
        """The client's address."""
        ...

    @property
    def logged_on(self) -> bool:
        """Whether there is a session on it."""
        ...

    def end(self, reason: str) -> None:
        """End it now."""
        ...


class SessionlessConnections:
    """By address, oldest first. A connection that has logged on meanwhile is removed when it is met."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[SessionlessConnection, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def enter(self, connection: SessionlessConnection) -> None:
        """A connection has begun, or its last session has ended."""
        self._groups.setdefault(address_group(connection.peer), {})[connection] = None

    def leave(self, connection: SessionlessConnection) -> None:
        """The connection is closed, or has a session."""
        key = address_group(connection.peer)
        group = self._groups.get(key)
        if group is not None:
            group.pop(connection, None)
            if not group:
                del self._groups[key]

    def count(self, address: str) -> int:
        """How many there are of an address."""
        return len(self._groups.get(address_group(address), ()))

    def oldest_of(self, address: str) -> SessionlessConnection | None:
        """The oldest one of an address (IPv6: of its network); None: there is none."""
        for connection in list(self._groups.get(address_group(address), ())):
            if not connection.logged_on:
                return connection
            self.leave(connection)
        return None

    def oldest_of_most(self) -> SessionlessConnection | None:
        """The oldest one of the address that has most."""
        while self._groups:
            most = max(self._groups, key=lambda key: len(self._groups[key]))
            connection = self.oldest_of(next(iter(self._groups[most])).peer)
            if connection is not None:
                return connection
        return None
