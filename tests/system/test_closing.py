# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --close: sessions, files, shares and addresses of real clients, and what these see."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from struct import pack

import pytest
from controlling import control, listed, outcome, reachable
from rawclient import RawClient
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s


def read_status(client: RawClient, file: bytes) -> int:
    return client.status(c.READ, client.read_body(file, 0, 4))


def test_a_session_a_file_a_share_and_an_address(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(users={"user": "secret", "ann": "pw"}, workers=2)
    with RawClient(server) as one, RawClient(server, user="ann") as two:
        first, second, third = one.open("a"), two.open("b"), two.open("c")
        [session] = [row["id"] for row in listed(server)["sessions"] if row["account"] == "user"]
        assert outcome(control(server, "--close", session)) == (0, "closed: 1 session, 1 tree connect, 1 file\n", "")
        assert read_status(one, first) == s.STATUS_USER_SESSION_DELETED
        [file] = [row["id"] for row in listed(server)["files"] if row["path"] == "b"]
        assert outcome(control(server, "--close", file)) == (0, "closed: 1 file\n", "")
        assert read_status(two, second) == s.STATUS_FILE_CLOSED
        assert outcome(control(server, "--close", "share/c")) == (0, "closed: 1 file\n", "")
        assert read_status(two, third) == s.STATUS_FILE_CLOSED
        two.open("d")
        assert outcome(control(server, "--close", "share")) == (0, "closed: 1 tree connect, 1 file\n", "")
        assert two.status(c.CREATE, two.create_body("e", 0x12019F, c.FILE_OPEN_IF)) == s.STATUS_NETWORK_NAME_DELETED
        two.tree("share")
        assert outcome(control(server, "--close", "127.0.0.1")) == (0, "closed: 1 session, 1 tree connect\n", "")
        found = listed(server)
        assert found["sessions"] == found["tree_connects"] == found["files"] == []
        for what in (session, file, "share/c", "share", "127.0.0.1"):
            status, out, err = outcome(control(server, "--close", what))
            assert (status, out, err) == (1, "", f"ksmbd.control: nothing is open that '{what}' names\n")


def open_kept(client: RawClient, name: str, context: bytes, data: bytes) -> None:
    """Open with a batch oplock and one create context of a name of 4 bytes."""
    body = bytearray(client.create_body(name, 0x12019F, c.FILE_OPEN_IF))
    body[3] = c.OPLOCK_LEVEL_BATCH
    chained = pack("<IHHHHI", 0, 16, 4, 0, 24, len(data)) + context + bytes(4) + data
    padding = bytes(-len(body) % 8)
    body[48:56] = pack("<II", 64 + len(body) + len(padding), len(chained))
    assert client.status(c.CREATE, bytes(body) + padding + chained) == 0


def test_a_durable_open_of_a_client_that_is_gone(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"durable handles": "yes"})
    client = RawClient(server)
    open_kept(client, "d", b"DHnQ", bytes(16))
    client.vanish()
    server.wait_stats("sessions: 0")
    [row] = listed(server)["files"]
    assert (row["session"], row["durable"], row["path"]) == ("", "durable", "d")
    assert "durable, disconnected" in control(server, "--files").stdout
    assert outcome(control(server, "--close", "share/d")) == (0, "closed: 1 file\n", "")
    assert listed(server)["files"] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_persistent_open_after_the_server_was_killed(start_ksmbd: StartKsmbd, workers: int) -> None:
    shares = {"share": {"continuous availability": "yes"}, "other": {}}
    server = start_ksmbd(options={"durable handles": "yes"}, shares=shares, workers=workers)
    client = RawClient(server)
    open_kept(client, "p", b"DH2Q", pack("<II8x16s", 60_000, 2, b"G" * 16))
    [before] = listed(server)["files"]
    assert before["durable"] == "persistent"
    pid = int((server.rundir / "ksmbd.lock").read_text())
    os.kill(pid, signal.SIGKILL)
    server.kill()
    client.close_socket()
    server.restart()
    server.wait_until_listening()
    [row] = listed(server)["files"]
    assert (row["id"], row["session"], row["durable"], row["path"]) == (before["id"], "", "persistent", "p")
    assert outcome(control(server, "--close", "other"))[0] == 1
    assert outcome(control(server, "--close", row["id"])) == (0, "closed: 1 file\n", "")
    assert listed(server)["files"] == []


@pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")
def test_smbclient_is_put_out_and_comes_back(ksmbd: KsmbdServer) -> None:
    (ksmbd.share_path / "a").write_text("x")
    command = [
        "smbclient", "//127.0.0.1/share", "-p", str(ksmbd.port), "-U", f"{ksmbd.user}%{ksmbd.password}",
        "-s", "/dev/null",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as client:
        assert client.stdin is not None and client.stdout is not None
        ksmbd.wait_stats("sessions: 1")
        status, out, _ = outcome(control(ksmbd, "--close", "127.0.0.1"))
        assert (status, out) == (0, "closed: 1 session, 1 tree connect\n")
        client.stdin.write("ls\nquit\n")
        client.stdin.close()
        shown = client.stdout.read()
    assert "NT_STATUS_USER_SESSION_DELETED" in shown
    assert ksmbd.smbclient("ls").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be a stranger")
def test_a_stranger_closes_nothing(ksmbd: KsmbdServer, tmp_path: Path) -> None:
    reachable(tmp_path)
    with RawClient(ksmbd) as client:
        file = client.open("a")
        status, out, err = outcome(control(ksmbd, "--close", "share", user=65534))
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert "not allowed" in err
        assert read_status(client, file) in (0, s.STATUS_END_OF_FILE)
