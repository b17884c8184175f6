# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets -> Commands: finds the connections, reassembles both directions, and tells what was missing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from mountd.trace.exchange import Command, Exchange
from mountd.trace.keys import KeyRing
from mountd.trace.known import Known
from mountd.trace.packets import FIN, LINK_RAW, RST, SYN, Endpoint, segment
from mountd.trace.stream import Stream

CONNECTIONS_MAX: Final = 4096
"""Connections that are followed; of more, the one that was silent for longest is forgotten."""
KEY_NS: Final = 2 * 10**9
"""How long sealed frames wait for their session's key, ns."""


@dataclass
class Connection:
    """A connection: its exchange, and the streams to and from the server."""

    exchange: Exchange
    to_server: Stream
    to_client: Stream
    ends: int = 0
    """How many directions have ended."""


@dataclass
class Counts:
    """What the capture missed or saw twice."""

    packets: int = 0
    gaps: int = 0
    lost_bytes: int = 0
    again: int = 0
    reordered: int = 0

    def add(self, stream: Stream) -> None:
        """Add what a stream counted."""
        self.gaps += stream.gaps
        self.lost_bytes += stream.lost
        self.again += stream.again
        self.reordered += stream.reordered


class Tracer:
    """Follows all connections to servers on some ports. `on_command` gets each Command."""

    def __init__(
        self,
        ports: Collection[int],
        keys: KeyRing,
        on_command: Callable[[Command], None],
        waits_for_keys: bool = False,
    ) -> None:
        self.ports = ports
        self.keys = keys
        self.known: dict[Endpoint, Known] = {}
        """By the server's endpoint."""
        self.all = Known()
        """What is known of the server of a live trace, whatever the address."""
        self.counts = Counts()
        self._waits_for_keys = waits_for_keys
        self._on_command = on_command
        self._connections: OrderedDict[tuple[Endpoint, Endpoint], Connection] = OrderedDict()

    def packet(self, ns: int, size: int, data: memoryview, link: int = LINK_RAW) -> None:
        """Take a packet; `data` is valid during the call alone."""
        self.counts.packets += 1
        found = segment(data, link, size)
        if found is None:
            return
        if found.target.port in self.ports:
            client, server, to_server = found.source, found.target, True
        elif found.source.port in self.ports:
            client, server, to_server = found.target, found.source, False
        else:
            return
        key = client, server
        connection = self._connections.get(key)
        if found.flags & SYN:
            if connection is not None and to_server:
                self._end(key)
                connection = None
            connection = connection or self._new(client, server)
            (connection.to_server if to_server else connection.to_client).start(found.sequence)
        elif connection is None:
            if not found.size:
                return
            connection = self._new(client, server)
        self._connections.move_to_end(key)
        if found.size:
            stream = connection.to_server if to_server else connection.to_client
            stream.take(found.sequence, found.size, found.data, ns)
        if found.flags & (FIN | RST):
            connection.ends += 2 if found.flags & RST else 1
            if connection.ends >= 2 and not connection.exchange.holds:
                self._end(key)

    def _new(self, client: Endpoint, server: Endpoint) -> Connection:
        known = self.all if self._waits_for_keys else self.known.setdefault(server, Known())
        exchange = Exchange(client, server, known, self.keys, self._on_command, self._waits_for_keys)
        to_server = Stream(partial(exchange.take, from_server=False))
        made = Connection(exchange, to_server, Stream(partial(exchange.take, from_server=True)))
        self._connections[client, server] = made
        if len(self._connections) > CONNECTIONS_MAX:
            self._end(next(iter(self._connections)))
        return made

    def new_keys(self) -> None:
        """Keys have come: try again what waited for them."""
        self._retry(lambda held: False)

    def overdue(self, ns: int) -> None:
        """Give up waiting for keys that did not come in time."""
        self._retry(lambda held: ns - held > KEY_NS)

    def _retry(self, gives_up: Callable[[int], bool]) -> None:
        """Try held frames again; `gives_up` tells whether nothing is awaited any more for those held since then."""
        for key, connection in list(self._connections.items()):
            if connection.exchange.holds:
                connection.exchange.retry(gives_up(connection.exchange.holds))
                if connection.ends >= 2 and not connection.exchange.holds:
                    self._end(key)

    def _end(self, key: tuple[Endpoint, Endpoint]) -> None:
        self._close(self._connections.pop(key))

    def _close(self, connection: Connection) -> None:
        for stream in (connection.to_server, connection.to_client):
            stream.finish()
            self.counts.add(stream)
        connection.exchange.end()

    def finish(self) -> None:
        """The capture has ended."""
        while self._connections:
            _, connection = self._connections.popitem(last=False)
            self._close(connection)
