# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares that an administrator adds, restricts and deletes over RPC, and what clients may do on them from then on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sambas_clients
from controlling import reachable
from impacket.dcerpc.v5 import srvs, transport
from impacket.dcerpc.v5.dtypes import NULL
from rawclient import RawClient
from sambas_clients import net_rpc
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.acl import ACCESS_ALLOWED, ACCESS_DENIED, Ace, Acl
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE, UNIX_USERS

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("smbclient") is None or shutil.which("net") is None,
    reason="needs root for a network with a port 445 of its own, smbclient and net",
)
ADMINISTRATOR, USER = "games", "daemon"
"""Unix accounts of every Debian."""
USER_SID = UNIX_USERS.child(1)


@pytest.fixture(scope="module")
def server(own_network: None, start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(
        port=445, shares={"share": {}, "IPC$": {"admin users": ADMINISTRATOR}},
        users={ADMINISTRATOR: "secret", USER: "secret", "user": "secret"},
    )


def smbclient(share: str, command: str, user: str = USER) -> subprocess.CompletedProcess[str]:
    return sambas_clients.smbclient(share, command, f"{user}%secret")


def net(*words: str, user: str = ADMINISTRATOR) -> subprocess.CompletedProcess[str]:
    return net_rpc(f"{user}%secret", "share", *words)


def restrict(share: str, *aces: Ace) -> None:
    """NetrShareSetInfo at level 502 with a descriptor."""
    pipe = transport.SMBTransport("127.0.0.1", 445, r"\srvsvc", ADMINISTRATOR, "secret")
    dce: Any = pipe.get_dce_rpc()
    dce.connect()
    dce.bind(srvs.MSRPC_UUID_SRVS)
    data = SecurityDescriptor(SE_DACL_PRESENT | SE_SELF_RELATIVE, dacl=Acl(aces)).encode()
    info = srvs.SHARE_INFO_502()
    for name, value in {
        "netname": f"{share}\0", "type": 0, "remark": NULL, "permissions": 0, "max_uses": 0xFFFFFFFF, "current_uses": 0,
        "path": NULL, "passwd": NULL, "reserved": len(data), "security_descriptor": list(data),
    }.items():  # fmt: skip
        info[f"shi502_{name}"] = value
    srvs.hNetrShareSetInfo(dce, f"{share}\0", 502, info)
    dce.disconnect()


def allow(mask: int) -> Ace:
    return Ace(ACCESS_ALLOWED, 0, mask, EVERYONE)


def test_a_share_comes_and_goes(server: KsmbdServer, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    reachable(tmp_path)
    path = "C:" + str(tmp_path).replace("/", "\\")
    refused = net("add", f"late={path}", user=USER)
    assert refused.returncode != 0
    assert "late" not in net("list").stdout
    added = net("add", f"late={path}", "-C", "made over RPC")
    assert added.returncode == 0, added.stdout + added.stderr
    assert re.search(r"\[late\]\n\tpath = ", (server.folder / "ksmbd.conf").read_text())
    assert net("add", f"late={path}").returncode != 0, "there is one already"
    assert smbclient("late", "mkdir made").returncode == 0
    assert (tmp_path / "made").is_dir()
    with RawClient(server, user=USER, share="late") as client:
        client.open("held")
        deleted = net("delete", "late")
        assert deleted.returncode == 0, deleted.stdout + deleted.stderr
        answer = client.status(c.CREATE, client.create_body("other", 0x12019F, c.FILE_OPEN_IF))
        assert answer == s.STATUS_NETWORK_NAME_DELETED
    assert "NT_STATUS_BAD_NETWORK_NAME" in smbclient("late", "ls").stdout
    assert "late" not in (server.folder / "ksmbd.conf").read_text()


def test_a_descriptor_is_obeyed(server: KsmbdServer) -> None:
    server.share_path.chmod(0o777)
    (server.share_path / "theirs").write_text("x")
    os.chown(server.share_path / "theirs", 1, 1)
    try:
        restrict("share", Ace(ACCESS_DENIED, 0, c.FILE_ALL_ACCESS, USER_SID), allow(c.FILE_ALL_ACCESS))
        assert "NT_STATUS_ACCESS_DENIED" in smbclient("share", "ls").stdout
        assert smbclient("share", "ls", user="user").returncode == 0
        server.stop()
        server.restart()
        server.wait_until_listening()
        assert "NT_STATUS_ACCESS_DENIED" in smbclient("share", "ls").stdout, "it outlives the server"
        restrict("share", allow(c.FILE_GENERIC_READ | c.FILE_GENERIC_EXECUTE))
        assert smbclient("share", "ls").returncode == 0
        refused = smbclient("share", "mkdir unwanted").stdout
        assert "NT_STATUS_ACCESS_DENIED" in refused or "NT_STATUS_MEDIA_WRITE_PROTECTED" in refused
        restrict("share", allow(c.FILE_ALL_ACCESS & ~(c.WRITE_DAC | c.WRITE_OWNER)))
        with RawClient(server, user=USER) as client:
            for access, status in ((c.WRITE_DAC, s.STATUS_ACCESS_DENIED), (c.FILE_WRITE_DATA, s.STATUS_SUCCESS)):
                assert client.status(c.CREATE, client.create_body("theirs", access, c.FILE_OPEN)) == status
            restrict("share", allow(c.FILE_GENERIC_READ))
            answer = client.status(c.CREATE, client.create_body("theirs", c.FILE_WRITE_DATA, c.FILE_OPEN))
            assert answer == s.STATUS_ACCESS_DENIED, "for those who are connected, too"
    finally:
        restrict("share", allow(c.FILE_ALL_ACCESS))
