# SPDX-License-Identifier: GPL-2.0-or-later
"""Long work in pieces: what one request needs of a worker's thread is done a few milliseconds at a time, and between
two pieces all others are served.

A handler that loops over a number which the client chose has a Pace: it asks `over` now and then, and awaits `turn`
where that is true. The first piece runs when the request comes, most need no second one. The pieces of all others take
turns, one between two looks at the sockets, and among them the clients: who has a hundred long requests under way waits
for himself.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from ksmbd.smb.waiting import Future

PIECE: Final = 0.003
"""Seconds of one piece. A bystander waits for one of them, and for what a piece does between two looks at the time."""


class Ticker(Protocol):
    """What is needed of a Clock."""

    def monotonic(self) -> float: ...

    def call_later(self, seconds: float, call: Callable[[], None], /) -> object: ...


class Turns:
    """Who waits for his next piece, by client."""

    def __init__(self, clock: Ticker) -> None:
        self._clock = clock
        self._waiting: dict[object, deque[Future[None]]] = {}
        """In the order of their next turns."""
        self._due = False

    def __len__(self) -> int:
        """Pieces that wait."""
        return sum(len(queue) for queue in self._waiting.values())

    def pace(self, owner: object) -> Pace:
        """For work of `owner` (a connection) that begins now."""
        return Pace(self, owner)

    def seconds(self) -> float:
        """The clock's."""
        return self._clock.monotonic()

    def next(self, owner: object) -> Future[None]:
        """Completes when it is `owner`'s turn: never at once."""
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
        """One piece of whoever is next."""
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
        """Run all that waits, and what it asks for further: the worker ends."""
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


class Pace:
    """The time of one request's work."""

    __slots__ = ("_owner", "_turns", "_until")

    def __init__(self, turns: Turns, owner: object) -> None:
        self._turns = turns
        self._owner = owner
        self._until = turns.seconds() + PIECE

    def over(self) -> bool:
        """Whether this piece has had its time."""
        return self._turns.seconds() >= self._until

    async def turn(self) -> None:
        """Let others be served, then begin the next piece. What the work stands on may have changed meanwhile: the open
        may be closed, the session gone."""
        await self._turns.next(self._owner)
        self._until = self._turns.seconds() + PIECE
