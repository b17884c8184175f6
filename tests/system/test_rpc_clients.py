# SPDX-License-Identifier: GPL-2.0-or-later
"""What administrators and Windows' dialogues ask over named pipes: rpcclient, `net rpc`, smbcacls and impacket's
scripts, against a running server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sambas_clients
from rawclient import RawClient
from sambas_clients import net_rpc
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("rpcclient") is None or shutil.which("net") is None,
    reason="needs root for a network with a port 445 of its own, rpcclient and net",
)
ACCOUNT = "daemon"
"""A Unix account of every Debian."""
LOGIN = ("-U", f"{ACCOUNT}%secret")
FORMER = "S-1-5-21-10-20-30"
"""The domain of a server from which users have moved."""
ADMINISTRATOR = "games"
"""Another one, whom IPC$ names in `admin users`."""
SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def server(own_network: None, start_shared: StartKsmbd) -> KsmbdServer:
    made = start_shared(
        port=445, options={"netbios name": "TESTBOX", "workgroup": "WOOD", "map to guest": "bad user"},
        shares={
            "share": {}, "other": {"comment": "another one", "vfs objects": "acl_xattr"},
            "IPC$": {"admin users": ADMINISTRATOR},
        },
        users={ACCOUNT: "secret", "user": "secret", ADMINISTRATOR: "secret"},
    )
    assert made.stop() == 0
    (made.folder / "ksmbd.sidhistory").write_text(f"{ACCOUNT} {FORMER}-3004 {FORMER}-513\n")
    made.restart()
    made.wait_until_listening()
    return made


def rpcclient(server: KsmbdServer, command: str, *arguments: str) -> str:
    """What it prints; it must end with 0."""
    login = arguments or LOGIN
    result = sambas_clients.rpcclient(command, *login)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


def net(server: KsmbdServer, *words: str, user: str = ACCOUNT) -> str:
    result = net_rpc(f"{user}%secret", *words)
    assert result.returncode == 0, f"{words}: {result.stdout}{result.stderr}"
    return result.stdout


@pytest.mark.parametrize("command, pattern", [
    ("srvinfo", r"TESTBOX"),
    ("netshareenumall", r"(?s)netname: other.*another one.*netname: share"),
    ("netsharegetinfo share", r"netname: share"),
    ("netremotetod", r""),
    ("netnamevalidate share 9", r""),
    ("netdiskenum", r""),
    ("wkssvc_wkstagetinfo", r""),
    ("enumdomains", r"(?s)name:\[TESTBOX\].*name:\[BUILTIN\]"),
    ("enumdomusers", rf"user:\[{ACCOUNT}\] rid:\[0x3ea\]\n"),
    ("enumdomgroups", r"group:\[None\] rid:\[0x201\]"),
    ("enumalsgroups builtin", r"(?s)Administrators.*Users.*Guests"),
    ("querydominfo", r"(?s)Domain:\s+TESTBOX.*Total Users:\s+2\b"),
    ("querydispinfo", rf"Account: {ACCOUNT}\b"),
    (f"queryuser {ACCOUNT}", rf"User Name\s+:\s+{ACCOUNT}\n"),
    ("querygroupmem 0x201", r"rid:\[0x3ea\] attr:\[0x7\]"),
    ("queryaliasmem builtin 544", r"sid:\[S-1-5-21-[-0-9]+-1000\]"),
    ("lsaquery", r"Domain Name: WOOD\n"),
    ("lsaenumsid", r"S-1-5-32-544"),
    (f"lookupnames {ACCOUNT} TESTBOX\\\\root Everyone", r"(?s)-1002 \(User: 1\).*-1000 \(User: 1\).*S-1-1-0 \(Well"),
    ("lookupsids S-1-1-0 S-1-5-32-544 S-1-22-2-0", r"(?s)\\Everyone.*BUILTIN\\Administrators.*Unix Group\\root"),
    ("enumprivs", r"SeBackupPrivilege"),
    ("getusername", rf"Account Name: {ACCOUNT}, Authority Name: TESTBOX"),
    ("dsroledominfo", r"Machine Role = \[2\]"),
])  # fmt: skip
def test_rpcclient(server: KsmbdServer, command: str, pattern: str) -> None:
    assert re.search(pattern, rpcclient(server, command))


@pytest.mark.parametrize("command", ["enumdomusers", "lsaquery", f"lookupnames {ACCOUNT}", "lookupsids S-1-22-1-0"])
def test_a_guest_learns_no_names(server: KsmbdServer, command: str) -> None:
    result = sambas_clients.rpcclient(command, "-U", "stranger%x")
    assert result.returncode != 0
    assert "NT_STATUS_ACCESS_DENIED" in result.stdout + result.stderr
    assert ACCOUNT not in result.stdout.replace(command, "")


@pytest.mark.parametrize("protection", [
    "connect", "sign", "seal", "spnego,connect", "spnego,sign", "spnego,seal", "ntlm,sign", "ntlm,seal", "packet",
])  # fmt: skip
def test_rpcclient_with_a_log_on_inside(server: KsmbdServer, protection: str) -> None:
    binding = f"ncacn_np:127.0.0.1[{protection}]"
    for command, pattern in (("netshareenumall; enumdomusers; srvinfo", r"(?s)netname: other.*TESTBOX"),
                             ("enumdomusers; lsaquery", rf"(?s)user:\[{ACCOUNT}\].*WOOD")):
        result = sambas_clients.rpcclient(command, *LOGIN, binding=binding)
        assert result.returncode == 0, result.stdout + result.stderr
        assert re.search(pattern, result.stdout)


@pytest.mark.parametrize("command", [
    "createdomuser new", f"deletedomuser {ACCOUNT}", "createdomgroup new", "createdomalias new",
    "lsaaddacctrights S-1-5-32-544 SeBackupPrivilege",
])  # fmt: skip
def test_changes_of_accounts_are_refused(server: KsmbdServer, command: str) -> None:
    line = ["rpcclient", "-s", "/dev/null", "-U", f"{ACCOUNT}%secret", "127.0.0.1", "-c", command]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert "NT_STATUS_ACCESS_DENIED" in result.stdout + result.stderr


def test_accounts_with_rights(server: KsmbdServer) -> None:
    assert re.search(r"found \d+ privileges for SID", rpcclient(server, "lsaenumprivsaccount S-1-5-32-544"))


def test_net_rpc(server: KsmbdServer) -> None:
    assert {"share", "other"} <= set(net(server, "share", "list").split())
    assert net(server, "user").split() == [ACCOUNT, ADMINISTRATOR]
    assert re.search(r"Domain Name: TESTBOX\n", net(server, "info"))


@pytest.mark.parametrize("command", ["enumprinters", "fetch_attributes share /"])
def test_services_that_are_none(server: KsmbdServer, command: str) -> None:
    """Their pipes do not exist: printers, Spotlight (mdssvc)."""
    result = sambas_clients.rpcclient(command, *LOGIN)
    assert result.returncode != 0
    assert "NT_STATUS_OBJECT_NAME_NOT_FOUND" in result.stdout + result.stderr


def test_the_registry_has_a_few_keys(server: KsmbdServer) -> None:
    path = r"HKLM\SYSTEM\CurrentControlSet\Control"
    assert "ProductOptions" in net(server, "registry", "enumerate", path)
    assert "ServerNT" in net(server, "registry", "enumerate", path + r"\ProductOptions")
    assert "ServerNT" in net(server, "registry", "getvalue", path + r"\ProductOptions", "ProductType")


def test_the_service_control_manager_is_refused(server: KsmbdServer) -> None:
    result = net_rpc(f"{ACCOUNT}%secret", "service", "list")
    assert result.returncode != 0
    assert "NT_STATUS_OBJECT_NAME_NOT_FOUND" in result.stdout + result.stderr


def test_smbcacls_shows_names(server: KsmbdServer) -> None:
    path = server.share_path / "named"
    path.write_text("x")
    os.chown(path, 1, 0)
    line = ["smbcacls", "-s", "/dev/null", "-U", f"{ACCOUNT}%secret", "//127.0.0.1/share", "named"]
    shown = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"OWNER:TESTBOX\\{ACCOUNT}\n" in shown
    assert "GROUP:Unix Group\\root\n" in shown
    added = f"ACL:TESTBOX\\{ACCOUNT}:ALLOWED/0x0/FULL"
    subprocess.run([*line, "-a", added], check=True, capture_output=True, timeout=60)
    again = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout
    assert added in again


def test_smbcacls_shows_names_for_the_sids_of_a_former_server(server: KsmbdServer) -> None:
    path = server.shares["other"] / "moved"
    path.write_text("x")
    os.chown(path, 1, 0)
    line = ["smbcacls", "-s", "/dev/null", "-U", f"{ACCOUNT}%secret", "//127.0.0.1/other", "moved"]
    for rid in (3004, 513, 3005):
        added = f"ACL:{FORMER}-{rid}:ALLOWED/0x0/READ"
        subprocess.run([*line, "-a", added], check=True, capture_output=True, timeout=60)
    shown = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"ACL:TESTBOX\\{ACCOUNT}:ALLOWED/0x0/READ\n" in shown
    assert "ACL:TESTBOX\\None:ALLOWED/0x0/READ\n" in shown
    assert f"ACL:{FORMER}-3005:ALLOWED/0x0/READ\n" in shown, "whom nobody knows keeps the SID"


@pytest.mark.parametrize("script, arguments, pattern", [
    ("samrdump.py", (), rf"Found user: {ACCOUNT}, uid = 1002"),
    ("lookupsid.py", ("1999",), rf"1002: TESTBOX\\{ACCOUNT} \(SidTypeUser\)"),
])  # fmt: skip
def test_impacket_s_scripts(server: KsmbdServer, script: str, arguments: tuple[str, ...], pattern: str) -> None:
    line = [sys.executable, str(SCRIPTS / script), f"{ACCOUNT}:secret@127.0.0.1", *arguments]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=server.folder)
    assert re.search(pattern, result.stdout), result.stdout + result.stderr


# ------------------------------------------------------------------------------------------------ administrators


def test_an_administrator_lists_and_closes(server: KsmbdServer) -> None:
    login = ("-U", f"{ADMINISTRATOR}%secret")
    with RawClient(server, user="user") as client:
        file = client.open("held")
        shown = net(server, "file", user=ADMINISTRATOR)
        path = str(server.share_path / "held").replace("/", "\\")
        [number] = re.findall(rf"(\d+)\s+user\s+0x\w+\s+0\s+C:{re.escape(path)}\n", shown)
        assert path in net(server, "file", "user", "user", user=ADMINISTRATOR)
        assert "held" in rpcclient(server, "netfileenum", *login)
        assert "Received 2 entries" in rpcclient(server, "netsessenum", *login)
        rpcclient(server, "netconnenum share", *login)  # it prints nothing
        net(server, "file", "close", number, user=ADMINISTRATOR)
        assert client.status(c.READ, client.read_body(file, 0, 4)) == s.STATUS_FILE_CLOSED
        rpcclient(server, "netsessdel 127.0.0.1 user", *login)
        assert client.status(c.READ, client.read_body(file, 0, 4)) == s.STATUS_USER_SESSION_DELETED


@pytest.mark.parametrize("command", ["netfileenum", "netsessenum", "netsessdel 127.0.0.1 user", "netconnenum share"])
def test_others_neither_list_nor_close(server: KsmbdServer, command: str) -> None:
    result = sambas_clients.rpcclient(command, *LOGIN)
    assert result.returncode != 0
    assert "WERR_ACCESS_DENIED" in result.stdout + result.stderr
