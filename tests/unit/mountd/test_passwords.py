# SPDX-License-Identifier: GPL-2.0-or-later
"""Users change their passwords: what the old one proves, what is written, and which Unix passwords are left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from impacket.dcerpc.v5 import rpcrt, samr
from impacket.dcerpc.v5.rpcrt import DCERPCException
from rpc_doubles import Transport, View, told

from ksmbd.overriding import override
from ksmbd.smb import status as s
from mountd import accounts, unixpassword
from mountd.passwords import Done, Job, decode, perform
from mountd.rpc.names import PASSWORD, PasswordChange
from mountd.rpc.names import Outcome as Answered
from mountd.rpc.pipe import Pipe
from mountd.rpc.service import Caller
from mountd.rpc.services import SERVICES
from mountd.rpc.telling import level_of
from mountd.unixpassword import Outcome, Result, Shadow, why_left

CHANGED = Outcome(Result.CHANGED)


class ChangingTransport(Transport):
    """mountd answers the questions of the pipe, with a user database in a file."""

    def __init__(self, pipe: Pipe, database: Path, unix: Outcome | None) -> None:
        super().__init__(pipe)
        self.database = database
        self.unix = unix
        self.synced: list[tuple[str, str]] = []
        self.done: list[Done] = []

    def sync(self, name: str, password: str) -> Outcome:
        self.synced.append((name, password))
        assert self.unix is not None
        return self.unix

    @override
    def send(self, data: bytes, forceWriteAndx: int = 0, forceRecv: int = 0) -> None:
        super().send(data)
        if self.pipe.questions:
            [question] = self.pipe.questions
            assert question.kind == PASSWORD
            job = Job(1, decode(question.value), self.unix is not None)
            self.done.append(perform(job, str(self.database), 1000.0, self.sync))
            self.pipe.resume({question: Answered(self.done[-1].status)})


def site(
    folder: Path, unix: Outcome | None = None, restricted: bool = False, flags: str = ""
) -> tuple[Any, ChangingTransport]:
    """impacket's client of samr, whose caller is bob, and its transport."""
    database = folder / "users"
    accounts.save(accounts.Accounts([accounts.Account("Ann", accounts.nt_hash("old"), flags)]), str(database))
    caller = Caller(lambda: told("bob", restricted), level_of(View(), "bob", restricted), "bob")
    transport = ChangingTransport(Pipe(SERVICES["samr"], caller), database, unix)
    dce = rpcrt.DCERPC_v5(transport)
    dce.connect()
    dce.bind(samr.MSRPC_UUID_SAMR)
    return dce, transport


def password(transport: ChangingTransport) -> bytes:
    found = accounts.load(str(transport.database)).find("ann")
    assert found is not None
    return found.nt_hash


def change(dce: Any, old: str, new: str, user: str = "ann") -> int:
    try:
        samr.hSamrUnicodeChangePasswordUser2(dce, "\0", user, old, new)
    except DCERPCException as error:
        return int(error.get_error_code())
    return 0


def test_who_knows_the_old_password_changes_it(tmp_path: Path) -> None:
    dce, transport = site(tmp_path)
    assert change(dce, "old", "Größer") == 0
    assert password(transport) == accounts.nt_hash("Größer")
    assert transport.done == [Done(s.STATUS_SUCCESS, "", "Ann", None)]
    assert transport.synced == []


@pytest.mark.parametrize(("user", "old"), [("ann", "wrong"), ("ann", ""), ("nobody here", "old"), ("a" * 300, "old")])
def test_nobody_else_changes_it(tmp_path: Path, user: str, old: str) -> None:
    dce, transport = site(tmp_path, CHANGED)
    assert change(dce, old, "new", user) == s.STATUS_WRONG_PASSWORD
    assert password(transport) == accounts.nt_hash("old")
    assert transport.synced == []


@pytest.mark.parametrize("new", ["", "a" * 129, "a\nb"])
def test_what_cannot_be_a_password_is_refused(tmp_path: Path, new: str) -> None:
    dce, transport = site(tmp_path, CHANGED)
    assert change(dce, "old", new) == s.STATUS_PASSWORD_RESTRICTION
    assert password(transport) == accounts.nt_hash("old")
    assert transport.synced == []


@pytest.mark.parametrize(("flags", "status"), [("D", s.STATUS_ACCOUNT_DISABLED), ("L", s.STATUS_ACCOUNT_LOCKED_OUT)])
def test_who_may_not_log_on_changes_nothing(tmp_path: Path, flags: str, status: int) -> None:
    dce, transport = site(tmp_path, CHANGED, flags=flags)
    assert change(dce, "old", "new") == status
    assert change(dce, "wrong", "new") == s.STATUS_WRONG_PASSWORD  # and does not learn of it
    assert password(transport) == accounts.nt_hash("old")


def test_guests_are_refused_without_a_question(tmp_path: Path) -> None:
    dce, transport = site(tmp_path, restricted=True)
    assert change(dce, "old", "new") == s.STATUS_ACCESS_DENIED
    assert transport.done == []


@pytest.mark.parametrize(
    ("outcome", "status", "digest"),
    [
        (CHANGED, s.STATUS_SUCCESS, "new"),
        (Outcome(Result.LEFT, "it has none"), s.STATUS_SUCCESS, "new"),
        (Outcome(Result.REFUSED, "too short"), s.STATUS_PASSWORD_RESTRICTION, "old"),
        (Outcome(Result.FAILED, "no libpam"), s.STATUS_UNSUCCESSFUL, "old"),
    ],
)
def test_the_unix_password_comes_first(tmp_path: Path, outcome: Outcome, status: int, digest: str) -> None:
    dce, transport = site(tmp_path, outcome)
    assert change(dce, "old", "new") == status
    assert transport.synced == [("Ann", "new")]
    assert password(transport) == accounts.nt_hash(digest)
    assert transport.done[0].unix == outcome


def test_a_user_who_was_changed_meanwhile_stays_so(tmp_path: Path) -> None:
    dce, transport = site(tmp_path, CHANGED)
    other = accounts.Accounts([accounts.Account("Ann", accounts.nt_hash("another"))])

    def meanwhile(name: str, password: str) -> Outcome:
        accounts.save(other, str(transport.database))
        return CHANGED

    transport.sync = meanwhile  # type: ignore[method-assign]
    assert change(dce, "old", "new") == s.STATUS_UNSUCCESSFUL
    assert password(transport) == accounts.nt_hash("another")


@pytest.mark.parametrize(
    "text",
    [
        "[]", "{}", '["a","00","00","",0]', json.dumps(["a", "zz" * 516, "00" * 16, "", 0]),
        json.dumps(["a", "00" * 516, "00" * 16, "", True]), json.dumps(["a", "00" * 16, "00" * 64, "00" * 16, 4999]),
        json.dumps(["a", "00" * 16, "00" * 64, "00" * 16, 10**6 + 1]),
        json.dumps(["a", "", "00" * 64, "00" * 16, 5000]),
        json.dumps(["a", "00" * 17, "00" * 64, "00" * 16, 5000]), json.dumps(["\ud800", "00" * 516, "00" * 16, "", 0]),
    ],
)  # fmt: skip
def test_questions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text)


def test_a_change_with_aes_needs_the_right_proof(tmp_path: Path) -> None:
    _, transport = site(tmp_path)
    forged = PasswordChange("ann", bytes(528), bytes(64), bytes(16), 5000)
    assert perform(Job(1, forged, True), str(transport.database), 0.0).status == s.STATUS_WRONG_PASSWORD


HASH = b"$y$j9T$abcdefgh$0123456789"


@pytest.mark.parametrize(
    ("uid", "entry", "left"),
    [
        (1001, Shadow(HASH), False),
        (1001, Shadow(HASH, 19_000, 90, 30), False),
        (1001, Shadow(HASH, 0, 99_999, 7), False),
        (1001, Shadow(HASH, 0, 30, 5), False),
        (1001, Shadow(HASH, 18_000, 90, -1), False),
        (1001, Shadow(b"x7GeV9ipbRcY6"), False),
        (1001, Shadow(HASH, 18_000, 90, 30), True),
        (1001, None, True),
        (1001, Shadow(b""), True),
        (1001, Shadow(b"!"), True),
        (1001, Shadow(b"!!"), True),
        (1001, Shadow(b"*"), True),
        (1001, Shadow(b"!" + HASH), True),
        (1001, Shadow(b"*LK*" + HASH), True),
        (1001, Shadow(b"x"), True),
        (0, Shadow(HASH), True),
    ],
)
def test_which_unix_passwords_are_left_alone(uid: int, entry: Shadow | None, left: bool) -> None:
    assert bool(why_left(uid, entry, 19_100)) is left


def test_a_process_that_says_nothing_of_use_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unixpassword, "COMMAND", ("/bin/true",))
    assert unixpassword.change("ann", "new").result is Result.FAILED
    monkeypatch.setattr(unixpassword, "COMMAND", ("/bin/echo", '["left", "because"]'))
    assert unixpassword.change("ann", "new") == Outcome(Result.LEFT, "because")
