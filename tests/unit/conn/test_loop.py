# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from conn_fakes import TurnedClock

from ksmbd import debug
from ksmbd.conn.loop import Loop
from ksmbd.conn.offload import Helpers


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def loop(clock: TurnedClock) -> Iterator[Loop]:
    loop = Loop(clock)
    yield loop
    loop.close()


def test_timers_run_in_order_when_the_clock_is_turned(loop: Loop, clock: TurnedClock) -> None:
    calls: list[str] = []
    loop.call_later(2, lambda: calls.append("two"))
    loop.call_later(1, lambda: calls.append("one"))
    loop.call_later(1, lambda: calls.append("one again"))
    loop.run_once(wait=False)
    assert calls == []
    clock.now += 1
    loop.run_once()
    assert calls == ["one", "one again"]
    clock.now += 5
    loop.run_once()
    assert calls == ["one", "one again", "two"]


def test_a_cancelled_timer_is_not_called(loop: Loop, clock: TurnedClock) -> None:
    calls: list[str] = []
    second = loop.call_later(1, lambda: calls.append("second"))
    loop.call_later(1, lambda: calls.append("third"))
    second.cancel()
    clock.now += 1
    loop.run_once()
    assert calls == ["third"]


def test_a_timer_cancels_another_that_is_due_with_it(loop: Loop, clock: TurnedClock) -> None:
    calls: list[str] = []
    loop.call_later(1, lambda: later.cancel())
    later = loop.call_later(1, lambda: calls.append("later"))
    clock.now += 1
    loop.run_once()
    assert calls == []


def test_calls_added_by_calls_wait_for_the_next_iteration(loop: Loop) -> None:
    calls: list[int] = []

    def first() -> None:
        calls.append(1)
        loop.call_soon(lambda: calls.append(2))

    loop.call_soon(first)
    loop.run_once()
    assert calls == [1]
    loop.run_once()
    assert calls == [1, 2]


def test_end_of_iteration_comes_after_events(loop: Loop) -> None:
    one, two = socket.socketpair()
    with one, two:
        order: list[str] = []

        def readable() -> None:
            order.append(one.recv(1).decode())
            loop.at_end(lambda: order.append("end"))

        loop.add_reader(one.fileno(), readable)
        loop.call_soon(lambda: order.append("soon"))
        two.send(b"x")
        loop.run_once()
        loop.remove(one.fileno())
    assert order == ["soon", "x", "end"]


def test_what_holds_the_loop_is_told_of_where_it_is_asked_for(
    loop: Loop, clock: TurnedClock, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def long() -> None:
        clock.now += 0.25

    loop.call_soon(long)
    loop.run_once()
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(debug, "mask", memoryview(bytearray(4)).cast("I"))
    debug.mask[0] = debug.CONN
    loop.call_soon(long)
    loop.call_soon(lambda: None)
    loop.run_once()
    (line,) = capfd.readouterr().err.splitlines()
    assert "long held the loop for 250.0 ms" in line


def _raise() -> None:
    raise ZeroDivisionError("division by zero")


def test_a_callback_that_raises_is_logged_and_the_loop_goes_on(loop: Loop, capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []
    loop.call_soon(_raise)
    loop.call_soon(lambda: calls.append(1))
    loop.run_once()
    assert calls == [1]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_reader_and_writer_of_one_descriptor(loop: Loop) -> None:
    one, two = socket.socketpair()
    with one, two:
        seen: list[str] = []
        loop.add_reader(one.fileno(), lambda: seen.append(one.recv(9).decode()))

        def written() -> None:
            seen.append("w")
            loop.remove_writer(one.fileno())

        loop.add_writer(one.fileno(), written)
        two.send(b"r")
        loop.run_once()
        assert seen == ["r", "w"]
        loop.remove(one.fileno())
        two.send(b"r")
        loop.run_once(wait=False)
        assert seen == ["r", "w"]


def test_a_descriptor_removed_by_an_earlier_event_is_left_alone(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    seen: list[int] = []

    def readable(index: int) -> None:
        seen.append(index)
        for pair in pairs:
            loop.remove(pair[0].fileno())

    for index, pair in enumerate(pairs):
        loop.add_reader(pair[0].fileno(), partial(readable, index))
        pair[1].send(b"x")
    loop.run_once()
    assert len(seen) == 1
    for pair in pairs:
        pair[0].close()
        pair[1].close()


def test_nothing_is_reported_for_an_unwatched_descriptor_that_hung_up(loop: Loop) -> None:
    """epoll tells of a hang-up whatever one asks for: without unregistering the loop would spin."""
    one, two = socket.socketpair()
    loop.add_reader(one.fileno(), lambda: None)
    loop.remove_reader(one.fileno())
    two.close()
    assert loop._epoll.poll(0) == []
    one.close()


def test_a_thread_wakes_the_loop() -> None:
    loop = Loop()
    thread = threading.Thread(target=lambda: loop.call_from_thread(loop.stop))
    loop.call_soon(thread.start)
    loop.run()
    thread.join()
    loop.close()


def test_filetime(loop: Loop) -> None:
    before = time.time_ns()
    now = loop.filetime()
    after = time.time_ns()
    assert before // 100 <= now - 116444736000000000 <= after // 100


def test_helpers_complete_in_the_loops_thread() -> None:
    loop = Loop()
    helpers = Helpers(loop, threads=2)
    results: list[tuple[object, int]] = []

    def done(value: object) -> None:
        results.append((value, threading.get_ident()))
        if len(results) == 3:
            loop.stop()

    def failing() -> None:
        raise OSError(5, "no")

    for call in (os.getpid, threading.get_ident, failing):
        helpers.submit(call).add_callback(lambda future: done(future._error or future.result()))
    loop.run()
    helpers.close()
    loop.close()
    values = [value for value, _ in results]
    assert os.getpid() in values
    assert any(isinstance(value, OSError) for value in values)
    assert {thread for _, thread in results} == {threading.get_ident()}
    assert threading.get_ident() not in values, "it ran in another thread"


class Waits:
    """In place of the loop's epoll: notes the timeouts it is asked with; None sleeps for `asleep` seconds."""

    def __init__(self, clock: TurnedClock, asleep: float) -> None:
        self.clock, self.asleep = clock, asleep
        self.timeouts: list[float | None] = []
        self.ready_at = 0
        """The how manieth look of a turn finds something; 0: none."""

    def poll(self, timeout: float | None, count: int) -> list[tuple[int, int]]:
        self.timeouts.append(timeout)
        if timeout is None:
            self.clock.now += self.asleep
        return [(-1, 0)] if timeout is None or len(self.timeouts) == self.ready_at else []

    def turn(self, loop: Loop) -> list[float | None]:
        self.timeouts = []
        loop.run_once()
        return self.timeouts

    def close(self) -> None: ...


def test_it_looks_again_before_it_sleeps_where_events_come_soon(loop: Loop, clock: TurnedClock) -> None:
    loop._epoll.close()
    waits: Any = Waits(clock, 0.001)
    loop._epoll = waits
    assert waits.turn(loop) == waits.turn(loop) == [None]
    waits.asleep = 20e-6
    assert waits.turn(loop) == [None]
    waits.ready_at = 3
    assert waits.turn(loop) == waits.turn(loop) == [0, 0, 0]
    waits.ready_at, waits.asleep = 0, 0.001
    vain = [waits.turn(loop) for _ in range(20)]
    looked = [turn for turn in vain if len(turn) > 1]
    assert 0 < len(looked) < 10 and all(turn[-1] is None and not any(turn) for turn in looked)
    assert vain[-1] == [None], "after some times in vain it sleeps at once"


def test_it_sleeps_no_longer_than_to_the_next_timer(loop: Loop, clock: TurnedClock) -> None:
    loop._epoll.close()
    waits: Any = Waits(clock, 20e-6)
    loop._epoll = waits
    waits.turn(loop)
    loop.call_later(2, lambda: None)
    assert waits.turn(loop)[-1] == 2
