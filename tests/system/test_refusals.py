# SPDX-License-Identifier: GPL-2.0-or-later
"""An administrator sees who is refused, and why: real clients, one line each; fail2ban's filter finds the log-ons."""
from __future__ import annotations

from pathlib import Path

import pytest
from fail2ban import found_by_fail2ban
from impacket.dcerpc.v5 import rpcrt, srvs
from impacket.dcerpc.v5.transport import SMBTransport
from server import KsmbdServer, StartKsmbd

ADDRESS = r"127\.0\.0\.1"


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(
        options={"server min protocol": "SMB2_10"},
        shares={
            "share": {},
            "few": {"valid users": "nobody"},
            "not": {"invalid users": "user"},
            "sealed": {"smb3 encryption": "mandatory"},
            "elsewhere": {"hosts deny": "127.0.0.1"},
            "lost": {"path": "/nonexistent/ksmbd"},
        },
        users={"user": "secret"},
    )


@pytest.fixture(autouse=True)
def _lost_path(server: KsmbdServer) -> None:
    """The fixture of servers makes the folders of shares; this one is to be missing."""
    path = Path("/nonexistent/ksmbd")
    if path.exists():
        path.rmdir()
        path.parent.rmdir()


@pytest.mark.parametrize("share, login, arguments, line", [
    ("share", "user%wrong", (), rf'log-on from {ADDRESS}: wrong password \(account="user" domain="\w+"'),
    ("share", "stranger%x", (), rf'log-on from {ADDRESS}: unknown user \(account="stranger"'),
    ("share", "%", ("-N",), rf'tree connect from {ADDRESS}: a guest, and no `guest ok` \(share="share"\)'),
    ("nope", "user%secret", (), rf'tree connect from {ADDRESS}: no such share \(share="nope" account="user"\)'),
    ("few", "user%secret", (), rf'tree connect from {ADDRESS}: not in `valid users` \(share="few" account="user"\)'),
    ("not", "user%secret", (), rf'tree connect from {ADDRESS}: `invalid users` \(share="not" account="user"\)'),
    ("elsewhere", "user%secret", (), rf"tree connect from {ADDRESS}: `hosts allow` or `hosts deny` "),
    ("sealed", "user%secret", ("-m", "SMB2_10"), rf"tree connect from {ADDRESS}: the share wants encryption, which"),
    ("lost", "user%secret", (), rf"tree connect from {ADDRESS}: the share's path: "),
    ("share", "user%secret", ("-m", "SMB2_02"), rf"connection from {ADDRESS}: no common dialect: the client offers 0x"),
    ("share", "user%secret", ("-m", "NT1"), rf"connection from {ADDRESS}: the client offers dialects of SMB1 alone"),
])  # fmt: skip
def test_a_refusal_is_told(
    server: KsmbdServer, share: str, login: str, arguments: tuple[str, ...], line: str
) -> None:
    options = ["--option=client min protocol=NT1"] if arguments[-1:] == ("NT1",) else []
    assert server.smbclient("ls", *arguments, *options, share=share, user=login).returncode != 0
    server.wait_for(rf"(?m)^ksmbd: refused {line}")


def test_fail2ban_s_filter_finds_the_log_ons_alone(server: KsmbdServer, tmp_path: Path) -> None:
    server.smbclient("ls", user="otto\n: wrong%x")
    server.smbclient("ls", user='x" from 198.51.100.1: wrong password (%x')
    server.wait_for(r'(?m)^ksmbd: refused log-on .*198\.51\.100\.1')
    lines = [text for text in server.printed.splitlines() if "refused" in text]
    log_ons = sum("refused log-on" in text and "anonymous" not in text for text in lines)
    assert found_by_fail2ban(tmp_path, lines) == ["127.0.0.1"] * log_ons and log_ons >= 3


def test_a_wrong_password_inside_an_rpc_association(server: KsmbdServer) -> None:
    transport = SMBTransport("127.0.0.1", server.port, r"\srvsvc", username=server.user, password=server.password)
    transport.connect()
    service = transport.get_dce_rpc()
    service.set_credentials(server.user, "not the password", "WORK")
    service.set_auth_type(rpcrt.RPC_C_AUTHN_WINNT)
    service.set_auth_level(rpcrt.RPC_C_AUTHN_LEVEL_PKT_INTEGRITY)
    with pytest.raises(Exception):  # noqa: B017  which, is impacket's affair
        service.bind(srvs.MSRPC_UUID_SRVS)
        srvs.hNetrServerGetInfo(service, 100)
    server.wait_for(rf'^ksmbd: refused log-on from {ADDRESS}: wrong password \(account="user" domain="WORK" by="RPC"\)')
