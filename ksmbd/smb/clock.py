# SPDX-License-Identifier: GPL-2.0-or-later
"""The port for time: a clock and timers. Tests replace it by a clock that they advance."""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is scheduled for later."""

    def cancel(self) -> None:
        """Cancel the call; no effect after it has run."""
        ...


class Clock(Protocol):
    """The time and timers of a worker's event loop (ksmbd.conn.loop.Loop)."""

    def monotonic(self) -> float:
        """Seconds of a monotonic clock."""
        ...

    def filetime(self) -> int:
        """The current time as FILETIME (100 ns since 1601, MS-DTYP 2.3.3)."""
        ...

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run `call` in the thread of the event loop after `seconds`."""
        ...
