# SPDX-License-Identifier: GPL-2.0-or-later
"""`username map`: what a line means, and what a log-on gets by it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mountd_doubles import FakeUsers, accounts, configuration

from ksmbd.ipc.constants import UserFlag
from mountd import config
from mountd.login import decide
from mountd.usernamemap import parse


@pytest.mark.parametrize(("text", "name", "user"), [
    ("root = administrator admin", "Admin", "root"),
    ("root = administrator admin", "ann", "ann"),
    ('bob = "Bob Smith", b.smith', "bob smith", "bob"),
    ("staffer = @staff", "ann", "staffer"),
    ("staffer = +staff", "ann", "staffer"),
    ("staffer = &staff", "bob", "bob"),
    ("staffer = @none", "ann", "ann"),
    ("nobody = *", "anybody", "nobody"),
    ("nobody = *\nroot = admin", "admin", "root"),
    ("!root = admin\nnobody = *", "admin", "root"),
    ("! root = admin\nnobody = *", "admin", "root"),
    ("!root = admin\nnobody = *", "other", "nobody"),
    ("root = admin\nnobody = *", "admin", "nobody"),
    ("root = admin\nann = root", "admin", "root"),
    ("# root = ann\n; root = ann\nroot\n= ann\n\n", "ann", "ann"),
    ("root = ann \\\n carl", "carl", "root"),
    ("nobody = *", "", ""),
])  # fmt: skip
def test_lines(text: str, name: str, user: str) -> None:
    assert parse(text).user(name, FakeUsers()) == user


def test_a_log_on_is_that_of_the_mapped_user(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("!ann = Annie\nbob = *\n")
    found = configuration(f"[global]\nusername map = {tmp_path}/map\n[s]\npath = /s\n")
    login = decide("ANNIE", accounts("ann", "bob"), found, FakeUsers())
    assert (login.account, login.unix is not None and login.unix.uid) == ("ann", 1001)
    assert login.nt_hash == decide("ann", accounts("ann", "bob"), found, FakeUsers(), mapped=True).nt_hash
    assert decide("ann", accounts("ann", "bob"), found, FakeUsers()).account == "bob"
    assert decide("", accounts("ann"), found, FakeUsers()).status & UserFlag.GUEST_ACCOUNT


@pytest.mark.parametrize("what", ["none", "folder", "bytes", "pipe"])
def test_a_file_that_cannot_be_used_maps_nobody_and_is_told(tmp_path: Path, what: str) -> None:
    if what == "folder":
        (tmp_path / what).mkdir()
    elif what == "bytes":
        (tmp_path / what).write_bytes(b"root = \xff\n")
    elif what == "pipe":
        os.mkfifo(tmp_path / what)
    found = config.parse(f"[global]\nusername map = {tmp_path}/{what}\n", "test.conf")
    (only,) = found.diagnostics
    assert str(only).startswith(f"test.conf:2: warning: `username map = {tmp_path}/{what}`: ")
    assert found.username_map.user("ann", FakeUsers()) == "ann"
