# SPDX-License-Identifier: GPL-2.0-or-later
"""Decides whether a user may open one more file, by `max open files` and the descriptors of the process, so that no
user takes all.

While less than half is used, users are not counted. Beyond that all opens of a user count together, over all sessions
and with disconnected durable opens. A user may have seven eighths of the opens. Where three quarters of the descriptors
are used, a user with more than DESCRIPTORS_OF_USER percent of them may open no more. The last eighth of the descriptors
is kept for connections, log-ons and the server itself.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import Final, Protocol

from ksmbd import limits
from ksmbd.smb.ports import Identity
from ksmbd.smb.status import STATUS_TOO_MANY_OPENED_FILES, NtStatusError

KEPT: Final = limits.DESCRIPTORS_KEPT.value
OF_USER: Final = limits.DESCRIPTORS_OF_USER.value


class SessionView(Protocol):
    """The part of a Session that is used here."""

    @property
    def opens(self) -> Sized: ...

    @property
    def user(self) -> str: ...


class OpenView(Protocol):
    """The part of an Open that is used here."""

    @property
    def session(self) -> SessionView | None: ...

    @property
    def made_by(self) -> Identity | None: ...


class OpenAdmission:
    """Checks the limits for the opens of a worker. `opens` is its GlobalOpenTable."""

    def __init__(self, opens: Mapping[int, OpenView], maximum: int) -> None:
        self._opens = opens
        self._maximum = maximum
        self._counts: dict[str, int] = {}
        self._fresh = 0
        """How many more opens there may be before the opens of users are counted again, which takes time for every
        open."""
        self._descriptors = 0
        self._used: Callable[[], int] = lambda: 0

    def watch_descriptors(self, limit: int, used: Callable[[], int]) -> None:
        """The process may have `limit` descriptors; `used` returns how many it has."""
        self._descriptors = limit
        self._used = used

    def check(self, session: SessionView) -> None:
        """Raise STATUS_TOO_MANY_OPENED_FILES where the user of this session may not open one more file."""
        total, maximum = len(self._opens), self._maximum
        if total >= maximum or len(session.opens) >= maximum - maximum // 8:
            raise NtStatusError(STATUS_TOO_MANY_OPENED_FILES)
        if total > maximum // 2 and self._of_user(session) >= maximum - maximum // 8:
            raise NtStatusError(STATUS_TOO_MANY_OPENED_FILES, "opens of one user")
        limit = self._descriptors
        if total > limit // 4 and limit:  # a file may take two, and others are taken too
            left = limit - self._used()
            if left <= limit * KEPT // 100 or (left <= limit // 4 and self._of_user(session) > limit * OF_USER // 100):
                raise NtStatusError(STATUS_TOO_MANY_OPENED_FILES, "descriptors")

    def _of_user(self, session: SessionView) -> int:
        """About how many opens the user of the session has."""
        if self._fresh <= 0:
            self._counts.clear()
            for open_ in self._opens.values():
                user = _user(open_)
                self._counts[user] = self._counts.get(user, 0) + 1
            self._fresh = max(16, len(self._opens) // 64)
        self._fresh -= 1
        user = session.user
        count = self._counts[user] = self._counts.get(user, 0) + 1
        return count - 1


def _user(open_: OpenView) -> str:
    if open_.session is not None:
        return open_.session.user
    return open_.made_by.account.lower() if open_.made_by is not None else ""
