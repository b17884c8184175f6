# SPDX-License-Identifier: GPL-2.0-or-later
"""The open table between workers: caches, locks and share modes of clients in different processes, what a dead worker
leaves, persistent opens over the death of a worker and of the whole server."""
from __future__ import annotations

import os
import re
import select
import signal
import struct
import time
from typing import Any

import pytest
from bodies import BATCH, EXCLUSIVE, EXCLUSIVE_NOW, LEASE, UNLOCK, context, create, lease, lock, opened
from rawclient import BenchError, ConnectionEnded, RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

LEVEL_2 = 0x01
OPTIONS = {"smb2 leases": "yes", "durable handles": "yes"}
PERSISTENT = 2
"""SMB2_DHANDLE_FLAG_PERSISTENT (MS-SMB2 2.2.13.2.11)."""


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


def test_deleting_is_of_a_name(server: KsmbdServer) -> None:
    """With one name of a file open, deleting another one removes that alone (MS-FSA 2.1.5.5)."""
    for keeps, goes in (("name", "other"), ("other2", "name2")):
        first, second = in_another_worker(server)
        with first, second:
            kept = opened(first.reply(first.post(c.CREATE, create(keeps))))
            (server.share_path / goes).hardlink_to(server.share_path / keeps)
            deleted = opened(second.reply(second.post(c.CREATE, create(goes, access=c.DELETE))))
            disposition = struct.pack("<HBBIHHI16sB", 33, 1, 13, 1, 96, 0, 0, deleted, 1)
            assert second.status(c.SET_INFO, disposition) == 0
            assert first.status(c.CREATE, create(goes)) == s.STATUS_DELETE_PENDING
            assert second.status(c.CLOSE, struct.pack("<HHI16s", 24, 0, 0, deleted)) == 0
            assert not (server.share_path / goes).exists()
            again = opened(second.reply(second.post(c.CREATE, create(keeps))))
            for client, file in ((first, kept), (second, again)):
                assert client.status(c.CLOSE, struct.pack("<HHI16s", 24, 0, 0, file)) == 0
            assert (server.share_path / keeps).stat().st_nlink == 1


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
    """The pid of the worker that `client` is in: the one that counts five requests more after it has sent five, which
    is more than what the other one may have sent just before."""
    before = requests(server)
    for _ in range(5):
        client.ask(c.ECHO, b"\4\0\0\0")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        after = requests(server)
        for pid, count in after.items():
            if count >= before.get(pid, 0) + 5:
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


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("persistent", [False, True], ids=["durable", "persistent"])
def test_an_open_comes_back_through_its_own_share_and_protection_alone(
    start_ksmbd: StartKsmbd, workers: int, persistent: bool
) -> None:
    """MS-SMB2 3.3.5.9.12: what another share, another user or the clear may not take up is there for its client
    afterwards; a persistent one after the death of its server, where all of it is known from the disk."""
    available = {"continuous availability": "yes"}
    server = start_ksmbd(
        workers=workers, options=OPTIONS, users={"user": "secret", "other": "secret too"},
        shares={"share": available, "twin": available, "sealed": {**available, "smb3 encryption": "mandatory"},
                "reader": {**available, "read only": "yes"}},
    )  # fmt: skip
    os.chmod(server.share_path, 0o777)
    for name in ("twin", "sealed", "reader"):
        os.rmdir(server.shares[name])
        os.symlink(server.share_path, server.shares[name])
    kinds = PERSISTENT if persistent else 0
    guid, create_guid = os.urandom(16), os.urandom(16)

    def back(share: str, **more: Any) -> int:
        contexts = lease(key, 7, last=False) + context(b"DH2C", struct.pack("<16s16sI", file, create_guid, kinds))
        with RawClient(server, share, guid=guid, **more) as client:
            reply = client.reply(client.post(c.CREATE, create("kept", LEASE, share=0, contexts=contexts)))
            status = status_of(reply)
            if status == 0:
                assert opened(reply)[:8] == file[:8]
                client.close(opened(reply))
            return status

    for share, encrypt in (("share", False), ("sealed", True), ("share", True)):
        key = os.urandom(16)
        asked = context(b"DH2Q", struct.pack("<II8x16s", 60_000, kinds, create_guid))
        client = RawClient(server, share, guid=guid, encrypt=encrypt)
        contexts = lease(key, 7, last=False) + asked
        reply = client.reply(client.post(c.CREATE, create("kept", LEASE, share=0, contexts=contexts)))
        file = opened(reply)
        assert b"DH2Q" in reply
        if persistent:
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
            server.restart()
            server.wait_until_listening()
        client.vanish()
        refusals = {
            name: back(name, encrypt=name == "sealed")
            for name in ("share", "twin", "sealed", "reader") if name != share
        }  # fmt: skip
        assert set(refusals.values()) <= {s.STATUS_OBJECT_NAME_NOT_FOUND}, refusals
        assert back(share, encrypt=encrypt, user="other") == s.STATUS_ACCESS_DENIED
        if encrypt and share != "sealed":
            assert back(share) == s.STATUS_ACCESS_DENIED  # its client sealed what it said of the file
        assert back(share, encrypt=encrypt) == 0


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
