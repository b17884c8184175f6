# SPDX-License-Identifier: GPL-2.0-or-later
"""One DFS root, served by us and by a real smbd: the same referrals, the same answers to names, the same listings."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from beside_samba import OURS, PASSWORD, SAMBA, Beside, beside, missing
from impacket.smb3 import SMB3, SessionError
from impacket.smb3structs import SMB2_0_IOCTL_IS_FSCTL
from impacket.smbconnection import SMBConnection
from unixusers import people

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]
NONE = (s.STATUS_NOT_FOUND, s.STATUS_OBJECT_NAME_NOT_FOUND, s.STATUS_OBJECT_PATH_NOT_FOUND)
HIGHEST = 3
"""The highest version of referrals that Samba gives."""


@pytest.fixture(scope="module")
def both() -> Iterator[Beside]:
    lines = {"msdfs root": "yes"}
    proxy = {"msdfs proxy": r"\192.0.2.1\far"}
    with people() as them, beside(them, lines, more={"proxy": proxy}, options={"host msdfs": "yes"}) as result:
        share = result.share
        os.symlink(r"msdfs:192.0.2.1\data", share / "link")
        os.symlink(r"msdfs:192.0.2.1\data,192.0.2.2\data\below", share / "two")
        os.symlink(r"192.0.2.1\data", share / "nolink")
        (share / "sub").mkdir(0o755)
        (share / "sub").chmod(0o755)
        os.symlink(r"msdfs:192.0.2.1\data", share / "sub" / "deep")
        (share / "file").write_text("x")
        yield result


def connect(both: Beside, server: str) -> tuple[Any, SMB3]:
    connection = SMBConnection(server, server, sess_port=445, timeout=20)
    connection.login(both.people.alice, PASSWORD)
    return connection, connection.getSMBServer()


def referral(smb: SMB3, tree: int, path: str, level: int = HIGHEST) -> object:
    """(PathConsumed, flags, version, ServerType and texts of each entry), or the status."""
    data = level.to_bytes(2, "little") + path.encode("utf-16-le") + b"\0\0"
    try:
        answer = smb.ioctl(tree, None, c.FSCTL_DFS_GET_REFERRALS, SMB2_0_IOCTL_IS_FSCTL, data, maxOutputResponse=4096)
    except SessionError as error:
        # MS-DFSC 3.2.5.1 has STATUS_NOT_FOUND, for which Samba says what its look-up found
        assert error.get_error_code() in NONE
        return "none"
    consumed, count, flags = struct.unpack_from("<HHI", answer)
    found: list[object] = [consumed, flags]
    position = 8
    for _ in range(count):
        version, size, kind = struct.unpack_from("<HHH", answer, position)
        at = position + (16 if version == 2 else 12)
        texts = [text_at(answer, position + offset) for offset in struct.unpack_from("<HHH", answer, at)]
        found.append((version, kind, *texts))
        position += size
    return found


def text_at(data: bytes, offset: int) -> str:
    end = offset
    while data[end : end + 2] != b"\0\0":
        end += 2
    return data[offset:end].decode("utf-16-le")


@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.parametrize("path", [
    r"\{}\s", r"\{}\s\link", r"\{}\s\two\a\b", r"\{}\s\LINK", r"\{}\s\sub\deep\x", r"\{}\s\file", r"\{}\s\sub",
    r"\{}\s\nolink", r"\{}\none", r"\{}\proxy",
])  # fmt: skip
def test_referrals(both: Beside, path: str, level: int) -> None:
    found = {}
    for server in (OURS, SAMBA):
        connection, smb = connect(both, server)
        tree = smb.connectTree("IPC$")
        found[server] = repr(referral(smb, tree, path.format("192.0.2.9"), level))
        connection.close()
    assert found[OURS] == found[SAMBA]


@pytest.mark.parametrize("name", [
    "link", r"link\x", r"LINK\x\y", "two", r"sub\deep", r"sub\deep\x", "file", "none", r"none\x",
])  # fmt: skip
@pytest.mark.parametrize("with_server", [True, False])
def test_names(both: Beside, name: str, with_server: bool) -> None:
    """impacket sets the flag of DFS on a share that is a root."""
    found = {}
    for server in (OURS, SAMBA):
        connection, smb = connect(both, server)
        tree = smb.connectTree("s")
        asked = rf"{server}\s\{name}" if with_server else name
        try:
            smb.create(tree, asked, c.FILE_READ_ATTRIBUTES, 7, 0, c.FILE_OPEN, 0)
            found[server] = 0
        except SessionError as error:
            found[server] = error.get_error_code()
        connection.close()
    assert f"{found[OURS]:#x}" == f"{found[SAMBA]:#x}"


def test_listings(both: Beside) -> None:
    shown = {}
    for server in (OURS, SAMBA):
        connection, _ = connect(both, server)
        shown[server] = {
            entry.get_longname(): entry.get_attributes() for entry in connection.listPath("s", "*")
            if entry.get_longname() in ("link", "two", "sub")
        }
        connection.close()
    assert shown[OURS] == shown[SAMBA]


def test_the_root_of_a_proxy(both: Beside) -> None:
    shown = {server: both.client(server, "ls", share="proxy") for server in (OURS, SAMBA)}
    statuses = {server: re.findall("NT_STATUS_[A-Z_]+", text)[:1] for server, text in shown.items()}
    assert statuses[OURS] == statuses[SAMBA]


# ------------------------------------------------------------------------------------------------- management (netdfs)


def managed(both: Beside, server: str, command: str, user: str = "") -> str:
    """What rpcclient shows, with the servers' names and the roots' flavor made the same, line by line in order."""
    login = f"{user or both.people.alice}%{PASSWORD}"
    line = ["rpcclient", "-s", "/dev/null", "-U", login, server, "-c", command]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    shown = re.sub(r"(?i)BESIDE|KSMBD SERVER|127\.0\.0\.[12]", "HOST", done.stdout + done.stderr)
    return shown.replace(r"\\HOST\s" + "\\\n", r"\\HOST\s" + "\n").replace("state: 257", "state: 1")


def blocks(shown: str) -> list[str]:
    """What is shown, entry by entry, in order. Samba splits a target before its last component, MS-DFSNM 2.2.2.6 behind
    the server; and it tells no target of a root that it is asked about alone."""
    for one, other in (
        (r"192.0.2.2\data", "192.0.2.2"), (r"share: data\below", "share: below"), ("/", "\\"),
        ("server: (null)", "server: HOST"), ("share: (null)", "share: s"), ("\\S\\", "\\s\\"),
    ):  # fmt: skip
        shown = shown.replace(one, other)
    return sorted(shown.split("path: "))


@pytest.mark.parametrize("level", [1, 2, 3])
def test_enumerations_over_rpc(both: Beside, level: int) -> None:
    found = {server: blocks(managed(both, server, f"dfsenum {level}")) for server in (OURS, SAMBA)}
    assert len(found[OURS]) == 4
    assert found[OURS] == found[SAMBA]


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("path", [
    "", "/link", "/LINK", "/two", "/sub/deep", "/sub", "/file", "/nolink", "/none", "/link/x",
])  # fmt: skip
def test_information_over_rpc(both: Beside, path: str, level: int) -> None:
    found = {
        server: blocks(managed(both, server, f"dfsgetinfo /{server}/s{path} {server} s {level}"))
        for server in (OURS, SAMBA)
    }
    assert found[OURS] == found[SAMBA]
    assert ("DFSNOSUCHVOLUME" in str(found[OURS])) == (path not in ("", "/link", "/LINK", "/two", "/sub/deep"))


@pytest.mark.parametrize("command", [
    "dfsversion", "dfsgetinfo /{0}/proxy {0} s 1", "dfsgetinfo /{0}/none {0} s 1",
    "dfsadd /{0}/s/new 192.0.2.3 data comment", "dfsremove /{0}/s/link 192.0.2.1 data", "dfsenum 200",
])  # fmt: skip
def test_the_same_answers_over_rpc(both: Beside, command: str) -> None:
    found = {server: managed(both, server, command.format(server)) for server in (OURS, SAMBA)}
    assert found[OURS] == found[SAMBA]
    assert (both.share / "link").is_symlink() and not (both.share / "new").is_symlink()


def test_enumerations_of_one_root(both: Beside) -> None:
    """Which Samba has not."""
    shown = managed(both, OURS, f"dfsenumex /{OURS}/s 3")
    assert blocks(shown) == blocks(managed(both, OURS, "dfsenum 3"))
    assert "NOT_FOUND" in managed(both, OURS, f"dfsenumex /{OURS}/none 3")


def test_links_that_a_user_may_not_read_are_not_told(both: Beside) -> None:
    both.share.chmod(0o700)
    try:
        assert len(blocks(managed(both, OURS, "dfsenum 1"))) == 4, "alice owns the folder"
        assert len(blocks(managed(both, OURS, "dfsenum 1", both.people.bob))) == 2, "the root alone"
        assert "NOSUCHVOLUME" in managed(both, OURS, f"dfsgetinfo /{OURS}/s/link {OURS} s 1", both.people.bob)
    finally:
        both.share.chmod(0o777)
