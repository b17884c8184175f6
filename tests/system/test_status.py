# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is on: sessions, tree connects, files and locks of real clients, also of many."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from struct import pack

import pytest
from controlling import control, listed, outcome, reachable
from rawclient import RawClient
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c

CONNECTIONS, OPENS = 100, 1000


def file_of(client: RawClient, name: str, *, batch: bool = False) -> bytes:
    body = bytearray(client.create_body(name, 0x12019F, c.FILE_OPEN_IF))
    if batch:
        body[3] = c.OPLOCK_LEVEL_BATCH
    reply = client.ask(c.CREATE, bytes(body))
    return bytes(reply[64 + 64 : 64 + 80])


def test_two_users_are_told_with_what_they_have(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(users={"user": "secret", "ann": "pw"}, workers=2)
    (server.share_path / "docs").mkdir(mode=0o777)
    os.chmod(server.share_path / "docs", 0o777)
    with RawClient(server) as one, RawClient(server, user="ann") as two:
        file = file_of(one, "docs\\a.txt")
        one.ask(c.LOCK, pack("<HHI", 48, 1, 0) + file + pack("<QQII", 5, 9, 0x12, 0))
        file_of(two, "b.txt", batch=True)
        found = listed(server)
        assert sorted(row["account"] for row in found["sessions"]) == ["ann", "user"]
        assert all(row["dialect"] == "3.1.1" and row["address"] == "127.0.0.1" for row in found["sessions"])
        assert [(row["share"], row["account"]) for row in found["tree_connects"]] == [
            ("share", "ann"), ("share", "user"),
        ]  # fmt: skip
        assert [(row["path"], row["account"], row["oplock"], row["locks"]) for row in found["files"]] == [
            ("b.txt", "ann", "batch", 0), ("docs/a.txt", "user", "none", 1),
        ]  # fmt: skip
        assert [(row["path"], row["offset"], row["length"], row["exclusive"]) for row in found["locks"]] == [
            ("docs/a.txt", 5, 9, True),
        ]  # fmt: skip
        assert {row["name"] for row in found["budgets"]} >= {"connections", "sessions", "tree connects"}
        tables = control(server, "--status").stdout
        assert "Sessions: 2" in tables and "docs/a.txt" in tables and "exclusive" in tables
        assert set(listed(server, "--sessions")) == {"sessions"}
        assert set(listed(server, "--files")) == {"files"}
        assert set(listed(server, "--locks")) == {"locks"}
    server.wait_stats("sessions: 0")
    assert listed(server, "--sessions") == {"sessions": []}


@pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")
def test_smbclient_is_told_with_its_cipher(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"smb3 encryption": "mandatory"})
    command = [
        "smbclient", "//127.0.0.1/share", "-p", str(server.port), "-U", f"{server.user}%{server.password}",
        "-s", "/dev/null",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        server.wait_stats("sessions: 1")
        [row] = listed(server)["sessions"]
        assert row["encrypted"] and row["cipher"].startswith("AES-")
        assert row["signing"].startswith("AES-128-")
        client.stdin.write("quit\n")
        client.stdin.close()
        client.wait(timeout=30)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be a stranger")
def test_a_stranger_is_told_nothing(ksmbd: KsmbdServer, tmp_path: Path) -> None:
    reachable(tmp_path)
    status, out, err = outcome(control(ksmbd, "--status", user=65534))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "not allowed" in err


def test_a_worker_that_hangs_is_told_of_and_not_waited_for(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(workers=2)
    with RawClient(server) as client:
        client.open("a")
        pids = {row["worker"]: row["pid"] for row in server.stats()["workers"]}
        [row] = listed(server)["sessions"]
        other = 3 - row["worker"]
        os.kill(pids[other], signal.SIGSTOP)
        try:
            result = control(server, "--files")
        finally:
            os.kill(pids[other], signal.SIGCONT)
        assert result.returncode == 0
        assert " a " in result.stdout
        assert result.stderr == f"ksmbd.control: ksmbd/{other} does not answer: what it serves is missing here\n"
        assert len(listed(server)["files"]) == 1


def test_a_hundred_connections_with_a_thousand_opens_are_served_meanwhile(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"max ip connections": "200"})
    served, stop = [0], threading.Event()

    def keep_asking(client: RawClient, file: bytes) -> None:
        body = client.query_info_body(file)
        while not stop.is_set():
            client.ask(c.QUERY_INFO, body)
            served[0] += 1

    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(server)) for _ in range(CONNECTIONS)]
        files = [clients[number % CONNECTIONS].open(f"file{number}") for number in range(OPENS)]
        thread = threading.Thread(target=keep_asking, args=(clients[0], files[0]))
        thread.start()
        try:
            before = served[0]
            found = listed(server)
            during = served[0] - before
        finally:
            stop.set()
            thread.join()
        assert len(found["sessions"]) == len(found["tree_connects"]) == CONNECTIONS
        assert len(found["files"]) == OPENS
        assert len({row["id"] for row in found["files"]}) == OPENS
        assert during > 0, "a client is served while the answer is made"
