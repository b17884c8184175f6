# SPDX-License-Identifier: GPL-2.0-or-later
"""Users change their passwords over the network, and the Unix passwords with them, by PAM and pam_unix as they are."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sambas_clients import rpcclient, smbclient
from server import COMMANDS, KsmbdServer, StartKsmbd
from unixusers import People, people

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("smbpasswd") is None or shutil.which("rpcclient") is None,
    reason="needs root for users and a network with a port 445 of its own, smbpasswd and rpcclient",
)
FIRST = "First-Passw0rd"


@pytest.fixture(scope="module")
def them() -> Iterator[People]:
    """alice has a Unix password, bob has none."""
    with people() as found:
        subprocess.run(["chpasswd"], input=f"{found.alice}:{FIRST}\n", text=True, check=True, timeout=60)
        yield found


@pytest.fixture(scope="module")
def server(
    own_network: None, start_shared: StartKsmbd, them: People, tmp_path_factory: pytest.TempPathFactory
) -> KsmbdServer:
    script = tmp_path_factory.mktemp("script") / "map"
    script.write_text("#!/bin/sh\n[ $(id -un) = nobody ] && case $1 in Alice*) echo " + them.alice + ";; esac\n")
    for folder in (script, *script.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    script.chmod(0o755)
    return start_shared(
        port=445,
        options={"unix password sync": "yes", "pam password change": "yes", "username map script": str(script)},
        users={them.alice: FIRST, them.bob: FIRST, "games": FIRST},
    )


def shadow(name: str) -> str:
    line = next(line for line in Path("/etc/shadow").read_text().splitlines() if line.startswith(name + ":"))
    return line.split(":")[1]


def fits(name: str, password: str) -> bool:
    """Whether this is the Unix password."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    found = shadow(name)
    return bool(crypt(password.encode(), found.encode()) == found.encode())


def smbpasswd(name: str, old: str, new: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["smbpasswd", "-s", "-r", "127.0.0.1", "-U", name], input=f"{old}\n{new}\n{new}\n", capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def logs_on(name: str, password: str) -> bool:
    return smbclient("share", "ls", f"{name}%{password}").returncode == 0


def rpc(login: str, command: str) -> subprocess.CompletedProcess[str]:
    return rpcclient(command, "-U", login)


def test_smbpasswd_changes_both_passwords(server: KsmbdServer, them: People) -> None:
    assert fits(them.alice, FIRST)
    done = smbpasswd(them.alice, FIRST, "Zweites Paßwort")
    assert done.returncode == 0, done.stdout + done.stderr
    assert fits(them.alice, "Zweites Paßwort")
    assert logs_on(them.alice, "Zweites Paßwort")
    assert not logs_on(them.alice, FIRST)
    server.wait_for(f"user '{them.alice}' has changed the password from 127.0.0.1, the Unix password too")
    assert smbpasswd(them.alice, "Zweites Paßwort", FIRST).returncode == 0


def test_username_map_script_counts_for_log_ons_and_changes(server: KsmbdServer, them: People) -> None:
    assert logs_on("Alice Anders", FIRST)
    assert not logs_on("Bob Anders", FIRST)
    assert smbpasswd("Alice Anders", FIRST, "Other1").returncode == 0
    assert fits(them.alice, "Other1")
    assert smbpasswd("Alice Anders", "Other1", FIRST).returncode == 0


def test_rpcclient_changes_by_both_calls(server: KsmbdServer, them: People) -> None:
    for command, old, new in (("chgpasswd2", FIRST, "Other1"), ("chgpasswd3", "Other1", FIRST)):
        done = rpc(f"{them.alice}%{old}", f"{command} {them.alice} {old} {new}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert fits(them.alice, new)
        assert logs_on(them.alice, new)


def test_an_account_without_a_unix_password_gets_none(server: KsmbdServer, them: People) -> None:
    before = shadow(them.bob)
    assert before.startswith("!")
    assert smbpasswd(them.bob, FIRST, "Other1").returncode == 0
    assert logs_on(them.bob, "Other1")
    assert shadow(them.bob) == before
    server.wait_for(f"user '{them.bob}' has changed the password from 127.0.0.1; the Unix password stays: ")
    assert smbpasswd(them.bob, "Other1", FIRST).returncode == 0


def test_a_wrong_old_password_changes_nothing_and_is_told(server: KsmbdServer, them: People) -> None:
    before = server.pwddb.read_bytes()
    done = rpc(f"games%{FIRST}", f"chgpasswd2 {them.alice} wrong New1")
    assert "NT_STATUS_WRONG_PASSWORD" in done.stdout + done.stderr
    assert server.pwddb.read_bytes() == before
    assert fits(them.alice, FIRST)
    server.wait_for(rf'refused password change from 127.0.0.1: wrong password \(account="{them.alice}" by="RPC"\)')


def test_adduser_changes_the_unix_password(server: KsmbdServer, them: People) -> None:
    def update(name: str, password: str) -> str:
        files = (str(path) for path in (server.config, "-P", server.pwddb, "-R", server.rundir))
        line = [str(COMMANDS / "ksmbd.adduser"), "-u", "-C", *files, name]
        done = subprocess.run(line, input=password + "\n", capture_output=True, text=True, timeout=60, check=True)
        return done.stdout + done.stderr

    assert f"Unix password of {them.alice} changed" in update(them.alice, "By adduser")
    assert fits(them.alice, "By adduser")
    before = shadow(them.bob)
    assert f"the Unix password of {them.bob} stays" in update(them.bob, FIRST)
    assert shadow(them.bob) == before
    update(them.alice, FIRST)
