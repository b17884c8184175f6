# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads pcap and pcapng files, and writes pcapng (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from mountd.trace.packets import LINK_RAW

PACKET_MAX: Final = 1 << 20
"""Bytes of a packet or block that is read; a longer one is a broken file."""
_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_SIMPLE: Final = 3
_ENHANCED: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_PCAP: Final = {b"\xd4\xc3\xb2\xa1": ("<", 1000), b"\xa1\xb2\xc3\xd4": (">", 1000),
                b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\x3c\x4d": (">", 1)}  # fmt: skip
_RESOLUTION: Final = 9
"""The option if_tsresol."""


class FileProblem(Exception):
    """The file is no capture, or is broken; the message is one line."""


class Captured(NamedTuple):
    """A packet of a file."""

    link: int
    """The link layer, LINKTYPE_*."""
    ns: int
    """Since 1970."""
    size: int
    """On the wire; `data` may be shorter."""
    data: memoryview


def read(stream: BinaryIO) -> Iterator[Captured]:
    """The packets of a pcap or pcapng file. A last packet that is cut off ends it. Raises FileProblem."""
    magic = stream.read(4)
    if magic in _PCAP:
        yield from _read_pcap(stream, *_PCAP[magic])
    elif magic == struct.pack("<I", _SECTION):
        yield from _read_pcapng(stream)
    else:
        raise FileProblem("no capture in pcap or pcapng format")


def _read_pcap(stream: BinaryIO, order: str, unit: int) -> Iterator[Captured]:
    head = stream.read(20)
    if len(head) < 20:
        raise FileProblem("cut off in the file's header")
    link = struct.unpack(order + "HHiIII", head)[-1] & 0xFFFF
    packet = struct.Struct(order + "IIII")
    while len(head := stream.read(packet.size)) == packet.size:
        seconds, fraction, stored, size = packet.unpack(head)
        if stored > PACKET_MAX:
            raise FileProblem(f"a packet of {stored} bytes")
        data = stream.read(stored)
        if len(data) == stored:
            yield Captured(link, seconds * 10**9 + fraction * unit, size, memoryview(data))


def _read_pcapng(stream: BinaryIO) -> Iterator[Captured]:
    order = "<"
    links: list[tuple[int, float]] = []
    kind_bytes = struct.pack("<I", _SECTION)
    while len(kind_bytes) == 4:
        kind = struct.unpack(order + "I", kind_bytes)[0]
        start = stream.read(4 + (4 if kind == _SECTION else 0))
        if kind == _SECTION:
            if len(start) < 8:
                return
            order = "<" if struct.unpack("<I", start[4:])[0] == _BYTE_ORDER else ">"
            links = []
        if len(start) < 4:
            return
        length = struct.unpack(order + "I", start[:4])[0]
        rest = length - 4 - len(start)
        if not 4 <= rest <= PACKET_MAX:
            raise FileProblem(f"a block of {length} bytes")
        body = stream.read(rest)
        if len(body) < rest:
            return
        if kind == _INTERFACE:
            links.append(_interface(body, order))
        elif kind in (_ENHANCED, _SIMPLE) and links:
            yield _packet(kind, body[:-4], order, links)
        kind_bytes = stream.read(4)


def _interface(body: bytes, order: str) -> tuple[int, float]:
    """(link layer, ns in a unit of time)."""
    unit, at = 1000.0, 8
    while at + 4 <= len(body) - 4:
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            break
        if code == _RESOLUTION and length == 1:
            value = body[at + 4]
            unit = 10**9 / (2 ** (value & 0x7F) if value & 0x80 else 10**value)
        at += 4 + (length + 3 & ~3)
    return struct.unpack_from(order + "H", body)[0], unit


def _packet(kind: int, body: bytes, order: str, links: list[tuple[int, float]]) -> Captured:
    try:
        if kind == _SIMPLE:
            return Captured(links[0][0], 0, struct.unpack_from(order + "I", body)[0], memoryview(body)[4:])
        interface, high, low, stored, size = struct.unpack_from(order + "IIIII", body)
        link, unit = links[interface]
    except (struct.error, IndexError):
        raise FileProblem("a packet block that is broken") from None
    when = high << 32 | low
    return Captured(link, int(when * unit), size, memoryview(body)[20 : 20 + stored])


class Writer:
    """Writes packets that begin at the IP header (LINKTYPE_RAW), with times in ns."""

    def __init__(self, stream: io.BufferedIOBase | BinaryIO, program: str = "ksmbd.trace") -> None:
        """Write the beginning. Raises OSError, as all calls."""
        self._stream = stream
        name = program.encode()
        option = struct.pack("<HH", 4, len(name)) + name + bytes(-len(name) % 4) + bytes(4)  # shb_userappl
        self._block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1) + option)
        resolution = struct.pack("<HHB3xI", _RESOLUTION, 1, 9, 0)
        self._block(_INTERFACE, struct.pack("<HHI", LINK_RAW, 0, 0) + resolution)

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", 12 + len(body))
        self._stream.write(struct.pack("<I", kind) + length + body + length)

    def packet(self, ns: int, size: int, data: memoryview) -> None:
        """Write a packet of `size` bytes on the wire, seen `ns` after 1970."""
        head = struct.pack("<IIIII", 0, ns >> 32, ns & 0xFFFFFFFF, len(data), size)
        self._block(_ENHANCED, b"".join((head, data, bytes(-len(data) % 4))))
