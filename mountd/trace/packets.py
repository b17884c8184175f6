# SPDX-License-Identifier: GPL-2.0-or-later
"""The TCP segment in a packet (RFC 791, RFC 8200, RFC 9293), for packets of several link layers."""

from __future__ import annotations

import socket
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.overriding import override

LINK_NULL: Final = 0
LINK_ETHERNET: Final = 1
LINK_RAW: Final = 101
LINK_LINUX_SLL: Final = 113
LINK_LINUX_SLL2: Final = 276
_PLAIN: Final = {LINK_RAW: 0, LINK_NULL: 4}
"""Link layer -> where the IP header begins."""
_LAYERS: Final = {LINK_ETHERNET: (14, 12), LINK_LINUX_SLL: (16, 14), LINK_LINUX_SLL2: (20, 0)}
"""Link layer -> the size of its header, and where the EtherType is in it."""
FIN: Final = 1
SYN: Final = 2
RST: Final = 4

_TCP: Final = 6
_VLAN: Final = (0x8100, 0x88A8)
_IP: Final = (0x0800, 0x86DD)
_EXTENSIONS: Final = (0, 43, 60)
"""Hop-by-hop options, routing, destination options (RFC 8200 4.1)."""
_HEADERS_MAX: Final = 8
_U16: Final = Struct(">H")
_HEADER: Final = Struct(">HHIIBBH")


class Endpoint(NamedTuple):
    """An address and a port."""

    address: str
    port: int

    @override
    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Segment(NamedTuple):
    """A TCP segment."""

    source: Endpoint
    target: Endpoint
    sequence: int
    """The number of its first byte; of a SYN, which counts for one, that of the SYN."""
    flags: int
    size: int
    """Bytes of data on the wire; `data` may be shorter."""
    data: memoryview


def segment(packet: memoryview, link: int = LINK_RAW, size: int = 0) -> Segment | None:
    """The segment in a packet of `size` bytes on the wire (0: as many as are there); None where there is none."""
    try:
        start = _network(packet, link)
        return _internet(packet[start:], (size or len(packet)) - start) if start >= 0 else None
    except (IndexError, ValueError):
        return None


def _u16(packet: memoryview, at: int) -> int:
    if len(packet) < at + 2:
        raise ValueError("short")
    return int(_U16.unpack_from(packet, at)[0])


def _network(packet: memoryview, link: int) -> int:
    """Where the IP header begins; -1: there is none."""
    if link in _PLAIN:
        return _PLAIN[link]
    if link not in _LAYERS:
        return -1
    at, where = _LAYERS[link]
    kind = _u16(packet, where)
    while kind in _VLAN:
        at, kind = at + 4, _u16(packet, at + 2)
    return at if kind in _IP else -1


def _internet(packet: memoryview, size: int) -> Segment | None:
    version = packet[0] >> 4
    if version == 4:
        if packet[9] != _TCP or _u16(packet, 6) & 0x1FFF:  # another protocol, or a later fragment
            return None
        at = (packet[0] & 15) * 4
        size = min(_u16(packet, 2) or size, size)
        ends = (socket.inet_ntop(socket.AF_INET, packet[12:16]), socket.inet_ntop(socket.AF_INET, packet[16:20]))
    elif version == 6:
        at, following = 40, packet[6]
        for _ in range(_HEADERS_MAX):
            if following not in _EXTENSIONS:
                break
            at, following = at + 8 + packet[at + 1] * 8, packet[at]
        if following != _TCP:
            return None
        length = _u16(packet, 4)
        size = min(40 + length if length else size, size)
        ends = (socket.inet_ntop(socket.AF_INET6, packet[8:24]), socket.inet_ntop(socket.AF_INET6, packet[24:40]))
    else:
        return None
    if len(packet) < at + _HEADER.size:
        return None
    source, target, sequence, _, offset, flags, _ = _HEADER.unpack_from(packet, at)
    data = at + (offset >> 4) * 4
    return Segment(
        Endpoint(ends[0], source), Endpoint(ends[1], target), sequence, flags, max(size - data, 0),
        packet[data : max(size, data)],
    )  # fmt: skip
