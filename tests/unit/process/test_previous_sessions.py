# SPDX-License-Identifier: GPL-2.0-or-later
"""A session that lives in another worker is ended by it: two workers whose messages are carried by hand."""
from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "smb"))

from script import Client

from ksmbd.process.peers import Kind
from ksmbd.process.previous_sessions import ANSWER_SECONDS, PreviousSessions


class Wire:
    """Carries messages between workers at once; a worker that is not there takes none."""

    def __init__(self) -> None:
        self.handlers: dict[tuple[int, Kind], Callable[[int, bytes, list[int]], None]] = {}
        self.lost = False

    def peers(self, own: int) -> Any:
        wire = self

        class Peers:
            def on(self, kind: Kind, handler: Callable[[int, bytes, list[int]], None]) -> None:
                wire.handlers[own, kind] = handler

            def deliver(self, worker: int, data: bytes, kind: Kind) -> bool:
                handler = wire.handlers.get((worker, kind))
                if handler is not None and not wire.lost:
                    handler(own, data, [])
                return handler is not None

        return Peers()


@pytest.fixture
def two() -> tuple[Client, Client, Wire]:
    wire = Wire()
    clients = []
    for index in (1, 2):
        client = Client()
        client.server.settings = replace(client.server.settings, worker=index)
        client.server.end_remote_session = PreviousSessions(client.server, wire.peers(index)).end
        clients.append(client)
    return clients[0], clients[1], wire


def log_on(client: Client, previous: int = 0) -> int:
    """The status of the last round; nothing where it waits."""
    client.negotiate(0x0311)
    client.session_id = client.setup(b"hello").header.session_id
    return client.setup(b"proof", previous=previous).status


def test_the_session_of_the_other_worker_is_gone(two: tuple[Client, Client, Wire]) -> None:
    first, second, _ = two
    assert log_on(first) == 0
    assert first.session_id >> 24 == 1
    assert log_on(second, first.session_id) == 0
    assert not first.server.sessions and second.session_id in second.server.sessions


def test_another_user_s_session_stays(two: tuple[Client, Client, Wire]) -> None:
    first, second, _ = two
    log_on(first)
    session = first.server.sessions[first.session_id]
    assert session.identity is not None
    session.identity = replace(session.identity, account="bob")
    assert log_on(second, first.session_id) == 0
    assert first.session_id in first.server.sessions


def test_a_dead_worker_holds_up_nobody(two: tuple[Client, Client, Wire]) -> None:
    _, second, _ = two
    assert log_on(second, 0x09000001) == 0


def test_one_that_does_not_answer_holds_up_for_a_bounded_time(two: tuple[Client, Client, Wire]) -> None:
    first, second, wire = two
    log_on(first)
    wire.lost = True
    second.negotiate(0x0311)
    second.session_id = second.setup(b"hello").header.session_id
    before = len(second.transport.frames)
    with pytest.raises(ValueError, match="unpack"):
        second.setup(b"proof", previous=first.session_id)  # no reply yet
    clock: Any = second.server.clock
    clock.advance(ANSWER_SECONDS + 0.1)
    assert len(second.transport.frames) == before + 1
