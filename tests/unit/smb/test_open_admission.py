# SPDX-License-Identifier: GPL-2.0-or-later
"""`max open files` and descriptors: one user, in however many sessions, leaves some to others."""
from __future__ import annotations

import pytest
from bench import Bench

from ksmbd.smb.constants import DIALECT_311
from ksmbd.smb.model import Open, Session
from ksmbd.smb.open_admission import OpenAdmission
from ksmbd.smb.ports import Identity
from ksmbd.smb.status import STATUS_TOO_MANY_OPENED_FILES, NtStatusError


class OpenTables:
    """Sessions and their opens."""

    def __init__(self, maximum: int, descriptors: int = 0, others: int = 0) -> None:
        self.opens: dict[int, Open] = {}
        self.server = Bench().server
        self.admission = OpenAdmission(self.opens, maximum)
        self.number = self.counted = 0
        if descriptors:
            self.admission.watch_descriptors(descriptors, lambda: others + len(self.opens))

    def session(self, user: str) -> Session:
        session = Session(self.number, self.server, DIALECT_311, bytes(16))
        session.admitted = (user, "")
        return session

    def open(self, session: Session) -> bool:
        try:
            self.admission.check(session)
        except NtStatusError as error:
            assert error.status == STATUS_TOO_MANY_OPENED_FILES
            return False
        self.number += 1
        open_ = Open(self.number, self.number, session, None, None, None, 0, 0)
        self.opens[self.number] = session.opens[self.number] = open_
        return True

    def fill(self, *sessions: Session) -> int:
        """Open in turn until each is refused; how many."""
        before, left = len(self.opens), list(sessions)
        while left:
            left = [session for session in left if self.open(session)]
        return len(self.opens) - before


def test_a_user_of_one_session_leaves_an_eighth() -> None:
    tables = OpenTables(1024)
    assert tables.fill(tables.session("ann")) == 896
    assert tables.fill(tables.session("bob")) == 128


def test_a_user_of_many_sessions_leaves_as_much() -> None:
    tables = OpenTables(1024)
    assert 850 <= tables.fill(*(tables.session("ann") for _ in range(30))) <= 896
    assert tables.fill(tables.session("bob")) >= 128


def test_disconnected_opens_are_their_users() -> None:
    tables = OpenTables(1024)
    ann = tables.session("ann")
    assert tables.fill(ann) == 896
    who = Identity("Ann", "W", 1000, 1000, (), b"")
    for number, open_ in tables.opens.items():
        kept = tables.opens[number] = open_.copy()
        kept.session, kept.made_by = None, who
    assert tables.fill(tables.session("ann")) <= 16 + len(tables.opens) // 64, "counted anew now and then"
    assert tables.fill(tables.session("bob")) >= 100


def test_descriptors_are_left_for_others() -> None:
    tables = OpenTables(20_000, descriptors=1024, others=40)
    greedy = [tables.session("ann") for _ in range(20)]
    assert 700 <= tables.fill(*greedy) <= 1024 * 3 // 4
    bob = tables.session("bob")
    assert all(tables.open(bob) for _ in range(60))
    assert tables.fill(tables.session("eve"), bob) > 0
    assert len(tables.opens) + 40 <= 1024 - 1024 * 12 // 100, "an eighth is nobody's"


def test_who_closes_may_open_again() -> None:
    tables = OpenTables(20_000, descriptors=400, others=40)
    ann = tables.session("ann")
    tables.fill(ann)
    for number in list(ann.opens)[:100]:
        del ann.opens[number], tables.opens[number]
    assert tables.fill(ann) >= 90


def test_few_opens_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def used() -> int:
        raise AssertionError("it costs a system call")

    tables = OpenTables(20_000)
    tables.admission.watch_descriptors(20_512, used)
    ann = tables.session("ann")
    assert all(tables.open(ann) for _ in range(5000))
