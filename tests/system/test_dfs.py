# SPDX-License-Identifier: GPL-2.0-or-later
"""DFS: smbclient follows links of a DFS root to other shares, and a real smbd says the same of the same folder."""

from __future__ import annotations

import os
import shutil

import pytest
import sambas_clients
from server import KsmbdServer, StartKsmbd

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("smbclient") is None,
    reason="needs root for a network with a port 445 of its own, and smbclient",
)
OPTIONS = {"host msdfs": "yes"}


@pytest.fixture(scope="module")
def server(own_network: None, start_shared: StartKsmbd) -> KsmbdServer:
    made = start_shared(
        port=445, options=OPTIONS,
        shares={
            "root": {"msdfs root": "yes"}, "target": {}, "proxy": {"msdfs proxy": r"\127.0.0.1\target"},
            "plain": {},
        },
        users={"user": "secret"},
    )
    for share in ("root", "plain"):
        folder = made.share_path.parent / share
        os.symlink(r"msdfs:127.0.0.1\target", folder / "link")
        os.symlink(r"msdfs:192.0.2.1\gone,127.0.0.1\target", folder / "two")
        (folder / "sub").mkdir()
        os.symlink(r"msdfs:127.0.0.1\target\inner", folder / "sub" / "deep")
        (folder / "file").write_text("here")
    target = made.share_path.parent / "target"
    (target / "inner").mkdir()
    (target / "inner" / "treasure").write_text("found")
    for folder in (target, target / "inner"):
        os.chmod(folder, 0o777)
    return made


def smbclient(share: str, commands: str) -> str:
    result = sambas_clients.smbclient(share, commands, "user%secret")
    return result.stdout + result.stderr


def test_links_are_listed_and_followed(server: KsmbdServer) -> None:
    shown = smbclient("root", "ls")
    for name in ("link", "two", "sub", "file"):
        assert name in shown
    assert "treasure" in smbclient("root", r"ls link\inner\*")
    assert "treasure" in smbclient("root", r"cd link; cd inner; ls")
    assert "treasure" in smbclient("root", r"ls sub\deep\*")
    shown = smbclient("root", rf"get link\inner\treasure {server.folder}/got; get file {server.folder}/here")
    assert (server.folder / "got").read_text() == "found", shown
    assert (server.folder / "here").read_text() == "here"


def test_what_is_written_behind_a_link_is_at_its_target(server: KsmbdServer) -> None:
    (server.folder / "new").write_text("new")
    shown = smbclient("root", rf"put {server.folder}/new link\inner\new; rename link\inner\new link\inner\newer")
    assert (server.share_path.parent / "target" / "inner" / "newer").read_text() == "new", shown
    assert "NT_STATUS" not in smbclient("root", "mkdir made; rename made renamed; rmdir renamed")


def test_where_links_lead(server: KsmbdServer) -> None:
    assert r"\127.0.0.1\target" in smbclient("root", "showconnect; cd link; showconnect").replace("//", "\\").replace(
        "/", "\\")  # fmt: skip


def test_a_proxy_refers_to_another_share(server: KsmbdServer) -> None:
    assert "treasure" in smbclient("proxy", r"ls inner\*")


def test_without_a_root_links_are_nothing(server: KsmbdServer) -> None:
    shown = smbclient("plain", r"ls link\inner\*")
    assert "treasure" not in shown
    assert "NT_STATUS" in shown
