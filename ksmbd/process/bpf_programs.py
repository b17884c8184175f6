# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads and attaches the BPF programs of a server, and reports which are on and why others are not.

The forker makes them after it has bound the sockets and before it forks. They are independent: if one cannot be loaded,
the others stay on. The server works without any of them.
"""
from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Final

from ksmbd.conn.contract import Counters
from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import bpf
from ksmbd.kernel.bpf_cache import BpfUnavailable
from ksmbd.kernel.steering import Lookup, Steer, Tune, TuneRule
from ksmbd.process.control import Feature

EVERYWHERE: Final = (TuneRule("0.0.0.0/0"), TuneRule("::/0"))

_COST: Final = {
    "steer": "the kernel spreads connections by hash",
    "tune": "sockets keep the system's buffer sizes, and there are no figures of connections",
    "lookup": "clients must use port {port}",
}


def tune_rules(words: str) -> list[TuneRule]:
    """Parse `tune networks`: items NETWORK[=SEND[/RECEIVE]] with buffer sizes in bytes or with K, M. Raises
    ValueError."""
    rules = list(EVERYWHERE)
    for word in words.replace(",", " ").split():
        network, _, sizes = word.partition("=")
        send, _, receive = sizes.partition("/")
        rules.append(TuneRule(network, _size(send), _size(receive or send)))
    return rules


def _size(text: str) -> int:
    if not text:
        return 0
    unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1].upper(), 1)
    return int(text[:-1] if unit > 1 else text) * unit


class BpfPrograms:
    """The attached programs. `rows` are the listening sockets, a list for each worker; `open_anchor` opens one more
    socket in the group of a given one."""

    def __init__(
        self,
        settings: EngineSettings,
        rows: Sequence[Sequence[socket.socket]],
        open_anchor: Callable[[socket.socket], socket.socket],
    ) -> None:
        self.steer: Steer | None = None
        self.lookup: Lookup | None = None
        self.tune: Tune | None = None
        self.features: list[Feature] = []
        self._anchors: list[socket.socket] = []
        self._port = settings.tcp_port
        lookup_port = settings.lookup_port
        why = "`bpf = no`" if not settings.bpf else bpf.probe()
        self._try("steer", why, lambda: self._steer(rows))
        self._try("tune", why, lambda: self._tune(settings, lookup_port))
        if lookup_port:
            self._try("lookup", why, lambda: self._lookup(lookup_port, rows[0], open_anchor))

    def _try(self, name: str, why: str, attach: Callable[[], str]) -> None:
        if not why:
            try:
                self.features.append(Feature(name, True, attach()))
                return
            except (BpfUnavailable, OSError, ValueError) as error:
                why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        self.features.append(Feature(name, False, f"{why}; {_COST[name].format(port=self._port)}"))

    def _steer(self, rows: Sequence[Sequence[socket.socket]]) -> str:
        steer = Steer(len(rows))
        try:
            if len(rows) > 1:  # a socket alone on its address is no group, and has nothing to choose from
                for group in zip(*rows, strict=True):
                    steer.attach(group)
        except OSError:
            steer.close()
            raise
        self.steer = steer
        return f"new connections go to their client's worker, else to the least loaded of {len(rows)}"

    def _tune(self, settings: EngineSettings, lookup_port: int) -> str:
        rules = tune_rules(settings.tune_networks)
        ports = {settings.tcp_port, lookup_port} - {0}
        self.tune = Tune(ports, rules)
        return f"socket options by client network ({len(rules)} rules), TCP's figures of each connection"

    def _lookup(
        self, port: int, row: Sequence[socket.socket], open_anchor: Callable[[socket.socket], socket.socket]
    ) -> str:
        listeners = list(row)
        if self.steer is not None:
            # A socket of steer's map cannot be in another one: each group is represented by one more of its kind
            self._anchors = listeners = [open_anchor(sock) for sock in row]
        self.lookup = Lookup(port, listeners)
        return f"connections to port {port} are served too"

    # ------------------------------------------------------------------------------------------- the forker's part

    def listened(self, group: Sequence[socket.socket]) -> None:
        """Attach to the sockets of one more address, one for each worker. If `steer` cannot be attached, the kernel
        distributes its connections by hash."""
        if self.steer is not None and len(group) > 1:
            with contextlib.suppress(OSError):
                self.steer.attach(group)

    def unlistened(self, group: Sequence[socket.socket]) -> None:
        """Detach from sockets that are about to be closed."""
        if self.steer is not None:
            self.steer.detach(group)

    def worker_started(self, index: int) -> None:
        """Worker `index` (from 1) is ready for connections."""
        if self.steer is not None:
            self.steer.set_alive(index - 1, True)

    def worker_ended(self, index: int) -> None:
        """Worker `index` has ended: it gets no connections until it is ready again."""
        if self.steer is not None:
            self.steer.set_alive(index - 1, False)

    def set_debug_mask(self, mask: int) -> None:
        """Pass the debug mask to the programs."""
        if self.steer is not None:
            self.steer.debug_mask[:4] = mask.to_bytes(4, "little")

    def close(self) -> None:
        """Detach everything."""
        for program in (self.lookup, self.tune, self.steer):
            if program is not None:
                program.close()
        for sock in self._anchors:
            sock.close()

    @property
    def worker_descriptors(self) -> set[int]:
        """The descriptors that a worker keeps open: that of the client map. The others belong to the forker."""
        return {self.steer.maps["clients"].fd} if self.steer is not None else set()

    # ------------------------------------------------------------------------------------------- a worker's part

    def counted(self, index: int, counters: Counters) -> Counters:
        """Counters of a worker that also report its load to the programs."""
        return SteeredCounters(counters, self.steer, index - 1) if self.steer is not None else counters

    def pin(self, address: str, worker: int) -> None:
        """Give further connections of this address to `worker`. A full map forgets the oldest address."""
        if self.steer is not None:
            with contextlib.suppress(OSError, ValueError):
                self.steer.pin(address, worker - 1)

    def unpin(self, address: str) -> None:
        """Distribute the connections of this address by load again."""
        if self.steer is not None:
            with contextlib.suppress(ValueError):
                self.steer.unpin(address)


class SteeredCounters:
    """Counters that also update the load of this worker in the map of `steer`."""

    def __init__(self, counters: Counters, steer: Steer, slot: int) -> None:
        self._counters = counters
        self._steer = steer
        self._slot = slot
        self._connections = 0
        self.count = counters.count
        self.refused = counters.refused

    def connected(self) -> None:
        """One connection more."""
        self._counters.connected()
        self._connections += 1
        self._steer.set_load(self._slot, self._connections)

    def disconnected(self) -> None:
        """One connection less."""
        self._counters.disconnected()
        self._connections -= 1
        self._steer.set_load(self._slot, self._connections)

    def queue_empty(self) -> None:
        """All connections given to this worker have been accepted."""
        self._steer.queue_empty(self._slot)
