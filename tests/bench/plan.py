# SPDX-License-Identifier: GPL-2.0-or-later
"""What smbload is told: connections, their operations, and the frames of each (the layout is in smbload.c)."""
from __future__ import annotations

import json
import subprocess
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from client import BenchClient

from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE, HEADROOM

TRANSFORM_SIZE = 52
FILE_ID_AT_8 = 4 + HEADER_SIZE + 8
FILE_ID_AT_16 = 4 + HEADER_SIZE + 16
FILE_ID_AT_24 = 4 + HEADER_SIZE + 24
"""Where a frame's FileId is: CLOSE at 8 of its body, READ and WRITE at 16, QUERY_INFO at 24."""


@dataclass(frozen=True)
class Step:
    """One request of an operation. `data` follows `body` on the wire; without signing or sealing it is stored once."""

    command: int
    body: bytes
    charge: int = 1
    data: bytes = b""
    patch: int = 0
    """Where the FileId goes that the operation's CREATE brought; 0: nowhere."""
    saves: bool = False
    """Its reply brings the FileId."""
    related: tuple[tuple[int, bytes], ...] = ()
    """Commands and bodies of further requests in the same frame, which use the first one's FileId."""


@dataclass(frozen=True)
class LoadResult:
    """What smbload measured."""

    seconds: float
    operations: int
    replies: int
    received: int
    sent: int
    cpu: float


def _protection(client: BenchClient) -> int:
    """smbload's number of it."""
    if client.encrypt:
        return 2
    if client.signing is None:
        return 0
    if client.signing != c.SIGNING_AES_GMAC:
        raise ValueError("smbload signs with AES-GMAC alone")
    return 1


class LoadFailed(Exception):
    """smbload ended badly, or replies were errors."""


class Plan:
    """Frames go into a file as they are added; `run` replays them."""

    def __init__(self, depth: int, folder: Path, live: bool = False) -> None:
        """`depth`: operations under way at once on each connection. `folder` is where its files go. `live`: smbload
        signs or seals each frame when it sends it, because the FileId in it is not known before; no frame has data."""
        self._live = live
        self._folder = tempfile.TemporaryDirectory(prefix="smbload-", dir=folder)
        self._blob: BinaryIO = open(Path(self._folder.name, "blob"), "wb", buffering=1 << 20)
        self._size = 0
        self._shared: dict[int, tuple[int, bytes]] = {}
        self._depth = depth
        self._connections: list[tuple[array[int], array[int]]] = []
        """The words of each connection and those of its operations."""
        self._descriptors: list[int] = []

    def add(self, client: BenchClient, operations: list[list[Step]], bare: bool = False) -> None:
        """One connection's operations, made with its message ids. `bare`: whatever comes back is an answer."""
        words = array("I")
        first = client.message_id
        for steps in operations:
            words.append(len(steps))
            for step in steps:
                number = client.message_id - first
                if step.data and not client.encrypt:
                    # The data is stored once, whatever signature stands before it
                    frame = client.message(step.command, step.body, step.charge, data=step.data)
                    frame[HEADROOM - 4 : HEADROOM] = (len(frame) - HEADROOM).to_bytes(4, "big")
                    wire = memoryview(frame)[HEADROOM - 4 : len(frame) - len(step.data)]
                    at, length = self._store(wire), len(wire)
                    data_at, data_length = self._once(step.data), len(step.data)
                else:
                    wire = self._frame(client, step)
                    at, length, data_at, data_length = self._store(wire), len(wire), 0, 0
                words.extend((
                    at & 0xFFFFFFFF, at >> 32, length, data_at & 0xFFFFFFFF, data_at >> 32, data_length, number,
                    step.patch, step.saves,
                ))  # fmt: skip
        sealed = (client.encrypt or bare) and not self._live
        descriptor = client.socket.fileno()
        head = array("I", (descriptor, len(operations), first & 0xFFFFFFFF, first >> 32, sealed))
        head.append(_protection(client) if self._live else 0)
        head.frombytes(client.keys.sealing if client.encrypt else client.keys.signing)
        head.frombytes(client.keys.opening if client.encrypt else client.keys.signing)
        head.extend((client.session_id & 0xFFFFFFFF, client.session_id >> 32))
        self._connections.append((head, words))
        self._descriptors.append(descriptor)

    def _frame(self, client: BenchClient, step: Step) -> memoryview:
        """A frame as it is stored: as it is sent, or, where smbload protects it, with room for that."""
        if step.related:
            return client.wire(client.related([(step.command, step.body), *step.related]))
        if not self._live:
            return client.wire(client.message(step.command, step.body, step.charge, data=step.data))
        encrypt, signing = client.encrypt, client.signing
        client.encrypt, client.signing = False, None
        message = client.message(step.command, step.body, step.charge)[HEADROOM:]
        client.encrypt, client.signing = encrypt, signing
        room = bytes(TRANSFORM_SIZE if encrypt else 0)
        return memoryview((len(room) + len(message)).to_bytes(4, "big") + room + message)

    def _store(self, data: bytes | memoryview) -> int:
        at = self._size
        self._blob.write(data)
        self._size += len(data)
        return at

    def _once(self, data: bytes) -> int:
        known = self._shared.get(id(data))
        if known is None:
            known = self._shared[id(data)] = (self._store(data), data)
        return known[0]

    def run(self, program: Path, spin: bool, timeout: float = 300) -> LoadResult:
        """Replay; `spin`: smbload never sleeps, it has a CPU of its own.

        LoadFailed: it did not end well, or an answer was an error."""
        self._blob.close()
        plan = Path(self._folder.name, "plan")
        with open(plan, "wb") as file:
            array("I", (len(self._connections), self._depth, spin)).tofile(file)
            for head, words in self._connections:
                head.tofile(file)
                words.tofile(file)
        done = subprocess.run(
            [str(program), str(plan), str(Path(self._folder.name, "blob"))], capture_output=True, text=True,
            timeout=timeout, pass_fds=self._descriptors, check=False,
        )
        if done.returncode:
            raise LoadFailed(done.stderr.strip() or f"smbload ended with {done.returncode}")
        figures = json.loads(done.stdout)
        if figures["errors"]:
            raise LoadFailed(f"{figures['errors']} errors, the first 0x{figures['first_error']:08X}")
        return LoadResult(*(figures[key] for key in ("seconds", "operations", "replies", "received", "sent", "cpu")))

    def discard(self) -> None:
        """The files go."""
        self._blob.close()
        self._folder.cleanup()
