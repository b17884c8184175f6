# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the failed log-ons of each name, known or not, so that guessing a password takes long: over SMB and inside RPC
associations alike."""

from __future__ import annotations

from typing import Final

from ksmbd import limits

FAILURES_MAX: Final = limits.FAILED_LOGONS.value
"""Failed log-ons for a name after which further failures are answered with a delay (DELAY_SESSION), as in
ksmbd-tools."""
NAMES_MAX: Final = limits.ACCOUNTS_WITH_FAILURES.value
"""Names whose failed log-ons are counted, the latest ones."""
DELAY: Final = 5.0
"""Seconds by which a further failure inside an RPC association is answered later, as the engine does over SMB."""


class FailedLogons:
    """The counts, in order of the last failure."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}

    def count(self, name: str) -> None:
        """A log-on for this name has failed."""
        name = name.casefold()
        self._failures[name] = self._failures.pop(name, 0) + 1
        if len(self._failures) > NAMES_MAX:
            del self._failures[next(iter(self._failures))]

    def forget(self, name: str) -> None:
        """The user has logged off, or on."""
        self._failures.pop(name.casefold(), None)

    def are_too_many(self, name: str) -> bool:
        """Whether a further failure is to be answered later."""
        return self._failures.get(name.casefold(), 0) >= FAILURES_MAX
