# SPDX-License-Identifier: GPL-2.0-or-later
"""A client that asks for too much: requests without waiting for replies, and the bodies that the rows need."""
from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from struct import pack, pack_into, unpack_from
from typing import Any, Final

from client import BenchClient
from servers import ADDRESS, PASSWORD

from ksmbd.overriding import override
from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE, HEADROOM

SOURCE: Final = "127.0.0.2"
"""Where abuse comes from: another address than the bystanders'."""
STATUS_PENDING: Final = 0x103
ALL_ACCESS: Final = 0x1F01FF
READ_ACCESS: Final = 0x120089
WRITE_ACCESS: Final = 0x12019F
LIST_ACCESS: Final = 0x100081
SHARED, EXCLUSIVE, UNLOCK, AT_ONCE = 1, 2, 4, 16
PLAIN_SHARE: Final = "plain"
"""A share without vfs objects: modes, no access control lists of Windows, no streams."""
DISK_SHARE: Final = "disk"
"""A share on a disk; the others are in memory."""
_ENDED: Final = object()
Request = tuple[int, bytes, int, bytes]
"""Command, body, credit charge, data."""


class Abuser(BenchClient):
    """A logged on client that may send before it has read."""

    def __init__(self, port: int, user: str, **how: Any) -> None:
        super().__init__(ADDRESS, port, user, PASSWORD, source=SOURCE, **how)
        self.waiting = 0
        """Requests without a final reply."""
        self.answered = 0

    def post(self, command: int, body: bytes, charge: int = 1, data: bytes = b"") -> int:
        """Send a request, wait for nothing; its MessageId."""
        message_id = self.message_id
        self.socket.sendall(self.wire(self.message(command, body, charge, 512 + charge, data)))
        self.credits -= charge
        self.waiting += 1
        return message_id

    def raw(self, message: bytes | bytearray) -> None:
        """Send a message as it is."""
        self.socket.sendall(pack(">I", len(message)) + message)

    def take(self, interim: bool = False) -> memoryview:
        """The next final reply, with `interim` the next of any kind; of a sealed one only its transform header."""
        while True:
            reply = memoryview(self._receive(int.from_bytes(self._receive(4), "big")))
            if bytes(reply[:4]) == b"\xfdSMB":
                self.waiting -= 1
                self.answered += 1
                self.credits += 128
                return reply
            # A break notification of the server's is no reply
            if unpack_from("<H", reply, 12)[0] == c.OPLOCK_BREAK and unpack_from("<Q", reply, 24)[0] == 2**64 - 1:
                continue
            self.credits += unpack_from("<H", reply, 14)[0]
            if unpack_from("<I", reply, 8)[0] == STATUS_PENDING:
                if interim:
                    return reply
                continue
            self.waiting -= 1
            self.answered += 1
            return reply

    def pump(self, requests: Iterable[Request], going: Callable[[], bool], depth: int = 16) -> None:
        """Keep up to `depth` requests under way as long as `going()`; then wait for what is under way."""
        for command, body, charge, data in requests:
            while self.waiting and (self.waiting >= depth or self.credits < charge + 1):
                self.take()
            if not going():
                break
            self.post(command, body, charge, data)
        while self.waiting:
            self.take()

    def ioctl(self, file_id: bytes, code: int, data: bytes = b"", limit: int = 65536) -> memoryview:
        """The output of an FSCTL; raises BenchError."""
        body = self.ioctl_body(file_id, code, data, limit)
        reply = self.ask(c.IOCTL, body, (0, 0x80000005), max(1, -(-max(len(data), limit) // 65536)))
        where, size = unpack_from("<II", reply, HEADER_SIZE + 32)
        return reply[where : where + size]

    @staticmethod
    def ioctl_body(file_id: bytes, code: int, data: bytes = b"", limit: int = 65536) -> bytes:
        """IOCTL with its input."""
        at = HEADER_SIZE + 56 if data else 0
        fixed = pack("<HHI16sIIIIIIII", 57, 0, code, file_id, at, len(data), 0, 0, 0, limit, 1, 0)
        return fixed + (data or b"\0")

    @staticmethod
    def set_info_body(file_id: bytes, kind: int, info_class: int, data: bytes, parts: int = 0) -> bytes:
        """SET_INFO; kind 1 is a file's, 3 its security (with `parts`)."""
        return pack("<HBBIHHI16s", 33, kind, info_class, len(data), HEADER_SIZE + 32, 0, parts, file_id) + data

    @staticmethod
    def query_body(file_id: bytes, kind: int, info_class: int, limit: int, parts: int = 0) -> bytes:
        """QUERY_INFO; see set_info_body."""
        return pack("<HBBIHHIII16s", 41, kind, info_class, limit, 0, 0, 0, parts, 0, file_id) + b"\0"

    @staticmethod
    def lock_body(file_id: bytes, elements: Sequence[tuple[int, int, int]]) -> bytes:
        """LOCK of (offset, length, flags)."""
        return pack("<HHI16s", 48, len(elements), 0, file_id) + b"".join(pack("<QQII", *one, 0) for one in elements)

    @staticmethod
    def find_body(file_id: bytes, pattern: str = "*", flags: int = 0, limit: int = 65536) -> bytes:
        """QUERY_DIRECTORY; flags 1 restarts, 2 wants a single entry, 16 opens again."""
        raw = pattern.encode("utf-16-le")
        return pack("<HBBI16sHHI", 33, 37, flags, 0, file_id, HEADER_SIZE + 32, len(raw), limit) + raw

    @staticmethod
    def notify_body(file_id: bytes, tree: bool = False) -> bytes:
        """CHANGE_NOTIFY of everything."""
        return pack("<HHI16sII", 32, 1 if tree else 0, 65536, file_id, 0xFFF, 0)

    @staticmethod
    def create_with(
        name: str, contexts: bytes, access: int = ALL_ACCESS, disposition: int = c.FILE_OPEN_IF, oplock: int = 0,
        options: int = 0x40,
    ) -> bytes:
        """CREATE with create contexts that are encoded already."""
        raw = name.encode("utf-16-le")
        pad = -len(raw) % 8
        at = HEADER_SIZE + 56 + len(raw) + pad if contexts else 0
        return pack(
            "<HBBIQQIIIIIHHII", 57, 0, oplock, 2, 0, 0, access, 0x80, 7, disposition, options, HEADER_SIZE + 56,
            len(raw), at, len(contexts),
        ) + (raw + bytes(pad) + contexts or b"\0")

    def compound(self, elements: Sequence[tuple[int, bytes]]) -> bytearray:
        """One message of elements, each related to the one before it."""
        whole = bytearray()
        for number, (command, body) in enumerate(elements):
            one = bytearray(self.message(command, body)[HEADROOM:])
            if number:
                pack_into("<I", one, 16, unpack_from("<I", one, 16)[0] | c.FLAGS_RELATED_OPERATIONS)
            if number + 1 < len(elements):
                one += bytes(-len(one) % 8)
                pack_into("<I", one, 20, len(one))
            whole += one
            self.credits -= 1
        return whole


class HalfClient(Abuser):
    """A connection that has negotiated and not logged on."""

    @override
    def _log_on(self, user: str, password: str, channel_of: BenchClient | None) -> None:
        self.session_id = 0

    def setup(self, token: bytes, session_id: int = 0) -> None:
        """Send one round of a log-on."""
        self.session_id = session_id
        body = pack("<HBBIIHHQ", 25, 0, 1, 0x7F, 0, HEADER_SIZE + 24, len(token), 0) + token
        self.post(c.SESSION_SETUP, body)
        self.session_id = 0


@dataclass
class Ground:
    """What a row works with, in its process. `user` has the right to all files of the shares."""

    port: int
    user: str
    folder: Path
    """The row's own folder on the share, in memory."""
    disk: Path
    """The same on the share of a disk."""
    until: float
    """time.monotonic() at which it ends."""
    clients: list[Abuser] = field(default_factory=list)

    def going(self) -> bool:
        """Whether it goes on."""
        return time.monotonic() < self.until

    def client(self, share: str = "bench", **how: Any) -> Abuser:
        """A further client, logged on."""
        made = Abuser(self.port, self.user, **how)
        self.clients.append(made)
        made.tree(share)
        return made

    def half(self) -> HalfClient:
        """A further connection without a session."""
        made = HalfClient(self.port, self.user)
        self.clients.append(made)
        return made

    def path(self, name: str = "") -> str:
        """A path below the share of something in the row's folder."""
        return f"{self.folder.name}\\{name}" if name else self.folder.name

    def together(self, work: Sequence[Iterator[None]]) -> None:
        """Step generators in turn until all have ended, or it is time."""
        left = list(work)
        while left and self.going():
            for one in list(left):
                if next(one, _ENDED) is _ENDED:
                    left.remove(one)

    @property
    def answered(self) -> int:
        """Replies that came, of all clients."""
        return sum(one.answered for one in self.clients)


def security_descriptor(entries: Sequence[tuple[int, bytes]]) -> bytes:
    """A self-relative one with a DACL that allows (mask, SID)."""
    dacl = b"".join(pack("<BBHI", 0, 0, 8 + len(sid), mask) + sid for mask, sid in entries)
    return pack("<BBHIIII", 1, 0, 0x8004, 0, 0, 0, 20) + pack("<BBHHH", 2, 0, 8 + len(dacl), len(entries), 0) + dacl


def ea_list(entries: Sequence[tuple[str, bytes]]) -> bytes:
    """FILE_FULL_EA_INFORMATION entries (MS-FSCC 2.4.16)."""
    parts = []
    for number, (name, value) in enumerate(entries):
        one = pack("<IBBH", 0, 0, len(name), len(value)) + name.encode() + b"\0" + value
        if number + 1 < len(entries):
            one += bytes(-len(one) % 4)
            one = pack("<I", len(one)) + one[4:]
        parts.append(one)
    return b"".join(parts)


def lease_context(key: bytes, state: int = 7) -> bytes:
    """The create context RqLs, version 1 (MS-SMB2 2.2.13.2.8)."""
    return pack("<IHHHHI4s4x", 0, 16, 4, 0, 24, 32, b"RqLs") + key + pack("<IIQ", state, 0, 0)


def repeated(*requests: Request) -> Iterator[Request]:
    """Them again and again."""
    return chain.from_iterable(iter(lambda: requests, ()))


def charge_of(size: int) -> int:
    """CreditCharge of a payload (MS-SMB2 3.1.5.2)."""
    return max(1, -(-size // 65536))


def remove(folder: Path) -> None:
    """All of it, however deep it is."""
    subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True, check=False)


def quiet_reset(sock: socket.socket) -> None:
    """Close it with a reset: nothing of it stays here."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    sock.close()


def block(size: int) -> bytes:
    """Data that is not zeros."""
    return os.urandom(4096) * (size // 4096)

