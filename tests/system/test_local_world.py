# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients beside processes of this machine: `kernel oplocks` and `posix locking`, with one worker and with four."""
from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from bodies import BATCH, EXCLUSIVE, EXCLUSIVE_NOW, LEASE, UNLOCK, context, create, lease, lock, opened
from local_process import LocalProcess
from rawclient import ConnectionEnded, RawClient, status_of
from server import KsmbdServer, StartKsmbd
from test_opens_across_workers import durable, pids, reclaim, wait_for_workers

from ksmbd.kernel import leases, ofd_locks
from ksmbd.smb import constants as c
from ksmbd.smb import status as s

SHARED_NOW = 0x11
READ = 0x120089
"""FILE_GENERIC_READ."""
PENDING = 0x103

pytestmark = pytest.mark.skipif(bool(leases.probe() or ofd_locks.probe()), reason="this kernel has no leases or locks")


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def server(request: pytest.FixtureRequest, start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(
        workers=request.param, options={"smb2 leases": "yes", "durable handles": "yes"},
        shares={
            "share": {"kernel oplocks": "yes", "posix locking": "yes", "vfs objects": "streams_xattr"},
            "plain": {"posix locking": "no"}, "usual": {},
        },
    )  # fmt: skip


@pytest.fixture
def path(server: KsmbdServer, request: pytest.FixtureRequest) -> Path:
    """A file in the share, with a name of the test's own."""
    made = server.share_path / f"{request.node.originalname}{os.urandom(4).hex()}"
    made.write_text("before")
    made.chmod(0o666)
    return made


@pytest.fixture
def client(server: KsmbdServer) -> Iterator[RawClient]:
    with RawClient(server, guid=os.urandom(16)) as made:
        yield made


@pytest.fixture
def other(server: KsmbdServer) -> Iterator[RawClient]:
    with RawClient(server, guid=os.urandom(16)) as made:
        yield made


@pytest.fixture
def local() -> Iterator[LocalProcess]:
    with LocalProcess() as made:
        yield made


def lease_of(reply: bytes) -> int:
    """LeaseState in a CREATE response."""
    opened(reply)
    offset, length = struct.unpack_from("<II", reply, 64 + 80)
    context = reply[offset : offset + length]
    while context[16:20] != b"RqLs":
        context = context[struct.unpack_from("<I", context)[0] :]
    return int(struct.unpack_from("<I", context, 24 + 16)[0])


def lease_notice(client: RawClient) -> tuple[bytes, int, int]:
    """(key, current state, new state) of the lease break that comes."""
    size, _, _, key, current, new = struct.unpack_from("<HHI16sII", client.notice(), 64)
    assert size == 44
    return key, current, new


def acknowledge_lease(client: RawClient, key: bytes, state: int) -> None:
    assert client.status(c.OPLOCK_BREAK, struct.pack("<HHI16sIQ", 36, 0, 0, key, state, 0)) == 0


def open_with(client: RawClient, path: Path, key: bytes, state: int, access: int = 0x12019F) -> tuple[bytes, int]:
    """(FileId, the lease state that was granted)."""
    reply = client.reply(client.post(c.CREATE, create(path.name, LEASE, contexts=lease(key, state), access=access)))
    return opened(reply), lease_of(reply)


# ------------------------------------------------------------------------------------------------------ kernel oplocks


def test_a_local_process_reads_what_the_client_had_in_its_cache(
    client: RawClient, path: Path, local: LocalProcess
) -> None:
    key = os.urandom(16)
    file, state = open_with(client, path, key, 7)
    assert state == 7
    local.begin(f"read {path}")
    assert lease_notice(client) == (key, 7, 0)
    assert local.waits
    client.ask(c.WRITE, client.write_body(file, 0, 5) + b"after")
    assert local.waits
    acknowledge_lease(client, key, 0)
    assert local.finish() == "aftere"


def test_an_oplock_is_broken_to_nothing(client: RawClient, path: Path, local: LocalProcess) -> None:
    reply = client.reply(client.post(c.CREATE, create(path.name, BATCH)))
    file = opened(reply)
    assert reply[66] == BATCH
    local.begin(f"read {path}")
    notice = client.notice()
    assert (notice[66], notice[72:88]) == (0, file)
    assert local.waits
    client.ask(c.WRITE, client.write_body(file, 0, 5) + b"after")
    assert client.status(c.OPLOCK_BREAK, struct.pack("<HBBI16s", 24, 0, 0, 0, file)) == 0
    assert local.finish() == "aftere"


def test_closing_lets_the_local_process_go_on(client: RawClient, path: Path, local: LocalProcess) -> None:
    file, state = open_with(client, path, os.urandom(16), 7)
    assert state == 7
    local.begin(f"write {path}")
    client.notice()
    assert local.waits
    client.close(file)
    assert local.finish() == "open"


def test_readers_share_a_read_lease_and_a_local_writer_ends_it(
    client: RawClient, other: RawClient, path: Path, local: LocalProcess
) -> None:
    keys = os.urandom(16), os.urandom(16)
    assert open_with(client, path, keys[0], 3, READ)[1] == 3
    assert open_with(other, path, keys[1], 3, READ)[1] == 3
    assert local.run(f"read {path}") == "before"
    assert local.run("close") == "closed"
    local.begin(f"write {path}")
    for one, key in zip((client, other), keys, strict=True):
        assert lease_notice(one) == (key, 3, 0)
        assert local.waits
        acknowledge_lease(one, key, 0)
    assert local.finish() == "open"


def test_a_write_lease_of_a_reader_is_broken_to_a_read_lease(
    client: RawClient, path: Path, local: LocalProcess
) -> None:
    key = os.urandom(16)
    assert open_with(client, path, key, 7, READ)[1] == 7
    local.begin(f"read {path}")
    assert lease_notice(client) == (key, 7, 3)
    acknowledge_lease(client, key, 3)
    assert local.finish() == "before"
    local.run("close")
    local.begin(f"write {path}")
    assert lease_notice(client) == (key, 3, 0)
    acknowledge_lease(client, key, 0)
    assert local.finish() == "open"


@pytest.mark.parametrize(("step", "access", "granted"), [
    ("read", 0x12019F, 0), ("write", 0x12019F, 0), ("read", READ, 3), ("write", READ, 0),
])  # fmt: skip
def test_what_a_local_process_has_open_is_cached_no_more_than_it_lets(
    client: RawClient, path: Path, local: LocalProcess, step: str, access: int, granted: int
) -> None:
    local.run(f"{step} {path}")
    assert open_with(client, path, os.urandom(16), 7, access)[1] == granted


def test_our_own_opens_break_nothing(client: RawClient, other: RawClient, path: Path, local: LocalProcess) -> None:
    """The same lease opened twice, its attributes looked at by others: it stays, and still is what the kernel knows."""
    key = os.urandom(16)
    first, state = open_with(client, path, key, 7, READ)
    assert state == 7
    second, state = open_with(client, path, key, 7)
    assert state == 7
    client.ask(c.WRITE, client.write_body(second, 0, 5) + b"after")
    assert opened(other.reply(other.post(c.CREATE, create(path.name, access=0x100080))))
    assert bytes(client.ask(c.READ, client.read_body(first, 0, 6)))[80:86] == b"aftere"
    client.close(first)
    assert not client.notices
    local.begin(f"read {path}")
    assert lease_notice(client) == (key, 7, 0)
    assert local.waits
    acknowledge_lease(client, key, 0)
    assert local.finish() == "aftere"


def test_another_client_breaks_once_and_then_opens(client: RawClient, other: RawClient, path: Path) -> None:
    key = os.urandom(16)
    file, _ = open_with(client, path, key, 7)
    waiting = other.post(c.CREATE, create(path.name, BATCH))
    assert lease_notice(client) == (key, 7, 0)
    client.ask(c.WRITE, client.write_body(file, 0, 5) + b"after")
    acknowledge_lease(client, key, 0)
    reply = other.reply(waiting)
    assert reply[66] == 0
    assert bytes(other.ask(c.READ, other.read_body(opened(reply), 0, 6)))[80:86] == b"aftere"
    assert not client.notices


def test_a_writer_takes_the_readers_caches(client: RawClient, other: RawClient, path: Path) -> None:
    key = os.urandom(16)
    assert open_with(client, path, key, 3, READ)[1] == 3
    waiting = other.post(c.CREATE, create(path.name))
    assert lease_notice(client) == (key, 3, 0)
    acknowledge_lease(client, key, 0)
    assert opened(other.reply(waiting))


def test_a_stream_is_cached_and_shares_no_level_two(client: RawClient, other: RawClient, path: Path) -> None:
    name = path.name + ":stream"
    reply = client.reply(client.post(c.CREATE, create(name, BATCH)))
    assert reply[66] == BATCH
    waiting = other.post(c.CREATE, create(name, BATCH))
    notice = client.notice()
    assert notice[66] == 0
    assert client.status(c.OPLOCK_BREAK, struct.pack("<HBBI16s", 24, 0, 0, 0, opened(reply))) == 0
    assert other.reply(waiting)[66] == 0


@pytest.mark.parametrize("share", ["share", "plain"])
def test_a_local_lease_holds_up_one_open_and_nothing_else(
    server: KsmbdServer, local: LocalProcess, share: str
) -> None:
    path = server.shares[share] / f"leased{os.urandom(4).hex()}"
    path.write_text("before")
    with RawClient(server, share) as client:
        assert local.run(f"lease {path}") == "leased"
        waiting = client.post(c.CREATE, create(path.name))
        assert local.run("await") == "broken"
        client.close(opened(client.reply(client.post(c.CREATE, create("beside")))))
        assert local.run("release") == "released"
        assert opened(client.reply(waiting))


def test_a_cancelled_wait_for_a_local_lease_leaves_nothing(
    server: KsmbdServer, client: RawClient, path: Path, local: LocalProcess
) -> None:
    assert local.run(f"lease {path}") == "leased"
    waiting = client.post(c.CREATE, create(path.name, share=0))
    assert local.run("await") == "broken"
    interim = client.frame()
    assert status_of(interim) == PENDING
    client.post_bytes(client.wire(_cancel(client, interim)))
    assert status_of(client.reply(waiting)) == s.STATUS_CANCELLED
    assert local.run("release") == "released"
    assert opened(client.reply(client.post(c.CREATE, create(path.name, share=0))))


def _cancel(client: RawClient, interim: bytes) -> bytearray:
    """CANCEL of the request that this interim response is of (MS-SMB2 2.2.30)."""
    frame = client.message(c.CANCEL, struct.pack("<HH", 4, 0))
    client.message_id -= 1
    at = len(frame) - 68
    struct.pack_into("<I", frame, at + 16, c.FLAGS_ASYNC_COMMAND)
    frame[at + 24 : at + 40] = interim[24:40]
    return frame


# ------------------------------------------------------------------------------------------------------- posix locking


def test_a_clients_lock_is_seen_and_goes(client: RawClient, path: Path, local: LocalProcess) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(path.name))))
    local.run(f"write {path}")
    assert client.status(c.LOCK, lock(file, 10, 10, EXCLUSIVE_NOW)) == 0
    assert local.run("shared 10 1") == "EAGAIN"
    assert local.run("exclusive 5 5") == "done"
    assert client.status(c.LOCK, lock(file, 10, 10, UNLOCK)) == 0
    assert local.run("exclusive 10 10") == "done"


def test_locks_that_stack_leave_what_others_still_hold(client: RawClient, path: Path, local: LocalProcess) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(path.name))))
    local.run(f"write {path}")
    assert client.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == 0
    for offset in (0, 5):
        assert client.status(c.LOCK, lock(file, offset, 10, SHARED_NOW)) == 0
    assert local.run("shared 12 1") == "done"
    assert local.run("exclusive 12 1") == "EAGAIN"
    assert local.run("shared 9 1") == "EAGAIN"
    assert client.status(c.LOCK, lock(file, 0, 10, UNLOCK)) == 0  # the exclusive one goes first
    assert local.run("shared 9 1") == "done"
    assert local.run("exclusive 0 1") == "EAGAIN"
    assert client.status(c.LOCK, lock(file, 0, 10, UNLOCK)) == 0
    assert local.run("exclusive 0 5") == "done"
    assert local.run("exclusive 5 1") == "EAGAIN"
    client.close(file)
    assert local.run("exclusive 0 0") == "done"


def test_locks_that_the_kernel_cannot_know_are_locks_all_the_same(
    client: RawClient, other: RawClient, path: Path, local: LocalProcess
) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(path.name))))
    theirs = opened(other.reply(other.post(c.CREATE, create(path.name))))
    local.run(f"write {path}")
    for offset, length in ((5, 0), (1 << 63, 10), ((1 << 64) - 1, 1)):
        assert client.status(c.LOCK, lock(file, offset, length, EXCLUSIVE_NOW)) == 0
    assert local.run("exclusive 0 0") == "done"
    assert other.status(c.LOCK, lock(theirs, 4, 2, EXCLUSIVE_NOW)) == s.STATUS_LOCK_NOT_GRANTED
    assert other.status(c.LOCK, lock(theirs, (1 << 63) + 9, 1, EXCLUSIVE_NOW)) == s.STATUS_LOCK_NOT_GRANTED
    assert local.run("unlock 0 0") == "done"
    last = (1 << 63) - 1
    assert client.status(c.LOCK, lock(file, last - 1, 10, EXCLUSIVE_NOW)) == s.STATUS_LOCK_NOT_GRANTED
    assert client.status(c.LOCK, lock(file, last - 1, 1, EXCLUSIVE_NOW)) == 0
    assert local.run(f"exclusive {last - 1} 1") == "EAGAIN"
    assert local.run(f"exclusive {last} 1") == "done"


def test_a_local_lock_refuses_the_client(client: RawClient, path: Path, local: LocalProcess) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(path.name))))
    local.run(f"write {path}")
    assert local.run("exclusive 2 2") == "done"
    assert client.status(c.LOCK, lock(file, 0, 3, SHARED_NOW)) == s.STATUS_LOCK_NOT_GRANTED
    assert client.status(c.READ, client.read_body(file, 0, 6)) == s.STATUS_FILE_LOCK_CONFLICT
    assert client.status(c.READ, client.read_body(file, 4, 2)) == 0
    assert client.status(c.WRITE, client.write_body(file, 3, 1) + b"x") == s.STATUS_FILE_LOCK_CONFLICT
    assert local.run("unlock 2 2") == "done"
    assert local.run("shared 2 2") == "done"
    assert client.status(c.READ, client.read_body(file, 0, 6)) == 0
    assert client.status(c.WRITE, client.write_body(file, 3, 1) + b"x") == s.STATUS_FILE_LOCK_CONFLICT
    assert client.status(c.LOCK, lock(file, 0, 3, SHARED_NOW)) == 0
    # What was refused left nothing behind.
    assert local.run("exclusive 0 2") == "EAGAIN"
    assert client.status(c.LOCK, lock(file, 0, 3, UNLOCK)) == 0
    assert local.run("exclusive 0 2") == "done"


def test_a_lock_that_waits_gets_its_turn_and_can_be_given_up(
    client: RawClient, other: RawClient, path: Path, local: LocalProcess
) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(path.name))))
    theirs = opened(other.reply(other.post(c.CREATE, create(path.name))))
    local.run(f"write {path}")
    assert local.run("exclusive 0 10") == "done"
    given_up = client.post(c.LOCK, lock(file, 0, 1, EXCLUSIVE))
    interim = client.frame()
    assert status_of(interim) == PENDING
    waiting = other.post(c.LOCK, lock(theirs, 0, 1, EXCLUSIVE))
    assert status_of(other.frame()) == PENDING
    client.post_bytes(client.wire(_cancel(client, interim)))
    assert status_of(client.reply(given_up)) == s.STATUS_CANCELLED
    assert local.run("unlock 0 10") == "done"
    assert status_of(other.reply(waiting)) == 0
    assert local.run("exclusive 0 1") == "EAGAIN"
    assert other.status(c.LOCK, lock(theirs, 0, 1, UNLOCK)) == 0
    assert client.status(c.LOCK, lock(file, 0, 1, EXCLUSIVE_NOW)) == 0


def test_a_local_process_waits_for_a_clients_lock(client: RawClient, path: Path, local: LocalProcess) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(path.name))))
    assert client.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == 0
    local.run(f"write {path}")
    local.begin("wait 0 1")
    assert client.status(c.WRITE, client.write_body(file, 0, 5) + b"after") == 0
    assert local.waits
    assert client.status(c.LOCK, lock(file, 0, 10, UNLOCK)) == 0
    assert local.finish() == "done"
    assert local.run("again") == "aftere"


def test_clients_with_shared_locks_stay_together(
    client: RawClient, other: RawClient, path: Path, local: LocalProcess
) -> None:
    files = [opened(one.reply(one.post(c.CREATE, create(path.name)))) for one in (client, other)]
    local.run(f"write {path}")
    for one, file in zip((client, other), files, strict=True):
        assert one.status(c.LOCK, lock(file, 0, 10, SHARED_NOW)) == 0
    assert client.status(c.LOCK, lock(files[0], 0, 10, UNLOCK)) == 0
    assert local.run("exclusive 0 1") == "EAGAIN"
    assert other.status(c.LOCK, lock(files[1], 0, 10, UNLOCK)) == 0
    assert local.run("exclusive 0 1") == "done"


def test_a_reader_locks_exclusively_as_far_as_the_kernel_lets_it(
    client: RawClient, path: Path, local: LocalProcess
) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(path.name, access=READ))))
    local.run(f"write {path}")
    assert client.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == 0
    assert local.run("exclusive 0 1") == "EAGAIN"
    assert local.run("shared 0 1") == "done"


def test_locks_hold_on_both_sides_as_a_rule(server: KsmbdServer, local: LocalProcess) -> None:
    """`posix locking = auto`: from the first lock of an open on."""
    path = server.shares["usual"] / f"usual{os.urandom(4).hex()}"
    path.write_text("before")
    with RawClient(server, "usual") as client:
        file, beside = (opened(client.reply(client.post(c.CREATE, create(path.name)))) for _ in range(2))
        local.run(f"write {path}")
        assert local.run("exclusive 0 10") == "done"
        assert client.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == s.STATUS_LOCK_NOT_GRANTED
        assert client.status(c.READ, client.read_body(file, 0, 5)) == s.STATUS_FILE_LOCK_CONFLICT
        assert client.status(c.READ, client.read_body(beside, 0, 5)) == 0
        waiting = client.post(c.LOCK, lock(file, 0, 10, EXCLUSIVE))
        assert status_of(client.frame()) == PENDING
        assert local.run("unlock 0 10") == "done"
        assert status_of(client.reply(waiting)) == 0
        assert local.run("exclusive 5 1") != "done"
        assert client.status(c.LOCK, lock(file, 0, 10, UNLOCK)) == 0
        assert local.run("exclusive 5 1") == "done"


def test_without_the_parameters_nothing_is_different(server: KsmbdServer, local: LocalProcess) -> None:
    path = server.shares["plain"] / "plain"
    path.write_text("before")
    with RawClient(server, "plain") as client:
        local.run(f"write {path}")
        reply = client.reply(client.post(c.CREATE, create("plain", BATCH)))
        assert reply[66] == BATCH
        assert local.run("exclusive 0 10") == "done"
        assert client.status(c.LOCK, lock(opened(reply), 0, 10, EXCLUSIVE_NOW)) == 0


# ------------------------------------------------------------------------------------- opens that outlive a connection


def test_a_local_process_ends_a_durable_open_that_nobody_uses(
    server: KsmbdServer, path: Path, local: LocalProcess
) -> None:
    guid, create_guid = os.urandom(16), os.urandom(16)
    with RawClient(server, guid=guid) as client:
        contexts = context(b"DH2Q", struct.pack("<II8x16s", 60_000, 0, create_guid))
        reply = client.reply(client.post(c.CREATE, create(path.name, BATCH, contexts=contexts)))
        file = opened(reply)
        assert b"DH2Q" in reply
        client.vanish()
    assert local.run(f"read {path}") == "before"
    with RawClient(server, guid=guid) as client:
        contexts = context(b"DH2C", struct.pack("<16s16sI", file, create_guid, 0))
        assert client.status(c.CREATE, create(path.name, BATCH, contexts=contexts)) == s.STATUS_OBJECT_NAME_NOT_FOUND


@pytest.mark.parametrize(("workers", "whole"), [(4, False), (1, False), (4, True)])
def test_a_reclaimed_open_has_its_lease_and_locks_in_the_kernel_again(
    start_ksmbd: StartKsmbd, local: LocalProcess, workers: int, whole: bool
) -> None:
    server = start_ksmbd(
        workers=workers, options={"smb2 leases": "yes", "durable handles": "yes"},
        shares={"share": {"continuous availability": "yes", "kernel oplocks": "yes", "posix locking": "yes"}},
    )  # fmt: skip
    path = server.share_path / "kept"
    guid, key, create_guid = os.urandom(16), os.urandom(16), os.urandom(16)
    with RawClient(server, guid=guid) as client:
        contexts = lease(key, 7, last=False) + durable(create_guid)
        file = opened(client.reply(client.post(c.CREATE, create("kept", LEASE, contexts=contexts))))
        assert client.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == 0
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
    with RawClient(server, guid=guid) as client:
        contexts = lease(key, 7, last=False) + reclaim(file, create_guid)
        again = opened(client.reply(client.post(c.CREATE, create("kept", LEASE, contexts=contexts))))
        local.begin(f"write {path}")
        assert lease_notice(client) == (key, 7, 0)
        assert local.waits
        acknowledge_lease(client, key, 0)
        assert local.finish() == "open"
        assert local.run("exclusive 9 1") == "EAGAIN"
        assert client.status(c.LOCK, lock(again, 0, 10, UNLOCK)) == 0
        assert local.run("exclusive 9 1") == "done"


def test_a_dead_workers_locks_and_leases_are_gone(start_ksmbd: StartKsmbd, local: LocalProcess) -> None:
    server = start_ksmbd(workers=2, shares={"share": {"kernel oplocks": "yes", "posix locking": "yes"}})
    with RawClient(server, guid=os.urandom(16)) as client:
        file = opened(client.reply(client.post(c.CREATE, create("file", BATCH))))
        assert client.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == 0
        os.kill(next(pid for pid, held in pids(server).values() if held), signal.SIGKILL)
        assert local.run(f"write {server.share_path / 'file'}") == "open"
        assert local.run("exclusive 0 10") == "done"
