# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows the users of the user database, with the Unix accounts whose rights they have."""

from __future__ import annotations

import json

from mountd.accounts import Accounts
from mountd.console.account_state import state, until
from mountd.console.tables import table, terminal_columns
from mountd.unixusers import SystemUsers, UnixUsers


def rows(users: Accounts, system: UnixUsers) -> list[dict[str, str | int | None]]:
    """A row a user, by name: `user`, `unix_account` and `uid`, both null where the system has no such account, `state`
    (active, disabled, locked out or expired) and `expires`, seconds since 1970 or null."""
    found = []
    for account in sorted(users, key=lambda account: account.name.casefold()):
        unix = system.user(account.name)
        known = (unix.name, unix.uid) if unix is not None else (None, None)
        more = {"state": state(account), "expires": account.expires}
        found.append({"user": account.name, "unix_account": known[0], "uid": known[1], **more})
    return found


def show(users: Accounts, as_json: bool) -> None:
    """Print the users: a table, or JSON."""
    listed = rows(users, SystemUsers())
    if as_json:
        print(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    cells = [
        (
            str(row["user"]), str(row["unix_account"] or "-"), "-" if row["uid"] is None else str(row["uid"]),
            str(row["state"]), until(row["expires"]),
        )
        for row in listed
    ]
    for line in table(("USER", "UNIX ACCOUNT", "UID", "STATE", "EXPIRES"), cells, terminal_columns()):
        print(line)
