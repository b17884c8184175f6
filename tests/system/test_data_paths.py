# SPDX-License-Identifier: GPL-2.0-or-later
"""Data of plain READs and WRITEs on each of its ways, and what may happen while it comes."""
from __future__ import annotations

import contextlib
import os
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from rawclient import RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

MIB = 1 << 20
WAYS = {
    "the server's own": "",
    "copied": "read=copy write=copy",
    "through a pipe": "read=splice, write/*/100K=splice",
}


@pytest.fixture(scope="module", params=sorted(WAYS))
def ways(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd, ways: str) -> KsmbdServer:
    return start_shared(options={"data paths": WAYS[ways]})


@pytest.fixture
def client(server: KsmbdServer) -> Iterator[RawClient]:
    with RawClient(server) as made:
        yield made


def worker(server: KsmbdServer) -> int:
    (row,) = server.stats()["workers"]
    return int(row["pid"])


def pipes(pid: int) -> int:
    """The worker's descriptors of pipes."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(entry).startswith("pipe:")
    return found


def write(client: RawClient, file: bytes, offset: int, data: bytes) -> int:
    return client.status(c.WRITE, client.write_body(file, offset, len(data)) + data, charge=-(-len(data) // 65536))


def read(client: RawClient, file: bytes, offset: int, length: int) -> bytes:
    reply = client.ask(c.READ, client.read_body(file, offset, length), charge=-(-length // 65536))
    start = reply[64 + 2]
    return bytes(reply[start:])


def test_the_same_data_on_every_way(server: KsmbdServer, client: RawClient, ways: str) -> None:
    data = os.urandom(4 * MIB)
    before = pipes(worker(server))
    file = client.open("data", disposition=c.FILE_OVERWRITE_IF)
    for offset in range(0, len(data), 2 * MIB):
        assert write(client, file, offset, data[offset : offset + 2 * MIB]) == s.STATUS_SUCCESS
    assert write(client, file, 4 * MIB - 150_001, data[-150_001:]) == s.STATUS_SUCCESS
    assert (server.share_path / "data").read_bytes() == data
    for offset, length in ((0, 4 * MIB), (1, MIB), (MIB + 77, 2 * MIB), (3 * MIB, MIB - 5), (5, 70_000)):
        assert read(client, file, offset, length) == data[offset : offset + length]
    assert read(client, file, 3 * MIB, 2 * MIB) == data[3 * MIB :]
    client.close(file)
    made = pipes(worker(server)) - before
    if ways == "copied":
        assert made == 0
    elif ways == "through a pipe":
        assert made == 2, "the loop's pipe was not made, so nothing went through it"


def test_a_disk_that_is_full_after_half_of_the_data(server: KsmbdServer, client: RawClient) -> None:
    """The largest size of a file stands for the disk's: it makes the same short write, and then an error."""
    file = client.open("short", disposition=c.FILE_OVERWRITE_IF)
    pid = worker(server)
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        assert write(client, file, 0, os.urandom(2 * MIB)) == s.STATUS_DISK_FULL
        # The rest of the frame was taken: the stream is in step
        assert write(client, file, 0, b"x" * 1000) == s.STATUS_SUCCESS
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    assert write(client, file, MIB, b"y" * MIB) == s.STATUS_SUCCESS
    stored = (server.share_path / "short").read_bytes()
    assert stored[:1000] == b"x" * 1000 and stored[MIB:] == b"y" * MIB
    client.close(file)


def test_a_client_that_vanishes_in_the_middle(server: KsmbdServer, client: RawClient) -> None:
    data = os.urandom(2 * MIB)
    gone = RawClient(server)
    # Shared with nobody: it can be opened again only once the first open has ended
    file = gone.open("vanished", disposition=c.FILE_OVERWRITE_IF)
    frame = gone.message(c.WRITE, gone.write_body(file, 0, len(data)) + data, 32)
    gone.post_bytes(bytes(gone.wire(frame))[: MIB + 120])
    # Its data is on the way into the file
    server.wait_stats(r"")
    while not (server.share_path / "vanished").stat().st_size:
        server.wait_stats(r"")
    gone.vanish()
    body = client.create_body("vanished", c.FILE_READ_DATA | c.DELETE, c.FILE_OPEN)
    while client.status(c.CREATE, body[:32] + struct.pack("<I", 0) + body[36:]) == s.STATUS_SHARING_VIOLATION:
        server.wait_stats(r"")
    stored = (server.share_path / "vanished").read_bytes()
    assert 0 < len(stored) <= MIB + 4 and stored == data[: len(stored)]


def test_a_range_that_another_client_has_locked(server: KsmbdServer, client: RawClient) -> None:
    file = client.open("locked", disposition=c.FILE_OVERWRITE_IF)
    assert write(client, file, 0, bytes(MIB)) == s.STATUS_SUCCESS
    with RawClient(server) as other:
        theirs = other.open("locked")
        element = struct.pack("<QQII", 700_000, 1, c.LOCKFLAG_EXCLUSIVE_LOCK | c.LOCKFLAG_FAIL_IMMEDIATELY, 0)
        assert other.status(c.LOCK, struct.pack("<HHI", 48, 1, 0) + theirs + element) == s.STATUS_SUCCESS
        assert write(client, file, 0, b"z" * MIB) == s.STATUS_FILE_LOCK_CONFLICT
        assert status_of(client.reply(client.post(c.ECHO, b"\x04\0\0\0"))) == s.STATUS_SUCCESS
        assert (server.share_path / "locked").read_bytes() == bytes(MIB)
    client.close(file)
