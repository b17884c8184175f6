# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks up Unix accounts and groups by name in the system's databases (passwd, group, NSS)."""

from __future__ import annotations

import grp
import pwd
from dataclasses import dataclass
from typing import Final, Protocol

from ksmbd.kernel.groups import group_list
from mountd.usernamescript import Script, Scripts

OVERFLOW_ID: Final = 65534
"""The uid and gid of guests where the system has no account called as `guest account` says."""


@dataclass(frozen=True)
class UnixUser:
    """One Unix account. `groups` has all gids, the primary one included."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = ""
    """The home directory."""


class UnixUsers(Protocol):
    """Look-ups by name; None: there is none."""

    def user(self, name: str) -> UnixUser | None: ...
    def group(self, name: str) -> int | None: ...
    def group_name(self, gid: int) -> str | None: ...
    def mapped(self, script: Script, name: str) -> str | None:
        """The user that `username map script` names for the name of a client."""


def spellings(name: str) -> list[str]:
    """The names by which an account is looked up: as given, then in lower case, because SMB ignores case in user
    names."""
    return list(dict.fromkeys((name, name.lower())))


class SystemUsers:
    """The system's databases."""

    def __init__(self) -> None:
        self._scripts = Scripts()

    def mapped(self, script: Script, name: str) -> str | None:
        """Run the script, or take what it has answered."""
        return self._scripts.mapped(script, name)

    def user(self, name: str) -> UnixUser | None:
        """Look up an account by the spellings of its name."""
        for spelling in spellings(name):
            try:
                entry = pwd.getpwnam(spelling)
            except (KeyError, ValueError, UnicodeError):
                continue
            groups = group_list(entry.pw_name, entry.pw_gid)
            return UnixUser(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)
        return None

    def group(self, name: str) -> int | None:
        """Look up the gid of a group."""
        try:
            return grp.getgrnam(name).gr_gid
        except (KeyError, ValueError, UnicodeError):
            return None

    def group_name(self, gid: int) -> str | None:
        """Look up the name of a group."""
        try:
            return grp.getgrgid(gid).gr_name
        except (KeyError, ValueError, OverflowError, UnicodeError):
            return None


def is_member(user: UnixUser | None, group: str, users: UnixUsers) -> bool:
    """Whether a user is a member of a group, which may be written as @group, +group or &group."""
    gid = users.group(group.lstrip("@+&"))
    return user is not None and gid is not None and gid in (*user.groups, user.gid)


def guest(users: UnixUsers, name: str) -> UnixUser:
    """The Unix account of guests; OVERFLOW_ID where the system has no account with this name."""
    found = users.user(name) if name else None
    return found if found is not None else UnixUser(name or "nobody", OVERFLOW_ID, OVERFLOW_ID, (OVERFLOW_ID,))
