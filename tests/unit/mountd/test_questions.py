# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions to all workers: parts as they come, an end, and those who do not answer."""

from __future__ import annotations

import json
from collections.abc import Callable

from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event
from ksmbd.overriding import override
from mountd.loop import Loop, Timer
from mountd.questions import Questions


class TurnedLoop(Loop):
    """Its timers run when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[Timer] = []

    @override
    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(call))
        return self.timers[-1]

    def turn(self) -> None:
        for timer in self.timers:
            call, timer.call = timer.call, None
            if call is not None:
                call()


class Bench:
    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.sent: list[tuple[int, Message]] = []
        self.loop = TurnedLoop()
        self.questions = Questions(self.loop, self)
        self.parts: list[tuple[int, object]] = []
        self.ends: list[list[int]] = []

    def reply(self, slot: int, message: Message) -> None:
        self.sent.append((slot, message))

    def ask(self, **question: object) -> int:
        self.questions.ask(question, lambda worker, part: self.parts.append((worker, part)), self.ends.append)
        return self.sent[-1][1].handle if self.sent else 0

    def answer(self, slot: int, handle: int, part: object = None, end: bool = False) -> None:
        numbers = {Attribute.HANDLE: handle}
        if end:
            numbers[Attribute.SIZE] = 1
        texts = {} if part is None else {Attribute.BODY: json.dumps(part)}
        self.questions.answered(slot, Message(Event.ANSWER, numbers=numbers, texts=texts))


def test_all_workers_are_asked_at_once_and_the_last_one_ends_it() -> None:
    bench = Bench()
    handle = bench.ask(ask="files")
    assert [slot for slot, _ in bench.sent] == [1, 2]
    assert all(message.event is Event.QUESTION and message.handle == handle for _, message in bench.sent)
    assert json.loads(bench.sent[0][1].texts[Attribute.BODY]) == {"ask": "files"}
    bench.answer(2, handle, [1])
    bench.answer(1, handle, [2])
    bench.answer(2, handle, end=True)
    assert bench.ends == []
    bench.answer(1, handle, [3], end=True)
    assert bench.parts == [(2, [1]), (1, [2]), (1, [3])]
    assert bench.ends == [[]]
    bench.loop.turn()
    assert bench.ends == [[]]


def test_a_silent_worker_is_told_of_and_not_waited_for() -> None:
    bench = Bench(3)
    handle = bench.ask(ask="files")
    bench.answer(2, handle, end=True)
    bench.answer(3, handle, [1])
    bench.loop.turn()
    assert bench.ends == [[1, 3]]
    bench.answer(1, handle, ["late"], end=True)
    assert (bench.parts, bench.ends) == ([(3, [1])], [[1, 3]])


def test_two_questions_do_not_mix() -> None:
    bench = Bench(1)
    first, second = bench.ask(ask="a"), bench.ask(ask="b")
    bench.answer(1, second, ["b"], end=True)
    assert (bench.parts, bench.ends) == ([(1, ["b"])], [[]])
    bench.answer(1, first, ["a"], end=True)
    assert bench.parts[-1] == (1, ["a"])


def test_a_worker_that_has_ended_its_answer_is_not_heard_again() -> None:
    bench = Bench()
    handle = bench.ask(ask="a")
    bench.answer(1, handle, end=True)
    bench.answer(1, handle, ["more"])
    assert bench.parts == []


def test_without_workers_there_is_nothing_to_wait_for() -> None:
    bench = Bench(0)
    bench.ask(ask="files")
    assert bench.ends == [[]]
