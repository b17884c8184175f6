# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.addshare: add, update and delete the shares of the configuration file."""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from ksmbd.overriding import override
from mountd import accounts, config, sharefile
from mountd.commandline import HELP, RUNDIR, VERBOSE, VERSION, Command, Option
from mountd.notify import reload_daemon
from mountd.parameters import SHARE_PARAMETERS, Kind, split_list
from mountd.rundir import DEFAULT_CONFIG, DEFAULT_PWDDB, RunDirectory
from mountd.sharefile import ShareProblem, Why

COMMAND = Command(
    name="ksmbd.addshare",
    summary="Add, update or delete a share of ksmbd. Without -a, -u and -d, SHARE is added, or updated if it exists.",
    usage=("[-a | -u] [-o 'PARAMETER = VALUE']... [-C CONF] [-P PWDDB] [-R DIR] [-v] SHARE",
           "-d [-C CONF] [-P PWDDB] [-R DIR] [-v] SHARE"),
    options=(
        Option("a", "add", "add SHARE; it must not exist"),
        Option("d", "delete", "delete SHARE"),
        Option("u", "update", "update SHARE; it must exist"),
        Option("o", "option", "set a share parameter, as in 'path = /srv'; may be repeated; an empty value removes it",
               "OPT"),
        Option("C", "config", f"the configuration file; default {DEFAULT_CONFIG}", "CONF"),
        Option("P", "pwddb", f"the user database, to warn of unknown users; default {DEFAULT_PWDDB}", "PWDDB"),
        RUNDIR,
        VERBOSE,
        VERSION,
        HELP,
    ),
    epilog="Without -o, the parameters are read from standard input, one per line; on a terminal Tab completes them.\n"
           "The parameters: " + ", ".join(sorted(SHARE_PARAMETERS)) + ".\nksmbd.conf(5) explains them.",
)

Options = dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0; a failure prints one line on stderr and exits with 1."""
    parsed = COMMAND.start(argv)
    action = COMMAND.action(parsed)
    if action == "delete" and parsed.has("option"):
        COMMAND.fail("-o means nothing with -d")
    name = COMMAND.argument(parsed, "share")
    reason = config.share_name_problem(name)
    if reason or config.share_key(name) == "global":
        COMMAND.fail(reason or "[global] is not a share; edit the file for it")
    path = parsed.last("config") or DEFAULT_CONFIG
    if config.is_smb_conf(path):
        COMMAND.fail(f"{path} is Samba's; ksmbd.addshare writes ksmbd.conf alone")
    try:
        sharefile.check(path, name, action)
    except ShareProblem as problem:
        COMMAND.fail(_advised(problem, action))
    options: Options = {}
    if action != "delete":
        given = parsed.all("option")
        try:
            options = _from_arguments(given) if given else _ask(name) if sys.stdin.isatty() else _from_stdin()
        except ValueError as error:
            COMMAND.fail(str(error))
    try:
        outcome = sharefile.change(path, name, action, options)
    except ShareProblem as problem:
        COMMAND.fail(_advised(problem, action))
    except OSError as error:
        COMMAND.fail(f"{path}: cannot be written: {error.strerror}")
    print(f"share {name} {outcome}")
    _note_unknown_users(options, parsed.last("pwddb") or DEFAULT_PWDDB)
    reload_daemon(RunDirectory.from_option(parsed.last("rundir")), COMMAND.note, parsed.has("verbose"))
    return 0


_ADVICE = {Why.THERE: "; -u changes it", Why.NO_FOLDER: ": -o 'path = /folder'"}
"""What a problem can be mended with."""


def _advised(problem: ShareProblem, action: str) -> str:
    return str(problem) + ("; -a adds it" if problem.why is Why.MISSING and action == "update"
                           else _ADVICE.get(problem.why, ""))


def _from_arguments(given: Sequence[str]) -> Options:
    options: Options = {}
    for text in given:
        key, value = _option(text)
        options[key] = value
    return options


def _from_stdin() -> Options:
    """Read `parameter = value` lines from a pipe."""
    return _from_arguments([line for line in sys.stdin.read().split("\n") if line.strip()])


def _option(text: str) -> tuple[str, str]:
    """Parse `parameter = value`. Raises ValueError, which says what is wrong and what is allowed."""
    key, equals, value = text.partition("=")
    key, value = " ".join(key.lower().split()), value.strip()
    if not equals:
        raise ValueError(f"`{text.strip()}`: allowed is 'PARAMETER = VALUE'")
    parameter = SHARE_PARAMETERS.get(key)
    if parameter is None:
        close = difflib.get_close_matches(key, SHARE_PARAMETERS, 1)
        raise ValueError(f"unknown share parameter `{key}`" + (f"; is `{close[0]}` meant?" if close else ""))
    if any(character in value for character in ";#\n"):
        raise ValueError(f"`{key}`: a value cannot contain ';' or '#', which begin a comment")
    if value:
        try:
            parameter.parse(value)
        except ValueError as error:
            raise ValueError(f"`{key} = {value}`: allowed is {error}") from None
    if key == "path" and value:
        _check_folder(value)
    return key, value


def _check_folder(path: str) -> None:
    if not path.startswith("/"):
        raise ValueError(f"`path = {path}`: allowed is an absolute path")
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        COMMAND.note(f"{path}: {error.strerror}; the share works once the folder is there")
    else:
        if not stat.S_ISDIR(mode):
            raise ValueError(f"{path} is not a folder")


def _ask(name: str) -> Options:
    """Read lines from the terminal until an empty one; a wrong line is reported and may be typed again."""
    print(f"Parameters of [{name}], as `path = /srv/folder`; Tab completes, an empty line ends.", file=sys.stderr)
    options: Options = {}
    with _completion():
        while True:
            try:
                line = input(f"[{name}] ")
            except EOFError:
                print(file=sys.stderr)
                break
            except KeyboardInterrupt:
                print(file=sys.stderr)
                COMMAND.fail("interrupted, nothing is changed")
            if not line.strip():
                break
            try:
                key, value = _option(line)
            except ValueError as error:
                COMMAND.note(str(error))
                continue
            options[key] = value
    return options


def complete(line: str) -> list[str]:
    """The completions of a line typed so far: parameters, then values."""
    key, equals, value = line.partition("=")
    if not equals:
        return [f"{name} = " for name in sorted(SHARE_PARAMETERS) if name.startswith(line.lstrip().lower())]
    parameter = SHARE_PARAMETERS.get(" ".join(key.lower().split()))
    if parameter is None:
        return []
    choices = ("yes", "no") if parameter.kind is Kind.BOOLEAN else parameter.choices
    return [f"{parameter.name} = {choice}" for choice in choices if choice.startswith(value.strip())]


class _completion(contextlib.AbstractContextManager["_completion"]):
    """Context manager in which Tab completes lines; without the readline library it does nothing."""

    def __init__(self) -> None:
        self.readline: ModuleType | None = None
        self.before: tuple[Callable[[str, int], str | None] | None, str] = (None, "")

    @override
    def __enter__(self) -> _completion:
        try:
            import readline
        except ImportError:
            return self
        self.readline = readline
        self.before = (readline.get_completer(), readline.get_completer_delims())
        readline.set_completer(lambda text, state: (complete(text) + [None] * (state + 1))[state])
        readline.set_completer_delims("")
        readline.parse_and_bind("tab: complete")
        return self

    @override
    def __exit__(self, *_: object) -> None:
        if self.readline is not None:
            self.readline.set_completer(self.before[0])
            self.readline.set_completer_delims(self.before[1])


def _note_unknown_users(options: Options, database: str) -> None:
    """Warn of names in user lists that are not in the user database: a typing error could lock users out."""
    try:
        users = accounts.load(database)
    except accounts.AccountsProblem:
        return  # nothing to compare with
    for key in ("admin users", "invalid users", "read list", "valid users", "write list"):
        for member in split_list(options.get(key, "")):
            if not member.startswith("@") and member not in users:
                COMMAND.note(f"`{key}` names {member}, who is no user in {database}")


if __name__ == "__main__":
    sys.exit(main())
