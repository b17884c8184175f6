# SPDX-License-Identifier: GPL-2.0-or-later
"""The books of sessions and tree connects: all counts go back to zero."""
from __future__ import annotations

from mountd.sessions import Sessions


def test_counts_go_up_and_down() -> None:
    books = Sessions()
    books.connect(1, 10, 1, "s", "ann", "p", False)
    books.connect(1, 10, 1, "s", "ann", "p", False)  # the same one again
    books.connect(1, 10, 2, "t", "ann", "p", False)
    books.connect(2, 10, 1, "s", "bob", "q", False)
    assert (len(books), books.connections("s"), books.connections("t")) == (2, 2, 1)
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
