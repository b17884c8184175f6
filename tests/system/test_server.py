# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as a whole: starts, serves smbclient, toggles, stops, leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import random
import select
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from server import KsmbdServer, StartKsmbd

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
def test_put_and_get(start_ksmbd: StartKsmbd, how: str) -> None:
    server = start_ksmbd(options={"server min protocol": "SMB2_02"})
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
    assert ksmbd.list_shares().returncode == 0, "which starts the RPC services"
    children = Path(f"/proc/{ksmbd.pid}/task/{ksmbd.pid}/children").read_text().split()
    forker, services = children
    workers = Path(f"/proc/{forker}/task/{forker}/children").read_text().split()
    titles = [Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ") for pid in (str(ksmbd.pid), forker, *workers)]
    assert titles == [b"ksmbd.mountd", b"ksmbd/0", b"ksmbd/1"]
    assert Path(f"/proc/{services}/cmdline").read_bytes().rstrip(b"\0 ") == b"ksmbd.rpc"
    with socket.create_connection(("127.0.0.1", ksmbd.port)) as sock:
        assert ksmbd.stop() == 0
        assert sock.recv(1) == b""
    assert not any(Path(f"/proc/{pid}").exists() for pid in (forker, services, *workers))
    assert list(ksmbd.rundir.iterdir()) == []


def test_a_stop_of_several_workers_leaves_nothing_in_the_run_directory(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(workers=2)
    assert (server.rundir / "opens").is_dir()
    assert server.stop() == 0
    assert list(server.rundir.iterdir()) == []


def test_kill_server_ends_it(ksmbd: KsmbdServer) -> None:
    ksmbd.control("kill_server").write_text("hard\n")
    assert ksmbd.wait() == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        b"\0\0\0\3abc",
        b"\0\xff\xff\xff\xfeSMB",
        b"\0\0\0\x40\xfeSMB" + bytes(60),
        b"\0\0\0\x40\xfdSMB" + bytes(60),
        b"\0\0\0\x40\xffSMB" + bytes(60),
        b"\0\0\0\x60" + random.Random(96).randbytes(96),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x81\0\0\x44" + bytes(68) + b"\0\0\0\x41",
    ],
)
def test_a_bad_frame_ends_that_connection_alone(ksmbd: KsmbdServer, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", ksmbd.port), timeout=20) as bad:
        bad.sendall(data)
        bad.shutdown(socket.SHUT_WR)
        while bad.recv(65536):
            pass  # an answer is allowed, but then comes the end
    assert ksmbd.smbclient("ls").returncode == 0


def test_clients_that_vanish_are_forgotten(ksmbd: KsmbdServer) -> None:
    """smbclient is killed in the middle of a put, ten times; then nothing is open and nobody is connected."""
    (ksmbd.folder / "big").write_bytes(bytes(64 << 20))
    login = f"{ksmbd.user}%{ksmbd.password}"
    command = ["smbclient", "//127.0.0.1/share", "-p", str(ksmbd.port), "-U", login, "-s", "/dev/null"]
    for index in range(10):
        target = ksmbd.share_path / f"copy{index}"
        child = subprocess.Popen([*command, "-c", f"put big copy{index}"], cwd=ksmbd.folder, stdout=subprocess.DEVNULL)
        while not (target.exists() and target.stat().st_size) and child.poll() is None:
            select.select([], [], [], 0.002)
        child.kill()
        child.wait()
    text = ksmbd.wait_stats("\nconnections: 0\n")
    assert "\nsessions: 0\n" in text and "\nopens: 0\n" in text
    assert ksmbd.smbclient("ls").returncode == 0


def test_a_hundred_connections_at_once(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"max ip connections": "200"})
    socks = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(100)]
    try:
        server.wait_stats("\nconnections: 100\n")
        assert server.smbclient("ls").returncode == 0
    finally:
        for sock in socks:
            sock.close()
    server.wait_stats("\nconnections: 0\n")


def test_several_workers_and_the_death_of_one(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(workers=2)
    (server.folder / "source").write_bytes(os.urandom(1_000_000))
    for index in range(6):
        result = server.smbclient(f"put source copy{index}; get copy{index} back{index}")
        assert result.returncode == 0, result.stdout + result.stderr
    workers = [worker["pid"] for worker in server.stats()["workers"]]
    os.kill(workers[0], signal.SIGKILL)
    server.wait_for("ksmbd/1 was ended by signal 9")
    server.wait_stats("ksmbd/1: pid [1-9]")
    for index in range(6):
        result = server.smbclient(f"get copy{index} again{index}")
        assert result.returncode == 0, result.stdout + result.stderr
    copies = [*server.folder.glob("back*"), *server.folder.glob("again*")]
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in copies}
    assert len(copies) == 12 and digests == {hashlib.sha256((server.folder / "source").read_bytes()).digest()}


def test_a_stop_in_the_middle_of_a_copy(ksmbd: KsmbdServer) -> None:
    (ksmbd.folder / "big").write_bytes(bytes(256 << 20))
    login = f"{ksmbd.user}%{ksmbd.password}"
    command = ["smbclient", "//127.0.0.1/share", "-p", str(ksmbd.port), "-U", login, "-s", "/dev/null"]
    child = subprocess.Popen([*command, "-c", "put big copy"], cwd=ksmbd.folder, stdout=subprocess.DEVNULL)
    target = ksmbd.share_path / "copy"
    while not (target.exists() and target.stat().st_size) and child.poll() is None:
        select.select([], [], [], 0.002)
    assert ksmbd.stop() == 0
    child.wait(timeout=60)


def test_a_killed_daemon_takes_the_engine_along_and_starts_again(ksmbd: KsmbdServer) -> None:
    worker = ksmbd.stats()["workers"][0]["pid"]
    forker = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    handles = [os.pidfd_open(pid) for pid in (forker, worker)]
    os.kill(ksmbd.pid, signal.SIGKILL)
    for handle in handles:
        assert select.select([handle], [], [], 20)[0]
        os.close(handle)
    assert ksmbd.wait() == -signal.SIGKILL
    ksmbd.restart()
    ksmbd.wait_until_listening()
    assert ksmbd.smbclient("ls").returncode == 0
