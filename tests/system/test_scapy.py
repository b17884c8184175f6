# SPDX-License-Identifier: GPL-2.0-or-later
"""scapy: a client of its own that opens with SMB1's negotiate, and its packet classes as a second opinion on ours."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.smb import SMB_Dialect, SMB_Header, SMBNegotiate_Request
from scapy.layers.smb2 import (
    DirectTCP,
    SMB2_Header,
    SMB2_Negotiate_Protocol_Request,
    SMB2_Negotiate_Protocol_Response,
)
from scapy.layers.smbclient import smbclient
from server import KsmbdServer, StartKsmbd

logging.getLogger("scapy").setLevel(logging.CRITICAL)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def server(start_shaped: StartKsmbd) -> KsmbdServer:
    return start_shaped(options={"server min protocol": "SMB2_02"}, shares={"share": {"comment": "of the test"}})


def negotiate(server: KsmbdServer, packet: Any) -> Any:
    """The answer to one frame, dissected; None where the connection ended."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(bytes(packet))
        stream = sock.makefile("rb")
        head = stream.read(4)
        return DirectTCP(head + stream.read(int.from_bytes(head, "big"))) if head else None


def smb1(*dialects: str) -> Any:
    return (
        DirectTCP()
        / SMB_Header(Flags2="LONG_NAMES+EAS+NT_STATUS+UNICODE+EXTENDED_SECURITY", TID=0xFFFF, PIDLow=0xFEFF)
        / SMBNegotiate_Request(Dialects=[SMB_Dialect(DialectString=dialect) for dialect in dialects])
    )


@pytest.mark.parametrize(
    ("dialects", "answered"),
    [
        (("NT LM 0.12", "SMB 2.002"), 0x0202),
        (("NT LM 0.12", "SMB 2.002", "SMB 2.???"), 0x02FF),
        (("PC NETWORK PROGRAM 1.0", "LANMAN1.0", "LM1.2X002", "NT LM 0.12", "SMB 2.???"), 0x02FF),
    ],
)
def test_smb1_negotiate_is_answered_with_smb2(server: KsmbdServer, dialects: tuple[str, ...], answered: int) -> None:
    """MS-SMB2 3.3.5.3: DialectRevision is 2.0.2, or 0x02FF which asks for an SMB2 NEGOTIATE."""
    answer = negotiate(server, smb1(*dialects))[SMB2_Negotiate_Protocol_Response]
    assert answer.DialectRevision == answered
    assert answer.SecurityBlobLen > 0


def test_smb1_alone_is_never_spoken(server: KsmbdServer) -> None:
    answer = negotiate(server, smb1("PC NETWORK PROGRAM 1.0", "NT LM 0.12"))
    assert answer is None or SMB2_Negotiate_Protocol_Response not in answer


@pytest.mark.parametrize("dialect", [0x0202, 0x0210, 0x0300, 0x0302])
def test_the_negotiate_response_as_scapy_reads_it(server: KsmbdServer, dialect: int) -> None:
    packet = DirectTCP() / SMB2_Header(PID=0xFEFF) / SMB2_Negotiate_Protocol_Request(Dialects=[dialect])
    answer = negotiate(server, packet)
    response = answer[SMB2_Negotiate_Protocol_Response]
    assert response.DialectRevision == dialect
    assert response.MaxReadSize >= 65536 and response.MaxWriteSize >= 65536 and response.MaxTransactionSize >= 65536
    assert bytes(answer)[4:8] == b"\xfeSMB"
    assert response.ServerTime > 0


def client(server: KsmbdServer, folder: Path, **options: Any) -> smbclient:
    made = smbclient(
        "127.0.0.1", UPN=server.user, password=server.password, port=server.port, cli=False, timeout=20, **options
    )
    made.localpwd = folder
    return made


@pytest.fixture(params=[0x0202, 0x0210, 0x0302, 0x0311], ids=["2.0.2", "2.1", "3.0.2", "3.1.1"])
def logged_on(server: KsmbdServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[smbclient]:
    made = client(server, tmp_path, MAX_DIALECT=request.param)
    assert made.smbsock.session.Dialect == request.param
    yield made
    made.close()


def test_a_client_that_opens_with_smb1(server: KsmbdServer, logged_on: smbclient, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(os.urandom(150_000))
    shares = {name.rstrip("\0"): comment.rstrip("\0") for name, _, comment in logged_on.shares()}
    assert shares["share"] == "of the test" and "IPC$" in shares
    logged_on.use("share")
    logged_on.put("sent")
    assert (server.share_path / "sent").read_bytes() == (tmp_path / "sent").read_bytes()
    assert "sent" in [entry[0] for entry in logged_on.ls()]
    (tmp_path / "sent").rename(tmp_path / "kept")
    logged_on.get("sent")
    assert (tmp_path / "sent").read_bytes() == (tmp_path / "kept").read_bytes()
    logged_on.rm("sent")
    assert list(server.share_path.iterdir()) == []


def test_encrypted(server: KsmbdServer, tmp_path: Path) -> None:
    made = client(server, tmp_path, REQUIRE_ENCRYPTION=True)
    try:
        made.use("share")
        assert made.ls()
    finally:
        made.close()


def test_a_wrong_password(server: KsmbdServer) -> None:
    with pytest.raises(Exception, match="LOGON_FAILURE"):
        smbclient("127.0.0.1", UPN=server.user, password="wrong", port=server.port, cli=False, timeout=20)
