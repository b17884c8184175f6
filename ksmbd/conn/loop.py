# SPDX-License-Identifier: GPL-2.0-or-later
"""The event loop of each process: epoll, timers, deferred calls, and an eventfd by which helper threads wake it.

One thread runs it. An iteration runs the calls of `call_soon`, events, due timers, then the calls of `at_end`
(connections send there what has gathered). An exception of a callback is a defect: it is logged, and the loop goes on.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ksmbd import debug, log
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from ksmbd.smb.waiting import Cancelled

_READ: Final = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
_WRITE: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_MAX_EVENTS: Final = 256
_LOOKS: Final = 16
"""How often the loop polls before it sleeps, as long as its sleeps are short: about 15 µs."""
_SOON: Final = 50e-6
"""Seconds; a shorter sleep costs more, wake-up included, than polling would have."""
_TRIES: Final = 4
"""How often in a row polling may find nothing before the loop sleeps at once again."""

_LONG: Final = 10e-3
"""Seconds from which a callback is logged by the debug component conn, since no other client is served meanwhile."""

Call = Callable[[], None]


def _nothing() -> None:
    """The default of `Loop.before_sleep`."""


class TimerHandle:
    """A call that is scheduled for later."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def cancel(self) -> None:
        """Cancel the call; no effect after it has run."""
        self.call = None  # releases what the call holds at once; the heap entry goes when it is due


class Timers:
    """A heap of timers, separate from the loop so that tests can advance the clock."""

    __slots__ = ("_heap", "_next")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._next = 0

    def add(self, when: float, call: Call) -> TimerHandle:
        """Call it at `when`; those with the same time in the order in which they were added."""
        timer = TimerHandle(call)
        self._next += 1
        heapq.heappush(self._heap, (when, self._next, timer))
        return timer

    def next_time(self) -> float | None:
        """When the next call is due, or None."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> list[TimerHandle]:
        """Remove and return what is due. A timer cancelled by an earlier one of the list has no call any more."""
        due = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            if timer.call is not None:
                due.append(timer)
        return due

    def __len__(self) -> int:
        return sum(1 for entry in self._heap if entry[2].call is not None)


class _Watch:
    __slots__ = ("mask", "reader", "writer")

    def __init__(self) -> None:
        self.reader: Call | None = None
        self.writer: Call | None = None
        self.mask = 0


class Loop:
    """An epoll loop; the `Clock` of ksmbd.smb.ports."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.now = monotonic()
        """The time of this iteration's events, precise enough for time stamps of connections."""
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._timers = Timers()
        self._soon: deque[Call] = deque()
        self._from_threads: deque[Call] = deque()
        self._end: list[Call] = []
        self._after: list[Call] = []
        self.before_sleep: Call = _nothing
        """Called before the thread sleeps."""
        self._stopping = False
        self._tries = 0
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.add_reader(self._wake_fd, self._woken)

    # ------------------------------------------------------------------------------------------------------ Clock

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic()

    def filetime(self) -> int:
        """Now as FILETIME."""
        return time.time_ns() // 100 + FILETIME_UNIX_EPOCH

    def call_later(self, seconds: float, call: Call) -> TimerHandle:
        """Run `call` in this thread after `seconds`."""
        return self._timers.add(self._monotonic() + max(seconds, 0.0), call)

    # ------------------------------------------------------------------------------------------------------ calls

    def call_soon(self, call: Call) -> None:
        """Run it in the next iteration. From the loop's thread."""
        self._soon.append(call)

    def call_from_thread(self, call: Call) -> None:
        """Run it in the loop's thread, soon; from any thread."""
        self._from_threads.append(call)
        os.eventfd_write(self._wake_fd, 1)

    def at_end(self, call: Call) -> None:
        """Run it once, at the end of the current iteration. From the loop's thread."""
        self._end.append(call)

    def after_iteration(self, call: Call) -> None:
        """Run it at the end of every iteration: for what is counted. It must be quick."""
        self._after.append(call)

    # ------------------------------------------------------------------------------------------- file descriptors

    def add_reader(self, fd: int, call: Call) -> None:
        """Call it whenever `fd` is readable or has hung up (level-triggered)."""
        watch = self._watches.setdefault(fd, _Watch())
        watch.reader = call
        self._update(fd, watch)

    def add_writer(self, fd: int, call: Call) -> None:
        """Call it whenever `fd` is writable or has hung up."""
        watch = self._watches.setdefault(fd, _Watch())
        watch.writer = call
        self._update(fd, watch)

    def remove_reader(self, fd: int) -> None:
        """No more calls for reading."""
        watch = self._watches.get(fd)
        if watch is not None:
            watch.reader = None
            self._update(fd, watch)

    def remove_writer(self, fd: int) -> None:
        """No more calls for writing."""
        watch = self._watches.get(fd)
        if watch is not None:
            watch.writer = None
            self._update(fd, watch)

    def remove(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed."""
        watch = self._watches.get(fd)
        if watch is not None:
            watch.reader = watch.writer = None
            self._update(fd, watch)

    def _update(self, fd: int, watch: _Watch) -> None:
        mask = (select.EPOLLIN if watch.reader else 0) | (select.EPOLLOUT if watch.writer else 0)
        if mask == watch.mask:
            return
        if not mask:
            # Unregistered, not registered for nothing: a hang-up would be reported without end.
            del self._watches[fd]
            self._epoll.unregister(fd)
        elif watch.mask:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        watch.mask = mask

    # -------------------------------------------------------------------------------------------------------- run

    def run(self) -> None:
        """Iterate until `stop`."""
        self._stopping = False
        while not self._stopping:
            self.run_once()

    def stop(self) -> None:
        """End `run` after the current iteration. From the loop's thread."""
        self._stopping = True

    def run_once(self, wait: bool = True) -> None:
        """One iteration; without `wait` only what is ready already."""
        timeout: float | None = None
        if self._soon or self._end or self._stopping or not wait:
            timeout = 0
        else:
            due = self._timers.next_time()
            if due is not None:
                timeout = max(0.0, due - self._monotonic())
        try:
            events = self._poll(timeout)
        except InterruptedError:
            events = []
        self.now = self._monotonic()
        for _ in range(len(self._soon)):  # those added meanwhile wait for the next iteration: events get their turn
            self._run(self._soon.popleft())
        watches = self._watches
        for fd, mask in events:
            watch = watches.get(fd)
            if watch is None:
                continue  # removed by an earlier callback of this iteration
            if mask & _READ and watch.reader is not None:
                self._run(watch.reader)
            if mask & _WRITE and watch.writer is not None:
                self._run(watch.writer)
        for timer in self._timers.pop_due(self.now):
            call = timer.call
            if call is not None:
                timer.call = None
                self._run(call)
        while self._end:
            calls, self._end = self._end, []
            for call in calls:
                self._run(call)
        for call in self._after:
            self._run(call)

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """The events, at the latest after `timeout` seconds. A process that sleeps and is woken costs more, and answers
        later, than one that looks again for a moment, where a client's next request follows the reply that soon."""
        poll = self._epoll.poll
        if timeout == 0:
            return poll(0, _MAX_EVENTS)
        if self._tries:
            for _ in range(_LOOKS):
                events = poll(0, _MAX_EVENTS)
                if events:
                    self._tries = _TRIES
                    return events
            self._tries -= 1
        self.before_sleep()
        before = self._monotonic()
        events = poll(timeout, _MAX_EVENTS)
        if events and self._monotonic() - before < _SOON:
            self._tries = _TRIES
        return events

    def close(self) -> None:
        """Close the loop's own descriptors; the watched ones are their owners'."""
        self._watches.clear()
        self._epoll.close()
        os.close(self._wake_fd)

    def _woken(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            return
        for _ in range(len(self._from_threads)):
            self._run(self._from_threads.popleft())

    def _run(self, call: Call) -> None:
        if debug.mask[0] & debug.CONN:
            self._run_timed(call)
            return
        try:
            call()
        except (Exception, Cancelled) as error:  # noqa: BLE001 - one callback's defect must not end the others' service
            log.exception(f"unexpected {type(error).__name__} in the event loop", error)

    def _run_timed(self, call: Call) -> None:
        """The same, and say what held the loop for long."""
        wall, busy = self._monotonic(), time.thread_time()
        try:
            call()
        except (Exception, Cancelled) as error:  # noqa: BLE001 - as in _run
            log.exception(f"unexpected {type(error).__name__} in the event loop", error)
        took = self._monotonic() - wall
        if took >= _LONG:
            busy = time.thread_time() - busy
            name = getattr(call, "__qualname__", repr(call))
            log.debug(debug.CONN, f"{name} held the loop for {took * 1e3:.1f} ms, {busy * 1e3:.1f} ms of it computing")
