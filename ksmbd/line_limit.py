# SPDX-License-Identifier: GPL-2.0-or-later
"""A limit on the rate of lines that others cause. It counts what it holds back, by key, so that each count is told:
with the next line of the key, or by the clock where nothing more comes."""
from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import Final

from ksmbd import limits

OTHERS: Final = ""
"""Stands for all keys that were forgotten for want of room."""


class _Key:
    """What was told of a key, and what was held back."""

    __slots__ = ("held", "lines", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.lines = 0
        self.held = 0


class LineLimit:
    """At most `each` lines of a key and `total` lines in all, in `seconds`; `keys` of them are remembered, those used
    last. Any thread may use it."""

    def __init__(self, each: int, total: int, seconds: float, keys: int = limits.LOG_KEYS.value) -> None:
        self.seconds = seconds
        self.due = math.inf
        """When the first count is due that nothing else has told."""
        self._each = each
        self._total = total
        self._most = keys
        self._keys: OrderedDict[str, _Key] = OrderedDict()
        self._since = -math.inf
        self._sum = 0
        self._others = 0
        """Lines held back whose keys were forgotten."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The number of keys that are remembered."""
        return len(self._keys)

    def admit(self, key: str, now: float) -> int | None:
        """None: hold this line back. Else tell it; the result is the number of lines of this key that were held back
        before, which the caller tells, too. `now` in seconds."""
        with self._lock:
            entry = self._entry(key, now)
            if now - self._since >= self.seconds:
                self._since, self._sum = now, 0
            if now - entry.since >= self.seconds:
                entry.since, entry.lines = now, 0
            if entry.lines >= self._each or self._sum >= self._total:
                entry.held += 1
                self.due = min(self.due, entry.since + self.seconds)
                return None
            entry.lines += 1
            self._sum += 1
            held, entry.held = entry.held, 0
            return held

    def _entry(self, key: str, now: float) -> _Key:
        entry = self._keys.pop(key, None) or _Key(now)
        self._keys[key] = entry
        if len(self._keys) > self._most:
            _, oldest = self._keys.popitem(last=False)
            if oldest.held:
                self._others += oldest.held
                self.due = min(self.due, oldest.since + self.seconds)
        return entry

    def overdue(self, now: float) -> list[tuple[str, int]]:
        """The counts, by key, of intervals that have ended. They are told now, and counted no more."""
        if now < self.due:
            return []
        with self._lock:
            told = [(OTHERS, self._others)] if self._others else []
            self._others = 0
            self.due = math.inf
            for key, entry in self._keys.items():
                if not entry.held:
                    continue
                end = entry.since + self.seconds
                if end > now:
                    self.due = min(self.due, end)
                    continue
                told.append((key, entry.held))
                entry.held = 0
            return told

    def forget(self) -> None:
        """Begin anew, in another process."""
        self._keys.clear()
        self.due, self._since, self._sum, self._others = math.inf, -math.inf, 0, 0
        self._lock = threading.Lock()
