# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a user may open one file more: `max open files`, and the process's descriptors, of which each user leaves
some to others.

While less than half is taken no user is counted. Beyond it a user's opens count together, whatever sessions they are
of, the disconnected ones too: one user stops at seven eighths of the opens, and where three quarters of the descriptors
are taken, a user that has more than the share of one stops. The last eighth is for connections, log-ons and the server
itself.
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
    """What is asked of a Session."""

    @property
    def opens(self) -> Sized: ...

    @property
    def user(self) -> str: ...


class OpenView(Protocol):
    """What is asked of an Open."""

    @property
    def session(self) -> SessionView | None: ...

    @property
    def made_by(self) -> Identity | None: ...


class OpenAdmission:
    """The opens of a worker. `opens` is its GlobalOpenTable."""

    def __init__(self, opens: Mapping[int, OpenView], maximum: int) -> None:
        self._opens = opens
        self._maximum = maximum
        self._counts: dict[str, int] = {}
        self._fresh = 0
        """So many more opens before the users' are counted anew: a count costs as much as there are opens."""
        self._descriptors = 0
        self._used: Callable[[], int] = lambda: 0

    def watch_descriptors(self, limit: int, used: Callable[[], int]) -> None:
        """The process may have `limit` descriptors; `used` tells how many it has."""
        self._descriptors = limit
        self._used = used

    def check(self, session: SessionView) -> None:
        """Raise STATUS_TOO_MANY_OPENED_FILES where this session's user may not open one more."""
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
        """The opens of the session's user, more or less."""
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
