# SPDX-License-Identifier: GPL-2.0-or-later
"""The same tests with either engine: our own, and the kernel's server that mountd drives. The kernel's needs a machine
with ksmbd.ko; our own is tried everywhere."""
from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))

from controlling import control, outcome
from engines import Start, engine, mount, no_share, refused, start
from guest import IN_GUEST
from server import COMMANDS, KsmbdServer
from test_cifs import missing

__all__ = ["engine", "start"]

MANY = [f"share with a long name {number}" for number in range(40)]


@pytest.fixture(scope="module")
def server(start: Start) -> Iterator[KsmbdServer]:
    shares: dict[str, dict[str, str]] = {
        "share": {"comment": "The first", "veto files": "/*.tmp/"},
        "public": {"guest ok": "yes", "hide unreadable": "yes"},
        "fixed": {"read only": "yes"},
        "others": {"valid users": "other"},
        "here": {"hosts allow": "127.0.0.1"},
        "elsewhere": {"hosts deny": "127.0.0.0/8"},
        "hidden": {"browseable": "no"},
        **{name: {} for name in MANY},
    }
    made = start(shares=shares, options={"map to guest": "bad user"})
    yield made
    assert not made.finish(), made.stderr


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_log_on(server: KsmbdServer) -> None:
    assert server.smbclient("ls").returncode == 0
    assert server.smbclient("ls", user="OTHER%hidden").returncode == 0
    assert refused(server.smbclient("ls", user="user%wrong"), "NT_STATUS_LOGON_FAILURE")
    assert refused(server.smbclient("ls", user="user%"), "NT_STATUS_LOGON_FAILURE")


def test_a_guest(server: KsmbdServer) -> None:
    assert server.smbclient("ls", share="public", user="stranger%x").returncode == 0
    assert refused(server.smbclient("ls", user="stranger%x"), "NT_STATUS_ACCESS_DENIED")


def test_who_may_connect(server: KsmbdServer) -> None:
    before = len(server.drain())
    assert refused(server.smbclient("ls", share="others"), "NT_STATUS_ACCESS_DENIED")
    server.wait_for(r"refused tree connect from 127.0.0.1.*others", after=before)
    assert server.smbclient("ls", share="others", user="other%hidden").returncode == 0
    assert server.smbclient("ls", share="here").returncode == 0
    assert refused(server.smbclient("ls", share="elsewhere"), "NT_STATUS_ACCESS_DENIED")
    assert no_share(server.smbclient("ls", share="missing"))


def test_read_only(server: KsmbdServer, tmp_path: Path) -> None:
    (server.shares["fixed"] / "file").write_text("there")
    result = server.smbclient(f"get file {tmp_path}/got", share="fixed")
    assert result.returncode == 0 and (tmp_path / "got").read_text() == "there"
    assert "NT_STATUS_ACCESS_DENIED" in server.smbclient(f"put {tmp_path}/got new", share="fixed").stdout
    assert not (server.shares["fixed"] / "new").exists()


def test_what_is_put_is_what_is_got(server: KsmbdServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(3_000_001))
    commands = f"mkdir d; cd d; put {tmp_path}/data a; rename a b; get b {tmp_path}/back; ls"
    result = server.smbclient(commands)
    assert result.returncode == 0, result.stdout
    assert digest(tmp_path / "data") == digest(server.share_path / "d" / "b") == digest(tmp_path / "back")
    assert server.smbclient("deltree d").returncode == 0 and not (server.share_path / "d").exists()


def test_vetoed_names(server: KsmbdServer, tmp_path: Path) -> None:
    (server.share_path / "hidden.tmp").write_text("x")
    (server.share_path / "seen.txt").write_text("x")
    listed = server.smbclient("ls").stdout
    assert "seen.txt" in listed and "hidden.tmp" not in listed


@pytest.mark.parametrize("login", ["user%secret", "stranger%x", "%"])
def test_the_list_of_shares(server: KsmbdServer, login: str) -> None:
    result = server.list_shares(user=login)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert "Disk|share|The first" in lines and "IPC|IPC$|IPC share" in lines
    names = [line.split("|")[1] for line in lines if line.startswith("Disk|")]
    assert set(MANY) < set(names) and "hidden" not in names


def rpcclient(server: KsmbdServer, commands: str, login: str = "user%secret") -> str:
    line = ["rpcclient", "-p", str(server.port), "-U", login, "-s", "/dev/null", "127.0.0.1", "-c", commands]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_remote_procedure_calls(server: KsmbdServer) -> None:
    assert rpcclient(server, "netshareenum 1").count("netname:") == len(server.shares) - 1 + 1
    assert f"path:\tC:{server.share_path}".replace("/", "\\") in rpcclient(server, "netsharegetinfo share 2")
    assert "Wk Sv" in rpcclient(server, "srvinfo")
    assert "S-1-1-0" in rpcclient(server, "lookupnames Everyone")
    assert "Everyone" in rpcclient(server, "lookupsids S-1-1-0")


def test_debugging(server: KsmbdServer) -> None:
    assert outcome(control(server, "-d", "conn")) == (0, "smb auth vfs oplock ipc [conn] rdma\n", "")
    assert outcome(control(server, "-d", "conn")) == (0, "smb auth vfs oplock ipc conn rdma\n", "")
    assert control(server, "-d", "nonsense").returncode == 1


def test_who_is_connected(server: KsmbdServer, tmp_path: Path) -> None:
    command = [str(COMMANDS / "ksmbd.control"), "-R", str(server.rundir), "--status", "--json"]
    line = ["smbclient", "//127.0.0.1/share", "-p", str(server.port), "-U", "user%secret", "-s", "/dev/null"]
    entered = f"ls\n!{shlex.join(command)} > {tmp_path}/status\n"
    result = subprocess.run(line, input=entered, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout
    found = json.loads((tmp_path / "status").read_text())
    assert [(row["account"], row["address"]) for row in found["sessions"]] == [("user", "127.0.0.1")]
    assert "share" in [row["share"] for row in found["tree_connects"]]


@pytest.fixture
def mounted(server: KsmbdServer, tmp_path: Path) -> Iterator[Path]:
    if not IN_GUEST or (lack := missing()):
        pytest.skip("needs a machine with cifs.ko" if not IN_GUEST else f"needs {lack}")
    yield mount(server, tmp_path / "mounted")
    subprocess.run(["umount", "-l", str(tmp_path / "mounted")], check=False)


def test_the_kernels_client(server: KsmbdServer, mounted: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(2_000_003))
    subprocess.run(["cp", str(tmp_path / "data"), str(mounted / "by the kernel")], check=True)
    assert digest(mounted / "by the kernel") == digest(server.share_path / "by the kernel") == digest(tmp_path / "data")
    (mounted / "folder").mkdir()
    os.rename(mounted / "by the kernel", mounted / "folder" / "renamed")
    with (mounted / "folder" / "renamed").open("r+b") as stream:
        stream.truncate(1000)
    assert (server.share_path / "folder" / "renamed").stat().st_size == 1000
    subprocess.run(["rm", "-r", str(mounted / "folder")], check=True)
    assert not (server.share_path / "folder").exists()


def test_what_the_engine_does_not_know_is_named(server: KsmbdServer, engine: str) -> None:
    named = "the kernel's server does not know these, and access or data may differ by it: hide unreadable [public]"
    assert (named in server.drain()) == (engine == "kernel")
