# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.adduser --import and --list: the users of a Samba server, and a table of ours."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolbench import Place

from mountd import accounts, smbpasswd
from mountd.accounts import Account, Accounts, nt_hash
from mountd.console.user_list import rows
from mountd.unixusers import UnixUser
from mountd.usernamescript import Script

LM = "X" * 32


def line(name: str, password: str = "pw", flags: str = "U          ", uid: int = 1000) -> str:
    return f"{name}:{uid}:{LM}:{nt_hash(password).hex().upper()}:[{flags}]:LCT-65A0F1C2:"


SAMPLE = "\n".join([
    "# a comment", "", line("anna"), line("jörg", "ü"), line("PC7$", flags="W          "),
    line("away", flags="UD         "), line("locked", flags="UL         "), line("open", flags="NU         "),
    f"nohash:1:{LM}:{LM}:[U          ]:LCT-0:", "otto:1000:x", line("x" * 48), line("anna", "newer"),
])  # fmt: skip


def test_a_file_of_samba() -> None:
    found = smbpasswd.parse(SAMPLE.encode())
    assert found.accounts == [
        Account("anna", nt_hash("newer")), Account("jörg", nt_hash("ü")), Account("away", nt_hash("pw"), "D"),
        Account("locked", nt_hash("pw"), "L"),
    ]  # fmt: skip
    assert [(number, name, reason.split(":")[0]) for number, name, reason in found.left_out] == [
        (5, "PC7$", "the account of a machine or domain"),
        (8, "open", "without a password"), (9, "nohash", "without an NT hash"), (10, "otto", "no line of smbpasswd"),
        (11, "x" * 48, "a user's name has 1 to 47 bytes, this one has 48"),
    ]  # fmt: skip


@given(st.binary(max_size=300))
def test_any_bytes_are_read(content: bytes) -> None:
    found = smbpasswd.parse(content)
    assert all(len(account.nt_hash) == 16 and not accounts.name_problem(account.name) for account in found.accounts)


def test_import_adds_and_updates(place: Place, tmp_path: Path) -> None:
    place.call("adduser", "-a", "-p", "old", "Anna")
    place.call("adduser", "-a", "-p", "kept", "other")
    file = tmp_path / "smbpasswd"
    file.write_text(SAMPLE)
    result = place.call("adduser", f"--import={file}")
    assert result.out == "users: 3 added, 1 updated, 0 unchanged, 5 left out\n"
    assert f"{file}:8: open is left out: without a password" in result.err
    assert [account.flags for account in accounts.load(str(place.database))] == ["", "", "", "D", "L"]
    for name, password in (("Anna", "newer"), ("other", "kept"), ("jörg", "ü")):
        assert place.hash(name) == nt_hash(password)
    assert place.call("adduser", f"--import={file}").out == "users: 0 added, 0 updated, 4 unchanged, 5 left out\n"
    assert place.database.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("argv", "message"), [
    (["--import=/nonexistent/file"], "No such file"), (["--import=/dev/null"], "no users; allowed are the lines"),
    (["--import=/dev/null", "otto"], "go without USER"), (["--list", "-a"], "go without USER"),
    (["--list", "--import=x"], "only one of"),
])  # fmt: skip
def test_what_is_refused(place: Place, argv: list[str], message: str) -> None:
    place.call("adduser", "-a", "-p", "x", "u")
    before = place.database.read_bytes()
    result = place.call("adduser", *argv)
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert message in result.err
    assert place.database.read_bytes() == before


def test_list(place: Place) -> None:
    place.call("adduser", "-a", "-p", "x", "root")
    place.call("adduser", "-a", "-p", "x", "Nobody-Here")
    assert place.call("adduser", "--list").out == (
        "USER         UNIX ACCOUNT  UID  STATE   EXPIRES\n"
        "Nobody-Here  -             -    active  -\n"
        "root         root          0    active  -\n"
    )
    assert json.loads(place.call("adduser", "--list", "--json").out) == [
        {"user": "Nobody-Here", "unix_account": None, "uid": None, "state": "active", "expires": None},
        {"user": "root", "unix_account": "root", "uid": 0, "state": "active", "expires": None},
    ]  # fmt: skip


class Two:
    """A system with two accounts."""

    def user(self, name: str) -> UnixUser | None:
        return {"ann": UnixUser("ann", 1001, 1001), "Bob": UnixUser("bob", 1002, 1002)}.get(name)

    def group(self, name: str) -> int | None:
        return None

    def group_name(self, gid: int) -> str | None:
        return None

    def mapped(self, script: Script, name: str) -> str | None:
        return None


def test_rows_tell_the_uid() -> None:
    users = Accounts([Account("Bob", b""), Account("ann", b"")])
    assert [(row["user"], row["uid"]) for row in rows(users, Two())] == [("ann", 1001), ("Bob", 1002)]


@pytest.mark.skipif(shutil.which("pdbedit") is None, reason="needs pdbedit")
def test_what_pdbedit_prints(place: Place, tmp_path: Path) -> None:
    config = tmp_path / "smb.conf"
    config.write_text(f"[global]\npassdb backend = smbpasswd:{tmp_path}/smbpasswd\nprivate dir = {tmp_path}\n"
                      f"state directory = {tmp_path}\nlock directory = {tmp_path}\ncache directory = {tmp_path}\n")
    if subprocess.run(["pdbedit", "-s", config, "-a", "-t", "daemon"], input="geheim\ngeheim\n", text=True,
                      capture_output=True, check=False).returncode:
        pytest.skip("pdbedit makes no user here")
    listed = subprocess.run(["pdbedit", "-s", config, "-Lw"], capture_output=True, check=True).stdout
    file = tmp_path / "listed"
    file.write_bytes(listed)
    assert place.call("adduser", f"--import={file}").out.startswith("users: 1 added")
    assert place.hash("daemon") == nt_hash("geheim")


class TestState:
    def test_a_user_is_disabled_and_enabled(self, place: Place) -> None:
        place.call("adduser", "-a", "-p", "x", "Ann")
        assert place.call("adduser", "--disable", "ann").out == "user Ann disabled\n"
        assert place.database.read_text().endswith("==:D:\n")
        place.call("adduser", "-u", "-p", "y", "ann")
        assert accounts.load(str(place.database)).find("ann") == Account("Ann", nt_hash("y"), "D")
        assert place.call("adduser", "--enable", "ann").out == "user Ann active\n"
        assert place.database.read_bytes() == Account("Ann", nt_hash("y")).line().encode()

    def test_an_account_expires(self, place: Place) -> None:
        place.call("adduser", "-a", "-p", "x", "ann")
        told = place.call("adduser", "--expires=2001-02-03", "ann").out
        assert told == "user ann expired, expires 2001-02-03 00:00\n"
        assert json.loads(place.call("adduser", "--list", "--json").out)[0]["state"] == "expired"
        told = place.call("adduser", "--expires=9000-01-01", "ann").out
        assert told == "user ann active, expires 9000-01-01 00:00\n"
        assert "9000-01-01 00:00" in place.call("adduser", "--list").out
        assert place.call("adduser", "--expires=never", "ann").out == "user ann active\n"
        place.call("adduser", "--expires=2001-02-03", "ann")
        assert place.call("adduser", "--enable", "ann").out == "user ann active\n"

    @pytest.mark.parametrize(("argv", "message"), [
        (["--disable", "none"], "no user none in"), (["--disable", "--enable", "u"], "only one of"),
        (["--expires=tomorrow", "u"], "allowed is YYYY-MM-DD"), (["--expires=1960-01-01", "u"], "allowed is"),
        (["--disable", "-p", "x", "u"], "go without"), (["--disable"], "name one user"),
    ])  # fmt: skip
    def test_what_is_refused(self, place: Place, argv: list[str], message: str) -> None:
        place.call("adduser", "-a", "-p", "x", "u")
        before = place.database.read_bytes()
        result = place.call("adduser", *argv)
        assert (result.status, message in result.err) == (1, True)
        assert place.database.read_bytes() == before


def test_a_password_from_a_file_descriptor(place: Place) -> None:
    reading, writing = os.pipe()
    os.write(writing, "gehe\u00efm\nmore\n".encode())
    os.close(writing)
    place.call("adduser", "-a", f"--password-fd={reading}", "u")  # the command closes it
    assert place.hash("u") == nt_hash("gehe\u00efm")
    for number in ("x", "987"):
        assert "no file descriptor" in place.call("adduser", "-a", f"--password-fd={number}", "v").err
    assert "only one of" in place.call("adduser", "-a", "-p", "x", "--password-fd=0", "v").err
