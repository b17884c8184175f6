# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-ons with Kerberos inside RPC associations, against a real KDC: rpcclient and impacket, signed and sealed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from impacket.dcerpc.v5 import rpcrt, srvs, transport
from impacket.smbconnection import SMBConnection
from own_network import own_network
from realm import HOST, Realm, realm_below
from server import KsmbdServer, StartKsmbd

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("rpcclient") is None,
    reason="needs root for a network with a port 445 of its own, and rpcclient",
)


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with own_network(), realm_below(tmp_path_factory.mktemp("realm") / "kdc") as realm:
        realm.add("alice", "alice's")
        realm.add("stranger", "stranger's")
        realm.add(f"host/{HOST}", keytab=realm.keytab)
        yield realm


@pytest.fixture(scope="module")
def server(realm: Realm, start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(
        port=445, users={"alice": "by NTLM"}, environment=realm.environment, shares={"share": {}, "other": {}},
        options={"kerberos support": "yes", "kerberos keytab file": str(realm.keytab)},
    )  # fmt: skip


def rpcclient(realm: Realm, binding: str, commands: str, user: str = "alice") -> str:
    """rpcclient's output, with a ticket and nothing else."""
    line = ["rpcclient", "-s", "/dev/null", "--use-kerberos=required", "-U", user, f"ncacn_np:{HOST}[{binding}]", "-c"]
    done = subprocess.run(
        realm.knowing_the_host(*line, commands), env={**os.environ, **realm.log_in(user, f"{user}'s")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("protection", [
    "connect", "packet", "sign", "seal", "krb5,connect", "krb5,sign", "krb5,seal", "spnego,sign", "spnego,seal",
])  # fmt: skip
def test_rpcclient(realm: Realm, server: KsmbdServer, protection: str) -> None:
    shown = rpcclient(realm, protection, "netshareenumall; netremotetod; getusername; netshareenumall")
    assert shown.count("netname: other") == 2, shown
    assert re.search(r"Account Name: alice, Authority Name: ", shown)


def impacket(realm: Realm, server: KsmbdServer, level: int, user: str = "alice", password: str = "") -> Any:
    """A bound client with a user's ticket; the session is alice's, by NTLM where there is a `password`."""
    connection = SMBConnection(HOST, "127.0.0.1", sess_port=server.port, timeout=20)
    if password:
        connection.login("alice", password)
    else:
        connection.kerberosLogin("alice", "", realm.name)
    pipe = transport.SMBTransport(HOST, server.port, r"\srvsvc", smb_connection=connection)
    dce = pipe.get_dce_rpc()
    dce.set_credentials(user, "", realm.name)
    dce.set_auth_type(rpcrt.RPC_C_AUTHN_GSS_NEGOTIATE)
    dce.set_auth_level(level)
    dce.connect()
    dce.bind(srvs.MSRPC_UUID_SRVS)
    return dce


@pytest.mark.parametrize("level", [
    rpcrt.RPC_C_AUTHN_LEVEL_CONNECT, rpcrt.RPC_C_AUTHN_LEVEL_PKT_INTEGRITY, rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
])  # fmt: skip
def test_impacket(realm: Realm, server: KsmbdServer, monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """Its authenticator has no subkey, and it negotiates no header signing."""
    cache = realm.log_in("alice", "alice's", cache=f"impacket{level}")
    for service in ("cifs", "host"):
        realm.run("kvno", f"{service}/{HOST}", environment=cache)
    monkeypatch.setenv("KRB5CCNAME", cache["KRB5CCNAME"].removeprefix("FILE:"))
    dce = impacket(realm, server, level)
    for _ in range(3):
        rows = srvs.hNetrShareEnum(dce, 1)["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"]
        assert {"share\0", "other\0"} <= {row["shi1_netname"] for row in rows}
    dce.disconnect()


def test_who_is_no_user_is_refused_and_told(
    realm: Realm, server: KsmbdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = realm.log_in("stranger", "stranger's")
    realm.run("kvno", f"host/{HOST}", environment=cache)
    monkeypatch.setenv("KRB5CCNAME", cache["KRB5CCNAME"].removeprefix("FILE:"))
    before = len(server.drain())
    with pytest.raises(rpcrt.DCERPCException, match="access_denied"):
        impacket(realm, server, rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY, "stranger", "by NTLM")
    assert re.search(
        r'refused log-on from 127\.0\.0\.1: .*no Unix account.*account="stranger@KSMBD.TEST".*by="RPC"',
        server.drain()[before:],
    )


@pytest.mark.parametrize("header_signing", ["yes", "no"])
@pytest.mark.parametrize(("enctype", "number"), [
    ("aes128-cts-hmac-sha1-96", 17), ("aes256-cts-hmac-sha1-96", 18), ("aes128-cts-hmac-sha256-128", 19),
    ("aes256-cts-hmac-sha384-192", 20),
])  # fmt: skip
def test_mit_s_library_takes_our_messages_and_we_its(
    realm: Realm, enctype: str, number: int, header_signing: str
) -> None:
    realm.run("kadmin.local", "-r", realm.name, "setstr", f"cifs/{HOST}", "session_enctypes", enctype)
    config = realm.folder / "client.conf"
    order = f"permitted_enctypes = {enctype} aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha1-96"
    config.write_text(realm.config.read_text().replace("[libdefaults]\n", f"[libdefaults]\n {order}\n", 1))
    environment = {**realm.log_in("alice", "alice's", cache=enctype), "KRB5_CONFIG": str(config)}
    program = [sys.executable, str(Path(__file__).with_name("wrapping_peer.py")), HOST, str(realm.keytab)]
    assert realm.run(*program, header_signing, environment=environment) == f"{number}\n"
