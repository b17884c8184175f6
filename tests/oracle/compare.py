# SPDX-License-Identifier: GPL-2.0-or-later
"""A draw on two equal trees: by the server, by a process of the same user. What differs is a failure."""
from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from draws import NEEDS, Draw, Step, User
from ground import OLD, Snapshot, build, differences, dos_of, keep, kept, snapshot
from ours import Server
from theirs import Outcome, Process

SET_ID = 0o6000
OPEN = 1
"""FILE_OPEN: it makes and empties nothing, so that a step which is refused leaves the disk as it was."""
PARTLY = ("set_eas",)
"""Several changes in one request, and those before the one that fails stay (MS-FSA 2.1.5.15.5)."""


def _serve(pipe: Connection, make: Callable[[], Any]) -> None:
    """Answer (method, arguments) until the pipe closes."""
    target = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            os._exit(0)
        try:
            target = target if target is not None else make()
            pipe.send((True, getattr(target, method)(*arguments)))
        except Exception:  # noqa: BLE001  (what fails here is the other side's to see)
            pipe.send((False, traceback.format_exc()))


class Remote:
    """An object in a forked process."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._pipe.close()
            try:
                _serve(theirs, make)
            finally:
                os._exit(1)
        theirs.close()

    def __call__(self, method: str, *arguments: Any) -> Any:
        self._pipe.send((method, arguments))
        good, answer = self._pipe.recv()
        if not good:
            raise RuntimeError(answer)
        return answer

    def close(self) -> None:
        self._pipe.close()
        os.waitpid(self.pid, 0)


@dataclass
class Failure:
    """Where the two part."""

    draw: Draw
    step: int
    lines: list[str]

    def text(self) -> str:
        return "\n".join([self.draw.script(), f"  at step {self.step + 1}:", *(f"    {line}" for line in self.lines)])


@dataclass
class Oracle:
    """Runs draws below `folder`, a file system of its own."""

    folder: str
    counts: Counter[str] = field(default_factory=Counter)
    """How many steps of each kind were granted by both, refused by both."""

    reasons: Counter[str] = field(default_factory=Counter)
    """Why they were refused: rules and errno names."""

    def __post_init__(self) -> None:
        os.umask(0)
        self.server = Remote(Server)

    def close(self) -> None:
        self.server.close()

    def run(self, draw: Draw) -> Failure | None:
        """None where the two agree in each step."""
        ours, theirs = f"{self.folder}/ours", f"{self.folder}/theirs"
        for root in (ours, theirs):
            build(root, draw.tree)
        user = draw.user
        process = Remote(lambda: Process(theirs, user, draw.share))
        try:
            self.server("begin", ours, user, draw.share)
            before = snapshot(ours, OLD + 1)
            for index, step in enumerate(draw.steps):
                if draw.share["acl"]:
                    lines, before = self._alone(step, user, ours, before)
                else:
                    lines, before = self._step(step, process, user, ours, theirs, before)
                if lines:
                    return Failure(draw, index, lines)
            return None
        finally:
            process.close()
            for root in (ours, theirs):
                shutil.rmtree(root)

    def _step(
        self, step: Step, process: Remote, user: User, ours: str, theirs: str, before: Snapshot
    ) -> tuple[list[str], Snapshot]:
        dos = {}
        full = {what["ino"] for path, what in snapshot(theirs, OLD).items() if os.path.isdir(f"{theirs}/{path}")
                and not os.path.islink(f"{theirs}/{path}") and os.listdir(f"{theirs}/{path}")}  # fmt: skip
        for path, values in kept(theirs).items():
            if "user.DOSATTRIB" in values:
                dos[os.lstat(f"{theirs}/{path}").st_ino] = dos_of(values["user.DOSATTRIB"])
        try:
            mine: Outcome = self.server("run", step)
        except RuntimeError as error:
            return [f"ours: {error}"], before
        other: Outcome = process("run", step, dos, full)
        if other.ok:
            for what, path, seconds in other.as_root:
                if what == "setgid":
                    if not os.path.lexists(path) or os.path.islink(path):
                        continue  # the step went on to put a link there
                    os.chmod(path, os.stat(path).st_mode & 0o7777 | 0o2000)
                else:
                    os.utime(path, (seconds, seconds), follow_symlinks=False)
        keep(theirs, kept(ours))
        self.counts[f"{step.op} {'granted' if other.ok else 'refused'}"] += 1
        if not other.ok:
            self.reasons[other.why] += 1
        lines = []
        if mine.ok != other.ok:
            lines.append(f"outcome: ours {_said(mine)}, theirs {_said(other)}")
        elif mine.ok and not _agree(step, mine.result, other.result):
            lines.append(f"result: ours {mine.result!r}, theirs {other.result!r}")
        after = snapshot(ours, OLD + 300_000_000)
        lines += differences(after, snapshot(theirs, OLD + 300_000_000))
        return lines + _invariants(before, after, user, step, mine), after

    def _alone(self, step: Step, user: User, ours: str, before: Snapshot) -> tuple[list[str], Snapshot]:
        """On a share with access control lists, which no process knows of: what must hold all the same."""
        mine: Outcome = self.server("run", step)
        self.counts[f"{step.op} {'granted' if mine.ok else 'refused'}, with lists"] += 1
        after = snapshot(ours, OLD + 300_000_000)
        return _invariants(before, after, user, step, mine), after


def _agree(step: Step, mine: Any, theirs: Any) -> bool:
    if step.op == "list":
        return set(mine) <= set(theirs)  # rule: listing is by name
    return bool(mine == theirs)


def _said(outcome: Outcome) -> str:
    return "granted" if outcome.ok else f"refused ({outcome.why})"


def _invariants(before: Snapshot, after: Snapshot, user: User, step: Step, mine: Outcome) -> list[str]:
    """What no client may ever bring about, whatever the other side did."""
    old = {what["ino"]: what for what in before.values()}
    folders = {what["gid"] for what in before.values() if int(what["mode"], 8) & 0o2000}
    lines = []
    for path, what in after.items():
        was = old.get(what["ino"])
        bits = int(what["mode"], 8) & SET_ID
        if was is None or was["kind"] != what["kind"]:
            if bits & 0o4000 or (bits and what["kind"] != oct(0o040000)):
                lines.append(f"{path}: a set-id bit on a new file, {what['mode']}")
            if what["uid"] != user.uid:
                lines.append(f"{path}: made for another, {what['uid']}")
            if what["gid"] not in {user.gid, *user.groups, *folders}:
                lines.append(f"{path}: made for a foreign group, {what['gid']}")
            continue
        if bits & ~int(was["mode"], 8):
            lines.append(f"{path}: a set-id bit more, {was['mode']} -> {what['mode']}")
        changed = {key for key in ("uid", "gid") if was[key] != what[key]}
        if changed and bits and what["kind"] != oct(0o040000):
            lines.append(f"{path}: a set-id bit survived a change of owner, {what['mode']}")
        if "uid" in changed and what["uid"] != user.uid:
            lines.append(f"{path}: given to {what['uid']}")
        if "gid" in changed and what["gid"] not in (user.gid, *user.groups):
            lines.append(f"{path}: given to group {what['gid']}")
    if mine.unopened or (not mine.ok and step.disposition == OPEN and step.op not in PARTLY):
        lines += [f"refused, but: {line}" for line in differences(before, after)]
    return lines


def shrink(oracle: Oracle, failure: Failure, tries: int = 150) -> Failure:
    """A smaller draw that fails, too: fewer steps, fewer entries, plainer fields."""
    best = failure
    best.draw.steps = best.draw.steps[: best.step + 1]

    def attempt(draw: Draw) -> bool:
        nonlocal best, tries
        if tries <= 0:
            return False
        tries -= 1
        try:
            found = oracle.run(draw)
        except Exception:  # noqa: BLE001  (not the failure that is looked for)
            clean(oracle.folder)
            return False
        if found is None:
            return False
        found.draw.steps = found.draw.steps[: found.step + 1]
        best = found
        return True

    for index in range(len(best.draw.steps) - 2, -1, -1):
        smaller = deepcopy(best.draw)
        del smaller.steps[index]
        attempt(smaller)
    for index in range(len(best.draw.tree) - 1, 0, -1):
        if index < len(best.draw.tree):
            smaller = deepcopy(best.draw)
            del smaller.tree[index]
            attempt(smaller)
    plain = Step("", "")
    for number in range(len(best.draw.steps)):
        for key in ("posix", "attributes", "eas", "allocation", "reparse", "directory", "descriptor", "replace"):
            if key == "descriptor" and best.draw.steps[number].op == "permissions":
                continue
            if getattr(best.draw.steps[number], key) != getattr(plain, key):
                smaller = deepcopy(best.draw)
                setattr(smaller.steps[number], key, getattr(plain, key))
                attempt(smaller)
        access = best.draw.steps[number].access
        if best.draw.steps[number].op == "permissions":
            continue
        for bit in range(26):
            if access >> bit & 1 and not NEEDS.get(best.draw.steps[number].op, 0) >> bit & 1:
                smaller = deepcopy(best.draw)
                smaller.steps[number].access &= ~(1 << bit)
                attempt(smaller)
    for index in range(len(best.draw.tree)):
        for key, value in (("acl", []), ("default", []), ("attributes", {}), ("dos", 0)):
            if getattr(best.draw.tree[index], key):
                smaller = deepcopy(best.draw)
                setattr(smaller.tree[index], key, value)
                attempt(smaller)
    return best


def clean(folder: str) -> None:
    """Remove what an interrupted draw left."""
    for name in ("ours", "theirs"):
        shutil.rmtree(f"{folder}/{name}", ignore_errors=True)


def report(failure: Failure) -> None:
    print(failure.text(), file=sys.stdout, flush=True)
