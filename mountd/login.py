# SPDX-License-Identifier: GPL-2.0-or-later
"""Decides who may log on, and as which Unix user, without side effects.

An SMB user works with the rights of the Unix account of the same name. A user without a Unix account is refused
(BAD_UID), because it has no rights on any file. There are two exceptions, both by parameters of a share:
- `force user`: all users of the share work as that Unix user, so that their own accounts do not matter;
- `guest account` of the share (not the one in [global]): users without a Unix account work as that one.

At log-on it is not known which share will be used. So the log-on succeeds, with the ids of [global]'s `guest account`,
if at least one share maps such users. TREE_CONNECT (mountd/sharing.py) then admits them to these shares and to IPC$
only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Protocol

from ksmbd.ipc.constants import UserFlag
from mountd.accounts import DISABLED, EXPIRED, LOCKED, Accounts
from mountd.config import Configuration, ShareSettings
from mountd.unixusers import UnixUser, UnixUsers, guest

BARS: Final = {DISABLED: UserFlag.DISABLED, LOCKED: UserFlag.LOCKED, EXPIRED: UserFlag.EXPIRED}


class UserView(Protocol):
    """The parts of the daemon that decide on users."""

    @property
    def configuration(self) -> Configuration: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def users(self) -> UnixUsers: ...


@dataclass(frozen=True)
class Login:
    """The result for LOGIN_REQUEST."""

    status: UserFlag
    account: str
    nt_hash: bytes = b""
    unix: UnixUser | None = None
    note: str = ""
    """A line for the log that tells the administrator what to do, or ''."""


def maps_users(share: ShareSettings, users: UnixUsers) -> bool:
    """Whether SMB users without a Unix account may work on this share."""
    if share.is_ipc or not share.path:
        return False
    if share.force_user:
        return users.user(share.force_user) is not None
    return bool(share.guest_account) and users.user(share.guest_account) is not None


def decide(
    account: str, accounts: Accounts, configuration: Configuration, users: UnixUsers, mapped: bool = False
) -> Login:
    """Decide on the log-on of `account`; '' is the anonymous user. The engine checks the password by the hash that it
    gets. `mapped`: the name is that of a session, for which `username map` has been obeyed."""
    settings = configuration.settings
    if not mapped:
        account = configuration.username_map.user(account, users)
    if not account:
        return _guest_login("", configuration, users)
    known = accounts.find(account)
    # An unknown user costs the same look-up and the same two messages, so that timing does not reveal who exists.
    unix = users.user(known.name if known is not None else account)
    if known is None:
        if settings.map_to_guest == "bad user":
            return _guest_login(account, configuration, users)
        return Login(UserFlag.BAD_USER | UserFlag.EXTENSION, account)
    bar = BARS.get(known.bar(time.time()))
    if bar is not None:
        return Login(bar | UserFlag.EXTENSION, known.name, known.nt_hash, unix)
    if unix is not None:
        return Login(UserFlag.OK | UserFlag.EXTENSION, known.name, known.nt_hash, unix)
    if any(maps_users(share, users) for share in configuration.shares.values()):
        nobody = guest(users, settings.guest_account)
        return Login(UserFlag.OK | UserFlag.EXTENSION, known.name, known.nt_hash, nobody)
    note = (
        f"user {known.name} has no Unix account and is refused: "
        f"make one (useradd -M {known.name}), or set `force user` on a share"
    )
    return Login(UserFlag.BAD_UID | UserFlag.EXTENSION, known.name, note=note)


def _guest_login(account: str, configuration: Configuration, users: UnixUsers) -> Login:
    nobody = guest(users, configuration.settings.guest_account)
    return Login(UserFlag.OK | UserFlag.GUEST_ACCOUNT | UserFlag.EXTENSION, account, unix=nobody)
