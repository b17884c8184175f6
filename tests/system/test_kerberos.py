# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-ons with Kerberos, against a real KDC: smbclient with a ticket, whose the user is, and what is refused."""

from __future__ import annotations

import io
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from impacket.smb3structs import SMB2_DIALECT_002, SMB2_DIALECT_21, SMB2_DIALECT_30, SMB2_DIALECT_311
from impacket.smbconnection import SMBConnection
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


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace for the server's name needs root")
@pytest.mark.parametrize(("dialect", "protocol", "protection"), [
    ("SMB_3_1_1", "negotiate", "encrypt"), ("SMB_3_1_1", "kerberos", "sign"), ("SMB_3_0_2", "negotiate", "encrypt"),
    ("SMB_2_0_2", "kerberos", "sign"),
])  # fmt: skip
def test_smbprotocol_reads_with_a_ticket(
    realm: Realm, server: KsmbdServer, dialect: str, protocol: str, protection: str
) -> None:
    program = [sys.executable, str(Path(__file__).with_name("kerberos_client.py")), HOST, str(server.port), "share"]
    command = realm.knowing_the_host(*program, "file", dialect, protocol, protection)
    assert realm.run(*command, environment=realm.log_in("alice", "alice's")) == "what a ticket is for"


def test_mit_s_library_accepts_our_proof_of_the_list_and_we_its(realm: Realm, server: KsmbdServer) -> None:
    program = str(Path(__file__).with_name("reselected_client.py"))
    environment = realm.log_in("alice", "alice's")
    printed = realm.run(sys.executable, program, HOST, str(server.port), environment=environment)
    assert printed.split() == ["0xc0000016", "0xc0000016", "0x0"]


@pytest.mark.parametrize("dialect", [SMB2_DIALECT_002, SMB2_DIALECT_21, SMB2_DIALECT_30, SMB2_DIALECT_311])
def test_impacket_reads_with_a_ticket(
    realm: Realm, server: KsmbdServer, monkeypatch: pytest.MonkeyPatch, dialect: int
) -> None:
    """Its authenticator has no checksum of RFC 4121 and no subkey."""
    cache = realm.log_in("alice", "alice's", cache=f"impacket{dialect}")
    realm.run("kvno", f"cifs/{HOST}", environment=cache)
    monkeypatch.setenv("KRB5CCNAME", cache["KRB5CCNAME"].removeprefix("FILE:"))
    connection = SMBConnection(HOST, "127.0.0.1", sess_port=server.port, timeout=20, preferredDialect=dialect)
    connection.kerberosLogin("alice", "", realm.name)
    data = io.BytesIO()
    connection.getFile("share", "file", data.write)
    assert data.getvalue() == b"what a ticket is for"
    connection.close()


def test_ntlm_is_there_beside_it(server: KsmbdServer) -> None:
    assert server.smbclient("get file -").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the process keeps its user")
def test_the_process_that_has_the_keys_has_nothing_else(server: KsmbdServer) -> None:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    (pid,) = [pid for pid in children if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ksmbd.kerberos")]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert set(status["Uid"].split()) == {str(pwd.getpwnam("nobody").pw_uid)} and not status["Groups"].strip()
    assert status["CapEff"] == status["CapBnd"] == "0" * 16
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert os.readlink(f"/proc/{pid}/root") == str(server.rundir / "kerberos")
    assert os.listdir(f"/proc/{pid}/root") == ["krb5.conf"]
    assert os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino
    kept = {os.readlink(f"/proc/{pid}/fd/{number}").split(":")[0] for number in os.listdir(f"/proc/{pid}/fd")}
    assert kept <= {"/dev/null", "pipe", "socket", str(server.rundir / "state" / "kerberos.replays")}


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


def test_a_changed_keytab_counts_at_the_next_log_on(realm: Realm, start_ksmbd: StartKsmbd, tmp_path: Path) -> None:
    """Also where it was broken in between."""
    keytab = tmp_path / "keytab"
    keytab.write_bytes(realm.keytab.read_bytes())
    other = f"renewed.{HOST}"
    server = start_ksmbd(
        users={"alice": "by NTLM"}, environment=realm.environment,
        options={"kerberos support": "yes", "kerberos keytab file": str(keytab)},
    )  # fmt: skip
    (server.share_path / "file").write_text("for two keys")
    environment = realm.log_in("alice", "alice's", cache="renewed")
    realm.add(f"cifs/{other}", keytab=keytab)
    done = smbclient(server, environment, host=other)
    assert done.returncode == 0 and "for two keys" in done.stdout, done.stdout + done.stderr
    whole = keytab.read_bytes()
    keytab.write_bytes(whole[:40])
    assert smbclient(server, environment).returncode == 1
    before = len(server.drain())
    keytab.write_bytes(whole)
    server.wait_for(f"Kerberos: .*{other}", after=before)
    assert smbclient(server, environment).returncode == 0


def test_a_reload_reads_the_keytab_again(realm: Realm, start_ksmbd: StartKsmbd, tmp_path: Path) -> None:
    keytab = tmp_path / "keytab"
    keytab.write_bytes(b"")
    keytab.write_bytes(realm.keytab.read_bytes())
    other = f"cifs/other.{HOST}"
    server = start_ksmbd(
        users={"alice": "by NTLM"}, environment=realm.environment,
        options={"kerberos method": "dedicated keytab", "kerberos keytab file": str(keytab)},
    )  # fmt: skip
    (server.share_path / "file").write_text("for two names")
    environment = realm.log_in("alice", "alice's", cache="reload")
    realm.add(other, keytab=keytab)
    before = len(server.drain())
    server.command_output("ksmbd.control", "-r", "-R", str(server.rundir))
    server.wait_for(f"Kerberos: .*{other}", after=before)
    for host in (HOST, f"other.{HOST}"):
        done = smbclient(server, environment, host=host)
        assert done.returncode == 0 and "for two names" in done.stdout, done.stdout + done.stderr
    assert list((server.rundir / "kerberos").iterdir()) != []
    server.stop()
    assert not (server.rundir / "kerberos").exists()


def test_without_a_keytab_the_server_runs_and_says_why(realm: Realm, start_ksmbd: StartKsmbd, tmp_path: Path) -> None:
    server = start_ksmbd(
        environment=realm.environment,
        options={"kerberos support": "yes", "kerberos keytab file": str(tmp_path / "none")},
    )  # fmt: skip
    assert server.smbclient("ls").returncode == 0
    assert "ksmbd: error: Kerberos: Key table file" in server.drain()
    assert "kerberos off " in server.command_output("ksmbd.control", "--features", "-R", str(server.rundir))
