# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.adduser: what it writes, says and returns."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toolbench import Manager, Place

from mountd import accounts


def test_add_update_delete(place: Place) -> None:
    assert place.call("adduser", "-a", "-ppw", "u1").out == "user u1 added\n"
    assert place.hash("u1") == accounts.nt_hash("pw")
    assert place.call("adduser", "--update", "--password=pw2", "u1").out == "user u1 updated\n"
    assert place.hash("u1") == accounts.nt_hash("pw2")
    assert place.call("adduser", "-d", "u1").out == "user u1 deleted\n"
    assert place.hash("u1") is None
    assert place.database.stat().st_mode & 0o777 == 0o600


def test_without_a_flag_it_adds_or_updates(place: Place) -> None:
    assert place.call("adduser", "-p", "1", "u").out == "user u added\n"
    assert place.call("adduser", "-p", "2", "u").out == "user u updated\n"
    assert place.hash("u") == accounts.nt_hash("2")


@pytest.mark.parametrize("password", ["", "-x", "pä ß:😀", "x" * 128])
def test_passwords(place: Place, password: str) -> None:
    assert place.call("adduser", "-a", "-p", password, "u").status == 0
    assert place.hash("u") == accounts.nt_hash(password)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-a", "-p", "x"], "name one user"),
        (["-a", "-p", "x", "u", "v"], "one user at a time, not 2"),
        (["-a", "-d", "u"], "only one of -a, -d and -u"),
        (["-a", "-p", "x", "a:b"], "cannot contain ':'"),
        (["-a", "-p", "x", "u" * 48], "1 to 47 bytes, this one has 48"),
        (["-a", "-p", "x" * 129, "u"], "at most 128 bytes, this one has 129"),
        (["-u", "-p", "x", "nobody-here"], "ksmbdpwd.db"),
        (["-d", "nobody-here"], "ksmbdpwd.db"),
        (["-q"], "unknown option -q"),
    ],
)
def test_refusals(place: Place, argv: list[str], message: str) -> None:
    assert message in place.fails("adduser", *argv)
    assert not place.database.exists()


def test_adding_twice_updating_or_deleting_nobody(place: Place) -> None:
    place.call("adduser", "-a", "-p", "x", "u")
    assert "already; -u gives it a new password" in place.fails("adduser", "-a", "-p", "y", "u")
    assert "no user v in" in place.fails("adduser", "-u", "-p", "y", "v")
    assert "no user v in" in place.fails("adduser", "-d", "v")
    assert place.hash("u") == accounts.nt_hash("x")


def test_a_broken_database_is_named_and_left_alone(place: Place) -> None:
    place.database.write_text("broken\n")
    assert "ksmbdpwd.db:1: no ':' in the line" in place.fails("adduser", "-a", "-p", "x", "u")
    assert place.database.read_text() == "broken\n"


@pytest.mark.parametrize("key", ["valid users", "write list", "read list", "admin users", "guest account"])
def test_a_user_that_a_share_names_stays(place: Place, key: str) -> None:
    place.call("adduser", "-a", "-p", "x", "u")
    place.config.write_text(f"[s]\npath = /s\n{key} = U\n")
    assert f"`{key}`" in place.fails("adduser", "-d", "u")
    assert place.hash("u") is not None


def test_the_guest_account_stays(place: Place) -> None:
    place.call("adduser", "-a", "-p", "x", "u")
    place.config.write_text("[global]\nguest account = u\n")
    assert "[global]" in place.fails("adduser", "-d", "u")


def test_invalid_users_do_not_keep_a_user(place: Place) -> None:
    place.call("adduser", "-a", "-p", "x", "u")
    place.config.write_text("[s]\npath = /s\ninvalid users = u\n")
    assert place.call("adduser", "-d", "u").status == 0


@pytest.mark.parametrize(("piped", "password"), [("pw", "pw"), ("pw\n", "pw"), ("pw\npw\n", "pw"), ("\n", "")])
def test_a_password_from_a_pipe(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, piped: str, password: str
) -> None:
    (tmp_path / "stdin").write_text(piped)
    with open(tmp_path / "stdin", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert place.call("adduser", "-a", "u").status == 0
    assert place.hash("u") == accounts.nt_hash(password)


@pytest.mark.parametrize("piped", ["", "one\nother\n"])
def test_no_password_or_two_from_a_pipe(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, piped: str
) -> None:
    (tmp_path / "stdin").write_text(piped)
    with open(tmp_path / "stdin", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        place.fails("adduser", "-a", "u")
    assert not place.database.exists()


def test_a_running_daemon_is_told(place: Place, manager: Manager) -> None:
    assert place.call("adduser", "-a", "-p", "x", "u").status == 0
    assert manager.line() == "reloaded"


def test_without_a_daemon_it_is_said_only_when_asked(place: Place) -> None:
    assert "ksmbd.mountd" not in place.call("adduser", "-a", "-p", "x", "root").err
    assert "counts from its next start" in place.call("adduser", "-u", "-v", "-p", "x", "root").err


def test_a_user_without_a_unix_account_is_told_of(place: Place) -> None:
    assert "no Unix account nobody-of-this-name" in place.call("adduser", "-a", "-p", "x", "nobody-of-this-name").err
    assert place.call("adduser", "-a", "-p", "x", "root").err == ""


def test_two_writers_wait_for_each_other(place: Place) -> None:
    """While somebody holds the folder's lock a change waits, and then sees what the other wrote."""
    folder = os.open(place.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    writer = subprocess.Popen(
        [
            sys.executable,
            "-Pm",
            "ksmbd.tools.adduser",
            "-a",
            "-p",
            "2",
            "-P",
            str(place.database),
            "-R",
            place.rundir.path,
            "second",
        ],
        stdout=subprocess.PIPE,
    )
    accounts.save(accounts.Accounts([accounts.Account("first", accounts.nt_hash("1"))]), str(place.database))
    os.close(folder)
    assert writer.communicate()[0] == b"user second added\n"
    assert [a.name for a in accounts.load(str(place.database))] == ["first", "second"]
