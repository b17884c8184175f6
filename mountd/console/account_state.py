# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.adduser --disable, --enable and --expires: whether a user may log on."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Final

from mountd import accounts
from mountd.accounts import DISABLED, EXPIRED, LOCKED, Account
from mountd.commandline import Command, Parsed
from mountd.files import FileProblem, locked_directory
from mountd.notify import reload_daemon
from mountd.rundir import DEFAULT_PWDDB, RunDirectory

OPTIONS: Final = ("disable", "enable", "expires")
NEVER: Final = "never"
_STATES: Final = {DISABLED: "disabled", LOCKED: "locked out", EXPIRED: "expired", "": "active"}


def state(account: Account) -> str:
    """Whether the user may log on now, as a word."""
    return _STATES[account.bar(time.time())]


def until(expires: object) -> str:
    """When an account expires, as local time; - for never."""
    return datetime.fromtimestamp(expires).strftime("%Y-%m-%d %H:%M") if isinstance(expires, int) else "-"


def moment(text: str) -> int | None:
    """The beginning of a day in local time, in seconds since 1970; None for `never`. Raises ValueError."""
    if text == NEVER:
        return None
    seconds = int(datetime.strptime(text, "%Y-%m-%d").timestamp())
    if seconds < 0:
        raise ValueError(text)
    return seconds


def change(command: Command, parsed: Parsed) -> int:
    """Run the command. Returns 0; where it fails it exits with 1."""
    if any(parsed.has(name) for name in ("add", "update", "delete", "password", "password-fd")):
        command.fail("--disable, --enable and --expires go without -a, -u, -d, -p and --password-fd")
    if parsed.has("disable") and parsed.has("enable"):
        command.fail("only one of --disable and --enable")
    name = command.argument(parsed, "user")
    database = parsed.last("pwddb") or DEFAULT_PWDDB
    given = parsed.last("expires")
    try:
        expires = moment(given) if given is not None else None
    except (ValueError, OverflowError, OSError):
        command.fail(f"--expires={given}: allowed is YYYY-MM-DD, or {NEVER}")
    try:
        with locked_directory(database):
            users = accounts.load(database)
            found = users.find(name)
            if found is None:
                command.fail(f"no user {name} in {database}")
            changed = _changed(found, parsed, expires)
            users.put(changed)
            accounts.save(users, database)
    except (FileProblem, OSError) as error:
        command.fail(str(error))
    ends = "" if changed.expires is None else f", expires {until(changed.expires)}"
    print(f"user {changed.name} {state(changed)}{ends}")
    reload_daemon(RunDirectory.from_option(parsed.last("rundir")), command.note, parsed.has("verbose"))
    return 0


def _changed(account: Account, parsed: Parsed, expires: int | None) -> Account:
    if parsed.has("disable"):
        account = replace(account, flags="".join(sorted({*account.flags, DISABLED})))
    if parsed.has("enable"):
        account = replace(account, flags="")
        if account.bar(time.time()) == EXPIRED:
            account = replace(account, expires=None)
    return replace(account, expires=expires) if parsed.has("expires") else account
