# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --close: sessions, files, shares and addresses of real clients, and what these see."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

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


def test_a_durable_open_of_a_client_that_is_gone(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"durable handles": "yes"})
    client = RawClient(server)
    body = bytearray(client.create_body("d", 0x12019F, c.FILE_OPEN_IF))
    context = b"\0\0\0\0" + b"\x10\0\x04\0\0\0\x18\0\x10\0\0\0" + b"DHnQ" + bytes(4) + bytes(16)
    body[3] = c.OPLOCK_LEVEL_BATCH
    padding = bytes(-len(body) % 8)
    body[48:56] = (64 + len(body) + len(padding)).to_bytes(4, "little") + len(context).to_bytes(4, "little")
    assert client.status(c.CREATE, bytes(body) + padding + context) == 0
    client.vanish()
    server.wait_stats("sessions: 0")
    [row] = listed(server)["files"]
    assert (row["session"], row["durable"], row["path"]) == ("", "durable", "d")
    assert "durable, disconnected" in control(server, "--files").stdout
    assert outcome(control(server, "--close", "share/d")) == (0, "closed: 1 file\n", "")
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
