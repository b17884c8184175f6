# SPDX-License-Identifier: GPL-2.0-or-later
"""pysmb: opens with SMB1's negotiate on port 445's framing, then speaks SMB 2.0.2."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest
from server import KsmbdServer, StartKsmbd
from smb.smb_structs import OperationFailure
from smb.SMBConnection import SMBConnection

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(options={"server min protocol": "SMB2_02"}, shares={"share": {"comment": "for pysmb"}})


def connect(
    server: KsmbdServer, password: str | None = None, sign: int = SMBConnection.SIGN_WHEN_REQUIRED
) -> SMBConnection:
    connection = SMBConnection(
        server.user, password or server.password, "tester", "server", use_ntlm_v2=True, is_direct_tcp=True,
        sign_options=sign,
    )  # fmt: skip
    connection.logged_on = connection.connect("127.0.0.1", server.port, timeout=20)
    return connection


@pytest.fixture(params=[SMBConnection.SIGN_WHEN_REQUIRED, SMBConnection.SIGN_WHEN_SUPPORTED], ids=["plain", "signed"])
def client(server: KsmbdServer, request: pytest.FixtureRequest) -> Iterator[SMBConnection]:
    connection = connect(server, sign=request.param)
    assert connection.logged_on
    assert connection.isUsingSMB2
    yield connection
    connection.close()


def test_a_file_s_life(server: KsmbdServer, client: SMBConnection) -> None:
    data = os.urandom(300_000)
    assert {share.name: share.comments for share in client.listShares(timeout=20)}["share"] == "for pysmb"
    client.storeFile("share", "/näme", io.BytesIO(data), timeout=20)
    assert (server.share_path / "näme").read_bytes() == data
    back = io.BytesIO()
    assert client.retrieveFile("share", "/NÄME", back, timeout=20)[1] == len(data)
    assert back.getvalue() == data
    assert [file.filename for file in client.listPath("share", "/", timeout=20)][2:] == ["näme"]
    client.createDirectory("share", "/dir", timeout=20)
    client.rename("share", "/näme", "/dir/other", timeout=20)
    assert client.getAttributes("share", "/dir/other", timeout=20).file_size == len(data)
    client.deleteFiles("share", "/dir/other", timeout=20)
    client.deleteDirectory("share", "/dir", timeout=20)
    assert list(server.share_path.iterdir()) == []


def test_what_is_refused(server: KsmbdServer, client: SMBConnection) -> None:
    refused = connect(server, "wrong")
    assert not refused.logged_on
    refused.close()
    with pytest.raises(OperationFailure):
        client.listPath("nothing", "/", timeout=20)
    with pytest.raises(OperationFailure):
        client.retrieveFile("share", "/missing", io.BytesIO(), timeout=20)
    assert client.echo(b"still here", timeout=20) == b"still here"
