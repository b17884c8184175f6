# SPDX-License-Identifier: GPL-2.0-or-later
"""Threads for look-ups that can block (name servers, NSS), whose results come back to the daemon's event loop."""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ksmbd import limits
from mountd.loop import Loop, Timer

Query = TypeVar("Query")
Answer = TypeVar("Answer")


class LookupThreads(Generic[Query, Answer]):
    """Up to `threads` threads, started when they are needed."""

    def __init__(
        self,
        loop: Loop,
        resolve: Callable[[Query], Answer],
        done: Callable[[Query, Answer | None, str], None],
        threads: int,
    ) -> None:
        """`resolve` runs in a thread. `done(query, answer, why)` is called in the loop; where `resolve` raised, the
        answer is None and `why` says what happened."""
        self._loop = loop
        self._resolve = resolve
        self._call = done
        self._maximum = threads
        self._jobs: queue.SimpleQueue[tuple[Query] | None] = queue.SimpleQueue()
        """None ends a thread."""
        self._done: queue.SimpleQueue[tuple[Query, Answer | None, str]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._wake = -1
        self._waking = threading.Lock()
        """Held while a thread writes to the eventfd and while it is closed, because its number may be reused."""

    def start(self, query: Query) -> None:
        """Begin a look-up."""
        if self._wake < 0:
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._loop.add_reader(self._wake, self._take)
        if len(self._threads) < self._maximum:
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put((query,))

    def close(self, seconds: float = 0.0) -> None:
        """Stop the threads. Each ends after its current look-up; wait for that at most `seconds` per thread. The
        process can end before that."""
        for _ in self._threads:
            self._jobs.put(None)
        if self._wake >= 0:
            self._loop.remove_reader(self._wake)
            with self._waking:
                os.close(self._wake)
                self._wake = -1
        for thread in self._threads:
            thread.join(seconds)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            (query,) = job
            try:
                self._done.put((query, self._resolve(query), ""))
            except Exception as error:  # noqa: BLE001  whatever the resolver raises, the caller must be answered
                self._done.put((query, None, getattr(error, "strerror", None) or str(error) or "failed"))
            with self._waking:
                if self._wake >= 0:
                    os.eventfd_write(self._wake, 1)

    def _take(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        while not self._done.empty():
            self._call(*self._done.get())


class TimedLookups(Generic[Query, Answer]):
    """Look-ups for callers each of which is answered after LOOKUP_SECONDS at the latest."""

    def __init__(self, loop: Loop, resolve: Callable[[Query], Answer], *threads: int) -> None:
        """`threads`: those of each pool."""
        self._loop = loop

        def work(job: tuple[int, Query]) -> Answer:
            return resolve(job[1])

        self._pools = [LookupThreads(loop, work, self._done, number) for number in threads]
        self._waiting: dict[int, tuple[Callable[[Answer | None, str], None], Timer]] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        """The number of callers that wait."""
        return len(self._waiting)

    def close(self, seconds: float = 0.0) -> None:
        """Stop the threads, as LookupThreads.close does."""
        for pool in self._pools:
            pool.close(seconds)

    def start(self, query: Query, then: Callable[[Answer | None, str], None], pool: int = 0) -> bool:
        """Begin a look-up in one of the pools. `then(answer, why)` is called later in the loop; `why` says why there is
        no answer, and is empty where there is one. Returns False where LOOKUPS callers wait already."""
        if len(self._waiting) >= limits.LOOKUPS.value:
            return False
        number = next(self._numbers)
        seconds = limits.LOOKUP_SECONDS.value
        timer = self._loop.call_later(seconds, lambda: self._settle(number, None, f"no answer in {seconds} s"))
        self._waiting[number] = (then, timer)
        self._pools[pool].start((number, query))
        return True

    def _done(self, job: tuple[int, Query], answer: Answer | None, why: str) -> None:
        self._settle(job[0], answer, why)

    def _settle(self, number: int, answer: Answer | None, why: str) -> None:
        entry = self._waiting.pop(number, None)
        if entry is not None:
            then, timer = entry
            timer.cancel()
            then(answer, why)
