# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits the sessions: `max active sessions`, and how many of them one user, or all guests together, may have (MS-SMB2
3.3.5.5.3)."""
from __future__ import annotations

from ksmbd import limits
from ksmbd.limit import Meter, address_group
from ksmbd.smb.ports import Identity
from ksmbd.smb.status import STATUS_TOO_MANY_SESSIONS, NtStatusError

_GUESTS = ""
"""Counted as account of all guests and anonymous users."""


class SessionAdmission:
    """Counts the established sessions of a worker. One user may have seven eighths of them, and so may all guests and
    anonymous users together; guests of one address may have half. So some are left for others."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.users = Meter(limits.SESSIONS_PER_USER, maximum - maximum // 8)
        self.guests = Meter(limits.GUEST_SESSIONS_PER_ADDRESS, max(maximum // 2, 1))

    def check(self) -> None:
        """Raise STATUS_TOO_MANY_SESSIONS where no session can be added. Called before a log-on begins."""
        if self.users.used >= self._maximum:
            raise NtStatusError(STATUS_TOO_MANY_SESSIONS)

    def take(self, identity: Identity, address: str) -> tuple[str, str]:
        """Count a session, and return the value to pass to `give`. Raises STATUS_TOO_MANY_SESSIONS and counts
        nothing."""
        self.check()
        guest = identity.is_guest or identity.is_anonymous
        account = _GUESTS if guest else identity.account.lower()
        group = address_group(address) if guest else ""
        if not self.users.take(account):
            raise NtStatusError(STATUS_TOO_MANY_SESSIONS)
        if group and not self.guests.take(group):
            self.users.give(account)
            raise NtStatusError(STATUS_TOO_MANY_SESSIONS)
        return account, group

    def give(self, counted: tuple[str, str]) -> None:
        """Count the session no longer."""
        account, group = counted
        self.users.give(account)
        if group:
            self.guests.give(group)
