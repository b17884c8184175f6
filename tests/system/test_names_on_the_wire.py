# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that few clients can write, with impacket: what a client names so is found, listed and deleted by that name."""

from __future__ import annotations

import ntpath
import os
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pytest
from impacket import smb3
from impacket.smbconnection import SMBConnection
from server import KsmbdServer, StartKsmbd

from ksmbd.overriding import override

FILE_BOTH_DIRECTORY_INFORMATION = 3
NAMES = {
    "high \ud800 alone": b"high \xed\xa0\x80 alone",
    "low \udc00 alone": b"low \xed\xb0\x80 alone",
    "\udfff\ud800 turned": b"\xed\xbf\xbf\xed\xa0\x80 turned",
    "pair 😀": "pair 😀".encode(),
    "control \uf001\uf01f": b"control \x01\x1f",
    "trailing dot\uf029": b"trailing dot.",
    "trailing space\uf028": b"trailing space ",
    '"*:<>?|\\ mapped'.translate({ord(sign): 0xF020 + index for index, sign in enumerate('"*:<>?\\|')}): (
        b'"*:<>?|\\ mapped'
    ),
    "byte \uf0e9": b"byte \xe9",
    "x" * 255: b"x" * 255,
}


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(shares={"share": {"mangled names": "yes"}})


class Client:
    """One connection to the share."""

    def __init__(self, server: KsmbdServer) -> None:
        self.connection = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=server.port, timeout=20)
        self.connection.login(server.user, server.password)
        self.smb = self.connection.getSMBServer()
        self.tree = self.smb.connectTree("share")

    def create(self, name: str, disposition: int, options: int = 0) -> None:
        """Open and close."""
        self.smb.close(self.tree, self._open(name, 0x10080, disposition, options))

    def _open(self, name: str, access: int, disposition: int, options: int) -> bytes:
        # impacket encodes a name itself, and no lone surrogate; nor does it send a name as it is.
        with mock.patch.object(smb3, "ntpath", SimpleNamespace(normpath=_Encoded, dirname=ntpath.dirname)):
            return bytes(self.smb.create(self.tree, name, access, 7, options, disposition, 0))

    def listed(self) -> dict[str, str]:
        """Name -> short name of all that is in the share."""
        folder = self._open("", 0x81, 1, 1)
        found: dict[str, str] = {}
        while True:
            try:
                data = self.smb.queryDirectory(
                    self.tree, folder, "*", maxBufferSize=65536, informationClass=FILE_BOTH_DIRECTORY_INFORMATION
                )
            except smb3.SessionError:
                break
            at = step = 0
            while not found or step:
                at += step
                step, length = struct.unpack_from("<I56xI", data, at)
                name, short = data[at + 94 : at + 94 + length], data[at + 70 : at + 70 + data[at + 68]]
                found[name.decode("utf-16-le", "surrogatepass")] = short.decode("utf-16-le")
        self.smb.close(self.tree, folder)
        return found


class _Encoded(str):
    """A text that encodes what it holds, surrogates too."""

    @override
    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return str.encode(self, encoding, "surrogatepass")

@pytest.fixture(scope="module")
def client(server: KsmbdServer) -> Iterator[Client]:
    made = Client(server)
    yield made
    made.connection.close()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_comes_back(server: KsmbdServer, client: Client, name: str) -> None:
    disk = NAMES[name]
    path = os.path.join(os.fsencode(server.share_path), disk)
    client.create(name, 2)
    assert os.listdir(os.fsencode(server.share_path)) == [disk]
    listed = client.listed()
    assert set(listed) == {".", "..", name}
    client.create(name.upper(), 1)
    client.create(listed[name], 1)
    assert os.path.exists(path)
    client.create(listed[name], 1, 0x1000)  # FILE_DELETE_ON_CLOSE
    assert not os.path.exists(path)


@pytest.mark.parametrize("name", ["a*", "tab\t", "x" * 256, "ä" * 128], ids=ascii)
def test_a_name_that_cannot_be(client: Client, name: str) -> None:
    """MS-FSCC 2.1.5: STATUS_OBJECT_NAME_INVALID."""
    with pytest.raises(smb3.SessionError, match="OBJECT_NAME_INVALID"):
        client.create(name, 2)
