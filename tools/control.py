# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control: stop, reload and query the running daemon, and toggle its debug messages."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from ksmbd.tools.acl_inherit import acl_inherit

from ksmbd import debug
from ksmbd.address import normal_address
from mountd.commandline import HELP, RUNDIR, VERBOSE, VERSION, Command, Option, Parsed, package_version
from mountd.console import closing, status
from mountd.console.asking import ask, last
from mountd.console.check import check
from mountd.console.status import VIEWS
from mountd.console.tables import printable
from mountd.kernelserver.control import RUNNING, KernelControl
from mountd.rundir import DEFAULT_CONFIG, RunDirectory

COMMAND = Command(
    name="ksmbd.control",
    summary="Control the running ksmbd.mountd and its engine.",
    usage=(
        "{-s | -r | -l | -d COMPONENT | -c | --features} [--json] [-R DIR] [-v]",
        "{--status | --sessions | --files | --locks | --close WHAT} [--json] [-R DIR]",
        "--check [CONF] [--json]",
        "--acl-inherit PATH [--dry-run] [--json] [-C CONF] [-v]",
    ),
    options=(
        Option("s", "shutdown", "stop the server, and wait until it has ended"),
        Option("r", "reload", "reload the configuration and the user database; where they have errors, print them,\n"
                              "keep the old ones, and exit with 1"),
        Option("l", "list", "list the shares that are served"),
        Option("d", "debug", "toggle the debug messages of COMPONENT, and print which are on (in brackets);\n"
                             "COMPONENT is all, " + ", ".join(debug.COMPONENTS) + ";\n"
                             "COMPONENT@ADDRESS toggles them for one client", "COMPONENT"),
        Option("c", "ksmbd-version", "print the version of the engine"),
        Option("", "features", "print which kernel features are used, and why others are not"),
        Option("", "status", "print sessions, tree connects, open files, byte-range locks, and how much of the limits\n"
                             "is used"),
        Option("", "sessions", "print the sessions"),
        Option("", "files", "print the open files"),
        Option("", "locks", "print the byte-range locks"),
        Option("", "close", "close a session or a file by its id, the opens of SHARE/PATH, all connections to a\n"
                            "share, or the sessions of an address; print how many; may be given several times",
               "WHAT"),
        Option("", "check", "print what the configuration file CONF means, what of it has no effect, and what is\n"
                            f"wrong; default {DEFAULT_CONFIG}; no server need run", "CONF", optional=True),
        Option("", "acl-inherit", "pass the inheritable entries of the access control lists of the folder PATH, in a\n"
                                  "share, on to all that is below it; no server need run", "PATH"),
        Option("", "dry-run", "with --acl-inherit: change nothing, and print what would change"),
        Option("C", "config", "with --acl-inherit: the configuration file that has the share; default\n"
                              f"{DEFAULT_CONFIG}", "CONF"),
        Option("", "json", "print what is asked for as JSON"),
        RUNDIR,
        VERBOSE,
        VERSION,
        HELP,
    ),
)

ANSWER_SECONDS = 2.0
"""Seconds that a running daemon may take to answer through a file."""

STOP_SECONDS = 60.0
"""Seconds that the daemon may take to stop."""

_WORD_SIZE = 127
"""Bytes read of an answer at most."""

_ACTIONS = ("shutdown", "reload", "list", "debug", "ksmbd-version", "features", "check", "close", "acl-inherit", *VIEWS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0; a failure prints one line on stderr and exits with 1."""
    parsed = COMMAND.start(argv)
    actions = [name for name, _ in parsed.options if name in _ACTIONS]
    checked = [*filter(None, parsed.all("check")), *parsed.arguments] if actions == ["check"] else []
    if parsed.arguments and len(checked) != 1:
        COMMAND.fail(f"unexpected argument {parsed.arguments[0]!r}; ksmbd.control --help lists the options")
    if len(set(actions)) != 1:
        COMMAND.fail("give one action, such as -s, -r, -l, -d, -c or --status; ksmbd.control --help explains them")
    try:
        if actions[0] == "acl-inherit":
            done = _acl_inherit(parsed)
        else:
            done = _act(parsed, actions[0], checked)
        sys.stdout.flush()
        return done
    except BrokenPipeError:
        # Whoever read the output, such as head, has seen enough; nothing more may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PermissionError as error:
        where = f" ({error.filename})" if error.filename else ""
        COMMAND.fail(f"not allowed{where}: use it as root, or as the user that runs ksmbd.mountd")


def _acl_inherit(parsed: Parsed) -> int:
    """Pass a folder's entries on, and return the exit status."""
    folders = parsed.all("acl-inherit")
    if len(folders) != 1:
        COMMAND.fail("--acl-inherit: give one folder")
    ended: int = acl_inherit(
        COMMAND, folders[0], parsed.last("config") or DEFAULT_CONFIG, dry_run=parsed.has("dry-run"),
        as_json=parsed.has("json"), verbose=parsed.has("verbose"),
    )  # fmt: skip
    return ended


def _act(parsed: Parsed, action: str, checked: Sequence[str]) -> int:
    """Do all else, and return the exit status. `checked` has the argument of --check."""
    for name, flag in (("dry-run", "--dry-run"), ("config", "-C")):
        if parsed.has(name):
            COMMAND.fail(f"{flag} goes with --acl-inherit alone")
    rundir = RunDirectory.from_option(parsed.last("rundir"))
    as_json, verbose = parsed.has("json"), parsed.has("verbose")
    match action:
        case "shutdown":
            _shutdown(rundir, verbose)
        case "reload":
            return _reload(rundir, verbose)
        case "status" | "sessions" | "files" | "locks":
            _show(rundir, VIEWS[action], as_json)
        case "close":
            return max(_close(rundir, what, as_json) for what in parsed.all("close"))
        case "check":
            return check(checked[0] if checked else DEFAULT_CONFIG, as_json)
        case "list":
            _list(rundir, as_json)
        case "debug":
            for component in parsed.all("debug"):
                _debug(rundir, component)
        case "ksmbd-version":
            print(f"ksmbd version : {package_version()}")
        case "features":
            _features(rundir, as_json)
    return 0


def _manager(rundir: RunDirectory) -> int:
    pid = rundir.manager_pid()
    if pid is None:
        COMMAND.fail(f"ksmbd.mountd does not run in {rundir.path}; start it, or name its run directory with -R")
    return pid


def _reload(rundir: RunDirectory, verbose: bool) -> int:
    """Reload, wait for the outcome, and return the exit status."""
    outcome = last(COMMAND, rundir, {"ask": "reload"})
    problems: list[str] = outcome.get("problems", [])
    for line in problems:
        print(printable(line), file=sys.stderr)
    if problems:
        return 1
    for line in outcome.get("notes", []) if verbose else ():
        print(printable(line), file=sys.stderr)
    if outcome.get("restart"):
        COMMAND.note("changes in [global] that concern the engine count from its next start")
    if verbose and outcome.get("closed"):
        COMMAND.note(f"closed, because the configuration no longer admits it: {closing.told(outcome['closed'])}")
    for worker in outcome.get("silent", []):
        COMMAND.note(f"ksmbd/{worker} has not said yet that it uses the new configuration")
    return 0


def _show(rundir: RunDirectory, kinds: Sequence[str], as_json: bool) -> None:
    """Print rows of these kinds, and tell which workers are silent."""
    lists, silent = status.collect(ask(COMMAND, rundir, {"ask": "list", "kinds": list(kinds)}), kinds)
    if as_json:
        print(status.as_json(lists, silent))
    else:
        for line in status.lines(lists):
            print(line)
    for worker in silent:
        COMMAND.note(f"ksmbd/{worker} does not answer: what it serves is missing here")


def _close(rundir: RunDirectory, what: str, as_json: bool) -> int:
    """Close what is named, print how many of each, and return the exit status: 1 where there was nothing."""
    try:
        target = closing.parse(what)
    except ValueError as error:
        COMMAND.fail(f"--close: {error}")
    answer = last(COMMAND, rundir, {"ask": "close", "target": asdict(target)})
    closed: dict[str, int] = answer.get("closed", {})
    for worker in answer.get("silent", []):
        COMMAND.note(f"ksmbd/{worker} does not answer: what it serves may not be closed")
    if as_json:
        print(json.dumps(answer))
    elif closed:
        print(f"closed: {closing.told(closed)}")
    if not closed:
        COMMAND.note(f"nothing is open that {printable(what)!r} names")
    return 0 if closed else 1


def _shutdown(rundir: RunDirectory, verbose: bool) -> None:
    kernel = KernelControl(rundir.kernel_control) if rundir.kernel_control else None
    if rundir.manager_pid() is None and kernel is not None and kernel.state() == RUNNING:
        # Its ksmbd.mountd has died, and it keeps its clients for the next one.
        kernel.kill()
        if verbose:
            COMMAND.note("the kernel's server has ended, whose ksmbd.mountd had died")
        return
    pid = _manager(rundir)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # ended meanwhile, as was asked
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if not poller.poll(STOP_SECONDS * 1000):
            COMMAND.fail(f"ksmbd.mountd (process {pid}) did not end within {STOP_SECONDS:.0f} seconds")
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    if verbose:
        COMMAND.note(f"ksmbd.mountd (process {pid}) has ended")


def _debug(rundir: RunDirectory, component: str) -> None:
    name, at, address = component.partition("@")
    if name != "all" and name not in debug.COMPONENTS:
        COMMAND.fail(f"no component {name!r}: allowed is all, {', '.join(debug.COMPONENTS)}")
    if at:
        try:
            component = f"{name}@{normal_address(address)}"
        except ValueError:
            COMMAND.fail(f"no address {address!r}: allowed is an IPv4 or IPv6 address, as in smb@192.0.2.7")
    _manager(rundir)
    try:
        folder = os.open(rundir.control, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        COMMAND.fail(f"{rundir.control} is missing: the engine is not up yet")
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # of two callers the second waits for the first one's answer
        print(_toggle_kernel(rundir, component) if rundir.kernel_control else _toggle(rundir, component))
    finally:
        os.close(folder)


def _toggle_kernel(rundir: RunDirectory, component: str) -> str:
    """Write the component's name to the kernel's file, and return the new line."""
    with open(rundir.debug, "wb", buffering=0) as stream:
        stream.write(component.encode() + b"\n")
    with open(rundir.debug, encoding="ascii", errors="replace") as answer:
        return answer.read().strip()


def _toggle(rundir: RunDirectory, component: str) -> str:
    """Write the component's name to the file, wait for the engine to rewrite it, and return the new line."""
    try:
        with open(rundir.debug, "r+b", buffering=0) as stream:
            # Padded over what is there and not truncated first: an engine that is about to cut the file to the length
            # of its previous answer would otherwise fill it with zeros behind our word.
            stream.write(component.encode().ljust(_WORD_SIZE) + b"\n")
    except FileNotFoundError:
        COMMAND.fail(f"{rundir.debug} is missing: the engine is not up yet")
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError), open(rundir.debug, encoding="ascii", errors="replace") as stream:
            line, _, clients = stream.read().strip().partition("\n")
            if debug.is_listing(line):
                return f"{line}\n{clients or 'for no client alone'}" if "@" in component else line
        time.sleep(0.005)
    COMMAND.fail(f"the engine did not answer within {ANSWER_SECONDS:.0f} seconds")


def _features(rundir: RunDirectory, as_json: bool) -> None:
    _manager(rundir)
    if rundir.kernel_control:
        COMMAND.fail("the kernel's server does not tell its features; docs/engines.md has what each engine has")
    try:
        with open(rundir.features, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    except FileNotFoundError:
        COMMAND.fail(f"{rundir.features} is missing: the engine is not up yet")
    if not as_json:
        sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
        return
    rows = [line.split(None, 2) for line in text.splitlines() if line.strip()]
    features = [{"name": row[0], "on": row[1:2] == ["on"], "why": row[2] if len(row) > 2 else ""} for row in rows]
    print(json.dumps({"features": features}))


def _list(rundir: RunDirectory, as_json: bool) -> None:
    text = _ask_for_list(rundir)
    if as_json:
        sys.stdout.write(text)
        return
    try:
        shares: list[dict[str, str | bool]] = json.loads(text)["shares"]
    except (ValueError, KeyError):
        COMMAND.fail("the daemon's answer is not a list of shares: is it of the same version?")
    rows = [("SHARE", "ACCESS", "PATH", "COMMENT")]
    for share in shares:
        access = ("read" if share["read_only"] else "write") + (", guests" if share["guest_ok"] else "")
        rows.append((str(share["name"]), access, str(share["path"]) or "-", str(share["comment"])))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip())


def _ask_for_list(rundir: RunDirectory) -> str:
    """Send SIGUSR1 to the manager, and read its answer from the FIFO."""
    pid = _manager(rundir)
    path = rundir.fifo(pid)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # left by a caller that was killed
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        COMMAND.fail("another ksmbd.control is asking right now; try again")
    except OSError as error:
        if error.errno == errno.EACCES:
            raise PermissionError(error.errno, error.strerror, path) from None
        COMMAND.fail(f"{path}: {error.strerror}")
    try:
        # Opened before the signal, so that the daemon finds a reader and need not wait for one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.kill(pid, signal.SIGUSR1)
            return _read_answer(descriptor).decode(errors="replace")
        finally:
            os.close(descriptor)
    except ProcessLookupError:
        COMMAND.fail(f"ksmbd.mountd in {rundir.path} has just ended")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _read_answer(descriptor: int) -> bytes:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    content = b""
    while poller.poll(ANSWER_SECONDS * 1000):
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return content
        content += piece
    COMMAND.fail(f"ksmbd.mountd did not answer within {ANSWER_SECONDS:.0f} seconds")


if __name__ == "__main__":
    sys.exit(main())
