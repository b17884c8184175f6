# SPDX-License-Identifier: GPL-2.0-or-later
"""Helper threads of an event loop, for calls that block and for long cryptography and I/O.

A call runs in a thread, and its result comes back as a Future in the thread of the loop. Threads start with the first
call, so a worker that needs none has none.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ksmbd.conn.loop import Loop
from ksmbd.kernel import credentials
from ksmbd.smb.waiting import Future

T = TypeVar("T")

DEFAULT_THREADS: Final = 4


class Helpers:
    """The helper threads of one event loop."""

    def __init__(self, loop: Loop, threads: int = DEFAULT_THREADS) -> None:
        self._loop = loop
        self._limit = threads
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._closed = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` in a helper thread. The Future completes in the thread of the loop; cancelling it does not stop
        the call."""
        if self._closed:
            raise RuntimeError("the helper threads have ended")
        future: Future[T] = Future()
        with self._lock:
            start = self._idle == 0 and len(self._threads) < self._limit
            if self._idle:
                self._idle -= 1
        self._calls.put((call, future))
        if start:
            thread = threading.Thread(target=self._work, name=f"helper-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """End the threads after what was submitted; returns when they have ended."""
        self._closed = True
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _work(self) -> None:
        while True:
            # Between calls a thread acts for nobody; a new one has the rights of the thread that made it.
            credentials.become_nobody()
            item = self._calls.get()
            if item is None:
                return
            call, future = item
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - the waiter gets it
                self._loop.call_from_thread(_failure(future, error))
            else:
                self._loop.call_from_thread(_success(future, result))
            del item, call, future
            with self._lock:
                self._idle = min(self._idle + 1, len(self._threads))


def _success(future: Future[T], result: T) -> Callable[[], None]:
    return lambda: future.set_result(result)


def _failure(future: Future[Any], error: BaseException) -> Callable[[], None]:
    return lambda: future.set_error(error)
