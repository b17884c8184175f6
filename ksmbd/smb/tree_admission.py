# SPDX-License-Identifier: GPL-2.0-or-later
"""How many tree connects a worker has, and how many of them one user may have: each leaves some to others, however many
sessions it has, and so do all guests and anonymous callers together (MS-SMB2 3.3.1.9, 3.3.5.7)."""
from __future__ import annotations

from ksmbd import limits
from ksmbd.limits import Meter
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, NtStatusError


class TreeAdmission:
    """Counts by Session.user, those too that mountd is being asked about."""

    def __init__(self) -> None:
        self.users = Meter(limits.TREE_CONNECTS_PER_USER)

    def take(self, user: str) -> None:
        """Count a tree connect; raises STATUS_INSUFFICIENT_RESOURCES, and counts nothing then."""
        if self.users.used >= limits.TREE_CONNECTS.value or not self.users.take(user):
            raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "tree connects of a user, or of all")

    def give(self, user: str) -> None:
        """The tree connect is gone."""
        self.users.give(user)
