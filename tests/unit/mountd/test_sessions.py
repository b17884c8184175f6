# SPDX-License-Identifier: GPL-2.0-or-later
"""The books of sessions and tree connects: all counts go back to zero."""
from __future__ import annotations

from mountd.sessions import Sessions


def test_counts_go_up_and_down() -> None:
    books = Sessions()
    books.connect(1, 10, 1, "s", "ann", "p", False)
    books.connect(1, 10, 1, "s", "ann", "p", False)  # the same one again
    books.connect(1, 10, 2, "t", "ann", "p", False)
    books.connect(1, 10, 3, "s", "ann", "p", False)  # one more of a share that it uses
    books.connect(2, 10, 1, "s", "bob", "q", False)
    assert (len(books), books.connections("s"), books.connections("t")) == (2, 2, 1)
    books.disconnect(1, 10, 3)
    assert books.connections("s") == 2
    books.disconnect(1, 10, 1)
    books.disconnect(1, 10, 1)
    books.disconnect(9, 9, 9)
    assert (len(books), books.connections("s")) == (2, 1)
    books.disconnect(1, 10, 2)
    assert [session.account for session in books.all()] == ["bob"]


def test_dead_process_takes_its_sessions_along() -> None:
    books = Sessions()
    books.connect(1, 1, 1, "s", "ann", "p", False)
    books.connect(2, 2, 1, "s", "bob", "p", False)
    books.forget(1)
    assert (len(books), books.connections("s")) == (1, 1)
    books.forget(2)
    assert (len(books), books.connections("s")) == (0, 0)


def test_one_user_and_all_guests_leave_room_for_others() -> None:
    sessions = Sessions()

    def fill(account: str, peer: str, guest: bool) -> int:
        """Sessions until there is no room for one more."""
        before = len(sessions)
        while not sessions.full(16, account, peer, guest):
            sessions.connect(1, len(sessions), 1, "s", account, peer, guest)
        return len(sessions) - before

    assert fill("Ann", "192.0.2.7", False) == 14 and fill("ann", "192.0.2.8", False) == 0
    assert fill("", "192.0.2.7", True) == 2, "no more than there is"
    sessions.forget(1)
    assert fill("", "2001:db8::1", True) == 8 and fill("x", "2001:db8::2", True) == 0
    assert fill("x", "192.0.2.8", True) == 6 and fill("ann", "192.0.2.8", False) == 2
    for session in range(len(sessions)):
        sessions.disconnect(1, session, 1)
    assert (len(sessions), len(sessions._users), len(sessions._guests)) == (0, 0, 0)
    assert fill("Ann", "192.0.2.7", False) == 14
