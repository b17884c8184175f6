# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as a whole: starts, serves smbclient, toggles, stops, leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from server import KsmbdServer

pytestmark = pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")

PROTECTIONS = {
    "SMB2_02": ["-m", "SMB2_02"],
    "SMB2_10": ["-m", "SMB2_10"],
    "SMB3_00": ["-m", "SMB3_00"],
    "SMB3_02": ["-m", "SMB3_02"],
    "SMB3_11": ["-m", "SMB3_11"],
    "sign": ["-m", "SMB3_11", "--client-protection=sign"],
    "encrypt": ["-m", "SMB3_11", "--client-protection=encrypt"],
    "encrypt 3.0": ["-m", "SMB3_00", "--client-protection=encrypt"],
}


@pytest.mark.parametrize("how", PROTECTIONS)
def test_put_and_get(start_ksmbd, how: str) -> None:  # type: ignore[no-untyped-def]
    server: KsmbdServer = start_ksmbd(options={"server min protocol": "SMB2_02"})
    source = server.folder / "source"
    source.write_bytes(os.urandom(3_000_001))
    result = server.smbclient("put source copy; get copy back; ls; del copy", *PROTECTIONS[how])
    assert result.returncode == 0, result.stdout + result.stderr
    digests = {hashlib.sha256((server.folder / name).read_bytes()).digest() for name in ("source", "back")}
    assert len(digests) == 1
    assert "3000001" in result.stdout
    assert list(server.share_path.iterdir()) == []


def test_shares_are_listed(ksmbd: KsmbdServer) -> None:
    login = f"{ksmbd.user}%{ksmbd.password}"
    command = ["smbclient", "-L", "127.0.0.1", "-p", str(ksmbd.port), "-U", login, "-s", "/dev/null", "-g"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Disk|share|" in result.stdout, result.stdout + result.stderr


def test_wrong_password_and_unknown_share(ksmbd: KsmbdServer) -> None:
    assert "NT_STATUS_LOGON_FAILURE" in ksmbd.smbclient("ls", user=f"{ksmbd.user}%wrong").stdout
    assert "NT_STATUS_BAD_NETWORK_NAME" in ksmbd.smbclient("ls", share="nothing").stdout
    assert ksmbd.smbclient("ls").returncode == 0


def test_debug_reaches_the_worker(ksmbd: KsmbdServer) -> None:
    files = ["-R", str(ksmbd.rundir)]
    assert ksmbd.command_output("ksmbd.control", *files, "-d", "conn").strip() == "smb auth vfs oplock ipc [conn] rdma"
    assert ksmbd.smbclient("ls").returncode == 0
    ksmbd.wait_for(r"conn: ksmbd/1\[\d+\]: 127.0.0.1: connected")
    assert ksmbd.command_output("ksmbd.control", *files, "-d", "conn").strip() == "smb auth vfs oplock ipc conn rdma"


def test_titles_and_a_clean_stop(ksmbd: KsmbdServer) -> None:
    children = Path(f"/proc/{ksmbd.pid}/task/{ksmbd.pid}/children").read_text().split()
    assert len(children) == 1
    forker = children[0]
    workers = Path(f"/proc/{forker}/task/{forker}/children").read_text().split()
    titles = [Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ") for pid in (str(ksmbd.pid), forker, *workers)]
    assert titles == [b"ksmbd.mountd", b"ksmbd/0", b"ksmbd/1"]
    with socket.create_connection(("127.0.0.1", ksmbd.port)) as sock:
        assert ksmbd.stop() == 0
        assert sock.recv(1) == b""
    assert not any(Path(f"/proc/{pid}").exists() for pid in (forker, *workers))
    assert not ksmbd.control("debug").exists()


def test_kill_server_ends_it(ksmbd: KsmbdServer) -> None:
    ksmbd.control("kill_server").write_text("hard\n")
    assert ksmbd.wait() == 0
