# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks all workers of the engine at once, with a time limit.

A worker that does not answer is not waited for: its number is told with the end. Answers come in parts, each as soon as
the worker has sent it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event
from mountd.loop import Loop, Timer

ANSWER_SECONDS: Final = 2.0
"""Seconds that a worker may take until the end of its answer."""

OnPart = Callable[[int, Any], None]
"""(worker, what it has sent)."""
OnEnd = Callable[[list[int]], None]
"""Called with the numbers of the workers that have not answered in time."""


class Workers(Protocol):
    """The workers, by slot from 1 on; mountd.engine.Engine."""

    @property
    def workers(self) -> int:
        """Their number; 0 where no engine runs."""
        ...

    def reply(self, slot: int, message: Message) -> None:
        """Send a message to the process `slot`."""
        ...


@dataclass
class _Pending:
    on_part: OnPart
    on_end: OnEnd
    waits_for: set[int]
    timer: Timer
    silent: list[int] = field(default_factory=list)


class Questions:
    """The questions that wait for answers."""

    def __init__(self, loop: Loop, workers: Workers) -> None:
        self._loop = loop
        self._workers = workers
        self._pending: dict[int, _Pending] = {}
        self._handle = 0

    @property
    def answerable(self) -> bool:
        """Whether there are workers to ask."""
        return self._workers.workers > 0

    def ask(
        self, question: Mapping[str, object], on_part: OnPart, on_end: OnEnd, seconds: float = ANSWER_SECONDS
    ) -> None:
        """Ask all workers. `on_part` is called for each part of an answer, `on_end` once: when all have answered, or
        after `seconds`."""
        self._handle = handle = self._handle % 0x7FFFFFFF + 1
        slots = set(range(1, self._workers.workers + 1))
        if not slots:
            on_end([])
            return
        timer = self._loop.call_later(seconds, lambda: self._end(handle))
        self._pending[handle] = _Pending(on_part, on_end, slots, timer)
        body = json.dumps(question, ensure_ascii=False)  # no longer than what was asked
        for slot in sorted(slots):
            numbers = {Attribute.HANDLE: handle}
            self._workers.reply(slot, Message(Event.QUESTION, numbers=numbers, texts={Attribute.BODY: body}))

    def answered(self, slot: int, message: Message) -> None:
        """Take an ANSWER. One that comes too late is ignored. Raises ValueError where it is no JSON."""
        pending = self._pending.get(message.handle)
        if pending is None or slot not in pending.waits_for:
            return
        body = message.texts.get(Attribute.BODY)
        if body is not None:
            pending.on_part(slot, json.loads(body))
        if Attribute.SIZE in message.numbers:
            pending.waits_for.discard(slot)
            if not pending.waits_for:
                self._end(message.handle)

    def _end(self, handle: int) -> None:
        pending = self._pending.pop(handle)
        pending.timer.cancel()
        pending.on_end(sorted(pending.waits_for))
