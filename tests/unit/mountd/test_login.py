# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may log on: the decision as a table."""
from __future__ import annotations

import pytest
from mountd_doubles import FakeUsers, accounts, configuration

from ksmbd.ipc.constants import UserFlag
from mountd.accounts import Account, Accounts, nt_hash
from mountd.login import decide

PLAIN = "[s]\npath = /s\n"
FORCED = "[s]\npath = /s\nforce user = media\n"
FORCED_NOBODY_KNOWS = "[s]\npath = /s\nforce user = ghost\n"
SHARE_GUEST = "[s]\npath = /s\nguest account = media\n"
GLOBAL_GUEST = "[global]\nguest account = media\n" + PLAIN
MAP = "[global]\nmap to guest = bad user\nguest account = bob\n" + PLAIN

IN, EXT, GUEST = UserFlag.OK, UserFlag.EXTENSION, UserFlag.GUEST_ACCOUNT
STRANGER, HOMELESS = UserFlag.BAD_USER | EXT, UserFlag.BAD_UID | EXT


@pytest.mark.parametrize("text, account, status, uid", [
    (PLAIN, "ann", IN | EXT, 1001),
    (PLAIN, "ANN", IN | EXT, 1001),
    (PLAIN, "stranger", STRANGER, None),
    (PLAIN, "smbonly", HOMELESS, None),
    (FORCED, "smbonly", IN | EXT, 65534),
    (FORCED, "ann", IN | EXT, 1001),
    (FORCED_NOBODY_KNOWS, "smbonly", HOMELESS, None),
    (SHARE_GUEST, "smbonly", IN | EXT, 65534),
    (GLOBAL_GUEST, "smbonly", HOMELESS, None),
    (PLAIN, "", IN | EXT | GUEST, 65534),
    (MAP, "stranger", IN | EXT | GUEST, 1002),
    (MAP, "smbonly", HOMELESS, None),
    (MAP, "ann", IN | EXT, 1001),
])  # fmt: skip
def test_login(text: str, account: str, status: UserFlag, uid: int | None) -> None:
    login = decide(account, accounts("ann", "smbonly"), configuration(text), FakeUsers())
    assert login.status == status
    assert (login.unix.uid if login.unix else None) == uid
    assert bool(login.note) == (status == HOMELESS)


def test_the_hash_goes_to_the_engine_for_users_that_may_in() -> None:
    known = accounts("ann", "smbonly")
    assert decide("ann", known, configuration(PLAIN), FakeUsers()).nt_hash == nt_hash("ann")
    for account in ("smbonly", "stranger", ""):
        assert decide(account, known, configuration(PLAIN), FakeUsers()).nt_hash == b""


def test_the_note_says_what_to_do() -> None:
    note = decide("smbonly", accounts("smbonly"), configuration(PLAIN), FakeUsers()).note
    assert "smbonly" in note and "useradd" in note and "force user" in note and "\n" not in note


def test_guests_without_a_guest_account_get_the_overflow_ids() -> None:
    login = decide("", accounts(), configuration(PLAIN), FakeUsers(users={}))
    assert login.unix is not None and (login.unix.uid, login.unix.gid) == (65534, 65534)


@pytest.mark.parametrize(("account", "status"), [
    (Account("ann", bytes(16), "D"), UserFlag.DISABLED), (Account("ann", bytes(16), "L"), UserFlag.LOCKED),
    (Account("ann", bytes(16), "", 1), UserFlag.EXPIRED), (Account("none", bytes(16), "D"), UserFlag.DISABLED),
])  # fmt: skip
def test_a_barred_account_is_not_ok_and_its_password_is_checked(account: Account, status: UserFlag) -> None:
    login = decide(account.name, Accounts([account]), configuration("[s]\npath = /s\n"), FakeUsers())
    assert (login.status, login.nt_hash) == (status | UserFlag.EXTENSION, bytes(16))
