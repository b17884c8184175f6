# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.adduser: add, update and delete the users of the user database."""

from __future__ import annotations

import getpass
import os
import pwd
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mountd import accounts, config, sidhistory, smbpasswd
from mountd.commandline import HELP, RUNDIR, VERBOSE, VERSION, Command, Option, Parsed
from mountd.console import account_state, unix_password, user_list
from mountd.files import FileProblem, locked_directory
from mountd.notify import reload_daemon
from mountd.rundir import DEFAULT_CONFIG, DEFAULT_PWDDB, RunDirectory

COMMAND = Command(
    name="ksmbd.adduser",
    summary="Add, update or delete a user of ksmbd. Without -a, -u and -d, USER is added, or updated if it exists.",
    usage=(
        "[-a | -u] [-p PWD] [-P PWDDB] [-C CONF] [-R DIR] [-v] USER",
        "-d [-P PWDDB] [-C CONF] [-R DIR] [-v] USER",
        "--disable | --enable | --expires=DATE [-P PWDDB] [-R DIR] [-v] USER",
        "--import=FILE [-P PWDDB] [-R DIR] [-v]",
        "--import-sids=FILE [-C CONF]",
        "--list [--json] [-P PWDDB]",
    ),
    options=(
        Option("a", "add", "add USER, which must not exist"),
        Option("d", "delete", "delete USER, unless the configuration names it"),
        Option("u", "update", "set a new password for USER, which must exist; with `unix password sync` of CONF\n"
               "for the Unix account, too"),
        Option("p", "password", f"the password, at most {accounts.PASSWORD_MAX} bytes, which others may see in the\n"
               "list of processes; default: ask for it, or read a line of standard input", "PWD"),
        Option("", "password-fd", "read the password from the file descriptor N", "N"),
        Option("", "disable", "refuse the log-ons of USER, whose password is kept"),
        Option("", "enable", "admit USER again, who was disabled, locked out or expired"),
        Option("", "expires", "refuse the log-ons of USER from DATE on: YYYY-MM-DD (local time), or never", "DATE"),
        Option("", "import", "add and update the users of a Samba server, printed by `pdbedit -Lw`,\n"
               "or of an smbpasswd file; - is standard input", "FILE"),
        Option("", "import-sids", "take from the output of `pdbedit -Lv` which SIDs the users had on a Samba\n"
               "server, so that its access control lists go on to mean them; - is standard input", "FILE"),
        Option("", "list", "list the users, their Unix accounts and uids"),
        Option("", "json", "with --list: for programs"),
        Option("C", "config", f"the configuration file; default {DEFAULT_CONFIG}", "CONF"),
        Option("P", "pwddb", f"the user database; default {DEFAULT_PWDDB}", "PWDDB"),
        RUNDIR,
        VERBOSE,
        VERSION,
        HELP,
    ),
    epilog=f"USER has 1 to {accounts.NAME_MAX} bytes and no ':'.",
)

_ALL = ("import", "import-sids", "list")
"""The options that concern no single user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0; a failure prints one line on stderr and exits with 1."""
    parsed = COMMAND.start(argv)
    if any(parsed.has(name) for name in _ALL):
        return _all_users(parsed)
    if any(parsed.has(name) for name in account_state.OPTIONS):
        return account_state.change(COMMAND, parsed)
    action = COMMAND.action(parsed)
    name = COMMAND.argument(parsed, "user")
    reason = accounts.name_problem(name)
    if reason:
        COMMAND.fail(reason)
    database = parsed.last("pwddb") or DEFAULT_PWDDB
    try:
        if action == "delete":
            _refuse_if_needed(name, parsed.last("config") or DEFAULT_CONFIG)
            outcome = _change(database, name, action, None)
        else:
            known = _check_before_asking(database, name, action)
            password = _password(parsed)
            if known:
                unix_password.sync(COMMAND, parsed.last("config") or DEFAULT_CONFIG, name, password)
            outcome = _change(database, name, action, password)
    except (FileProblem, OSError) as error:
        COMMAND.fail(str(error))
    print(f"user {name} {outcome}")
    if outcome == "added":
        _note_unix_account(name)
    reload_daemon(RunDirectory.from_option(parsed.last("rundir")), COMMAND.note, parsed.has("verbose"))
    return 0


def _all_users(parsed: Parsed) -> int:
    """--import, --import-sids and --list, which concern no single user."""
    if parsed.arguments or any(parsed.has(name) for name in ("add", "update", "delete", "password")):
        COMMAND.fail("--import, --import-sids and --list go without USER, -a, -u, -d and -p")
    if sum(parsed.has(name) for name in _ALL) > 1:
        COMMAND.fail("only one of --import, --import-sids and --list")
    database = parsed.last("pwddb") or DEFAULT_PWDDB
    try:
        if parsed.has("list"):
            user_list.show(accounts.load(database), parsed.has("json"))
            return 0
        given = parsed.last("import") or parsed.last("import-sids") or ""
        content = sys.stdin.buffer.read() if given == "-" else Path(given).read_bytes()
        if parsed.has("import-sids"):
            return _import_sids(content, parsed.last("config") or DEFAULT_CONFIG)
        return _import(content, given, database, parsed)
    except (FileProblem, OSError) as error:
        COMMAND.fail(str(error))


def _import(content: bytes, source: str, database: str, parsed: Parsed) -> int:
    """Take the users of a Samba server. Returns 1 where there are none."""
    found = smbpasswd.parse(content)
    where = "standard input" if source == "-" else source
    for number, name, reason in found.left_out:
        COMMAND.note(f"{where}:{number}: {f'{name} is' if name else 'line is'} left out: {reason}")
    if not found.accounts:
        COMMAND.fail(f"{where}: no users; allowed are the lines that `pdbedit -Lw` prints")
    added = updated = 0
    with locked_directory(database):
        users = accounts.load(database, missing_ok=True)
        for account in found.accounts:
            known = users.find(account.name)
            added += known is None
            updated += known is not None and (known.nt_hash, known.flags) != (account.nt_hash, account.flags)
            expires = known.expires if known is not None else None
            name = known.name if known is not None else account.name
            users.put(replace(account, name=name, expires=expires))
        accounts.save(users, database)
    same = len(found.accounts) - added - updated
    print(f"users: {added} added, {updated} updated, {same} unchanged, {len(found.left_out)} left out")
    for account in found.accounts:
        _note_unix_account(account.name)
    reload_daemon(RunDirectory.from_option(parsed.last("rundir")), COMMAND.note, parsed.has("verbose"))
    return 0


def _import_sids(content: bytes, configuration: str) -> int:
    """Take the SIDs of a Samba server's users. Fails where there are none."""
    found = sidhistory.from_pdbedit(content)
    if not found:
        COMMAND.fail("no users with SIDs; allowed is what `pdbedit -Lv` prints")
    path = sidhistory.path_for(configuration)
    added, known = sidhistory.merge(path, found)
    print(f"SIDs: {added} added, {known} known before; they count from the next start of the server")
    return 0


def _check_before_asking(database: str, name: str, action: str) -> bool:
    """Fail before the user types a password, where the action cannot succeed. Returns whether there is such a user."""
    users = accounts.load(database, missing_ok=action != "update")
    return _check_exists(users, database, name, action) is not None


def _check_exists(users: accounts.Accounts, database: str, name: str, action: str) -> accounts.Account | None:
    found = users.find(name)
    if action == "add" and found is not None:
        COMMAND.fail(f"there is a user {found.name} in {database} already; -u gives it a new password")
    if action in ("update", "delete") and found is None:
        COMMAND.fail(f"no user {name} in {database}" + ("; -a adds it" if action == "update" else ""))
    return found


def _change(database: str, name: str, action: str, password: str | None) -> str:
    with locked_directory(database):
        users = accounts.load(database, missing_ok=action != "delete")
        found = _check_exists(users, database, name, action)
        if password is None:
            assert found is not None
            users.remove(found.name)
        else:
            digest = accounts.nt_hash(password)
            users.put(replace(found, nt_hash=digest) if found is not None else accounts.Account(name, digest))
        accounts.save(users, database)
    return "deleted" if password is None else "updated" if found else "added"


def _refuse_if_needed(name: str, path: str) -> None:
    """Fail where the configuration names the user: without it, a share could lose its only writer, or be open to
    all."""
    if not os.path.exists(path):
        return
    configuration = config.load(path)
    if configuration.errors:
        COMMAND.fail(f"{configuration.errors[0]}; repair it first, it may depend on the user")
    folded = name.casefold()
    if configuration.settings.guest_account.casefold() == folded:
        COMMAND.fail(f"{name} is the `guest account` of [global] in {path}; change that first")
    for share in configuration.all_shares():
        for field in ("admin users", "valid users", "write list", "read list"):
            members: tuple[str, ...] = getattr(share, field.replace(" ", "_"))
            if any(member.casefold() == folded for member in members):
                COMMAND.fail(f"[{share.name}] in {path} names {name} in `{field}`; take it out there first")
        if share.guest_account.casefold() == folded:
            COMMAND.fail(f"{name} is the `guest account` of [{share.name}] in {path}; change that first")


def _password(parsed: Parsed) -> str:
    given, number = parsed.last("password"), parsed.last("password-fd")
    if given is not None and number is not None:
        COMMAND.fail("only one of -p and --password-fd")
    if number is not None:
        given = _read_descriptor(number)
    elif given is None:
        given = _ask() if sys.stdin.isatty() else _read()
    reason = accounts.password_problem(given)
    if reason:
        COMMAND.fail(reason)
    return given


def _read_descriptor(number: str) -> str:
    """The password from a file descriptor: its first line."""
    try:
        with open(int(number), encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read(accounts.PASSWORD_MAX * 4 + 2).partition("\n")[0]
    except (OSError, ValueError):
        COMMAND.fail(f"--password-fd={number}: no file descriptor that can be read")


def _ask() -> str:
    """Ask for the password until it is typed twice alike, three times at most; it is not shown."""
    for _ in range(3):
        try:
            first = getpass.getpass("New password: ")
            if getpass.getpass("Retype new password: ") == first:
                return first
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stderr)
            COMMAND.fail("no password was given, nothing is changed")
        COMMAND.note("the passwords differ, try again")
    COMMAND.fail("the passwords differed three times, nothing is changed")


def _read() -> str:
    """The password from a pipe: a line, and where there is a second one the same again."""
    lines = sys.stdin.read().split("\n")
    if lines == [""]:
        COMMAND.fail("no password: give it with -p, or on standard input")
    if len(lines) > 1 and lines[1] and lines[1] != lines[0]:
        COMMAND.fail("the two lines on standard input differ, nothing is changed")
    return lines[0]


def _note_unix_account(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        COMMAND.note(f"there is no Unix account {name}: it can only use shares with `force user`")


if __name__ == "__main__":
    sys.exit(main())
