# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers what ksmbd.control asks on the control socket.

A question is an object with `ask`. The answer is a line, or several; the last one has `silent`, the workers that did
not answer in time, or `error`:

    {"ask": "reload"}   {"problems": ["FILE:LINE: TEXT", ...]}, or
                        {"reloaded": true, "notes": [...], "restart": false, "closed": {...}, "silent": []}
    {"ask": "list", "kinds": ["sessions", ...]}
                        {"sessions": [...]} and others, as ksmbd.ipc.activity has them; then {"silent": []}
    {"ask": "close", "target": {...}}
                        {"closed": {"sessions": 1, "tree_connects": 1, "files": 3}, "silent": []}
    {"ask": "trace"}    {"ports": [445], "keys": true}; ksmbd.trace begins
    {"ask": "keys", "after": 0}
                        {"keys": [...]}, as ksmbd.ipc.activity has them; then {"silent": []}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ksmbd import log
from ksmbd.ipc.activity import Target
from mountd.activity import Activity
from mountd.console.closing import told
from mountd.controlsocket import Conversation
from mountd.tracing import Tracing


@dataclass(frozen=True)
class Reloaded:
    """The outcome of a reload. With `problems` nothing has changed."""

    problems: list[str]
    notes: list[str] = field(default_factory=list)
    """Warnings about the new configuration."""
    restart: bool = False
    """Something in [global] has changed that counts from the engine's next start."""


class Control:
    """The handler of a ControlSocket."""

    def __init__(self, reload: Callable[[], Reloaded], activity: Activity, tracing: Tracing) -> None:
        self._reload = reload
        self._tracing = tracing
        self._activity = activity

    def handle(self, question: dict[str, Any], conversation: Conversation) -> None:
        """Answer a question, at once or later."""
        try:
            match question.get("ask"):
                case "reload":
                    self._reload_and_wait(conversation)
                case "list":
                    self._list(question, conversation)
                case "close":
                    self._close(question, conversation)
                case "trace":
                    conversation.end(self._tracing.begin(conversation.who))
                case "keys":
                    self._keys(int(question["after"]), conversation)
                case other:
                    raise ValueError(f"ksmbd.mountd does not know the question {other!r}")
        except (TypeError, ValueError, KeyError) as error:
            conversation.end({"error": str(error)})

    def _reload_and_wait(self, conversation: Conversation) -> None:
        """Reload, and wait until the workers have applied it to those who are connected."""
        outcome = self._reload()
        if outcome.problems:
            conversation.end({"problems": outcome.problems})
            return

        def applied(closed: Counter[str], silent: list[int]) -> None:
            if closed:
                log.info(f"closed by the reload: {told(closed)}")
            conversation.end(
                {
                    "reloaded": True, "notes": outcome.notes, "restart": outcome.restart, "closed": dict(closed),
                    "silent": silent,
                }
            )  # fmt: skip

        self._activity.reloaded(applied)

    def _list(self, question: dict[str, Any], conversation: Conversation) -> None:
        """Pass on the rows of all workers as they come."""
        self._activity.list(question["kinds"], conversation.say, lambda silent: conversation.end({"silent": silent}))

    def _keys(self, after: int, conversation: Conversation) -> None:
        self._tracing.keys(after, conversation.say, lambda silent: conversation.end({"silent": silent}))

    def _close(self, question: dict[str, Any], conversation: Conversation) -> None:
        target = Target(**question["target"])

        def done(closed: Counter[str], silent: list[int]) -> None:
            if closed:
                named = ", ".join(f"{name} {value}" for name, value in vars(target).items() if value)
                log.info(f"closed by ksmbd.control ({named}): {told(closed)}")
            conversation.end({"closed": dict(closed), "silent": silent})

        self._activity.close(target, done)
