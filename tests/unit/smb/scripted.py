# SPDX-License-Identifier: GPL-2.0-or-later
"""An object whose methods are steps of a Playbook, which also says what they answer.

No steps are plain facts, which a test sets: a file's names and keys, the time, how far a stream has come. Cryptography
is the fakes'. `Server(...)`, `CreateResult(...)` and `call_later` check each class against its Protocol: a method that
is added to a port and not here is an error of types.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from playbook import Named, Playbook

P = ParamSpec("P")
T = TypeVar("T")


class Scripted(Named):
    """An object whose methods are steps."""

    def __init__(self, play: Playbook, name: str) -> None:
        super().__init__(name)
        self.play = play

    def _tell(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The server calls `method`: what the script answers."""
        assert not kwargs
        return cast(T, self.play.happens(self, cast(Any, method).__name__, args))
