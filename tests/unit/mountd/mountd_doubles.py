# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration from text, and Unix users that exist in the test alone."""
from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable

from mountd import config
from mountd.accounts import Account, Accounts, nt_hash
from mountd.config import Configuration
from mountd.failedlogons import FailedLogons
from mountd.rpc.frames import Answer, Request
from mountd.rpc.services import Services
from mountd.sessions import Sessions
from mountd.sharesecurity import ShareSecurity
from mountd.unixusers import UnixUser
from mountd.usernamescript import Script


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

    def group_name(self, gid: int) -> str | None:
        return next((name for name, number in self.groups.items() if number == gid), None)

    def mapped(self, script: Script, name: str) -> str | None:
        """The script maps each name to its first half."""
        return name.partition(".")[0] if "." in name else None


def configuration(text: str) -> Configuration:
    """A configuration without errors."""
    found = config.parse(textwrap.dedent(text), "test.conf")
    assert not found.errors, found.errors
    return found


def accounts(*names: str) -> Accounts:
    """Users whose password is their name."""
    return Accounts(Account(name, nt_hash(name)) for name in names)


class FakeServer:
    """What of the daemon services see (mountd.rpc.telling.ServerView)."""

    def __init__(
        self, text: str = "", names: Iterable[str] = ("ann", "bob"), domain: tuple[int, int, int] = (1, 2, 3)
    ) -> None:
        """`names`: the users; `domain`: the parts of the server's SID."""
        self.configuration = configuration(text)
        self.sessions = Sessions()
        self.users = FakeUsers()
        self.sub_authorities = domain
        self.accounts = accounts(*names)
        self.share_security = ShareSecurity()
        self.failed_logons = FailedLogons()


class LocalServices:
    """The RPC services without their process (mountd.rpc.host.Backend): answered before `send` returns, or held."""

    def __init__(self) -> None:
        self.services = Services()
        self.serving = True
        self.room = True
        self.held: list[Answer] | None = None
        self.sent: list[Request] = []
        self.on_answer: Callable[[Answer], None] = lambda answer: None
        self.on_end: Callable[[], None] = lambda: None

    def send(self, request: Request, guest: bool) -> bool:
        if not self.room:
            return False
        self.sent.append(request)
        answer = self.services.take(request)
        if answer is not None and self.held is not None:
            self.held.append(answer)
        elif answer is not None:
            self.on_answer(answer)
        return True

    def die(self) -> None:
        self.services = Services()
        self.on_end()
