# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks that clients reserve (MS-FSA 2.1.5.15.1) and leave unused, on the file systems that servers have."""
from __future__ import annotations

import os
import re
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounted import MAKE, mount
from rawclient import RawClient
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

MIB = 1 << 20
ALL = 0x1F01FF
PID = r"(?m)^ksmbd/1: pid ([1-9]\d*)"


@pytest.fixture(scope="module", params=sorted(MAKE))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """On each file system."""
    with mount(request.param, tmp_path_factory.mktemp("mounted")) as folder:
        yield folder


@pytest.fixture(scope="module")
def running(folder: Path, start_shared: StartKsmbd) -> KsmbdServer:
    """One worker that shares the folder."""
    return start_shared(shares={"share": {"path": str(folder), "vfs objects": "streams_xattr"}}, workers=1)


@pytest.fixture
def server(running: KsmbdServer) -> Iterator[KsmbdServer]:
    """With an empty share."""
    yield running
    for path in running.share_path.iterdir():
        if path.is_file():
            path.unlink()


def set_allocation(client: RawClient, file: bytes, size: int) -> int:
    """FileAllocationInformation; the status."""
    data = struct.pack("<q", size)
    body = struct.pack("<HBBIHHI16s", 33, 1, 19, len(data), 96, 0, 0, file) + data
    return client.status(c.SET_INFO, body)


def write(client: RawClient, file: bytes, data: bytes, offset: int = 0) -> int:
    """The status."""
    return client.status(c.WRITE, client.write_body(file, offset, len(data)) + data)


def allocated(server: KsmbdServer, name: str = "f") -> int:
    return os.stat(server.share_path / name).st_blocks << 9


def until(true: Callable[[], bool]) -> None:
    """Awaits what nothing tells of."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reserved(client: RawClient, server: KsmbdServer) -> bytes:
    """An open file of 1,000 bytes with 60 MiB of blocks."""
    file = client.open("f", ALL)
    assert set_allocation(client, file, 60 * MIB) == 0
    assert write(client, file, b"x" * 1000) == 0
    assert allocated(server) >= 60 * MIB
    return file


@pytest.mark.parametrize("end", ["close", "kill", "vanish"])
def test_what_was_not_used_is_given_back(server: KsmbdServer, end: str) -> None:
    with RawClient(server) as client:
        file = reserved(client, server)
        if end == "close":
            client.close(file)
            assert allocated(server) < MIB
        elif end == "vanish":
            client.vanish()
        else:
            found = re.search(PID, server.wait_stats(PID))
            assert found is not None
            os.kill(int(found[1]), signal.SIGKILL)
            server.wait_for(r"was ended by signal 9; its clients are disconnected")
        until(lambda: allocated(server) < MIB)
    assert (server.share_path / "f").read_bytes() == b"x" * 1000


def test_what_does_not_fit_takes_nothing_and_others_write(server: KsmbdServer) -> None:
    with RawClient(server) as client, RawClient(server) as other:
        file, theirs = client.open("f", ALL), other.open("g", ALL)
        before = os.statvfs(server.share_path).f_bavail
        assert set_allocation(client, file, 1 << 40) == s.STATUS_DISK_FULL
        assert os.statvfs(server.share_path).f_bavail >= before - 256
        assert write(other, theirs, b"y" * 65536) == 0
        client.close(file)


def test_what_others_write_behind_the_end_stays(server: KsmbdServer) -> None:
    """Another client, and a local process, that go on after the open that reserved has ended."""
    with RawClient(server) as client, RawClient(server) as other:
        file = reserved(client, server)
        theirs = other.open("f", ALL)
        with (server.share_path / "f").open("r+b") as local:
            client.close(file)
            assert write(other, theirs, b"y" * 5000, 1000) == 0
            local.seek(6000)
            local.write(b"z" * 5000)
            local.flush()
            other.close(theirs)
            assert (server.share_path / "f").read_bytes() == b"x" * 1000 + b"y" * 5000 + b"z" * 5000
        until(lambda: allocated(server) < MIB)
    assert (server.share_path / "f").read_bytes() == b"x" * 1000 + b"y" * 5000 + b"z" * 5000


def test_a_streams_allocation_leaves_its_file(server: KsmbdServer) -> None:
    with RawClient(server) as client:
        file, stream = client.open("f", ALL), client.open("f:s", ALL)
        assert write(client, file, b"x" * 50000) == 0 and write(client, stream, b"y" * 100) == 0
        for size in (4096, 50, 0):
            assert set_allocation(client, stream, size) == 0
            assert (server.share_path / "f").read_bytes() == b"x" * 50000
