# SPDX-License-Identifier: GPL-2.0-or-later
"""What mountd answers to ksmbd.control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ksmbd import log
from mountd.activity import Activity
from mountd.control import Control, Reloaded
from mountd.questions import OnEnd, OnPart
from mountd.tracing import Tracing


class Asked:
    """Stands for Questions: keeps what the workers are asked, and answers when the test says so."""

    def __init__(self) -> None:
        self.questions: list[Mapping[str, object]] = []
        self.answerable = True
        self.on_part: OnPart = lambda worker, part: None
        self.on_end: OnEnd = lambda silent: None

    def ask(self, question: Mapping[str, object], on_part: OnPart, on_end: OnEnd, seconds: float = 0.0) -> None:
        self.questions.append(question)
        self.on_part, self.on_end = on_part, on_end


class Heard:
    """Stands for a Conversation."""

    def __init__(self) -> None:
        self.who = "process 7 of uid 0"
        self.lines: list[Mapping[str, object]] = []
        self.ended = False

    def say(self, answer: Mapping[str, object]) -> None:
        assert not self.ended
        self.lines.append(answer)

    def end(self, answer: Mapping[str, object] | None = None) -> None:
        if answer is not None:
            self.say(answer)
        self.ended = True


def bench(outcome: Reloaded | None = None, allowed: bool = True) -> tuple[Control, Asked, Heard]:
    asked: Any = Asked()
    activity = Activity(asked)
    tracing = Tracing(activity, lambda: [4450], lambda: allowed)
    return Control(lambda: outcome or Reloaded([]), activity, tracing), asked, Heard()


def put(control: Control, heard: Any, question: dict[str, Any]) -> None:
    control.handle(question, heard)


def test_a_reload_with_problems_asks_no_worker() -> None:
    control, asked, heard = bench(Reloaded(["a.conf:1: bad"]))
    put(control, heard, {"ask": "reload"})
    assert (heard.lines, heard.ended, asked.questions) == ([{"problems": ["a.conf:1: bad"]}], True, [])


def test_a_reload_is_answered_when_the_workers_use_it() -> None:
    control, asked, heard = bench(Reloaded([], ["a.conf:2: odd"], restart=True))
    put(control, heard, {"ask": "reload"})
    assert asked.questions == [{"ask": "reloaded"}]
    assert not heard.ended
    asked.on_part(1, {"tree_connects": 2})
    asked.on_part(2, {"tree_connects": 1, "sessions": 1})
    asked.on_end([3])
    closed = {"tree_connects": 3, "sessions": 1}
    assert heard.lines == [
        {"reloaded": True, "notes": ["a.conf:2: odd"], "restart": True, "closed": closed, "silent": [3]}
    ]


def test_rows_are_passed_on_as_they_come() -> None:
    control, asked, heard = bench()
    put(control, heard, {"ask": "list", "kinds": ["files"]})
    assert asked.questions == [{"ask": "list", "kinds": ["files"]}]
    asked.on_part(1, {"files": [1]})
    assert heard.lines == [{"files": [1]}]
    asked.on_end([2])
    assert heard.lines[-1] == {"silent": [2]} and heard.ended


def test_what_cannot_be_listed_or_asked() -> None:
    questions: list[dict[str, Any]] = [
        {"ask": "list", "kinds": ["x"]}, {"ask": "list"}, {"ask": "what"}, {}, {"ask": "close"},
        {"ask": "close", "target": {}}, {"ask": "close", "target": {"what": "1"}}, {"ask": "close", "target": 7},
        {"ask": "close", "target": {"path": "a"}}, {"ask": "close", "target": {"share": "a", "address": "192.0.2.1"}},
    ]  # fmt: skip
    for question in questions:
        control, asked, heard = bench()
        put(control, heard, question)
        assert heard.ended and "error" in heard.lines[0] and not asked.questions


def test_what_was_closed_is_counted_over_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(log, "info", logged.append)
    control, asked, heard = bench()
    put(control, heard, {"ask": "close", "target": {"address": "192.0.2.1"}})
    target = {"session": "", "account": "", "address": "192.0.2.1", "file": "", "share": "", "path": None}
    assert asked.questions == [{"ask": "close", "target": target}]
    asked.on_part(1, {"sessions": 1, "files": 2})
    asked.on_part(2, {"files": 1})
    asked.on_end([3])
    assert heard.lines == [{"closed": {"sessions": 1, "files": 3}, "silent": [3]}]
    assert logged == ["closed by ksmbd.control (address 192.0.2.1): 1 session, 3 files"]


def test_without_an_engine_nothing_is_listed_or_closed() -> None:
    for question in ({"ask": "list", "kinds": ["files"]}, {"ask": "close", "target": {"share": "a"}}):
        control, asked, heard = bench()
        asked.answerable = False
        put(control, heard, question)
        assert heard.lines == [{"error": "the engine does not run at present"}]


def test_a_trace_is_told_the_ports_and_the_log_tells_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    control, asked, heard = bench()
    put(control, heard, {"ask": "trace"})
    assert (heard.lines, heard.ended) == ([{"ports": [4450], "keys": True}], True)
    assert "handed to ksmbd.trace (process 7 of uid 0)" in capfd.readouterr().err
    assert asked.questions == []


def test_keys_are_passed_on_as_the_workers_tell_them() -> None:
    control, asked, heard = bench()
    put(control, heard, {"ask": "keys", "after": 12})
    assert asked.questions == [{"ask": "keys", "after": 12}]
    asked.on_part(1, {"keys": [{"session": "0x1"}]})
    asked.on_end([2])
    assert (heard.lines, heard.ended) == ([{"keys": [{"session": "0x1"}]}, {"silent": [2]}], True)


def test_without_trace_keys_none_are_handed_out(capfd: pytest.CaptureFixture[str]) -> None:
    control, asked, heard = bench(allowed=False)
    put(control, heard, {"ask": "trace"})
    assert heard.lines == [{"ports": [4450], "keys": False}]
    assert capfd.readouterr().err == ""
    control, asked, heard = bench(allowed=False)
    put(control, heard, {"ask": "keys", "after": 0})
    assert (asked.questions, heard.ended) == ([], True)
    assert "trace keys = no" in str(heard.lines[0]["error"])
