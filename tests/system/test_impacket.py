# SPDX-License-Identifier: GPL-2.0-or-later
"""impacket: opens with SMB1's negotiate, speaks DCE/RPC over the pipes of IPC$."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from impacket import smb3structs
from impacket.dcerpc.v5 import srvs, transport
from impacket.dcerpc.v5.rpcrt import DCERPCException
from impacket.smb3structs import SMB2_DIALECT_002, SMB2_DIALECT_21, SMB2_DIALECT_30, SMB2_DIALECT_311
from impacket.smbconnection import SessionError, SMBConnection
from server import KsmbdServer, StartKsmbd

DIALECTS = {
    "2.0.2": SMB2_DIALECT_002,
    "2.1": SMB2_DIALECT_21,
    "3.0": SMB2_DIALECT_30,
    "3.1.1": SMB2_DIALECT_311,
}
Connect = Callable[..., SMBConnection]


@pytest.fixture(scope="module")
def server(start_shaped: StartKsmbd) -> KsmbdServer:
    return start_shaped(
        options={"server min protocol": "SMB2_02", "map to guest": "bad user", "server string": "Tests' server",
                 "netbios name": "TESTBOX"},
        shares={
            "share": {"comment": "for all"},
            "guests": {"guest ok": "yes"},
            "readonly": {"read only": "yes"},
            "hidden": {"browseable": "no"},
            **{f"many{number:02}": {"comment": "x" * 40} for number in range(60)},
        },
    )  # fmt: skip


@contextmanager
def connected(server: KsmbdServer, dialect: int | None = None, **login: str) -> Iterator[SMBConnection]:
    """A connection that is logged on."""
    connection = SMBConnection(
        "127.0.0.1", "127.0.0.1", sess_port=server.port, timeout=20, preferredDialect=dialect
    )
    try:
        connection.login(login.get("user", server.user), login.get("password", server.password))
        yield connection
    finally:
        connection.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_file_s_life(server: KsmbdServer, dialect: str) -> None:
    data = os.urandom(1_500_000)
    name = f"life {dialect}"
    with connected(server, DIALECTS[dialect]) as client:
        assert client.getDialect() == DIALECTS[dialect]
        client.putFile("share", name, io.BytesIO(data).read)
        back = io.BytesIO()
        client.getFile("share", name, back.write)
        assert hashlib.sha256(back.getvalue()).digest() == hashlib.sha256(data).digest()
        assert (server.share_path / name).read_bytes() == data
        listed = {entry.get_longname(): entry.get_filesize() for entry in client.listPath("share", "*")}
        assert listed[name] == len(data)
        client.createDirectory("share", f"dir {dialect}")
        client.rename("share", name, f"dir {dialect}\\näme")
        assert [path.name for path in (server.share_path / f"dir {dialect}").iterdir()] == ["näme"]
        with pytest.raises(SessionError, match="STATUS_DIRECTORY_NOT_EMPTY"):
            client.deleteDirectory("share", f"dir {dialect}")
        client.deleteFile("share", f"dir {dialect}\\näme")
        client.deleteDirectory("share", f"dir {dialect}")
        assert not (server.share_path / f"dir {dialect}").exists()


def test_the_smb1_negotiate_is_answered_with_smb2(server: KsmbdServer) -> None:
    """Without a preferred dialect impacket begins with SMB1 and follows to what the server says."""
    with connected(server) as client:
        assert client.getDialect() in DIALECTS.values()
        assert [share["shi1_netname"][:-1] for share in client.listShares()]


def test_log_ons_that_are_refused(server: KsmbdServer) -> None:
    with pytest.raises(SessionError, match="STATUS_LOGON_FAILURE"), connected(server, password="wrong"):
        pass
    with connected(server) as client:
        for name, status in (("nothing", "STATUS_BAD_NETWORK_NAME"), ("", "STATUS_BAD_NETWORK_NAME")):
            with pytest.raises(SessionError, match=status):
                client.connectTree(name)


def test_pass_the_hash_is_a_log_on_like_any_other(server: KsmbdServer) -> None:
    """The NT hash is the password's equal in NTLM; a wrong one is refused."""
    connection = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=server.port, timeout=20)
    with pytest.raises(SessionError, match="STATUS_LOGON_FAILURE"):
        connection.login(server.user, "", nthash="00" * 16)
    connection.close()


def test_guests_and_anonymous(server: KsmbdServer) -> None:
    for user in ("", "nobody-of-ours"):
        with connected(server, user=user, password="" if not user else "x") as client:
            assert client.isGuestSession() or not user
            client.listPath("guests", "*")
            with pytest.raises(SessionError, match="STATUS_ACCESS_DENIED"):
                client.listPath("share", "*")


def test_paths_out_of_the_share(server: KsmbdServer) -> None:
    (server.folder / "secret").write_text("secret")
    before = sorted(path.name for path in server.folder.iterdir())
    (server.share_path / "inside").mkdir(exist_ok=True)
    with connected(server) as client:
        for path in (
            "..\\secret", "..\\..\\secret", "inside\\..\\..\\..\\secret", "..", "../secret", "/etc/passwd",
            ".\\..\\..\\secret", "inside\\..\\..\\share\\..\\..\\secret", "..\\readonly\\x",
        ):  # fmt: skip
            read = io.BytesIO()
            with pytest.raises(SessionError):
                client.getFile("share", path, read.write)
            assert read.getvalue() == b"", path
            with pytest.raises(SessionError):
                client.createDirectory("share", path)
        client.deleteDirectory("share", "inside")
    assert sorted(path.name for path in server.folder.iterdir()) == before
    assert list(server.shares["readonly"].iterdir()) == []


def test_the_pipes_share_holds_no_files(server: KsmbdServer) -> None:
    with connected(server) as client:
        tree = client.connectTree("IPC$")
        for name in ("file", "..\\file", "", "/etc/passwd"):
            with pytest.raises(SessionError):
                client.createFile(tree, name, desiredAccess=smb3structs.GENERIC_WRITE)


# ------------------------------------------------------------------------------------------------------------ DCE/RPC


@contextmanager
def pipe(server: KsmbdServer, name: str = "srvsvc", dialect: int | None = None) -> Iterator[object]:
    """srvsvc, bound."""
    channel = transport.SMBTransport(
        "127.0.0.1", server.port, rf"\{name}", server.user, server.password
    )
    if dialect is not None:
        channel.preferred_dialect(dialect)
    rpc = channel.get_dce_rpc()
    rpc.connect()
    try:
        rpc.bind(srvs.MSRPC_UUID_SRVS)
        yield rpc
    finally:
        rpc.disconnect()


def text(value: str) -> str:
    return value.rstrip("\0")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_shares_are_enumerated(server: KsmbdServer, level: int) -> None:
    with pipe(server) as rpc:
        answer = srvs.hNetrShareEnum(rpc, level)
    assert answer["ErrorCode"] == 0
    found = answer["InfoStruct"]["ShareInfo"][f"Level{level}"]["Buffer"]
    names = {text(entry[f"shi{level}_netname"]): entry for entry in found}
    assert {"share", "guests", "readonly", "many00", "many59", "IPC$"} <= set(names)
    assert "hidden" not in names
    if level:
        assert text(names["share"][f"shi{level}_remark"]) == "for all"
        assert names["share"][f"shi{level}_type"] == 0
        assert names["IPC$"][f"shi{level}_type"] & 0xFF == 3
    assert answer["TotalEntries"] == len(names)


def test_one_share_is_described(server: KsmbdServer) -> None:
    with pipe(server) as rpc:
        one = srvs.hNetrShareGetInfo(rpc, "SHARE\0", 1)["InfoStruct"]["ShareInfo1"]
        assert text(one["shi1_netname"]) == "share" and text(one["shi1_remark"]) == "for all"
        assert text(srvs.hNetrShareGetInfo(rpc, "share\0", 0)["InfoStruct"]["ShareInfo0"]["shi0_netname"]) == "share"
        two = srvs.hNetrShareGetInfo(rpc, "share\0", 2)["InfoStruct"]["ShareInfo2"]
        assert text(two["shi2_netname"]) == "share" and str(server.folder) not in text(two["shi2_path"])
        with pytest.raises(DCERPCException) as refused:
            srvs.hNetrShareGetInfo(rpc, "nothing\0", 1)
        assert refused.value.get_error_code() == 2310  # NERR_NetNameNotFound
        with pytest.raises(DCERPCException) as refused:
            srvs.hNetrShareGetInfo(rpc, "share\0", 77)
        assert refused.value.get_error_code() == 124  # ERROR_INVALID_LEVEL


@pytest.mark.parametrize("level", [100, 101, 102])
def test_the_server_is_described(server: KsmbdServer, level: int) -> None:
    with pipe(server) as rpc:
        info = srvs.hNetrServerGetInfo(rpc, level)["InfoStruct"][f"ServerInfo{level}"]
    assert text(info[f"sv{level}_name"]).upper() == "TESTBOX"
    if level > 100:
        assert text(info[f"sv{level}_comment"]) == "Tests' server"


def test_calls_that_are_not_there(server: KsmbdServer) -> None:
    with pipe(server) as rpc:
        with pytest.raises(DCERPCException):
            srvs.hNetrShareDel(rpc, "share\0")
        assert srvs.hNetrShareEnum(rpc, 1)["ErrorCode"] == 0
    with pytest.raises(SessionError), pipe(server, "nosuchpipe"):
        pass


def test_a_pipe_of_the_oldest_and_the_newest_dialect(server: KsmbdServer) -> None:
    for dialect in DIALECTS.values():
        with pipe(server, dialect=dialect) as rpc:
            assert srvs.hNetrShareEnum(rpc, 1)["ErrorCode"] == 0


def test_everything_is_closed_in_the_end(server: KsmbdServer) -> None:
    server.wait_stats("\nconnections: 0\nsessions: 0\nopens: 0\n")
