# SPDX-License-Identifier: GPL-2.0-or-later
"""The open table between workers: caches, locks and share modes of clients in different processes, what a dead worker
leaves, persistent opens over the death of a worker and of the whole server, and acknowledged data over both."""
from __future__ import annotations

import hashlib
import os
import re
import select
import signal
import struct
import threading
import time
from pathlib import Path

import pytest
from rawclient import BenchError, ConnectionEnded, RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

BATCH, LEASE = 0x09, 0xFF
LEVEL_2 = 0x01
OPTIONS = {"smb2 leases": "yes", "durable handles": "yes"}
PERSISTENT = 2
"""SMB2_DHANDLE_FLAG_PERSISTENT (MS-SMB2 2.2.13.2.11)."""


def context(name: bytes, data: bytes, last: bool = True) -> bytes:
    """One create context (MS-SMB2 2.2.13.2), with a name of 4 bytes."""
    whole = struct.pack("<IHHHHI4s4x", 0, 16, 4, 0, 24, len(data), name) + data
    if last:
        return whole
    whole += bytes(-len(whole) % 8)
    return struct.pack("<I", len(whole)) + whole[4:]


def lease(key: bytes, state: int, last: bool = True) -> bytes:
    """RqLs, version 2 (MS-SMB2 2.2.13.2.10)."""
    return context(b"RqLs", struct.pack("<16sIIQ16sHH", key, state, 0, 0, bytes(16), 0, 0), last)


def create(name: str, oplock: int = 0, *, share: int = 7, contexts: bytes = b"", access: int = 0x12019F) -> bytes:
    raw = name.encode("utf-16-le")
    padded = raw + bytes(-(56 + len(raw)) % 8)
    return struct.pack(
        "<HBBIQQIIIIIHHII", 57, 0, oplock, 2, 0, 0, access, 0x80, share, c.FILE_OPEN_IF, 0x40, 120, len(raw),
        120 + len(padded) if contexts else 0, len(contexts),
    ) + padded + contexts  # fmt: skip


def opened(reply: bytes) -> bytes:
    """The FileId of a CREATE response."""
    assert status_of(reply) == 0, hex(status_of(reply))
    return bytes(reply[128:144])


def lock(file: bytes, offset: int, length: int, flags: int) -> bytes:
    return struct.pack("<HHI16sQQII", 48, 1, 0, file, offset, length, flags, 0)


EXCLUSIVE_NOW, EXCLUSIVE, UNLOCK = 0x12, 0x02, 0x04


def pids(server: KsmbdServer) -> dict[int, tuple[int, int]]:
    """Worker -> (pid, connections)."""
    text = server.wait_stats(r"(?m)^ksmbd/1: pid")
    found = re.findall(r"(?m)^ksmbd/(\d+): pid (\d+),.*? connections (\d+)", text)
    return {int(worker): (int(pid), int(held)) for worker, pid, held in found}


def in_another_worker(server: KsmbdServer) -> tuple[RawClient, RawClient]:
    """Two clients in two workers; the first one's worker has no other client."""
    first = RawClient(server, guid=os.urandom(16))
    home = next(worker for worker, (_, held) in pids(server).items() if held)
    for _ in range(16):
        second = RawClient(server, guid=os.urandom(16))
        if pids(server)[home][1] == 1:
            return first, second
        second.close_socket()
    raise AssertionError("all clients are in one worker")


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(workers=4, options=OPTIONS)


def test_caches_break_between_workers(server: KsmbdServer) -> None:
    first, second = in_another_worker(server)
    with first, second:
        file = opened(first.reply(first.post(c.CREATE, create("oplock", BATCH))))
        waiting = second.post(c.CREATE, create("oplock", BATCH))
        notice = first.notice()
        assert notice[72:88] == file
        acknowledgement = struct.pack("<HBBI16s", 24, LEVEL_2, 0, 0, file)
        assert first.status(c.OPLOCK_BREAK, acknowledgement) == 0
        reply = second.reply(waiting)
        other = opened(reply)
        assert reply[66] == LEVEL_2
        second.ask(c.WRITE, second.write_body(other, 0, 4) + b"data")
        assert struct.unpack_from("<HB", first.notice(), 64) == (24, 0)


def test_a_lease_breaks_between_workers(server: KsmbdServer) -> None:
    first, second = in_another_worker(server)
    with first, second:
        key = b"k" * 16
        opened(first.reply(first.post(c.CREATE, create("lease", LEASE, contexts=lease(key, 7)))))
        waiting = second.post(c.CREATE, create("lease"))
        size, _, _, told, current, new = struct.unpack_from("<HHI16sII", first.notice(), 64)
        assert (size, told, current, new) == (44, key, 7, 3)
        assert first.status(c.OPLOCK_BREAK, struct.pack("<HHI16sIQ", 36, 0, 0, key, 3, 0)) == 0
        opened(second.reply(waiting))


def test_share_modes_and_locks_exclude_between_workers(server: KsmbdServer) -> None:
    first, second = in_another_worker(server)
    with first, second:
        file = opened(first.reply(first.post(c.CREATE, create("shared", share=1))))
        assert second.status(c.CREATE, create("shared")) == s.STATUS_SHARING_VIOLATION
        first.close(file)
        one = opened(first.reply(first.post(c.CREATE, create("locked"))))
        two = opened(second.reply(second.post(c.CREATE, create("locked"))))
        assert first.status(c.LOCK, lock(one, 0, 10, EXCLUSIVE_NOW)) == 0
        assert second.status(c.LOCK, lock(two, 5, 1, EXCLUSIVE_NOW)) == s.STATUS_LOCK_NOT_GRANTED
        assert second.status(c.WRITE, second.write_body(two, 0, 1) + b"x") == s.STATUS_FILE_LOCK_CONFLICT
        waiting = second.post(c.LOCK, lock(two, 5, 1, EXCLUSIVE))
        assert status_of(second.frame()) == 0x103
        assert first.status(c.LOCK, lock(one, 0, 10, UNLOCK)) == 0
        assert status_of(second.reply(waiting)) == 0


def test_what_a_dead_worker_had_is_gone(server: KsmbdServer) -> None:
    first, second = in_another_worker(server)
    with first, second:
        mine = opened(second.reply(second.post(c.CREATE, create("other"))))
        file = opened(first.reply(first.post(c.CREATE, create("dead", BATCH, share=0))))
        assert first.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == 0
        # The second client waits for the first one's batch oplock, whose owner dies instead of answering.
        waiting = second.post(c.CREATE, create("dead", share=7))
        first.notice()
        home = worker_of(server, first, second)
        os.kill(home, signal.SIGKILL)
        again = opened(second.reply(waiting))
        assert second.status(c.LOCK, lock(again, 0, 10, EXCLUSIVE_NOW)) == 0
        second.close(mine)


def worker_of(server: KsmbdServer, client: RawClient, other: RawClient) -> int:
    """The pid of the worker that `client` is in: the one that counts a request more after it has sent one."""
    before = requests(server)
    client.ask(c.ECHO, b"\4\0\0\0")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        after = requests(server)
        for pid, count in after.items():
            if count > before.get(pid, 0):
                return pid
        select.select([], [], [], 0.01)
    raise AssertionError("no worker counts the request")


def requests(server: KsmbdServer) -> dict[int, int]:
    return {worker["pid"]: worker["requests"] for worker in server.stats()["workers"]}


# -------------------------------------------------------------------------------------------------- persistent opens


def durable(guid: bytes) -> bytes:
    """DH2Q for a persistent open (MS-SMB2 2.2.13.2.11)."""
    return context(b"DH2Q", struct.pack("<II8x16s", 60_000, PERSISTENT, guid))


def reclaim(file: bytes, guid: bytes) -> bytes:
    """DH2C (MS-SMB2 2.2.13.2.12)."""
    return context(b"DH2C", struct.pack("<16s16sI", file, guid, PERSISTENT))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("whole", [False, True], ids=["a worker", "the server"])
def test_persistent_opens_outlive(start_ksmbd: StartKsmbd, workers: int, whole: bool) -> None:
    """An open with its lease and its lock is there again after kill -9, and nobody got in between."""
    server = start_ksmbd(
        workers=workers, options=OPTIONS, shares={"share": {"continuous availability": "yes"}}
    )
    guid, key, create_guid = os.urandom(16), b"K" * 16, os.urandom(16)
    with RawClient(server, guid=guid) as client:
        contexts = lease(key, 7, last=False) + durable(create_guid)
        reply = client.reply(client.post(c.CREATE, create("kept", LEASE, share=0, contexts=contexts)))
        file = opened(reply)
        assert b"DH2Q" in reply
        assert client.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == 0
        assert client.status(c.WRITE, client.write_body(file, 0, 4) + b"data") == 0
        home = next(pid for pid, held in pids(server).values() if held)
        os.kill(server.pid if whole else home, signal.SIGKILL)
        with pytest.raises(ConnectionEnded):
            client.frame()
    if whole:
        server.wait()
        server.restart()
        server.wait_until_listening()
    else:
        server.wait_for("was ended by signal 9")
        wait_for_workers(server, workers)
    with RawClient(server, guid=b"somebody else   ") as other:
        assert other.status(c.CREATE, create("kept")) in (s.STATUS_FILE_NOT_AVAILABLE, s.STATUS_SHARING_VIOLATION)
    with RawClient(server, guid=guid) as client:
        contexts = lease(key, 7, last=False) + reclaim(file, create_guid)
        again = opened(client.reply(client.post(c.CREATE, create("kept", LEASE, share=0, contexts=contexts))))
        assert again[:8] == file[:8]
        assert client.status(c.LOCK, lock(again, 0, 10, UNLOCK)) == 0
        assert client.status(c.WRITE, client.write_body(again, 4, 4) + b"more") == 0
        client.close(again)
    assert (server.share_path / "kept").read_bytes() == b"datamore"
    with RawClient(server, guid=b"somebody else   ") as other:
        other.close(opened(other.reply(other.post(c.CREATE, create("kept", share=0)))))


def wait_for_workers(server: KsmbdServer, count: int) -> None:
    """All workers live and take connections again."""
    deadline = time.monotonic() + 20
    while True:
        try:
            if all(pid for pid, _ in pids(server).values()):
                RawClient(server).close_socket()
                return
        except (OSError, ConnectionEnded, BenchError):
            pass
        assert time.monotonic() < deadline
        select.select([], [], [], 0.02)


# --------------------------------------------------------------------------------------------------------- the data

RECORD = struct.Struct("<HI26s32s")
FILES = ("a", "b")
APPEND_LOCK = 1 << 62


def record(client: int, number: int) -> bytes:
    head = struct.pack("<HI26s", client, number, bytes([client * 37 + number & 0xFF]) * 26)
    return head + hashlib.sha256(head).digest()


class Appender(threading.Thread):
    """Appends records to common files, each under a lock and with a lease, and notes what the server acknowledged."""

    def __init__(self, server: KsmbdServer, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.server = server
        self.number = number
        self.stop_now = stop
        self.acknowledged: list[tuple[str, int]] = []
        self.reconnects = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            sent = 0
            while not self.stop_now.is_set():
                try:
                    with Leaseholder(self.server, guid=os.urandom(16)) as client:
                        while not self.stop_now.is_set():
                            sent += 1
                            self._append(client, FILES[sent % len(FILES)], sent)
                except (ConnectionEnded, OSError, BenchError, struct.error):
                    self.reconnects += 1
                    select.select([], [], [], 0.01)
        except BaseException as error:  # noqa: BLE001 - the test tells it
            self.error = error

    def _append(self, client: Leaseholder, name: str, number: int) -> None:
        key = struct.pack("<II8x", self.number + 1, FILES.index(name))
        file = opened(client.reply(client.post(c.CREATE, create(name, LEASE, contexts=lease(key, 7)))))
        assert client.status(c.LOCK, lock(file, APPEND_LOCK, 1, EXCLUSIVE)) == 0
        info = client.reply(client.post(c.QUERY_INFO, client.query_info_body(file, 5)))  # FileStandardInformation
        assert status_of(info) == 0
        size = struct.unpack_from("<Q", info, 64 + 8 + 8)[0]
        assert size % RECORD.size == 0, "a torn record"
        body = client.write_body(file, size, RECORD.size) + record(self.number, number)
        if client.status(c.WRITE, body) == 0:
            self.acknowledged.append((name, number))
        assert client.status(c.LOCK, lock(file, APPEND_LOCK, 1, UNLOCK)) == 0
        assert client.status(c.CLOSE, client.close_body(file)) == 0


class Leaseholder(RawClient):
    """Acknowledges lease breaks while it waits for something else."""

    def reply(self, message_id: int) -> bytes:
        """See RawClient.reply."""
        reply = super().reply(message_id)
        self._acknowledge()
        return reply

    def frame(self) -> bytes:
        """See RawClient.frame."""
        message = super().frame()
        if message[24:32] == b"\xff" * 8:
            self.notices.append(message)
            self._acknowledge()
            return self.frame()
        return message

    def _acknowledge(self) -> None:
        while self.notices:
            _, _, flags, key, _, new = struct.unpack_from("<HHI16sII", self.notices.pop(), 64)
            if flags & 1:
                self.post(c.OPLOCK_BREAK, struct.pack("<HHI16sIQ", 36, 0, 0, key, new, 0))


@pytest.mark.timeout(120)
def test_no_acknowledged_record_is_lost_or_torn(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(workers=4, options=OPTIONS)
    stop = threading.Event()
    appenders = [Appender(server, number, stop) for number in range(6)]
    for appender in appenders:
        appender.start()
    try:
        for turn in range(3):
            wanted = (turn + 1) * 60
            wait_until(lambda wanted=wanted: sum(len(one.acknowledged) for one in appenders) >= wanted)
            victims = [pid for pid, held in pids(server).values() if held]
            seen = server.stderr.count("was ended by signal 9")
            os.kill(victims[turn % len(victims)], signal.SIGKILL)
            server.wait_for(r"(?:was ended by signal 9[\s\S]*){" + str(seen + 1) + "}")
        goal = sum(len(one.acknowledged) for one in appenders) + 60
        wait_until(lambda: sum(len(one.acknowledged) for one in appenders) >= goal)
    finally:
        stop.set()
        for appender in appenders:
            appender.join(60)
    assert [appender.error for appender in appenders] == [None] * len(appenders)
    found = {name: records(server.share_path / name) for name in FILES}
    for appender in appenders:
        for name, number in appender.acknowledged:
            assert found[name].count((appender.number, number)) == 1
    assert sum(appender.reconnects for appender in appenders) > 0


def wait_until(true: object, seconds: float = 40) -> None:
    """Until a call returns true."""
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "nothing goes on"
        select.select([], [], [], 0.02)


def records(path: Path) -> list[tuple[int, int]]:
    """(client, number) of each record; AssertionError for one that is torn."""
    data = path.read_bytes()
    assert len(data) % RECORD.size == 0
    result = []
    for at in range(0, len(data), RECORD.size):
        client, number, _, digest = RECORD.unpack_from(data, at)
        assert hashlib.sha256(data[at : at + RECORD.size - 32]).digest() == digest, f"torn at {at}"
        result.append((client, number))
    return result
