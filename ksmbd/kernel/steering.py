# SPDX-License-Identifier: GPL-2.0-or-later
"""Uses the three BPF programs: steer (chooses the worker), lookup (serves a second port), tune (socket options, figures
of TCP).

The forker makes them and owns their descriptors. Nothing is pinned: everything ends with the last process that holds a
descriptor, so a start after kill -9 finds nothing to take over. Workers inherit maps and mapped memory.
"""
from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ksmbd.address import unmapped
from ksmbd.kernel import bpf, bpf_cache
from ksmbd.kernel.cgroup import own_cgroup

WORKERS_MAX: Final = 64
SO_ATTACH_REUSEPORT_EBPF: Final = 52
SO_NETNS_COOKIE: Final = 71
TARGETS_MAX: Final = 8

_U32: Final = struct.Struct("=I")
_U64: Final = struct.Struct("=Q")
_TARGET: Final = struct.Struct("=IIII16s")
_NETWORK: Final = struct.Struct("=I16s")
_OPTIONS: Final = struct.Struct("=III")
_ENDPOINT: Final = struct.Struct("=16sII")
_CONNECTION: Final = struct.Struct("=QQQIIIIII")
_WORDS: Final = 4  # of struct worker
_LOAD, _PENDING, _ALIVE = range(3)


def packed_address(text: str) -> bytes:
    """An address as in the maps: 16 bytes, IPv4 as ::ffff:a.b.c.d, without a zone (%eth0). Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def packed_network(text: str) -> bytes:
    """A network as the key of a trie: prefix length, and its address as `packed_address` has it. Raises ValueError."""
    network = ipaddress.ip_network(text, strict=False)
    prefix = network.prefixlen + (96 if network.version == 4 else 0)
    return _NETWORK.pack(prefix, packed_address(str(network.network_address)))


class Steer:
    """Chooses the worker of each new connection (SK_REUSEPORT) among the listening sockets of an address. Workers are
    numbered by slots here: worker 1 is slot 0."""

    def __init__(self, workers: int, cache: Path = bpf_cache.SYSTEM_CACHE) -> None:
        """Load the program and make its maps. Raises bpf_cache.BpfUnavailable or OSError."""
        if workers > WORKERS_MAX:
            raise bpf_cache.BpfUnavailable(f"more than {WORKERS_MAX} workers")
        self._program = bpf_cache.get("steer", bpf.PROG_SK_REUSEPORT, cache=cache)
        self.maps: dict[str, bpf.Map] = {}
        self._groups: dict[socket.socket, tuple[bpf.Map, int]] = {}
        """The socket map and program of each group, by its first socket."""
        for name, spec in self._program.maps.items():
            if name != "socks":
                self.maps[name] = bpf.Map(spec, name)
        self._memory = self.maps["workers"].map_memory()
        self._words = memoryview(self._memory).cast("Q")
        self.debug_mask = memoryview(self.maps["debug_mask"].map_memory())
        """The debug mask's page, shared with the programs (ksmbd.debug.attach)."""

    def attach(self, group: Sequence[socket.socket]) -> None:
        """Attach to the listening sockets of one address, in the order of the workers. Raises OSError."""
        sockets = bpf.Map(self._program.maps["socks"], "socks")
        for slot, listener in enumerate(group):
            sockets.set(_U32.pack(slot), _U64.pack(listener.fileno()))
        program = self._program.load({**self.maps, "socks": sockets})
        group[0].setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, program)
        self._groups[group[0]] = sockets, program

    def detach(self, group: Sequence[socket.socket]) -> None:
        """Detach from sockets that are about to be closed."""
        sockets, program = self._groups.pop(group[0], (None, -1))
        if sockets is not None:
            os.close(program)
            sockets.close()

    def set_alive(self, slot: int, alive: bool) -> None:
        """Report that a worker is ready or has ended; one that has ended gets no connections."""
        self._words[slot * _WORDS + _LOAD] = 0
        self._words[slot * _WORDS + _PENDING] = 0
        self._words[slot * _WORDS + _ALIVE] = int(alive)

    def set_load(self, slot: int, connections: int) -> None:
        """Report how many connections a worker has."""
        self._words[slot * _WORDS + _LOAD] = connections

    def queue_empty(self, slot: int) -> None:
        """Report that a worker has accepted all connections given to it."""
        self._words[slot * _WORDS + _PENDING] = 0

    def pin(self, address: str, slot: int) -> None:
        """Give connections from this address to the worker in `slot`."""
        self.maps["clients"].set(packed_address(address), _U32.pack(slot))

    def unpin(self, address: str) -> None:
        """Give connections from this address to the least loaded worker again."""
        self.maps["clients"].delete(packed_address(address))

    def pinned(self) -> dict[str, int]:
        """Addresses and their slots."""
        return {_text(key): _U32.unpack(value)[0] for key, value in self.maps["clients"].items()}

    def decisions(self) -> tuple[int, int, int]:
        """Connections steered by the client map, by load, and while no worker lived; counted with debug `conn` on."""
        counts = [self.maps["decisions"].get(_U32.pack(which)) for which in range(3)]
        first, second, third = (_U64.unpack(value)[0] if value else 0 for value in counts)
        return first, second, third

    def close(self) -> None:
        """Close all programs and maps; sockets that stay open are chosen by the hash of the kernel once their program
        is gone."""
        for sockets, program in self._groups.values():
            os.close(program)
            sockets.close()
        self._groups.clear()
        for one in self.maps.values():
            one.close()


def _text(packed: bytes) -> str:
    return str(unmapped(ipaddress.IPv6Address(packed)))


class Lookup:
    """Lets the listeners serve another port (SK_LOOKUP), without the right to bind it."""

    def __init__(self, port: int, listeners: Sequence[socket.socket], cache: Path = bpf_cache.SYSTEM_CACHE) -> None:
        """Attach to this network namespace for `port` on the addresses of the listeners. Raises BpfUnavailable,
        OSError.

        A socket cannot be in this map and in that of steer. If steer is attached, `listeners` has one additional socket
        of each group, opened for this purpose, and steer then chooses one of the others."""
        program = bpf_cache.get("lookup", bpf.PROG_SK_LOOKUP, bpf.ATTACH_SK_LOOKUP, cache)
        self.maps: dict[str, bpf.Map] = {}
        self._program = program.load(self.maps)
        for slot, listener in enumerate(listeners[:TARGETS_MAX]):
            host = str(listener.getsockname()[0])
            packed = packed_address(host)
            any_address = ipaddress.ip_address(host.partition("%")[0]).is_unspecified
            own = packed[12:] + bytes(12) if listener.family == socket.AF_INET else packed
            self.maps["socks"].set(_U32.pack(slot), _U64.pack(listener.fileno()))
            self.maps["targets"].set(
                _U32.pack(slot), _TARGET.pack(int(listener.family), port, int(any_address), slot, own)
            )
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._link = bpf.link(self._program, namespace, bpf.ATTACH_SK_LOOKUP)
        finally:
            os.close(namespace)

    @property
    def hits(self) -> int:
        """How many connections came in on the second port."""
        value = self.maps["hits"].get(_U32.pack(0))
        return int(_U64.unpack(value)[0]) if value else 0

    def close(self) -> None:
        """Detach."""
        os.close(self._link)
        os.close(self._program)
        for one in self.maps.values():
            one.close()


@dataclass(frozen=True, slots=True)
class TuneRule:
    """Socket options for clients of a network; 0 keeps the buffer size of the system."""

    network: str
    send_buffer: int = 0
    receive_buffer: int = 0
    no_delay: bool = True


@dataclass(frozen=True, slots=True)
class ConnectionFigures:
    """Figures of TCP about one connection."""

    peer: str
    port: int
    opened_ns: int
    bytes_received: int
    bytes_acked: int
    srtt_us: int
    min_rtt_us: int
    retransmits: int
    samples: int
    errors: int


class Tune:
    """Sets socket options and collects figures of connections (SOCK_OPS), for the ports of this server in this network
    namespace."""

    def __init__(
        self, ports: Iterable[int], rules: Iterable[TuneRule], cache: Path = bpf_cache.SYSTEM_CACHE
    ) -> None:
        """Attach to the cgroup of this process. Raises BpfUnavailable, OSError, and ValueError for an invalid
        network."""
        program = bpf_cache.get("tune", bpf.PROG_SOCK_OPS, cache=cache)
        self.maps: dict[str, bpf.Map] = {}
        self._program = program.load(self.maps)
        for port in ports:
            self.maps["ports"].set(_U32.pack(port), _U32.pack(1))
        self.maps["scope"].set(_U32.pack(0), _U64.pack(_namespace_cookie()))
        for rule in rules:
            value = _OPTIONS.pack(rule.send_buffer, rule.receive_buffer, int(rule.no_delay))
            self.maps["networks"].set(packed_network(rule.network), value)
        group = own_cgroup()
        try:
            self._link = bpf.link(self._program, group, bpf.ATTACH_CGROUP_SOCK_OPS)
        finally:
            os.close(group)

    def connections(self) -> list[ConnectionFigures]:
        """The connections that are open now."""
        found = []
        for key, value in self.maps["connections"].items():
            address, remote_port, _ = _ENDPOINT.unpack(key)
            opened, received, acked, srtt, min_rtt, retransmits, samples, errors, _ = _CONNECTION.unpack(value)
            found.append(
                ConnectionFigures(
                    peer=_text(address), port=remote_port, opened_ns=opened, bytes_received=received,
                    bytes_acked=acked, srtt_us=srtt, min_rtt_us=min_rtt, retransmits=retransmits, samples=samples,
                    errors=errors,
                )
            )
        return found

    def totals(self) -> dict[str, int]:
        """Since the start: connections opened and closed, segments sent again, bytes acknowledged."""
        names = ("opened", "closed", "retransmits", "bytes_acked")
        values = [self.maps["totals"].get(_U32.pack(index)) for index in range(len(names))]
        return {name: int(_U64.unpack(value)[0]) if value else 0 for name, value in zip(names, values, strict=True)}

    def close(self) -> None:
        """Detach."""
        os.close(self._link)
        os.close(self._program)
        for one in self.maps.values():
            one.close()


def _namespace_cookie() -> int:
    """This network namespace's cookie, 0 (any) where the kernel does not tell it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            return int(_U64.unpack(probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0])
        except OSError:
            return 0
