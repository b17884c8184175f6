# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers what ksmbd.control asks on the control socket.

A question is an object with `ask`. The answer is a line, or several; the last one has `silent`, the workers that
did not answer in time, or `error`:

    {"ask": "reload"}   {"problems": ["FILE:LINE: TEXT", ...]}, or
                        {"reloaded": true, "notes": [...], "ended": {...}, "silent": []}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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
