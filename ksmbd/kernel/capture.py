# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures the TCP packets of the server's ports, as the kernel sees them (ksmbd.trace).

Three ways, of which the first that works is taken: bpf/capture.c by tcx on every interface, the same as the filter of
a packet socket, and a packet socket alone, where user space chooses the packets. All need CAP_NET_RAW or CAP_NET_ADMIN
and CAP_BPF, which root has.
"""
from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from ksmbd.kernel import bpf, bpf_cache
from ksmbd.kernel.ring_buffer import RingBuffer
from ksmbd.kernel.steering import packed_network

RING_SIZE: Final = 64 << 20
"""Bytes of the ring buffer: what comes in while user space is busy, some tenths of a second at full speed."""
PACKET_MAX: Final = 65536
_HEAD: Final = struct.Struct("=QIIII")
_U32: Final = struct.Struct("=I")
_U64: Final = struct.Struct("=Q")
_ALL: Final = 0x0003  # ETH_P_ALL
_SO_ATTACH_BPF: Final = 50
_SO_RCVBUFFORCE: Final = 33
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_ARPHRD_LOOPBACK: Final = "772"
_PORTS: Final = struct.Struct(">HH")
_TCP: Final = 6
_RECEIVE_BUFFER: Final = 32 << 20


class Packet(NamedTuple):
    """A packet. `data` is valid until the next one is asked for."""

    ns: int
    """When it was seen, in ns since 1970."""
    size: int
    """Its size on the wire, from the IP header on; `data` may be shorter."""
    data: memoryview
    """From the IP header on."""


@dataclass(frozen=True)
class Wanted:
    """Which packets are captured."""

    ports: tuple[int, ...]
    clients: tuple[str, ...] = ()
    """Addresses and networks; empty: all."""
    direction: int = 0
    """1: from clients alone, 2: to clients alone, 0: both."""
    most: int = 0
    """Bytes of each packet that are wanted; 0: all."""


class Capture(Protocol):
    """A running capture."""

    how: str
    """The way in one word: tcx, filter or socket."""

    def packets(self, seconds: float) -> Iterator[Packet]:
        """Wait at most `seconds` for packets, and iterate over those that are there."""
        ...

    @property
    def lost(self) -> int:
        """Packets that the kernel dropped because user space was too slow."""
        ...

    def close(self) -> None:
        """End the capture."""
        ...


class BpfCapture:
    """Captures by bpf/capture.c."""

    def __init__(self, wanted: Wanted, interfaces: Sequence[str], cache: Path = bpf_cache.SYSTEM_CACHE) -> None:
        """Attach it by tcx to these interfaces, or to a packet socket where there are none. Raises OSError,
        BpfUnavailable, ValueError for an address that is none."""
        self.how = "tcx" if interfaces else "filter"
        kind = bpf.PROG_SCHED_CLS if interfaces else bpf.PROG_SOCKET_FILTER
        program = bpf_cache.get("capture", kind, cache=cache)
        self._maps: dict[str, bpf.Map] = {}
        self._links: list[int] = []
        self._socket: socket.socket | None = None
        self._program = -1
        try:
            spec = replace(program.maps["packets"], key_size=0, value_size=0, entries=RING_SIZE)
            self._maps["packets"] = bpf.Map(spec, "packets")
            self._program = program.load(self._maps)
            self._fill(wanted)
            self._ring = RingBuffer(self._maps["packets"])
            for name in interfaces:
                self._attach(name)
            if not interfaces:
                self._socket = packet_socket(0)
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, self._program)
        except BaseException:
            self._release()
            raise
        self._poll = select.epoll(1)
        self._poll.register(self._maps["packets"].fd, select.EPOLLIN)
        self._offset = time.time_ns() - time.monotonic_ns()

    def _fill(self, wanted: Wanted) -> None:
        for port in wanted.ports:
            self._maps["ports"].set(_U32.pack(port), _U32.pack(1))
        for client in wanted.clients:
            self._maps["clients"].set(packed_network(client), _U32.pack(1))
        for which, value in enumerate((bool(wanted.clients), wanted.most, wanted.direction)):
            self._maps["wanted"].set(_U32.pack(which), _U32.pack(value))

    def _attach(self, interface: str) -> None:
        index = socket.if_nametoindex(interface)
        self._links.append(bpf.link(self._program, index, bpf.ATTACH_TCX_INGRESS))
        kind = Path("/sys/class/net", interface, "type").read_text(encoding="ascii").strip()
        if kind != _ARPHRD_LOOPBACK:  # where each packet comes in that goes out
            self._links.append(bpf.link(self._program, index, bpf.ATTACH_TCX_EGRESS))

    def packets(self, seconds: float) -> Iterator[Packet]:
        """See Capture."""
        if not self._ring.waiting:
            self._poll.poll(seconds)
        for record in self._ring.records():
            ns, size, stored, _, _ = _HEAD.unpack_from(record)
            yield Packet(ns + self._offset, size, record[_HEAD.size : _HEAD.size + stored])

    @property
    def lost(self) -> int:
        """See Capture."""
        value = self._maps["lost"].get(_U32.pack(0))
        return int(_U64.unpack(value)[0]) if value is not None else 0

    def close(self) -> None:
        """See Capture."""
        self._poll.close()
        self._release()

    def _release(self) -> None:
        for descriptor in (*self._links, self._program):
            if descriptor >= 0:
                os.close(descriptor)
        if self._socket is not None:
            self._socket.close()
        for each in self._maps.values():
            each.close()


class SocketCapture:
    """Captures by a packet socket alone."""

    how = "socket"

    def __init__(self, wanted: Wanted) -> None:
        """Open the socket. Raises OSError, ValueError for an address that is none."""
        self._wanted = wanted
        self._clients = [ipaddress.ip_network(client, strict=False) for client in wanted.clients]
        self._socket = packet_socket(_RECEIVE_BUFFER)
        self._socket.setblocking(False)
        self._buffer = bytearray(PACKET_MAX)
        self._lost = 0

    def packets(self, seconds: float) -> Iterator[Packet]:
        """See Capture."""
        select.select([self._socket], [], [], seconds)
        view = memoryview(self._buffer)
        while True:
            try:
                size, address = self._socket.recvfrom_into(view)
            except BlockingIOError:
                return
            outgoing, hardware = address[2] == socket.PACKET_OUTGOING, str(address[3])
            if outgoing and hardware == _ARPHRD_LOOPBACK:
                continue
            if is_wanted(view[:size], self._wanted, self._clients):
                stored = min(size, self._wanted.most or size)
                yield Packet(time.time_ns(), size, view[:stored])

    @property
    def lost(self) -> int:
        """See Capture."""
        _, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._lost += dropped
        return self._lost

    def close(self) -> None:
        """See Capture."""
        self._socket.close()


Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]


def is_wanted(packet: memoryview, wanted: Wanted, clients: Networks) -> bool:
    """The choice of bpf/capture.c, for a packet from its IP header on. Extension headers of IPv6 are not followed."""
    if len(packet) < 40:
        return False
    if packet[0] >> 4 == 4:
        at, protocol, size = (packet[0] & 15) * 4, packet[9], 4
        ends = packet[12:16], packet[16:20]
    else:
        at, protocol, size = 40, packet[6], 16
        ends = packet[8:24], packet[24:40]
    if protocol != _TCP or len(packet) < at + 4 or len(ends[0]) != size:
        return False
    source, target = _PORTS.unpack_from(packet, at)
    if target in wanted.ports:
        client, way = ends[0], 1
    elif source in wanted.ports:
        client, way = ends[1], 2
    else:
        return False
    if wanted.direction not in (0, way):
        return False
    return not clients or any(ipaddress.ip_address(bytes(client)) in network for network in clients)


def packet_socket(buffer: int) -> socket.socket:
    """A packet socket of all interfaces, whose packets begin at the IP header, with a receive buffer of this size.
    Raises OSError."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(_ALL))
    if buffer:
        for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
            with contextlib.suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, option, buffer)
                break
    return made


def interfaces() -> list[str]:
    """The network interfaces of this namespace."""
    return [name for _, name in socket.if_nameindex()]


def open_capture(wanted: Wanted, cache: Path = bpf_cache.SYSTEM_CACHE) -> tuple[Capture, list[str]]:
    """Begin a capture in the best way that works, and tell why the better ones do not, a line each. Raises OSError
    where none does, ValueError for an address that is none."""
    reasons: list[str] = []
    for names in (interfaces(), []):
        try:
            return BpfCapture(wanted, names, cache), reasons
        except (OSError, bpf_cache.BpfUnavailable) as error:
            reasons.append(f"{'a socket filter' if not names else 'tcx'}: {error}")
    return SocketCapture(wanted), reasons
