# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs operations on several files one after the other, each of which may have to wait."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ksmbd.oplock.requests import WaitingRequest
from ksmbd.smb.ports import FileKey
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Cancelled, Future

Make = Callable[[int], WaitingRequest]
"""Makes a request with this waiter_id."""


def run_in_sequence(steps: list[tuple[FileKey, Make]], start: Callable[[FileKey, Make], Future[None]]) -> Future[None]:
    """Start each step when the one before has succeeded. The first failure ends the sequence, and is the result.
    `start` begins one step. The list `steps` is emptied."""
    whole: Future[None] = Future()
    current: list[Future[Any]] = []

    def go_on(done: Future[Any] | None = None) -> None:
        while not whole.done:
            if done is not None:
                try:
                    done.result()
                except (NtStatusError, Cancelled) as error:
                    whole.set_error(error)
                    return
            if not steps:
                whole.set_result(None)
                return
            file, make = steps.pop(0)
            done = start(file, make)
            if not done.done:
                current[:] = [done]
                done.add_callback(go_on)
                return

    def cancel() -> None:
        steps.clear()
        for future in current:
            future.cancel()

    whole.on_cancel = cancel
    go_on()
    return whole
