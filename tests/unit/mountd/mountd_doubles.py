# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration from text, and Unix users that exist in the test alone."""
from __future__ import annotations

import textwrap

from mountd import config
from mountd.accounts import Account, Accounts, nt_hash
from mountd.config import Configuration
from mountd.unixusers import UnixUser


class FakeUsers:
    """Unix users and groups by name."""

    def __init__(self, users: dict[str, UnixUser] | None = None, groups: dict[str, int] | None = None) -> None:
        self.users = users if users is not None else {
            "root": UnixUser("root", 0, 0, (0,)),
            "ann": UnixUser("ann", 1001, 1001, (1001, 2000)),
            "bob": UnixUser("bob", 1002, 1002, (1002,)),
            "nobody": UnixUser("nobody", 65534, 65534, (65534,)),
            "media": UnixUser("media", 100001, 100002, (100002,)),
        }  # fmt: skip
        self.groups = groups if groups is not None else {"staff": 2000, "empty": 2001, "big": 70000}

    def user(self, name: str) -> UnixUser | None:
        return self.users.get(name)

    def group(self, name: str) -> int | None:
        return self.groups.get(name)


def configuration(text: str) -> Configuration:
    """A configuration without errors."""
    found = config.parse(textwrap.dedent(text), "test.conf")
    assert not found.errors, found.errors
    return found


def accounts(*names: str) -> Accounts:
    """Users whose password is their name."""
    return Accounts(Account(name, nt_hash(name)) for name in names)
