# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from ksmbd.conn.loop import Loop
from ksmbd.process.peers import MESSAGE_MAX, QUEUE_MAX, Inboxes, Kind, Peers


class Office:
    """Two workers and the forker in one process and one loop."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.epochs = [1, 1, 1]
        self.inboxes = Inboxes(2)
        self.peers = [Peers(self.loop, self.inboxes, index, lambda worker: self.epochs[worker]) for index in range(3)]
        self.got: list[tuple[int, int, bytes, list[int]]] = []
        for index, peers in enumerate(self.peers):
            for kind in (Kind.OPEN_TABLE, Kind.SOCKET):
                peers.on(kind, partial(self._take, index))

    def _take(self, index: int, sender: int, data: bytes, fds: list[int]) -> None:
        self.got.append((index, sender, data, fds))

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.loop.run_once(wait=False)


@pytest.fixture
def office() -> Iterator[Office]:
    office = Office()
    yield office
    office.loop.close()


def test_messages_keep_their_bounds_and_order(office: Office) -> None:
    for index in range(10):
        assert office.peers[1].deliver(2, bytes([index]) * index)
    office.peers[2].deliver(0, b"to the forker")
    office.turn(2)
    assert [data for to, _, data, _ in office.got if to == 2] == [bytes([index]) * index for index in range(10)]
    assert (0, 2, b"to the forker", []) in office.got


def test_broadcast_reaches_all_other_workers(office: Office) -> None:
    office.peers[1].broadcast(b"news")
    office.turn()
    assert office.got == [(2, 1, b"news", [])]


def test_a_descriptor_rides_along(office: Office) -> None:
    one, two = socket.socketpair()
    with one, two:
        office.peers[1].deliver(2, b"bytes", Kind.SOCKET, [one.fileno()])
        office.turn()
        fds = office.got[0][3]
        assert len(fds) == 1 and not os.get_inheritable(fds[0])
        with socket.socket(fileno=fds[0]) as passed:
            passed.send(b"same socket")
        assert two.recv(100) == b"same socket"


def test_what_a_dead_worker_did_not_read_is_dropped(office: Office) -> None:
    reader, writer = os.pipe()
    office.peers[1].deliver(2, b"old", Kind.SOCKET, [writer])
    os.close(writer)
    office.epochs[2] = 2
    office.peers[1].deliver(2, b"new")
    office.turn()
    assert [data for _, _, data, _ in office.got] == [b"new"]
    assert os.read(reader, 1) == b"", "the descriptor that came with it is closed"
    os.close(reader)


def test_a_worker_that_never_ran_gets_nothing(office: Office) -> None:
    office.epochs[2] = 0
    assert not office.peers[1].deliver(2, b"hello")


def test_a_receiver_that_does_not_read(office: Office) -> None:
    """Messages wait in the sender, in order, bounded, with descriptors of their own."""
    office.loop.remove(office.inboxes.readers[2].fileno())
    large = bytes(MESSAGE_MAX)
    sent = 0
    while office.peers[1].deliver(2, large if sent < 100 else b"") and sent < 2 * QUEUE_MAX:
        sent += 1
    assert QUEUE_MAX <= sent < 2 * QUEUE_MAX
    office.loop.add_reader(office.inboxes.readers[2].fileno(), office.peers[2]._readable)
    while len(office.got) < sent:
        office.loop.run_once()
    assert [len(data) for _, _, data, _ in office.got[:100]] == [MESSAGE_MAX] * 100
    assert office.peers[1].deliver(2, b"again")


def test_messages_for_a_dead_worker_are_forgotten(office: Office) -> None:
    office.loop.remove(office.inboxes.readers[2].fileno())
    reader, writer = os.pipe()
    for _ in range(100):
        office.peers[1].deliver(2, bytes(MESSAGE_MAX))
    office.peers[1].deliver(2, b"", Kind.SOCKET, [writer])
    os.close(writer)
    office.peers[1].forget(2)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_too_long_is_an_error_of_the_caller(office: Office) -> None:
    with pytest.raises(ValueError):
        office.peers[1].deliver(2, bytes(MESSAGE_MAX + 1))


def test_a_handler_that_raises_does_not_stop_the_others(office: Office, capfd: pytest.CaptureFixture[str]) -> None:
    def bad(sender: int, data: bytes, fds: list[int]) -> None:
        raise ZeroDivisionError("division by zero")

    office.peers[2].on(Kind.OPEN_TABLE, bad)
    office.peers[1].deliver(2, b"bad")
    office.peers[1].deliver(2, b"good", Kind.SOCKET)
    office.turn()
    assert [data for _, _, data, _ in office.got] == [b"good"]
    assert "ZeroDivisionError" in capfd.readouterr().err
