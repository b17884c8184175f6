# SPDX-License-Identifier: GPL-2.0-or-later
"""Root's rights beside a running server: what no client gets by them, and that no thread keeps them."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Process, free_port
from rawclient import RawClient, status_of
from server import COMMANDS, KsmbdServer, StartKsmbd
from unixusers import People, people

from ksmbd.kernel import credentials
from ksmbd.smb import constants as c
from ksmbd.smb import status as s

pytestmark = [pytest.mark.root, pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root to make users")]

ALL = 0x1F01FF
NOBODY = 65534
CAP_FSETID = 1 << 4


@pytest.fixture(scope="module")
def users() -> Iterator[People]:
    with people() as them:
        yield them


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd, users: People) -> KsmbdServer:
    return start_shared(
        users={users.alice: "a-secret", users.bob: "b-secret"},
        shares={"plain": {"force user": ""}, "admin": {"force user": "", "admin users": users.alice}},
    )


def threads(server: KsmbdServer) -> list[dict[str, list[str]]]:
    """/proc/PID/task/TID/status of all threads of the only worker."""
    (row,) = server.stats()["workers"]
    found: list[dict[str, list[str]]] = []
    if not row["pid"]:
        return found  # it has only just started, and has not said who it is
    for task in Path(f"/proc/{row['pid']}/task").iterdir():
        try:
            lines = (task / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended
        found.append({name: values.split() for name, _, values in (line.partition(":") for line in lines)})
    return found


def write(client: RawClient, opened: bytes, data: bytes) -> None:
    charge = -(-len(data) // 65536)
    assert client.status(c.WRITE, client.write_body(opened, 0, len(data)) + data, charge=charge) == 0


def awaited_rest(server: KsmbdServer) -> list[dict[str, list[str]]]:
    """The threads, once each acts for nobody; or as they are after ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        found = threads(server)
        if found and all(one["Uid"][3] == str(NOBODY) for one in found):
            return found
        if time.monotonic() > deadline:
            assert found
            return found
        os.sched_yield()


@pytest.mark.parametrize("share", ["plain", "admin"])
def test_a_thread_is_nobody_between_requests(server: KsmbdServer, users: People, share: str) -> None:
    with RawClient(server, user=users.alice, share=share) as client:
        opened = client.open(f"{share}-file", ALL)
        write(client, opened, bytes(1 << 20))
        assert client.status(c.READ, client.read_body(opened, 0, 1 << 20), charge=16) == 0
        for one in awaited_rest(server):
            assert one["Uid"][3] == one["Gid"][3] == str(NOBODY) and one["Groups"] == []
            assert not int(one["CapEff"][0], 16) & CAP_FSETID
        client.close(opened)


def test_after_a_tree_connect_that_fails(server: KsmbdServer, users: People) -> None:
    with RawClient(server, user=users.alice, share="plain") as client:
        path = ("\\\\server\\none").encode("utf-16-le")
        body = struct.pack("<HHHH", 9, 0, 72, len(path)) + path
        assert client.status(c.TREE_CONNECT, body) == s.STATUS_BAD_NETWORK_NAME
        assert all(one["Uid"][3] == str(NOBODY) for one in awaited_rest(server))


@pytest.mark.parametrize("share", ["plain", "admin"])
def test_no_set_id_bit_stays_where_a_client_writes(server: KsmbdServer, users: People, share: str) -> None:
    """`admin users` act as root, whose writes the kernel would leave the bits."""
    path = server.shares[share] / "program"
    path.write_bytes(b"#!/bin/sh\n")
    os.chown(path, users.uid(users.bob), 0)
    path.chmod(0o6777)
    with RawClient(server, user=users.alice, share=share) as client:
        opened = client.open("program", ALL & ~c.DELETE, c.FILE_OPEN)
        write(client, opened, b"payload")
        client.close(opened)
    assert stat.S_IMODE(path.stat().st_mode) == 0o777 and path.read_bytes().startswith(b"payload")


def test_nobody_is_made_an_owner(server: KsmbdServer, users: People) -> None:
    root = bytes.fromhex("010200000000001601000000") + bytes(4)
    given = struct.pack("<BBHIIII", 1, 0, 0x8000, 20, 0, 0, 0) + root
    with RawClient(server, user=users.alice, share="plain") as client:
        context = struct.pack("<IHHHHI", 0, 16, 4, 0, 24, len(given)) + b"SecD" + bytes(4) + given
        name = "of-root".encode("utf-16-le")
        fixed = client.create_body("of-root", ALL, c.FILE_CREATE)[:56]
        at = 64 + 56 + (len(name) + 7 & ~7)
        body = fixed[:44] + struct.pack("<HHII", 64 + 56, len(name), at, len(context)) + name.ljust(at - 120, b"\0")
        message = client.reply(client.post(c.CREATE, body + context))
        assert status_of(message) == s.STATUS_INVALID_OWNER
    assert not (server.shares["plain"] / "of-root").exists()




@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux's setpriv")
@pytest.mark.parametrize("right", ["setuid", "setgid"])
def test_root_that_cannot_act_as_other_users_does_not_start(tmp_path: Path, right: str) -> None:
    """It would serve everybody as root."""
    config = tmp_path / "ksmbd.conf"
    config.write_text(f"[global]\nworkers = 1\nbpf = no\n[share]\npath = {tmp_path}\n")
    files = ["-C", str(config), "-P", str(tmp_path / "ksmbdpwd.db"), "-R", str(tmp_path / "run")]
    without = ["setpriv", f"--bounding-set=-{right}", f"--inh-caps=-{right}"]
    with Process([*without, str(COMMANDS / "ksmbd.mountd"), "-n", "-p", str(free_port()), *files]) as server:
        assert server.wait() != 0
        assert "root cannot act as other users here (setf" in server.stderr
        assert "listening on" not in server.stderr
