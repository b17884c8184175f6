# SPDX-License-Identifier: GPL-2.0-or-later
"""Schedules long requests in time slices of a few milliseconds, so that a worker serves its other clients in between.

A handler whose loop may be as long as the client chooses takes a TimeSlice. It calls `is_over` regularly and awaits
`renew` when the slice is over. The first slice begins with the request; most requests need no other. Further slices are
granted round robin by client, one in each iteration of the event loop. So a client with a hundred long requests delays
only itself.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from ksmbd.smb.waiting import Future

SLICE_SECONDS: Final = 0.003
"""Seconds of one time slice. Another client waits for at most one slice, and for what that slice does after its last
check of the time."""


class MonotonicClock(Protocol):
    """The part of a Clock that the scheduler uses."""

    def monotonic(self) -> float: ...

    def call_later(self, seconds: float, call: Callable[[], None], /) -> object: ...


class Scheduler:
    """Grants time slices to the requests that wait for one, round robin by client."""

    def __init__(self, clock: MonotonicClock) -> None:
        self._clock = clock
        self._waiting: dict[object, deque[Future[None]]] = {}
        """By client, in the order in which the clients are served next."""
        self._due = False

    def __len__(self) -> int:
        """How many requests wait for a slice."""
        return sum(len(queue) for queue in self._waiting.values())

    def time_slice(self, owner: object) -> TimeSlice:
        """The first time slice of work for `owner` (a Connection or a Session), which begins now."""
        return TimeSlice(self, owner)

    def seconds(self) -> float:
        """The clock's monotonic time in seconds."""
        return self._clock.monotonic()

    def next_turn(self, owner: object) -> Future[None]:
        """Complete in a later iteration of the event loop, when the next slice of `owner` begins."""
        future: Future[None] = Future()
        queue = self._waiting.get(owner)
        if queue is None:
            queue = self._waiting[owner] = deque()
        queue.append(future)
        if not self._due:
            self._due = True
            self._clock.call_later(0, self._run)
        return future

    def _run(self) -> None:
        """Grant one slice to the client that is next."""
        self._due = False
        future = self._take()
        if future is None:
            return
        try:
            future.set_result(None)
        finally:
            if self._waiting and not self._due:
                self._due = True
                self._clock.call_later(0, self._run)

    def drain(self) -> None:
        """Run all work that waits to its end, however many slices it takes. The worker calls this when it stops."""
        while (future := self._take()) is not None:
            future.set_result(None)

    def _take(self) -> Future[None] | None:
        while self._waiting:
            owner = next(iter(self._waiting))
            queue = self._waiting.pop(owner)
            while queue:
                future = queue.popleft()
                if not future.done:  # else its request was cancelled
                    if queue:
                        self._waiting[owner] = queue  # behind the others
                    return future
        return None


class TimeSlice:
    """The time that one request may use now."""

    __slots__ = ("_owner", "_scheduler", "_until")

    def __init__(self, scheduler: Scheduler, owner: object) -> None:
        self._scheduler = scheduler
        self._owner = owner
        self._until = scheduler.seconds() + SLICE_SECONDS

    def is_over(self) -> bool:
        """Whether the time of this slice is used up."""
        return self._scheduler.seconds() >= self._until

    async def renew(self) -> None:
        """Let others be served, then begin the next slice. The caller must check afterwards what it relies on: its open
        may be closed, or its session deleted."""
        await self._scheduler.next_turn(self._owner)
        self._until = self._scheduler.seconds() + SLICE_SECONDS
