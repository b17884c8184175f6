# SPDX-License-Identifier: GPL-2.0-or-later
"""Decides which user a Kerberos principal is, without side effects.

krb5.conf's rules make the name of a local user of the principal (`auth_to_local`); where they make none, as for users
of other realms, the log-on is refused. `username map` counts for that name. Nobody becomes a guest. The user is one of
the user database, or a Unix account that is no system account (`min domain uid`), because who is known to the realm
need not have a password here.
"""

from __future__ import annotations

from ksmbd.ipc.constants import UserFlag
from mountd.accounts import Account, Accounts
from mountd.config import Configuration
from mountd.kerberos.answers import Accepted
from mountd.login import Login, decide
from mountd.settings import GlobalSettings
from mountd.unixusers import UnixUsers


def asked_for(settings: GlobalSettings) -> bool:
    """Whether the configuration asks for Kerberos."""
    return settings.kerberos_support or settings.kerberos_method.endswith("keytab")


def realm_user(name: str, configuration: Configuration, users: UnixUsers) -> Account | None:
    """A user who is not in the user database and may log on with Kerberos all the same: a Unix account from `min domain
    uid` on."""
    if not asked_for(configuration.settings):
        return None
    unix = users.user(name)
    if unix is None or unix.uid < configuration.settings.min_domain_uid:
        return None
    return Account(unix.name, b"")


def decide_principal(accepted: Accepted, accounts: Accounts, configuration: Configuration, users: UnixUsers) -> Login:
    """Decide on the log-on with a ticket."""
    if not accepted.local:
        return Login(UserFlag.BAD_USER, "", note="no rule of krb5.conf (auth_to_local) makes a user of the principal")
    name = configuration.username_map.user(accepted.local, users)
    if accounts.find(name) is not None:
        login = decide(name, accounts, configuration, users, mapped=True)
        why = login.note or "the account is disabled, locked or expired"
        return login if login.status & UserFlag.OK else Login(login.status, login.account, note=why)
    if realm_user(name, configuration, users) is None:
        unix = users.user(name)
        why = "no Unix account of that name" if unix is None else f"uid {unix.uid} is below `min domain uid`"
        return Login(UserFlag.BAD_USER, name, note=f"{why}, and the user is not in the user database")
    return Login(UserFlag.OK | UserFlag.EXTENSION, name, unix=users.user(name))
