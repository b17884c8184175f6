# SPDX-License-Identifier: GPL-2.0-or-later
"""The user database: KSMBD's format, one clear line for whatever is wrong with it, written as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.auth.md4 import md4
from mountd import accounts
from mountd.accounts import Account, Accounts, AccountsProblem

# RFC 1320 A.5
VECTORS = {
    b"": "31d6cfe0d16ae931b73c59d7e0c089c0",
    b"a": "bde52cb31de33e46245e05fbdbd6fb24",
    b"abc": "a448017aaf21d8525fc10ae87aa6729d",
    b"message digest": "d9130a8164549fe818874806e1c7014b",
    b"abcdefghijklmnopqrstuvwxyz": "d79e1c308aa5bbcdeea8ed63df412da9",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "043f8582f241db351ce627e153e7f0e4",
    b"1234567890" * 8: "e33b4ddc9c38f2199c3e7b164fcc0536",
}

# MS-NLMP 4.2.2.1.2: the NT hash of "Password"
NT_HASH_OF_PASSWORD = "a4f49c406510bdcab6824ee7c30fd852"


@pytest.mark.parametrize(("data", "digest"), VECTORS.items())
def test_md4(data: bytes, digest: str) -> None:
    assert md4(data).hex() == digest


def test_nt_hash() -> None:
    assert accounts.nt_hash("Password").hex() == NT_HASH_OF_PASSWORD


def test_a_line_is_name_colon_base64_of_the_hash(tmp_path: Path) -> None:
    file = tmp_path / "ksmbdpwd.db"
    accounts.save(Accounts([Account("u1", accounts.nt_hash("Password"))]), str(file))
    assert file.read_bytes() == b"u1:pPScQGUQvcq2gk7nww/YUg==\n"
    assert accounts.load(str(file)).find("u1") == Account("u1", bytes.fromhex(NT_HASH_OF_PASSWORD))


name = st.text(
    st.characters(min_codepoint=0x20, exclude_characters=":", exclude_categories=["Cs"]), min_size=1, max_size=11
)


@given(st.dictionaries(name, st.binary(min_size=16, max_size=16), max_size=8))
def test_what_is_written_is_read(users: dict[str, bytes]) -> None:
    written = Accounts(Account(user, digest) for user, digest in users.items())
    assert {a.name: a.nt_hash for a in accounts.parse(written.encode(), "db")} == users


@given(st.binary(max_size=80))
def test_any_content_is_users_or_one_line(content: bytes) -> None:
    try:
        accounts.parse(content, "db")
    except AccountsProblem as problem:
        assert str(problem).startswith("db:")
        assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"nocolon", "no ':'"),
        (b":pPScQGUQvcq2gk7nww/YUg==", "a user's name has 1 to 47 bytes, this one has 0"),
        (b"u" * 48 + b":pPScQGUQvcq2gk7nww/YUg==", "this one has 48"),
        (b"u:pPScQGUQvcq2gk7nww/Y", "has 15 bytes and not 16"),
        (b"u:", "has 0 bytes and not 16"),
        (b"u:p PScQGUQvcq2gk7nww/YUg==", "not base64"),
        (b"\xff:pPScQGUQvcq2gk7nww/YUg==", "not UTF-8"),
    ],
)
def test_a_broken_line_is_named(line: bytes, what: str) -> None:
    with pytest.raises(AccountsProblem) as caught:
        accounts.parse(b"ok:pPScQGUQvcq2gk7nww/YUg==\n\n" + line + b"\n", "/db")
    assert str(caught.value).startswith("/db:3: ")
    assert what in str(caught.value)


def test_padding_may_be_missing() -> None:
    assert accounts.parse(b"u:pPScQGUQvcq2gk7nww/YUg\n", "db").find("u") is not None


def test_names_are_found_in_any_case_but_as_written_first() -> None:
    users = Accounts([Account("Anna", bytes(16)), Account("anna", bytes(range(16)))])
    assert [users.find(n).name for n in ("anna", "Anna", "ANNA")] == ["anna", "Anna", "Anna"]  # type: ignore[union-attr]
    assert "otto" not in users


def test_a_missing_file_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    path = str(tmp_path / "none.db")
    with pytest.raises(AccountsProblem, match=r"none\.db: no such user database; ksmbd.adduser -a USER"):
        accounts.load(path)
    assert len(accounts.load(path, missing_ok=True)) == 0


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AccountsProblem, match="cannot be read: Is a directory"):
        accounts.load(str(tmp_path))


class TestWriting:
    def test_a_new_file_is_for_its_owner_alone_whatever_the_umask(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            accounts.save(Accounts(), str(tmp_path / "new" / "db"))
        finally:
            os.umask(old)
        assert (tmp_path / "new" / "db").stat().st_mode & 0o7777 == 0o600

    def test_an_existing_file_keeps_its_mode_and_owner(self, tmp_path: Path) -> None:
        file = tmp_path / "db"
        file.touch()
        file.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(file, 1, 2)
        before = file.stat()
        accounts.save(Accounts([Account("u", bytes(16))]), str(file))
        after = file.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert after.st_ino != before.st_ino

    def test_a_link_is_followed_and_stays(self, tmp_path: Path) -> None:
        (tmp_path / "real").write_bytes(b"")
        (tmp_path / "db").symlink_to("real")
        accounts.save(Accounts([Account("u", bytes(16))]), str(tmp_path / "db"))
        assert (tmp_path / "db").is_symlink()
        assert (tmp_path / "real").read_bytes().startswith(b"u:")

    def test_a_failure_leaves_the_old_content_and_nothing_beside_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "db"
        file.write_bytes(b"old")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(AccountsProblem, match="No space left on device"):
            accounts.save(Accounts(), str(file))
        assert file.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["db"]


@pytest.mark.parametrize(("flags", "expires", "now", "bar"), [
    ("", None, 5, ""), ("D", None, 5, "D"), ("L", None, 5, "L"), ("DL", 3, 5, "D"), ("", 5, 5, "X"), ("", 6, 5, ""),
])  # fmt: skip
def test_who_may_not_log_on(flags: str, expires: int | None, now: int, bar: str) -> None:
    account = Account("u", bytes(16), flags, expires)
    assert account.bar(now) == bar
    assert accounts.parse(account.line().encode(), "db").find("u") == account


@pytest.mark.parametrize("rest", [":D", ":Q:", ":D:x", ":D:1:2", ":", "::-1", ":D:1234567890123"])
def test_fields_that_are_not_allowed(rest: str) -> None:
    with pytest.raises(AccountsProblem, match=r"db:1: "):
        accounts.parse(b"u:AAAAAAAAAAAAAAAAAAAAAA==" + rest.encode(), "db")
