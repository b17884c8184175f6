# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists and closes sessions, tree connects and open files of all workers, for ksmbd.control and for the RPC services'
enumerations (NetrSessionEnum, NetrConnectionEnum, NetrFileEnum, NetrSessionDel and NetrFileClose of MS-SRVS 3.1.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ksmbd.ipc.activity import KINDS, Target
from mountd.questions import OnEnd, Questions

OnRows = Callable[[Mapping[str, Any]], None]
"""Takes kind -> rows, as objects with the fields of the classes in ksmbd.ipc.activity."""
OnClosed = Callable[[Counter[str], list[int]], None]
"""Takes how many `sessions`, `tree_connects` and `files` were closed, and the workers that did not answer in time."""


class NotRunning(ValueError):
    """There is no engine that could answer."""


class Activity:
    """Asks the workers. Calls return at once; the answers come by the functions that are passed."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def list(self, kinds: Sequence[str], on_rows: OnRows, on_end: OnEnd) -> None:
        """List these KINDS; `on_rows` is called for each part of each worker's answer. Raises ValueError for an unknown
        kind, NotRunning."""
        self._check()
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"what can be listed is {', '.join(KINDS)}")
        self._questions.ask({"ask": "list", "kinds": list(kinds)}, lambda worker, part: on_rows(part), on_end)

    def close(self, target: Target, on_closed: OnClosed) -> None:
        """Close what the target names. Raises ValueError where it names nothing, NotRunning."""
        self._check()
        if target.problem:
            raise ValueError(target.problem)
        self._count({"ask": "close", "target": asdict(target)}, on_closed)

    def keys(self, after: int, on_rows: OnRows, on_end: OnEnd) -> None:
        """Ask for the keys of encrypted sessions that were established at `after` (FILETIME) or later. Raises
        NotRunning."""
        self._check()
        self._questions.ask({"ask": "keys", "after": after}, lambda worker, part: on_rows(part), on_end)

    def reloaded(self, on_closed: OnClosed) -> None:
        """Wait until the workers have applied a reload."""
        self._count({"ask": "reloaded"}, on_closed)

    def _check(self) -> None:
        if not self._questions.answerable:
            raise NotRunning("the engine does not run at present")

    def _count(self, question: Mapping[str, object], on_closed: OnClosed) -> None:
        closed: Counter[str] = Counter()
        self._questions.ask(
            question, lambda worker, part: closed.update(part), lambda silent: on_closed(closed, silent)
        )
