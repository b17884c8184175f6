# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make serve` decides before it starts the daemon."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ksmbd.tools import serve

from mountd.config import load


def test_defaults_make_a_folder_and_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = serve.plan({}), serve.plan({})
    assert (one.port, one.user, one.folder) == (445, "demo", str(tmp_path / "var" / "share"))
    assert os.path.isdir(one.folder)
    assert one.password != two.password
    assert len(one.password) >= 12


def test_the_environment_overrides(tmp_path: Path) -> None:
    plan = serve.plan({"PORT": "4450", "SHARE_PATH": str(tmp_path), "SMB_USER": "otto", "SMB_PASSWORD": "p w"})
    assert (plan.port, plan.folder, plan.user, plan.password) == (4450, str(tmp_path), "otto", "p w")
    assert "smbclient //127.0.0.1/demo -p 4450 -U 'otto%p w'" in plan.banner()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PORT": "x"}, "PORT=x is no TCP port"),
        ({"PORT": "0"}, "PORT=0 is no TCP port"),
        ({"PORT": "65536"}, "PORT=65536"),
        ({"SHARE_PATH": "/nonexistent"}, "SHARE_PATH=/nonexistent is not a folder"),
        ({"SMB_USER": "a:b"}, "SMB_USER: "),
        ({"SMB_PASSWORD": "x" * 200}, "SMB_PASSWORD: "),
    ],
)
def test_what_does_not_go_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(serve.CannotServe) as caught:
        serve.plan({"SHARE_PATH": "/tmp", **environment})
    assert message in str(caught.value)


def test_the_configuration_is_without_fault(tmp_path: Path) -> None:
    (tmp_path / "ksmbd.conf").write_text(serve.plan({"SHARE_PATH": str(tmp_path)}).config())
    configuration = load(tmp_path / "ksmbd.conf")
    assert configuration.diagnostics == []
    share = configuration.shares["demo"]
    assert (share.path, share.read_only, share.acl_xattr) == (str(tmp_path), False, True)


def test_a_port_that_is_taken_is_told_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(serve.CannotServe, match=r"is taken by another program; .*make serve PORT="):
            serve.check_port(taken.getsockname()[1])
        port = taken.getsockname()[1]
    serve.check_port(port)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is no choice")
def test_as_root_a_user_without_an_account_gets_one_that_can_write(tmp_path: Path) -> None:
    def unix_user(mode: int, owner: int, parent: int, user: str = "not-an-account") -> str:
        folder = tmp_path / "f"
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        os.chown(folder, owner, owner)
        tmp_path.chmod(parent)
        return str(serve.plan({"SHARE_PATH": str(folder), "SMB_USER": user}).unix_user)

    # in a root that only root may enter, nobody else can reach anything
    assert unix_user(0o1777, 0, 0o755) == ("nobody" if os.stat("/").st_mode & 0o001 else "root")
    assert unix_user(0o1777, 0, 0o700) == "root"
    assert unix_user(0o755, 1, 0o755) == "daemon"
    assert unix_user(0o755, 1, 0o755, user="bin") == ""


def test_without_root_it_is_the_account_that_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 2)
    assert serve.plan({"SHARE_PATH": str(tmp_path)}).unix_user == "bin"
