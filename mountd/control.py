# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers what ksmbd.control asks on the control socket.

A question is an object with `ask`. The answer is a line, or several; the last one has `silent`, the workers that did
not answer in time, or `error`:

    {"ask": "reload"}   {"problems": ["FILE:LINE: TEXT", ...]}, or
                        {"reloaded": true, "notes": [...], "ended": {...}, "silent": []}
    {"ask": "list", "kinds": ["sessions", ...]}
                        {"sessions": [...]} and others, as ksmbd.ipc.activity has them; then {"silent": []}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ksmbd.ipc.activity import KINDS
from mountd.controlsocket import Conversation
from mountd.questions import Questions


@dataclass(frozen=True)
class Reloaded:
    """The outcome of a reload. With `problems` nothing has changed."""

    problems: list[str]
    notes: list[str] = field(default_factory=list)
    """Warnings about the new configuration."""


class Control:
    """The handler of a ControlSocket."""

    def __init__(self, reload: Callable[[], Reloaded], questions: Questions) -> None:
        self._reload = reload
        self._questions = questions

    def handle(self, question: dict[str, Any], conversation: Conversation) -> None:
        """Answer a question, at once or later."""
        match question.get("ask"):
            case "reload":
                self._reload_and_wait(conversation)
            case "list":
                self._list(question.get("kinds"), conversation)
            case other:
                conversation.end({"error": f"ksmbd.mountd does not know the question {other!r}"})

    def _reload_and_wait(self, conversation: Conversation) -> None:
        """Reload, and wait until the workers have applied it to those who are connected."""
        outcome = self._reload()
        if outcome.problems:
            conversation.end({"problems": outcome.problems})
            return
        ended: Counter[str] = Counter()
        self._questions.ask(
            {"ask": "reloaded"},
            lambda worker, part: ended.update(part),
            lambda silent: conversation.end(
                {"reloaded": True, "notes": outcome.notes, "ended": dict(ended), "silent": silent}
            ),
        )

    def _list(self, kinds: object, conversation: Conversation) -> None:
        """Pass on the rows of all workers as they come."""
        if not isinstance(kinds, list) or not all(kind in KINDS for kind in kinds):
            conversation.end({"error": f"what can be listed is {', '.join(KINDS)}"})
            return
        self._questions.ask(
            {"ask": "list", "kinds": kinds},
            lambda worker, part: conversation.say(part),
            lambda silent: conversation.end({"silent": silent}),
        )
