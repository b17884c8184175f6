# SPDX-License-Identifier: GPL-2.0-or-later
"""Clock: time as the protocol needs it, so that a test can turn it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def filetime(self) -> int:
        """Now as FILETIME."""
        ...

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run `call` in the core's thread after `seconds`."""
        ...
