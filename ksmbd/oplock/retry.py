# SPDX-License-Identifier: GPL-2.0-or-later
"""Retries calls that must succeed in the end although the store refuses them now: the ends of opens, locks, waits and
index entries.

A store keeps room for these, so they seldom fail. A call that fails is tried again every 0.25 seconds until it
succeeds. The client is answered meanwhile, and later calls do not wait for it.
"""
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from ksmbd.oplock.store import StoreError
from ksmbd.smb.ports import Clock, Timer
from ksmbd.smb.status import NtStatusError

logger = logging.getLogger("ksmbd.oplock")

PAUSE: Final = 0.25
"""Seconds between two tries."""


class RetryQueue:
    """The calls that raised StoreError and are tried again. Any other error of the first try reaches the caller."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: list[Callable[[], object]] = []
        self._timer: Timer | None = None

    def do(self, call: Callable[[], object]) -> bool:
        """Make the call now, and again later if it raises StoreError. Returns whether it has succeeded already."""
        try:
            call()
        except StoreError as error:
            if not self._left:
                logger.warning("%s; it is tried again", error)
            self._left.append(call)
            self._arm()
            return False
        return True

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(PAUSE, self._try)

    def _try(self) -> None:
        self._timer = None
        calls, self._left = self._left, []
        for number, call in enumerate(calls):
            try:
                call()
            except StoreError:
                # The other calls would most likely fail, too: all keep their order.
                self._left = calls[number:] + self._left
                self._arm()
                return
            except NtStatusError as error:
                logger.debug("there is nothing left to end: %s", error)

    def __len__(self) -> int:
        """The number of calls that have not succeeded yet."""
        return len(self._left)
