# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits the tree connects of a worker, and how many of them one user, or all guests and anonymous users together, may
have over all sessions (MS-SMB2 3.3.1.9, 3.3.5.7)."""
from __future__ import annotations

from ksmbd import limits
from ksmbd.limit import Meter
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, NtStatusError


class TreeAdmission:
    """Counts tree connects by Session.user, those included that mountd is being asked about."""

    def __init__(self) -> None:
        self.users = Meter(limits.TREE_CONNECTS_PER_USER)

    def take(self, user: str) -> None:
        """Count a tree connect. Raises STATUS_INSUFFICIENT_RESOURCES and counts nothing."""
        if self.users.used >= limits.TREE_CONNECTS.value or not self.users.take(user):
            raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "tree connects of a user, or of all")

    def give(self, user: str) -> None:
        """Count the tree connect no longer."""
        self.users.give(user)
