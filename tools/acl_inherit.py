# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --acl-inherit: passes the inheritable entries of a folder's access control list on to what is below."""

from __future__ import annotations

import errno
import json
import os
import pwd
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Final

from ksmbd.vfs.acl_tree import CHANGED, FAILED, PROTECTED, SKIPPED, UNCHANGED, NoList, NotKept, Outcome, Propagation
from mountd import config, sidhistory, variables
from mountd.commandline import Command
from mountd.config import Configuration
from mountd.console.tables import printable
from mountd.files import FileProblem
from mountd.settings import ShareSettings
from mountd.subauth import load_or_create, path_for
from mountd.unixusers import SystemUsers

_TOLD: Final = 10_000
"""Paths that JSON lists of each kind at most; all are counted."""
_PROGRESS_SECONDS: Final = 1.0
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _Found:
    """What a run has come to."""

    path: str
    dry_run: bool
    stopped: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    folders: int = 0
    told: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.counts[outcome.what] += 1
        self.folders += outcome.is_directory
        if outcome.what == UNCHANGED:
            return
        listed = self.told.setdefault(outcome.what, [])
        if len(listed) < _TOLD:
            why = {"why": outcome.why} if outcome.why else {}
            listed.append({"path": os.fsdecode(outcome.path), **why})


class _Signals:
    """Notes that the run is to end, so that it ends between two files."""

    def __init__(self) -> None:
        self.came = False
        self._before = {number: signal.signal(number, self._note) for number in _ENDING}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True

    def __enter__(self) -> _Signals:
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def acl_inherit(command: Command, path: str, conf: str, *, dry_run: bool, as_json: bool, verbose: bool) -> int:
    """Run it on the folder at `path`, and print what became of what is below. Returns the exit status: 1 where
    something could not be read or changed, or a signal ended it."""
    if os.geteuid() != 0:
        command.fail("only root can change the access control lists of all users: use it as root")
    share, root, below = _place(command, path, conf)
    attribute = share.acl_xattr_security_acl_name
    found = _Found(path, dry_run)
    try:
        domain = load_or_create(path_for(conf))
        former, _ = sidhistory.read(conf, SystemUsers(), domain)  # the server tells which lines do not count
        run = Propagation(domain, attribute, share.acl_map_full_control, dry_run, former=former)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each level of the tree takes two
        with _Signals() as signals:
            _follow(run.run(os.fsencode(root), os.fsencode(below)), found, signals, as_json, verbose)
    except FileProblem as problem:
        command.fail(str(problem))
    except NoList:
        command.fail(
            f"{path} has no stored access control list ({attribute}), or its Unix permissions have changed since: it "
            "passes nothing on"
        )
    except NotKept:
        command.fail(f"the system does not let this process store {attribute}: see capabilities(7), CAP_SYS_ADMIN")
    except OSError as error:
        why = "there is a symbolic link in the way" if error.errno == errno.ELOOP else error.strerror
        command.fail(f"{path}: {why}")
    if as_json:
        print(json.dumps(_as_object(found), indent=2))
    else:
        print(_summary(found))
    return 1 if found.counts[FAILED] or found.stopped else 0


def _place(command: Command, path: str, conf: str) -> tuple[ShareSettings, str, str]:
    """The innermost share that a folder is in, the share's folder, and the path from there. Links in the path are
    left as they are: a user could have made them."""
    configuration = config.load(os.path.abspath(conf))
    if configuration.errors:
        command.fail(str(configuration.errors[0]))
    given = os.path.abspath(path)
    best: tuple[ShareSettings, str] | None = None
    for share in configuration.all_shares():
        for name in _folders(share, configuration, given):
            if best is None or len(name) > len(best[1]):
                best = share, name
    if best is None:
        command.fail(f"{path} is in no share of {conf}")
    share, name = best
    if not share.acl_xattr:
        command.fail(f"the share {share.name} keeps no access control lists: its vfs objects are without acl_xattr")
    return share, name, os.path.relpath(given, name)


def _folders(share: ShareSettings, configuration: Configuration, given: str) -> Iterator[str]:
    """The folders above `given`, itself among them, that the share has; with variables of the session in its path, or
    for users' home directories, those that some session may have."""
    paths = [share.path] if share.path else []
    if configuration.samba and (share is configuration.homes or "%H" in share.path):
        homes = {user.pw_dir for user in pwd.getpwall() if user.pw_dir.strip("/")}
        paths = [share.path.replace("%H", home) for home in homes] if share.path else sorted(homes)
    for path in paths:
        folder = os.path.abspath(replace(share, path=path).full_path(configuration.settings))
        if configuration.samba and variables.letters(folder):
            found = re.match("[^/]+".join(map(re.escape, variables.pieces(folder))) + "(?=/|$)", given)
            if found:
                yield found[0]
            continue
        for name in (folder, os.path.realpath(folder)):
            if os.path.commonpath((given, name)) == name:
                yield name


def _follow(outcomes: Iterable[Outcome], found: _Found, signals: _Signals, as_json: bool, verbose: bool) -> None:
    """Collect the outcomes, and tell on the way: failures on standard error, changes on standard output where they are
    asked for, and how far it is where somebody looks on."""
    watched = sys.stderr.isatty()
    due = time.monotonic() + _PROGRESS_SECONDS
    for outcome in outcomes:
        found.add(outcome)
        name = printable(os.fsdecode(outcome.path)) or "."
        if outcome.what == FAILED:
            print(f"{name}: {printable(outcome.why)}", file=sys.stderr)
        elif outcome.what == CHANGED and (found.dry_run or verbose) and not as_json:
            print(f"would change {name}" if found.dry_run else f"changed {name}")
        elif outcome.what in (PROTECTED, SKIPPED) and verbose and not as_json:
            print(f"left {name}: {outcome.why or 'its list is protected'}")
        if (watched or verbose) and time.monotonic() >= due:
            due = time.monotonic() + _PROGRESS_SECONDS
            print(_summary(found), file=sys.stderr)
        if signals.came:
            found.stopped = True
            return


def _summary(found: _Found) -> str:
    files = found.counts.total() - found.folders
    changed = "would change" if found.dry_run else "changed"
    text = f"{files} files and {found.folders} folders: {found.counts[CHANGED]} {changed}"
    for what in (PROTECTED, SKIPPED, FAILED):
        if found.counts[what]:
            text += f", {found.counts[what]} {what}"
    return text + (", and then a signal ended it" if found.stopped else "")


def _as_object(found: _Found) -> dict[str, object]:
    kinds = (CHANGED, UNCHANGED, PROTECTED, SKIPPED, FAILED)
    return {
        "path": found.path,
        "dry_run": found.dry_run,
        "complete": not found.stopped,
        "folders": found.folders,
        "files": found.counts.total() - found.folders,
        **{what: found.counts[what] for what in kinds},
        "paths": {what: found.told.get(what, []) for what in kinds if what != UNCHANGED},
    }
