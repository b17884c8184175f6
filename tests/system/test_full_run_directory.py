# SPDX-License-Identifier: GPL-2.0-or-later
"""The file system of the run directory is full: requests get a status, no process dies, what was open can be closed,
and with room again all goes on. As root, on a tmpfs of its own."""
from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bodies import EXCLUSIVE_NOW, create, lock, opened
from rawclient import RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

NAMES = 200
REFUSED = (s.STATUS_INSUFFICIENT_RESOURCES, s.STATUS_DISK_FULL)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """tmp_path is a file system of 24 MiB."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte."""
    path = folder / "filler"
    with open(path, "ab", 0) as filler:
        for size in (65536, 4096, 1):
            try:
                while filler.write(bytes(size)) == size:
                    pass
            except OSError:
                pass
    return path


def processes(server: KsmbdServer) -> list[int]:
    return [worker["pid"] for worker in server.stats()["workers"]]


def close(client: RawClient, file: bytes) -> int:
    return client.status(c.CLOSE, struct.pack("<HHI16s", 24, 0, 0, file))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_run_directory(small: Path, start_ksmbd: StartKsmbd, workers: int) -> None:
    server = start_ksmbd(workers=workers)
    before = processes(server)
    for number in range(NAMES):
        (server.share_path / f"f{number}").touch()
    with RawClient(server, guid=os.urandom(16)) as client, RawClient(server, guid=os.urandom(16)) as other:
        filler = fill(small)
        files: list[bytes] = []
        for number in range(3000):
            reply = client.reply(client.post(c.CREATE, create(f"f{number % NAMES}")))
            if status_of(reply):
                assert status_of(reply) in REFUSED
                break
            files.append(opened(reply))
        assert files
        answers = {client.status(c.LOCK, lock(file, 7, 1, EXCLUSIVE_NOW)) for file in files[:NAMES]}
        assert answers <= {0, *REFUSED}
        assert other.status(c.ECHO, b"\4\0\0\0") == 0
        for file in files[: len(files) // 2]:
            assert close(client, file) == 0
        assert processes(server) == before
        filler.unlink()
        assert not status_of(other.reply(other.post(c.CREATE, create("f0"))))
        client.vanish()
    with RawClient(server, guid=os.urandom(16)) as client:
        for number in range(NAMES):
            for _ in range(2000):  # the end of the two connections may still be under way
                reply = client.reply(client.post(c.CREATE, create(f"f{number}", share=0)))
                if status_of(reply) != s.STATUS_SHARING_VIOLATION:
                    break
            assert status_of(reply) == 0, number
            close(client, opened(reply))
    assert processes(server) == before
