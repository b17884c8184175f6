# SPDX-License-Identifier: GPL-2.0-or-later
"""The Unix side of users: uid, gid and groups by name, from the system's databases (passwd, group, NSS)."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Final, Protocol

OVERFLOW_ID: Final = 65534
"""uid and gid of nobody, where the system has no account of the name `guest account` gives."""


@dataclass(frozen=True)
class UnixUser:
    """One account. `groups` are all gids, the primary one among them."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class UnixUsers(Protocol):
    """Look-ups by name; None: there is none."""

    def user(self, name: str) -> UnixUser | None: ...
    def group(self, name: str) -> int | None: ...


class SystemUsers:
    """The system's databases."""

    def user(self, name: str) -> UnixUser | None:
        """An account by its name; as in SMB names differ by more than case, the name in lower case is tried too."""
        for spelling in dict.fromkeys((name, name.lower())):
            try:
                entry = pwd.getpwnam(spelling)
            except (KeyError, ValueError, UnicodeError):
                continue
            groups = tuple(sorted(set(os.getgrouplist(entry.pw_name, entry.pw_gid))))
            return UnixUser(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)
        return None

    def group(self, name: str) -> int | None:
        """A group's gid by its name."""
        try:
            return grp.getgrnam(name).gr_gid
        except (KeyError, ValueError, UnicodeError):
            return None


def guest(users: UnixUsers, name: str) -> UnixUser:
    """The account that guests work as; the overflow ids where the system does not know the name."""
    found = users.user(name) if name else None
    return found if found is not None else UnixUser(name or "nobody", OVERFLOW_ID, OVERFLOW_ID, (OVERFLOW_ID,))
