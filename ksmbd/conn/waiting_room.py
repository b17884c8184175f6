# SPDX-License-Identifier: GPL-2.0-or-later
"""The connections that nobody has logged on with yet: whose place is given to another one when places are short.

Anybody may have one, so none of them is worth more than a newcomer. The oldest of the same address goes first, then the
oldest of the address that has most; a connection with a session never does. MS-SMB2 3.3.6.3.
"""
from __future__ import annotations

from typing import Protocol

from ksmbd.limits import address_group


class Guest(Protocol):
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


class WaitingRoom:
    """By address, oldest first. A connection that has logged on meanwhile is removed when it is met."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[Guest, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def enter(self, guest: Guest) -> None:
        """A connection has begun, or its last session has ended."""
        self._groups.setdefault(address_group(guest.peer), {})[guest] = None

    def leave(self, guest: Guest) -> None:
        """The connection is closed, or has a session."""
        key = address_group(guest.peer)
        group = self._groups.get(key)
        if group is not None:
            group.pop(guest, None)
            if not group:
                del self._groups[key]

    def count(self, address: str) -> int:
        """How many there are of an address."""
        return len(self._groups.get(address_group(address), ()))

    def oldest_of(self, address: str) -> Guest | None:
        """The oldest one of an address (IPv6: of its network); None: there is none."""
        for guest in list(self._groups.get(address_group(address), ())):
            if not guest.logged_on:
                return guest
            self.leave(guest)
        return None

    def oldest_of_most(self) -> Guest | None:
        """The oldest one of the address that has most."""
        while self._groups:
            most = max(self._groups, key=lambda key: len(self._groups[key]))
            guest = self.oldest_of(next(iter(self._groups[most])).peer)
            if guest is not None:
                return guest
        return None
