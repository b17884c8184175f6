# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs calls that may take long in helper threads, one at a time for each client, so that no client occupies all
threads."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from ksmbd.smb.waiting import Future

T = TypeVar("T")


class LongCalls:
    """The clients with a call in a helper thread, and the calls that wait behind it."""

    def __init__(self) -> None:
        self.offload: Callable[[Callable[[], Any]], Future[Any]] | None = None
        """Runs a function in another thread. None: there are no threads, and everything is done at once."""
        self._waiting: dict[object, deque[Callable[[], None]]] = {}

    def run(self, owner: object, work: Callable[[], T], ended: Callable[[], None]) -> Future[T]:
        """Run `work` in a thread when the earlier calls of `owner` have ended, then call `ended` in the thread of
        the event loop.

        Cancelling the Future does not stop work that runs. Work that has not begun is dropped, and `ended` is
        called."""
        outer: Future[T] = Future()

        def begin() -> None:
            assert self.offload is not None
            if outer.done:
                finish()
            else:
                self.offload(work).add_callback(done)

        def done(inner: Future[T]) -> None:
            finish()
            try:
                outer.set_result(inner.result())
            except BaseException as error:  # noqa: BLE001 - it is the waiter's
                outer.set_error(error)

        def finish() -> None:
            queue = self._waiting[owner]
            if queue:
                following: Callable[[], None] | None = queue.popleft()
            else:
                following = None
                del self._waiting[owner]
            try:
                ended()
            finally:
                if following is not None:
                    following()

        queue = self._waiting.get(owner)
        if queue is None:
            self._waiting[owner] = deque()
            begin()
        else:
            queue.append(begin)
        return outer

    def __len__(self) -> int:
        """How many clients have calls that run or wait."""
        return len(self._waiting)
