# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-ons with Kerberos, against a real KDC: smbclient with a ticket, whose the user is, and what is refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from realm import HOST, Realm, realm_below
from server import KsmbdServer, StartKsmbd


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with realm_below(tmp_path_factory.mktemp("realm") / "kdc") as realm:
        realm.add("alice", "alice's")
        realm.add("stranger", "stranger's")
        yield realm


@pytest.fixture(scope="module")
def server(realm: Realm, start_shared: StartKsmbd) -> KsmbdServer:
    server = start_shared(
        users={"alice": "by NTLM"}, environment=realm.environment,
        options={"kerberos support": "yes", "kerberos keytab file": str(realm.keytab)},
    )  # fmt: skip
    assert f"Kerberos: cifs/{HOST}@{realm.name} of FILE:{realm.keytab}" in server.drain()
    (server.share_path / "file").write_text("what a ticket is for")
    return server


def smbclient(
    server: KsmbdServer, environment: dict[str, str], commands: str = "get file -", *options: str, host: str = HOST
) -> subprocess.CompletedProcess[str]:
    """smbclient with a ticket and nothing else."""
    command = ["smbclient", f"//{host}/share", "-I", "127.0.0.1", "-p", str(server.port), "-s", "/dev/null"]
    return subprocess.run(
        [*command, "--use-kerberos=required", *options, "-c", commands], env={**os.environ, **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, cwd=server.folder,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options", [(), ("-m", "SMB2_02"), ("--client-protection=encrypt",), ("--client-protection=sign",)]
)
def test_a_ticket_reads_a_file(realm: Realm, server: KsmbdServer, options: tuple[str, ...]) -> None:
    done = smbclient(server, realm.log_in("alice", "alice's"), "get file -", *options)
    assert done.returncode == 0 and "what a ticket is for" in done.stdout, done.stdout + done.stderr


def test_ntlm_is_there_beside_it(server: KsmbdServer) -> None:
    assert server.smbclient("get file -").returncode == 0


def test_the_feature_is_told(server: KsmbdServer) -> None:
    assert "kerberos on " in server.command_output("ksmbd.control", "--features", "-R", str(server.rundir))


def test_who_is_no_user_of_the_server_is_refused_and_told(realm: Realm, server: KsmbdServer) -> None:
    before = len(server.drain())
    done = smbclient(server, realm.log_in("stranger", "stranger's"))
    assert "NT_STATUS_LOGON_FAILURE" in done.stdout + done.stderr
    server.wait_for(
        r"refused log-on from 127\.0\.0\.1: no Unix account of that name, .*account=\"stranger@KSMBD\.TEST\"",
        after=before,
    )  # fmt: skip


def test_without_a_keytab_the_server_runs_and_says_why(realm: Realm, start_ksmbd: StartKsmbd, tmp_path: Path) -> None:
    server = start_ksmbd(
        environment=realm.environment,
        options={"kerberos support": "yes", "kerberos keytab file": str(tmp_path / "none")},
    )  # fmt: skip
    assert server.smbclient("ls").returncode == 0
    assert "ksmbd: error: Kerberos: Key table file" in server.drain()
    assert "kerberos off " in server.command_output("ksmbd.control", "--features", "-R", str(server.rundir))
