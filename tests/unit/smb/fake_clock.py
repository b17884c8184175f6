# SPDX-License-Identifier: GPL-2.0-or-later
"""A clock that the test turns."""
from __future__ import annotations

from collections.abc import Callable

NOW = 133_500_000_000_000_000


class FakeTimer:
    """One entry of FakeClock's queue."""

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due, self.call, self.cancelled = due, call, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """Time that stands still until `advance`, or goes on by `tick` each time it is looked at."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tick = 0.0
        self.timers: list[FakeTimer] = []

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now

    def filetime(self) -> int:
        return NOW + int((self.now - 1000.0) * 10_000_000)

    def call_later(self, seconds: float, call: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self.now + seconds, call)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, running what falls due in order."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if not timer.cancelled and timer.due <= end]:
            timer = min(due, key=lambda t: t.due)
            self.timers.remove(timer)
            self.now = max(self.now, timer.due)
            timer.call()
        self.now = end
