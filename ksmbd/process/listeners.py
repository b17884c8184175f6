# SPDX-License-Identifier: GPL-2.0-or-later
"""The listeners of all transports, as the forker has them."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from ksmbd.conn.contract import Group, Listener, Listening


class Listeners:
    """Groups of listeners, one listener a worker in each."""

    def __init__(self, all_listening: Sequence[Listening], workers: int) -> None:
        """`all_listening`: what each transport's `listen` gave."""
        self._all = all_listening
        self._workers = workers

    def rows(self) -> list[list[Listener]]:
        """The listeners, a list for each worker."""
        return [[group.listeners[worker] for group in self._groups()] for worker in range(self._workers)]

    def steered_rows(self) -> list[list[socket.socket]]:
        """Of the listeners that BPF programs can choose from, their sockets, a list for each worker."""
        groups = [group for group in self._groups() if group.steered]
        return [[group.steered[worker] for group in groups] for worker in range(self._workers)]

    def open_another(self, sock: socket.socket) -> socket.socket:
        """One more socket like this one of `steered_rows`, which stays the caller's. Raises OSError."""
        return next(group for group in self._groups() if sock in group.steered).open_another()

    def addresses(self) -> list[str]:
        """Where clients can connect."""
        return [group.text() for group in self._groups()]

    def update(self) -> tuple[list[Group], list[Group]]:
        """Look at the machine's interfaces again: the groups that are new, and those that are gone, which the caller
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
