# SPDX-License-Identifier: GPL-2.0-or-later
"""Accepts connections from a listening socket."""

from __future__ import annotations

import socket
from collections.abc import Callable

from ksmbd.conn.contract import Connected, Core, Counters
from ksmbd.conn.loop import Loop
from ksmbd.conn.scratch import Scratch
from ksmbd.conn.tcp.options import NAME, address_text
from ksmbd.conn.tcp.transport import TcpTransport


class TcpArrival:
    """A connected socket: the `Arrival` of ksmbd.conn.contract."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.peer = address_text(sock, peer=True)

    def serve(
        self,
        loop: Loop,
        scratch: Scratch,
        make_core: Callable[[Connected], Core],
        counters: Counters,
        on_closed: Callable[[Connected], None],
        received: bytes,
    ) -> TcpTransport:
        """See the contract."""
        return TcpTransport(loop, self._sock, scratch, make_core, counters, on_closed, received, self.peer)

    def refuse(self) -> None:
        """See the contract."""
        self._sock.close()


class TcpListener:
    """A listening socket: the `Listener` of ksmbd.conn.contract."""

    def __init__(self, sock: socket.socket) -> None:
        self.provider = NAME
        self._sock = sock
        sock.setblocking(False)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def accept(self) -> TcpArrival:
        """See the contract."""
        return TcpArrival(self._sock.accept()[0])

    def close(self) -> None:
        """Close this process's socket."""
        self._sock.close()
