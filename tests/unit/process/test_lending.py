# SPDX-License-Identifier: GPL-2.0-or-later
"""No listener is without a worker that accepts from it."""
from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence

import pytest

from ksmbd.conn.contract import Listener
from ksmbd.conn.tcp.accepting import TcpListener
from ksmbd.process.lending import Lending
from ksmbd.process.peers import INODE, Kind


class Worker:
    """A worker with one listener."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.ready = True
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.listeners: list[Listener] = [TcpListener(self.socket)]


class Ground:
    """Three workers, and which of them accepts from whose listeners, from what they were told."""

    def __init__(self) -> None:
        self.workers = [Worker(index) for index in (1, 2, 3)]
        self.lending = Lending(self.workers, self.deliver)
        self.accepting = {index: {index} for index in (1, 2, 3)}
        """Worker -> the owners of the listeners that it accepts from."""

    def deliver(self, worker: int, data: bytes, kind: Kind, fds: Sequence[int]) -> bool:
        assert self.workers[worker - 1].ready, "told to one who does not listen"
        inodes = {os.fstat(one.socket.fileno()).st_ino: one.index for one in self.workers}
        if kind is Kind.LISTEN:
            assert data == b"tcp"
            (owner,) = (inodes[os.fstat(fd).st_ino] for fd in fds)
            assert owner not in self.accepting[worker]
            self.accepting[worker].add(owner)
        else:
            assert kind is Kind.UNLISTEN
            self.accepting[worker].remove(inodes[INODE.unpack(data)[0]])
        return True

    def ends(self, index: int) -> None:
        self.workers[index - 1].ready = False
        self.accepting[index] = set()
        self.lending.ended(self.workers[index - 1])

    def starts(self, index: int) -> None:
        self.workers[index - 1].ready = True
        self.accepting[index] = {index}
        self.lending.is_ready(self.workers[index - 1])


@pytest.fixture
def ground() -> Iterator[Ground]:
    made = Ground()
    yield made
    for worker in made.workers:
        worker.socket.close()


def test_another_worker_accepts_until_the_successor_is_ready(ground: Ground) -> None:
    ground.ends(1)
    assert ground.accepting == {1: set(), 2: {1, 2}, 3: {3}}
    assert ground.lending.who_have(ground.workers[0]) == {1, 2}
    ground.starts(1)
    assert ground.accepting == {1: {1}, 2: {2}, 3: {3}}
    assert ground.lending.who_have(ground.workers[0]) == {1}


def test_the_one_that_helped_ends_too(ground: Ground) -> None:
    ground.ends(1)
    ground.ends(2)
    assert ground.accepting == {1: set(), 2: set(), 3: {1, 2, 3}}
    ground.starts(1)
    assert ground.accepting == {1: {1}, 2: set(), 3: {2, 3}}
    ground.ends(3)
    assert ground.accepting == {1: {1, 2, 3}, 2: set(), 3: set()}


def test_when_none_is_left_the_first_that_starts_has_all(ground: Ground) -> None:
    for index in (1, 2, 3):
        ground.ends(index)
    assert not any(ground.accepting.values())
    ground.starts(2)
    assert ground.accepting[2] == {1, 2, 3}
    ground.starts(3)
    ground.starts(1)
    assert ground.accepting == {1: {1}, 2: {2}, 3: {3}}


def test_one_that_ends_again_before_it_was_ready_is_lent_once(ground: Ground) -> None:
    ground.ends(1)
    ground.ends(1)
    assert ground.accepting == {1: set(), 2: {1, 2}, 3: {3}}
