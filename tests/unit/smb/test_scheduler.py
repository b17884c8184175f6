# SPDX-License-Identifier: GPL-2.0-or-later
"""Long work goes on in pieces: others are served between them, clients take turns, and nothing is answered else."""
from __future__ import annotations

from struct import pack
from typing import Any

import create_messages as m
import pytest
from fake_clock import FakeClock
from script import ECHO_BODY, Client, split

from ksmbd.smb import constants as c
from ksmbd.smb.ports import Unfinished
from ksmbd.smb.scheduler import SLICE_SECONDS, Scheduler
from ksmbd.smb.waiting import Task

RELATED = {"flags": c.FLAGS_RELATED_OPERATIONS}


async def work(scheduler: Scheduler, owner: object, name: str, steps: int, done: list[str]) -> None:
    time_slice = scheduler.time_slice(owner)
    for step in range(steps):
        done.append(f"{name}{step}")
        if time_slice.is_over():
            await time_slice.renew()
    done.append(f"{name}!")


def test_work_that_has_time_runs_to_its_end() -> None:
    clock = FakeClock()
    scheduler = Scheduler(clock)
    done: list[str] = []
    assert Task(work(scheduler, "a", "a", 1000, done)).start().done
    assert len(done) == 1001 and len(scheduler) == 0 and not clock.timers


def test_one_piece_at_a_time_and_clients_in_turn() -> None:
    clock = FakeClock()
    clock.tick = SLICE_SECONDS  # a step is a piece
    scheduler = Scheduler(clock)
    done: list[str] = []
    for owner, name in (("a", "a"), ("a", "b"), ("a", "c"), ("z", "z")):
        Task(work(scheduler, owner, name, 2, done)).start()
    assert done == ["a0", "b0", "c0", "z0"] and len(scheduler) == 4
    clock.tick = 0.0
    seen = []
    while clock.timers:
        (timer,) = clock.timers  # never two: others are served between two pieces
        clock.timers.clear()
        before = len(done)
        timer.call()
        seen.append(done[before:])
    # The client with one piece of work does not wait for the three of the other.
    assert seen == [["a1", "a!"], ["z1", "z!"], ["b1", "b!"], ["c1", "c!"]]
    assert len(scheduler) == 0


def test_work_that_is_cancelled_takes_no_turn() -> None:
    clock = FakeClock()
    clock.tick = SLICE_SECONDS
    scheduler = Scheduler(clock)
    done: list[str] = []
    first = Task(work(scheduler, "a", "a", 3, done)).start()
    Task(work(scheduler, "b", "b", 2, done)).start()
    first.cancel()
    clock.advance(1)
    assert first.done
    assert done == ["a0", "b0", "b1", "b!"]


def _compound(client: Client, count: int) -> bytes:
    parts: list[tuple[int, bytes, dict[str, Any]]] = [(c.CREATE, m.create("file"), {})]
    parts += [(c.FLUSH, pack("<HHIQQ", 24, 0, 0, 1, 1), RELATED)] * count
    return client.compound(*parts, (c.CLOSE, m.close(1, 1), RELATED))


def test_between_two_elements_of_a_compound_others_are_served() -> None:
    client = Client().ready()
    client.volume.add("file", b"content")
    other = Client(client.server).ready()
    clock: Any = client.server.clock
    clock.tick = SLICE_SECONDS / 2
    assert client.feed(_compound(client, 8)) == []
    assert other.ask(c.ECHO, ECHO_BODY).status == 0
    slices = 0
    while clock.timers:
        clock.timers.pop(0).call()
        slices += 1
    assert slices > 2
    replies = split(client.transport.frames[-1])
    assert [one.status for one in replies] == [0] * 10
    assert [one.header.command for one in replies] == [c.CREATE, *[c.FLUSH] * 8, c.CLOSE]
    assert not client.server.opens


def test_a_connection_that_ends_between_two_elements_leaves_nothing() -> None:
    client = Client().ready()
    client.volume.add("file", b"content")
    clock: Any = client.server.clock
    clock.tick = SLICE_SECONDS
    assert client.feed(_compound(client, 8)) == []
    sent = len(client.transport.frames)
    client.connection.disconnected("gone")
    clock.tick = 0.0
    clock.advance(1)
    assert len(client.transport.frames) == sent
    assert not client.server.opens and len(client.server.scheduler) == 0


def test_a_create_that_looks_through_a_large_folder_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client().ready()
    volume: Any = client.volume
    volume.add("file", b"content")
    clock: Any = client.server.clock
    real, steps = volume.create, [True] * 12

    def create(intent: Any) -> Any:
        if steps and intent.later:
            raise Unfinished(lambda: bool(steps) and steps.pop())
        return real(intent)

    monkeypatch.setattr(volume, "create", create)
    clock.tick = SLICE_SECONDS / 2
    assert client.feed(client.element(c.CREATE, m.create("file"))) == []
    assert 0 < len(steps) < 12
    assert client.ask(c.ECHO, ECHO_BODY).status == 0
    clock.tick = 0.0
    clock.advance(1)
    (reply,) = split(client.transport.frames[-1])
    assert (reply.header.command, reply.status) == (c.CREATE, 0)
    assert len(client.server.opens) == 1


def test_a_create_whose_folder_never_rests_is_answered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client().ready()
    volume: Any = client.volume
    volume.add("file", b"content")
    real = volume.create
    asked: list[bool] = []

    def create(intent: Any) -> Any:
        asked.append(intent.later)
        if intent.later:
            raise Unfinished(lambda: False)
        return real(intent)

    monkeypatch.setattr(volume, "create", create)
    assert client.ask(c.CREATE, m.create("file")).status == 0
    assert asked[-1] is False and all(asked[:-1]) and len(asked) < 20
