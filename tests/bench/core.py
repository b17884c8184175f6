# SPDX-License-Identifier: GPL-2.0-or-later
"""The core alone: requests and replies in memory, real files and a real table of opens, no socket and no loop.

    make bench-core [COMPILED=1]
    PYTHONPATH=tests/unit/smb .venv/bin/python tests/bench/core.py [--store dict] [--rounds 20] [--trace FILE]

Prints processor time for an operation. With --trace it counts how often each line of the server runs for one operation
of each kind, for scripts/interpreted.py, and writes that as JSON.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from types import FrameType
from typing import Any

from client import BenchClient
from fakes import FakeDaemon, FakeSecurity, FakeTransport
from script import Client

from ksmbd.conn.loop import Loop
from ksmbd.kernel import credentials, descriptors
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.store import Store
from ksmbd.oplock.store_dict import DictStore
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.oplock.table import LocalOpenTable
from ksmbd.overriding import override
from ksmbd.process.compiled import compiled_modules
from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Server
from ksmbd.smb.ports import Frame, Identity, ShareConfig
from ksmbd.smb.settings import ServerSettings
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.options import VfsSettings

TOP = Path(__file__).resolve().parents[2]
READ, WRITE = 0x120089, 0x12019F
FILE_ID_AT = {c.CLOSE: 8, c.READ: 16, c.WRITE: 16, c.QUERY_INFO: 24}
CREATED_ID_AT = 4 + HEADER_SIZE + 64
FILES = 1000
OWNER = 1
"""uid and gid of the account: an ordinary one."""


class LastReply(FakeTransport):
    """Keeps the last reply, length first."""

    last = b""

    @override
    def send(self, frame: Frame) -> None:
        self.last = bytes(frame.data)


@dataclass
class Request:
    """A request, length first, and where the FileId goes that the operation's CREATE brings; 0: nowhere."""

    frame: memoryview
    file_id_at: int


Operation = list[Request]
"""Where the first one is a CREATE, the others get its FileId."""


class Core:
    """A connection whose requests are handed to the core, and whose replies come back at once."""

    def __init__(self, folder: Path, store: str) -> None:
        """`folder` gets the files. Raises OSError."""
        (folder / "open").mkdir()
        for path in (folder, folder / "open"):
            path.chmod(0o777)
        for number in range(FILES):
            path = folder / "open" / f"file-{number:05}.txt"
            path.write_bytes(bytes(4096))
            if os.geteuid() == 0:
                os.chown(path, OWNER, OWNER)
        descriptors.enter()
        loop = Loop()
        daemon = FakeDaemon()
        daemon.shares["SHARE"] = ShareConfig("share", str(folder))
        kept: Store = LmdbStore(folder / "opens", fresh=True) if store == "lmdb" else DictStore()
        table = LocalOpenTable(kept, loop, OplockSettings(leases=True, directory_leases=True, durable=True), 1, 1)
        user = Identity("bench", "BENCH", OWNER, OWNER, (), bytes(16))
        server = Server(
            ServerSettings(leases=True, durable_handles=True, multichannel=True), FakeSecurity(user),
            LocalFiles(VfsSettings(sub_authorities=(1, 2, 3)), loop), table, daemon, loop,
        )
        self._client = Client(server).ready()
        self._connection = self._client.connection
        self._transport = self._connection.transport = LastReply()

    def request(self, command: int, body: bytes) -> Request:
        """A request of this connection."""
        message = self._client.element(command, body, credits=10)
        at = FILE_ID_AT.get(command)
        frame = bytearray(len(message).to_bytes(4, "big") + message)
        return Request(memoryview(frame), 0 if at is None else 4 + HEADER_SIZE + at)

    def run(self, operation: Operation) -> None:
        """Run one operation. RuntimeError: an answer is an error."""
        file_id = b""
        for request in operation:
            view = request.frame
            if request.file_id_at:
                view[request.file_id_at : request.file_id_at + 16] = file_id
            _, taken = self._connection.receive_batch(view, 0, len(view), 128)
            if not taken:
                self._connection.receive(bytearray(view[4:]))
            reply = self._transport.last
            if reply[12:16] != bytes(4):
                raise RuntimeError(f"command {view[16]}: status {reply[12:16][::-1].hex()}")
            file_id = file_id or reply[CREATED_ID_AT : CREATED_ID_AT + 16]


def kinds(core: Core) -> dict[str, Callable[[int], Operation]]:
    """Name -> what makes the frames of one operation on the file of a number."""

    def create(number: int, access: int = READ) -> Request:
        name = f"open\\file-{number % FILES:05}.txt"
        return core.request(c.CREATE, BenchClient.create_body(name, access, c.FILE_OPEN))

    def close() -> Request:
        return core.request(c.CLOSE, BenchClient.close_body())

    def query() -> Request:
        return core.request(c.QUERY_INFO, BenchClient.query_info_body())

    def read() -> Request:
        return core.request(c.READ, BenchClient.read_body(bytes(16), 0, 4096))

    def write() -> Request:
        return core.request(c.WRITE, BenchClient.write_body(bytes(16), 0, 4096) + bytes(4096))

    return {
        "echo": lambda number: [core.request(c.ECHO, pack("<HH", 4, 0))],
        "open-close": lambda number: [create(number), close()],
        "open-stat-close": lambda number: [create(number), query(), close()],
        "open-read-close": lambda number: [create(number), read(), close()],
        "open-write-close": lambda number: [create(number, WRITE), write(), close()],
    }


def measure(core: Core, rounds: int, batch: int = 300) -> dict[str, tuple[float, float]]:
    """Kind -> least and median µs of processor time for an operation."""
    found = {}
    for name, make in kinds(core).items():
        times = []
        for number in range(rounds):
            ready = [make(number * batch + one) for one in range(batch)]
            begun = time.process_time()
            for frames in ready:
                core.run(frames)
            times.append((time.process_time() - begun) / batch * 1e6)
        times.sort()
        found[name] = (times[0], times[len(times) // 2])
    return found


def trace(core: Core, operations: int = 20) -> dict[str, dict[str, float]]:
    """File of the server -> line -> how often it ran in one operation of each kind together, once all are warm."""
    counts: Counter[tuple[str, int]] = Counter()
    below = tuple(str(TOP / room) + os.sep for room in ("ksmbd", "mountd"))

    def lines(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            counts[frame.f_code.co_filename, frame.f_lineno] += 1
        return lines

    def calls(frame: FrameType, event: str, argument: object) -> Any:
        return lines if frame.f_code.co_filename.startswith(below) else None

    for make in kinds(core).values():
        for number in range(5):
            core.run(make(number))
        ready = [make(number) for number in range(operations)]
        sys.settrace(calls)
        for frames in ready:
            core.run(frames)
        sys.settrace(None)
    found: dict[str, dict[str, float]] = {}
    for (file, line), count in sorted(counts.items()):
        found.setdefault(str(Path(file).relative_to(TOP)), {})[str(line)] = count / operations
    return found


@contextmanager
def made(folder: str, store: str) -> Iterator[Core]:
    """A core with files of its own, which go at the end."""
    own = Path(tempfile.mkdtemp(prefix="ksmbd-core-", dir=folder))
    try:
        yield Core(own, store)
    finally:
        credentials.as_server()
        shutil.rmtree(own, ignore_errors=True)


def main() -> int:
    """0."""
    parser = argparse.ArgumentParser(description="Measure the core alone, in process.")
    parser.add_argument("--store", choices=("lmdb", "dict"), default="lmdb")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--trace", type=Path, help="write how often each line runs, as JSON, and measure nothing")
    options = parser.parse_args()
    with made(options.folder, options.store) as core:
        traced = trace(core) if options.trace else None
        times = {} if options.trace else measure(core, options.rounds)
    if options.trace:
        options.trace.write_text(json.dumps(traced))
    else:
        print(f"{len(compiled_modules())} compiled modules, {options.store}: µs of processor time for an operation")
        for name, (least, median) in times.items():
            print(f"{name:18} least {least:6.1f}  median {median:6.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
