# SPDX-License-Identifier: GPL-2.0-or-later
"""The `Provider` of Direct TCP (MS-SMB2 2.1)."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from ksmbd.conn.tcp.accepting import TcpArrival, TcpListener
from ksmbd.conn.tcp.listening import Listening, Settings
from ksmbd.conn.tcp.options import NAME


class Tcp:
    """The `Provider` of ksmbd.conn.contract."""

    def __init__(self, settings: Settings) -> None:
        self.name = NAME
        self._settings = settings

    def listen(self, workers: int) -> Listening:
        """See the contract."""
        return Listening(self._settings, workers)

    def listener(self, fd: int) -> TcpListener:
        """See the contract."""
        return TcpListener(socket.socket(fileno=fd))

    def arrival(self, fds: Sequence[int]) -> TcpArrival:
        """See the contract."""
        return TcpArrival(socket.socket(fileno=fds[0]))
