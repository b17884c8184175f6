# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose place goes to a newcomer: the oldest of the same address, or of the address that has most; nobody's with a
session."""
from __future__ import annotations

from ksmbd.conn.sessionless import SessionlessConnections


class Visitor:
    """A connection."""

    def __init__(self, room: SessionlessConnections, peer: str, logged_on: bool = False) -> None:
        self.peer = peer
        self.logged_on = logged_on
        room.enter(self)

    def end(self, reason: str) -> None:
        raise AssertionError("who asks ends it")


def test_the_oldest_of_an_address() -> None:
    room = SessionlessConnections()
    first, second, other = Visitor(room, "192.0.2.7"), Visitor(room, "192.0.2.7"), Visitor(room, "192.0.2.8")
    assert room.oldest_of("192.0.2.7") is first and room.oldest_of("192.0.2.9") is None
    first.logged_on = True
    assert room.oldest_of("192.0.2.7") is second and room.count("192.0.2.7") == 1
    room.leave(first)
    room.leave(second)
    assert room.oldest_of("192.0.2.7") is None and room.oldest_of_most() is other
    room.enter(first)
    first.logged_on = False
    assert room.oldest_of("192.0.2.7") is first
    for each in (first, other):
        room.leave(each)
    assert len(room) == 0 and room.oldest_of_most() is None and not room._groups


def test_the_address_that_has_most_gives_way() -> None:
    room = SessionlessConnections()
    few = [Visitor(room, "192.0.2.7") for _ in range(2)]
    many = [Visitor(room, f"2001:db8::{number}") for number in range(4)]
    gone = []
    for _ in range(6):
        connection = room.oldest_of_most()
        assert connection is not None
        gone.append(connection)
        room.leave(connection)
    assert gone[:2] == many[:2] and set(gone) == {*few, *many}
    assert len(room) == 0


def test_those_who_have_logged_on_count_no_longer() -> None:
    room = SessionlessConnections()
    idle = Visitor(room, "192.0.2.8")
    for _ in range(100):
        Visitor(room, "192.0.2.7", logged_on=True)
    assert room.oldest_of_most() is idle and len(room) == 1


def test_an_address_whose_connections_have_all_logged_on_but_one_has_not_most() -> None:
    room = SessionlessConnections()
    Visitor(room, "192.0.2.7")
    for _ in range(100):
        Visitor(room, "192.0.2.7", logged_on=True)
    few = [Visitor(room, "192.0.2.8") for _ in range(2)]
    assert room.oldest_of_most() is few[0]


def test_those_beyond_a_number_are_those_without_a_session() -> None:
    room = SessionlessConnections()
    visitors = [Visitor(room, "192.0.2.7", logged_on=number % 2 == 0) for number in range(10)]
    assert room.oldest_beyond("192.0.2.7", 5) is None and room.oldest_beyond("192.0.2.9", 0) is None
    assert room.oldest_beyond("192.0.2.7", 4) is visitors[1] and room.count("192.0.2.7") == 5
    visitors[1].logged_on = True
    assert room.oldest_beyond("192.0.2.7", 4) is None
    for each in visitors[1:]:
        each.logged_on = True
    assert room.oldest_beyond("192.0.2.7", 0) is None and room.count("192.0.2.7") == 0
