# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.addshare: what it writes, says and returns."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from ksmbd.tools import addshare
from toolbench import Manager, Place

from mountd.config import load


def test_add_update_delete(place: Place) -> None:
    path = str(place.folder)
    assert (
        place.call("addshare", "-a", "-o", f"path={path}", "-o", "Read Only = no", "data").out == "share data added\n"
    )
    assert place.config.read_text() == f"[data]\n\tpath = {path}\n\tread only = no\n"
    assert place.call("addshare", "-u", "-o", "comment = x", "DATA").out == "share DATA updated\n"
    assert load(place.config).shares["data"].comment == "x"
    assert place.call("addshare", "-o", "comment =", "data").out == "share data updated\n"
    assert load(place.config).shares["data"].comment == ""
    assert place.call("addshare", "-d", "data").out == "share data deleted\n"
    assert place.config.read_text() == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-a", "-o", "path = /tmp"], "name one share"),
        (["-a", "-o", "path = /tmp", "global"], "[global] is not a share"),
        (["-a", "-o", "path = /tmp", "a/b"], "cannot contain '/'"),
        (["-a", "-o", "path = /tmp", "s" * 64], "1 to 63 bytes, this one has 64"),
        (["-a", "-o", "comment = x", "s"], "-o 'path = /folder'"),
        (["-a", "-o", "path = tmp", "s"], "absolute path"),
        (["-a", "-o", "path = /dev/null", "s"], "/dev/null is not a folder"),
        (["-a", "-o", "path", "s"], "'PARAMETER = VALUE'"),
        (["-a", "-o", "reed only = no", "s"], "is `read only` meant?"),
        (["-a", "-o", "tcp port = 1", "s"], "unknown share parameter `tcp port`"),
        (["-a", "-o", "read only = perhaps", "s"], "allowed is yes or no"),
        (["-a", "-o", "comment = a # b", "s"], "begin a comment"),
        (["-u", "-o", "path = /tmp", "s"], "no share [s]"),
        (["-d", "s"], "no share [s]"),
        (["-d", "-o", "path = /tmp", "s"], "-o means nothing with -d"),
    ],
)
def test_refusals(place: Place, argv: list[str], message: str) -> None:
    assert message in place.fails("addshare", *argv)
    assert not place.config.exists()


def test_adding_twice(place: Place) -> None:
    place.call("addshare", "-a", "-o", "path = /", "s")
    assert "already; -u changes it" in place.fails("addshare", "-a", "-o", "path = /", "S")


def test_an_existing_file_keeps_its_mode_and_its_comments(place: Place) -> None:
    place.config.write_text("# mine\n[global]\n  workers = 2 # two\n")
    place.config.chmod(0o640)
    assert place.call("addshare", "-a", "-o", "path = /", "s").status == 0
    assert place.config.read_text().startswith("# mine\n[global]\n  workers = 2 # two\n")
    assert place.config.stat().st_mode & 0o777 == 0o640


def test_users_that_do_not_exist_are_told(place: Place) -> None:
    place.call("adduser", "-a", "-p", "x", "root")
    outcome = place.call("addshare", "-a", "-o", "path = /", "-o", "valid users = root otto @staff", "s")
    assert outcome.status == 0
    assert re.findall(r"names (\w+),", outcome.err) == ["otto"]


def test_parameters_from_a_pipe(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stdin").write_text("path = /\n\nwritable = yes\n")
    with open(tmp_path / "stdin", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert place.call("addshare", "-a", "s").status == 0
    assert load(place.config).shares["s"].writeable


def test_a_running_daemon_is_told(place: Place, manager: Manager) -> None:
    assert place.call("addshare", "-a", "-o", "path = /", "s").status == 0
    assert manager.line() == "reloaded"


def test_samba_s_file_is_not_written(place: Place) -> None:
    with pytest.raises(SystemExit) as caught:
        addshare.main(["-a", "-o", "path = /", "-C", str(place.folder / "smb.conf"), "s"])
    assert caught.value.code == 1
    assert "is Samba's" in place.capsys.readouterr().err
    assert not (place.folder / "smb.conf").exists()


def test_completion() -> None:
    assert addshare.complete("read") == ["read list = ", "read only = "]
    assert addshare.complete("read only = ") == ["read only = yes", "read only = no"]
    assert addshare.complete("smb3 encryption = m") == ["smb3 encryption = mandatory"]
    assert addshare.complete("nonsense = ") == []
