# SPDX-License-Identifier: GPL-2.0-or-later
"""Future and Task: how the protocol waits without an event loop of its own.

A command that can be answered at once runs to its end inside the call that started it. One that must wait (an oplock
break, a lock, mountd) awaits a Future. Whoever completes the Future resumes the Task, in the same thread.
"""
from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar, cast

from ksmbd.smb.clock import Clock
from ksmbd.smb.status import STATUS_IO_TIMEOUT, NtStatusError

T = TypeVar("T")


class Cancelled(BaseException):
    """Raised inside a coroutine whose Task is cancelled (CANCEL, the end of a connection or session)."""


class Future(Generic[T]):
    """A result that is set later, once. A Task that awaits it is suspended until then."""

    __slots__ = ("done", "_result", "_error", "_callbacks", "on_cancel")

    def __init__(self) -> None:
        self.done = False
        """Whether it is complete; only this class sets it."""
        self._result: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future[T]], None]] = []
        self.on_cancel: Callable[[], None] | None = None
        """Called by `cancel`, so that the owner forgets the waiter."""

    @classmethod
    def of(cls, result: T) -> Future[T]:
        """A Future that is complete already."""
        future: Future[T] = cls()
        future.done = True
        future._result = result
        return future

    @classmethod
    def failed(cls, error: BaseException) -> Future[T]:
        """A Future that is complete with an exception."""
        future: Future[T] = cls()
        future.done = True
        future._error = error
        return future

    def set_result(self, result: T) -> None:
        """Set the result and resume the waiting Tasks. A second completion is ignored (a late answer after a
        time-out)."""
        if not self.done:
            self.done = True
            self._result = result
            self._run_callbacks()

    def set_error(self, error: BaseException) -> None:
        """Complete with an exception, which the waiter sees. A second completion is ignored."""
        if not self.done:
            self.done = True
            self._error = error
            self._run_callbacks()

    def add_callback(self, callback: Callable[[Future[T]], None]) -> None:
        """Call `callback(self)` when complete, at once if it is already."""
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def cancel(self) -> None:
        """Withdraw the wait: call `on_cancel` and complete with Cancelled."""
        if not self.done:
            if self.on_cancel is not None:
                self.on_cancel()
            self.set_error(Cancelled())

    def result(self) -> T:
        """Return the result or raise the exception. Only when complete."""
        if self._error is not None:
            raise self._error
        return cast(T, self._result)

    def _run_callbacks(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def __await__(self) -> Generator[Future[T], None, T]:
        if not self.done:
            yield self
        return self.result()


def end_of(future: Future[T]) -> Future[None]:
    """A Future that completes when `future` has ended, however it ends; cancelled, it leaves that one alone."""
    own: Future[None] = Future()
    future.add_callback(lambda _: own.set_result(None))
    return own


class Task(Generic[T]):
    """Runs one coroutine that awaits Futures. `start` runs it until it ends or waits; `on_done(task)` is called once,
    at its end."""

    __slots__ = ("_coroutine", "_waiting", "_on_done", "done", "_result", "error", "_cancelled")

    def __init__(self, coroutine: Coroutine[Any, None, T], on_done: Callable[[Task[T]], None] | None = None) -> None:
        self._coroutine = coroutine
        self._waiting: Future[Any] | None = None
        self._on_done = on_done
        self.done = False
        self._result: T | None = None
        self.error: BaseException | None = None
        self._cancelled = False

    def start(self) -> Task[T]:
        """Run until the first wait or the end; returns itself."""
        self._step(None)
        return self

    def cancel(self) -> None:
        """Raise Cancelled inside the coroutine where it waits. No effect once done."""
        if self.done:
            return
        self._cancelled = True
        waiting = self._waiting
        if waiting is not None:
            waiting.cancel()

    def result(self) -> T:
        """The coroutine's result, or the exception it ended with."""
        if self.error is not None:
            raise self.error
        return cast(T, self._result)

    def _step(self, _: Future[Any] | None) -> None:
        # A loop, not recursion: a coroutine over many complete futures must not grow the stack.
        while True:
            self._waiting = None
            try:
                future = cast(Future[Any], self._coroutine.send(None))
            except StopIteration as stop:
                self._result = stop.value
                break
            except BaseException as error:  # noqa: BLE001  (the Task's owner decides what an error means)
                self.error = error
                break
            if not future.done:
                self._waiting = future
                future.add_callback(self._step)
                return
        self.done = True
        if self._on_done is not None:
            self._on_done(self)


def pause(clock: Clock, seconds: float) -> Future[None]:
    """A Future that is complete after `seconds`."""
    future: Future[None] = Future()
    timer = clock.call_later(seconds, lambda: future.set_result(None))
    future.on_cancel = timer.cancel
    return future


def with_timeout(clock: Clock, seconds: float, future: Future[T]) -> Future[T]:
    """Return `future`, which is completed with STATUS_IO_TIMEOUT if it is not complete within `seconds`. `on_cancel` is
    called then."""
    if future.done:
        return future

    def late() -> None:
        future.set_error(NtStatusError(STATUS_IO_TIMEOUT))
        if future.on_cancel is not None:
            future.on_cancel()

    timer = clock.call_later(seconds, late)
    future.add_callback(lambda _: timer.cancel())
    return future
