# SPDX-License-Identifier: GPL-2.0-or-later
"""All listeners of all transports, for the forker."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from ksmbd.conn.contract import Group, Listener, Listening


class Listeners:
    """The groups of listeners; each has one listener for each worker."""

    def __init__(self, all_listening: Sequence[Listening], workers: int) -> None:
        """`all_listening`: the result of `listen` of each transport."""
        self._all = all_listening
        self._workers = workers

    def rows(self) -> list[list[Listener]]:
        """The listeners, as a list for each worker."""
        return [[group.listeners[worker] for group in self._groups()] for worker in range(self._workers)]

    def steered_rows(self) -> list[list[socket.socket]]:
        """The sockets of groups that a BPF program can choose from, as a list for each worker."""
        groups = [group for group in self._groups() if group.steered]
        return [[group.steered[worker] for group in groups] for worker in range(self._workers)]

    def open_another(self, sock: socket.socket) -> socket.socket:
        """Open one more socket in the group of this one of `steered_rows`; the caller owns it. Raises OSError."""
        return next(group for group in self._groups() if sock in group.steered).open_another()

    def addresses(self) -> list[str]:
        """The addresses that clients can connect to."""
        return [group.text() for group in self._groups()]

    def update(self) -> tuple[list[Group], list[Group]]:
        """Follow changes of the network interfaces: returns the new groups and those that are gone, which the caller
        closes. Never raises."""
        new: list[Group] = []
        gone: list[Group] = []
        for listening in self._all:
            come, went = listening.update()
            new += come
            gone += went
        return new, gone

    def _groups(self) -> list[Group]:
        return [group for listening in self._all for group in listening.groups]
