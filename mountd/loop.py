# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's event loop: watches descriptors, timers and signals in one thread."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable

Call = Callable[[], None]


class Timer:
    """A pending call of Loop.call_later."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call

    def cancel(self) -> None:
        """Do not make the call."""
        self.call = None


class Loop:
    """An event loop. It runs in the main thread, because it handles signals."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False
        self._signals: dict[int, Call] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.add_reader(self._wake_read, self._signalled)

    def add_reader(self, descriptor: int, call: Call) -> None:
        """Call `call` whenever the descriptor is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, call)

    def remove_reader(self, descriptor: int) -> None:
        """Stop watching a descriptor. Call this before the descriptor is closed."""
        self._selector.unregister(descriptor)

    def call_later(self, seconds: float, call: Call) -> Timer:
        """Call `call` once after `seconds`."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def on_signals(self, calls: dict[signal.Signals, Call], ignored: Iterable[signal.Signals] = ()) -> None:
        """Make these calls, in the loop, when a signal arrives. The signals are unblocked; one that was pending counts,
        too. `ignored` signals are ignored."""
        for number, call in calls.items():
            self._signals[number] = call
            signal.signal(number, lambda *_: None)
            signal.siginterrupt(number, False)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, calls)

    def run(self) -> None:
        """Run until `stop` is called; return at once if it was called before."""
        while not self._stopped:
            while self._timers and self._timers[0][2].call is None:
                heapq.heappop(self._timers)  # cancelled: no reason to wake
            now = time.monotonic()
            wait = max(0.0, self._timers[0][0] - now) if self._timers else None
            registered = self._selector.get_map()
            for key, _ in self._selector.select(wait):
                # An earlier call may have removed this descriptor.
                if not self._stopped and registered.get(key.fd) is key:
                    key.data()
            now = time.monotonic()
            while not self._stopped and self._timers and self._timers[0][0] <= now:
                timer = heapq.heappop(self._timers)[2]
                call, timer.call = timer.call, None
                if call is not None:
                    call()
        self._stopped = False

    def stop(self) -> None:
        """Make `run` return, even if it has not begun yet."""
        self._stopped = True

    def close(self) -> None:
        """Close the loop's descriptors. Signal handlers are not restored."""
        if self._signals:
            signal.set_wakeup_fd(-1)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _signalled(self) -> None:
        try:
            numbers = os.read(self._wake_read, 256)
        except BlockingIOError:
            return
        for number in dict.fromkeys(numbers):
            call = self._signals.get(number)
            if call is not None and not self._stopped:
                call()
