# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages, frames and packets for the tests of ksmbd.trace, made byte by byte (MS-SMB2 2.2), and a scripted
conversation."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from ksmbd.smb import constants as c
from ksmbd.smb.header import SYNC_HEADER
from mountd.trace.exchange import Command
from mountd.trace.keys import KeyRing
from mountd.trace.packets import Endpoint
from mountd.trace.tracer import Tracer

CLIENT = Endpoint("192.0.2.7", 50000)
SERVER = Endpoint("192.0.2.1", 445)
FILE_ID = bytes(range(1, 17))
ALL_ONES = b"\xff" * 16
SESSION, TREE = 0x1234, 5
MS = 10**6


def message(command: int, number: int, body: bytes, **fields: int) -> bytes:
    """A message with its header. `fields`: flags, status, session, tree."""
    return SYNC_HEADER.pack(
        b"\xfeSMB", 64, 1, fields.get("status", 0), command, 1, fields.get("flags", 0), 0, number, 0,
        fields.get("tree", TREE), fields.get("session", SESSION), bytes(16),
    ) + body  # fmt: skip


def reply(command: int, number: int, body: bytes, **fields: int) -> bytes:
    return message(command, number, body, **{**fields, "flags": fields.get("flags", 0) | c.FLAGS_SERVER_TO_REDIR})


def error(command: int, number: int, status: int, **fields: int) -> bytes:
    return reply(command, number, struct.pack("<HBBIB", 9, 0, 0, 0, 0), status=status, **fields)


def compound(*messages: bytes) -> bytes:
    """Messages in one frame, each but the last padded to 8 bytes with NextCommand set (2.2.1.2)."""
    parts = []
    for each in messages[:-1]:
        each += bytes(-len(each) % 8)
        parts.append(each[:20] + struct.pack("<I", len(each)) + each[24:])
    return b"".join([*parts, messages[-1]])


def create(name: str) -> bytes:
    text = name.encode("utf-16-le")
    return struct.pack("<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, 0x12019F, 0, 7, 3, 0, 120, len(text), 0, 0) + text


def created(file_id: bytes = FILE_ID, oplock: int = 9, action: int = 2) -> bytes:
    return struct.pack("<HBBIQQQQQQII16sII", 89, oplock, 0, action, 0, 0, 0, 0, 0, 0, 0, 0, file_id, 0, 0)


def read(file_id: bytes, size: int, offset: int) -> bytes:
    return struct.pack("<HBBIQ16sIIIHHB", 49, 80, 0, size, offset, file_id, 0, 0, 0, 0, 0, 0)


def read_reply(data: bytes) -> bytes:
    return struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data


def write(file_id: bytes, data: bytes, offset: int = 0) -> bytes:
    return struct.pack("<HHIQ16sIIHHI", 49, 112, len(data), offset, file_id, 0, 0, 0, 0, 0) + data


def written(size: int) -> bytes:
    return struct.pack("<HHIIHH", 17, 0, size, 0, 0, 0)


def close(file_id: bytes) -> bytes:
    return struct.pack("<HHI16s", 24, 0, 0, file_id)


def closed() -> bytes:
    return struct.pack("<HHIQQQQQQI", 60, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def tree_connect(path: str) -> bytes:
    text = path.encode("utf-16-le")
    return struct.pack("<HHHH", 9, 0, 72, len(text)) + text


def tree_connected() -> bytes:
    return struct.pack("<HBBIII", 16, 1, 0, 0, 0, 0)


def framed(data: bytes) -> bytes:
    """A frame: the length, then a message or compound."""
    return len(data).to_bytes(4, "big") + data


def packet(source: Endpoint, target: Endpoint, sequence: int, data: bytes = b"", flags: int = 0x10) -> bytes:
    """A packet from its IP header on."""
    tcp = struct.pack(">HHIIBBHHH", source.port, target.port, sequence % (1 << 32), 0, 5 << 4, flags, 0, 0, 0) + data
    if ":" in source.address:
        ends = [socket.inet_pton(socket.AF_INET6, end.address) for end in (source, target)]
        return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + ends[0] + ends[1] + tcp
    ends = [socket.inet_pton(socket.AF_INET, end.address) for end in (source, target)]
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, *ends) + tcp


class Conversation:
    """A traced connection: frames go to the tracer as packets; `commands` are what it tells."""

    def __init__(
        self, *, waits_for_keys: bool = False, keys: KeyRing | None = None, begun: bool = True
    ) -> None:
        self.commands: list[Command] = []
        self.tracer = Tracer((SERVER.port,), keys or KeyRing(), self.commands.append, waits_for_keys)
        self.now = 1_700_000_000 * 10**9
        self.sequences = {CLIENT: 1000, SERVER: 0xFFFFFF00}
        """That of the server wraps soon."""
        if begun:
            for source, target, flags in ((CLIENT, SERVER, 2), (SERVER, CLIENT, 0x12)):
                self._give(packet(source, target, self.sequences[source], flags=flags))
                self.sequences[source] += 1

    def _give(self, data: bytes) -> None:
        self.tracer.packet(self.now, len(data), memoryview(data))

    def send(self, data: bytes, source: Endpoint = CLIENT, size: int = 1448) -> None:
        """Send a frame in segments of `size` bytes, a millisecond later."""
        self.now += MS
        target = SERVER if source == CLIENT else CLIENT
        whole = framed(data)
        for at in range(0, len(whole), size):
            part = whole[at : at + size]
            self._give(packet(source, target, self.sequences[source], part))
            self.sequences[source] += len(part)

    def answer(self, data: bytes) -> None:
        """Send a frame of the server."""
        self.send(data, SERVER)

    def end(self) -> None:
        """Both directions end."""
        for source, target in ((CLIENT, SERVER), (SERVER, CLIENT)):
            self._give(packet(source, target, self.sequences[source], flags=0x11))

    def told(self, *fields: Callable[[Command], object]) -> list[tuple[object, ...]]:
        """Some fields of each Command."""
        return [tuple(field(command) for field in fields) for command in self.commands]
