# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs smbtorture's tests against a server of our own and holds each outcome against the list `smbtorture.tsv`.

The list has a line a test: its name; the outcomes that are right (`pass`, `fail`, `skip`, or several, where the file
system or the moment decides); what it needs; and, for all that is not to pass, the reason with the specification's
section. An outcome that is not in the list is an error, better ones too: the list says what is true.

Needs, separated by spaces: `share:NAME` runs it on that share; `opt:NAME=VALUE` hands smbtorture an option
(`SHARE_DIR` in it is the share's directory); `file:NAME` makes a file of 64 KiB there before; `iptables` blocks
connections, for which it has the machine's network to itself: root alone, in a network namespace; `long:SECONDS` may
take so long; `alone` leaves others nothing of what a user may have, and runs when they are done; `fs:KIND,...=OUTCOME`
is what comes out on these file systems instead of what the second column says.
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))

import pytest  # noqa: E402
from mounted import MAKE, mount  # noqa: E402
from server import KsmbdServer  # noqa: E402
from unixusers import people  # noqa: E402

from ksmbd.kernel.filesystems import file_system_name  # noqa: E402

LIST = HERE / "smbtorture.tsv"
PASSWORD = "Passw0rd!"
FS_SIZE = 1 << 30
"""Bytes of a file system that is made for the shares."""
SECONDS = 60.0
"""What a test may take if it is not said to be long."""
OUTCOMES = frozenset(("pass", "fail", "skip"))
PLACES = ("one", "two")
"""Shares on which tests run side by side."""
_MODULES = "acl_xattr streams_xattr"
SPECIAL = {
    "admin": {"admin users": "USER"},
    "canon": {"acl flag inherited canonicalization": "no"},
    "hideunread": {"hide unreadable": "yes"},
    "ca": {"continuous availability": "yes"},
    "nochange": {"change notify": "no"},
    "kernel_oplocks": {"kernel oplocks": "yes"},
    "nostreams": {"vfs objects": "acl_xattr"},
    "ea": {"acl_xattr:security_acl_name": "user.hackme"},
    "dosmode": {"hide files": "/hidefile/"},
    "posixlocks": {"posix locking": "yes"},
    "snapshots": {"vfs objects": f"{_MODULES} shadow_copy2", "shadow:snapdirseverywhere": "yes"},
}
"""Shares of tests that need a parameter."""


@dataclass(frozen=True)
class Expected:
    """One line of the list."""

    test: str
    outcomes: frozenset[str]
    needs: tuple[str, ...]
    reason: str

    def need(self, kind: str) -> list[str]:
        """The values of the needs `kind:value`."""
        return [need.partition(":")[2] for need in self.needs if need.partition(":")[0] == kind]

    def right_on(self, file_system: str) -> frozenset[str]:
        """The outcomes that are right where the shares are on a file system of this kind."""
        for value in self.need("fs"):
            kinds, _, outcome = value.partition("=")
            if file_system in kinds.split(","):
                return frozenset((outcome,))
        return self.outcomes

    def belongs_to(self, suites: Iterable[str]) -> bool:
        """Whether one of the suites (or test names) holds it."""
        return any(self.test == suite or self.test.startswith(suite + ".") for suite in suites)


def read_list(path: Path = LIST) -> list[Expected]:
    """The whole list. ValueError for what is wrong with it."""
    found: dict[str, Expected] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 4:
            raise ValueError(f"{path.name}:{number}: {len(fields)} fields instead of 4")
        test, outcomes, needs, reason = fields
        right = frozenset(outcomes.split(","))
        if not right or right - OUTCOMES:
            raise ValueError(f"{path.name}:{number}: outcome {outcomes!r}")
        if any(need.startswith("fs:") and need.partition("=")[2] not in OUTCOMES for need in needs.split()):
            raise ValueError(f"{path.name}:{number}: {needs!r}")
        if right != {"pass"} and not reason:
            raise ValueError(f"{path.name}:{number}: {test} is not to pass, and no reason is given")
        if test in found:
            raise ValueError(f"{path.name}:{number}: {test} for the second time")
        found[test] = Expected(test, right, tuple(needs.split()), reason)
    return list(found.values())


def outcome_of(text: str) -> str:
    """What smbtorture's output says, in the words of the subunit protocol; `fail` where it says nothing."""
    words = set(re.findall(r"^(success|failure|error|skip): ", text, re.MULTILINE))
    if words & {"failure", "error"}:
        return "fail"
    return "pass" if "success" in words else "skip" if "skip" in words else "fail"


def reason_of(text: str) -> str:
    """The line that smbtorture gives as the reason."""
    found = re.search(r"^(?:failure|error|skip): .*?\[\n(.*?)\n", text, re.MULTILINE | re.DOTALL)
    last = text.strip().splitlines()[-1] if text.strip() else "no output"
    return (found.group(1) if found else last)[:200]


def empty(directory: Path) -> None:
    """Remove all that an earlier test left."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


SNAPSHOT = "@GMT-2015.10.31-19.40.30"


def make_snapshot(share: Path) -> None:
    """What Samba's own test of shadow_copy2 makes for smb2.twrp: a file with a stream, a hard link to a live one."""
    snapshot = share / ".snapshots" / SNAPSHOT
    (snapshot / "subdir").mkdir(parents=True)
    (share / "subdir").mkdir()
    (share / "subdir" / "hardlink").touch()
    os.link(share / "subdir" / "hardlink", snapshot / "subdir" / "hardlink")
    for folder in (share, snapshot):
        (folder / "foo").write_text("foo\n")
    os.setxattr(snapshot / "foo", "user.DosStream.bar:$DATA", b"baz\0")
    for above, _, files in os.walk(share):
        for name in ("", *files):
            os.chmod(os.path.join(above, name), 0o777)


class Bench:
    """A server with the shares that the tests want, and smbtorture."""

    def __init__(self, server: KsmbdServer, second_user: str, logs: Path | None = None) -> None:
        self.server = server
        self._second = second_user
        self._logs = logs
        self._free = list(PLACES)
        self._special = {name: threading.Lock() for name in SPECIAL}
        self._network = threading.Lock()
        directory = os.open(server.share_path, os.O_PATH)
        self.file_system = file_system_name(directory, os.fstat(directory).st_dev)
        """The kind that the shares are on."""
        os.close(directory)

    def run(self, test: Expected) -> tuple[str, str]:
        """(outcome, reason) of one test; for threads, as many as there are places."""
        share = next(iter(test.need("share")), "")
        if "iptables" in test.needs:
            with self._network:  # they share the chains of the packet filter
                return self._on_a_place(test)
        if not share:
            return self._on_a_place(test)
        with self._special[share]:
            return self._smbtorture(test, share)

    def _on_a_place(self, test: Expected) -> tuple[str, str]:
        place = self._free.pop()
        try:
            return self._smbtorture(test, place)
        finally:
            self._free.append(place)

    def _smbtorture(self, test: Expected, share: str) -> tuple[str, str]:
        directory = self.server.shares[share]
        empty(directory)
        if share == "snapshots":
            make_snapshot(directory)
        for name in test.need("file"):
            (directory / name).write_bytes(bytes(65536))
            if os.geteuid() == 0:
                shutil.chown(directory / name, self.server.user)
        given = [value.replace("SHARE_DIR", str(directory)) for value in test.need("opt")]
        given += ["progress=no", f"user2name={self._second}", f"user2password={PASSWORD}"]
        if "iptables" in test.needs:
            given.append("use_iptables=true")
        limit = float(next(iter(test.need("long")), SECONDS))
        command = [
            "smbtorture", f"//127.0.0.1/{share}", "-p", str(self.server.port), "-s", "/dev/null",
            "-U", f"{self.server.user}%{PASSWORD}", *(f"--option=torture:{option}" for option in given), test.test,
        ]  # fmt: skip
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, cwd=self.server.folder,
        )  # fmt: skip
        late = ""
        try:
            output, _ = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
            late = f"not done after {limit:g} s: "
        text = output.decode(errors="replace")
        if self._logs is not None:
            (self._logs / f"{test.test}.log").write_text(text)
        return ("fail", late + reason_of(text)) if late else (outcome_of(text), reason_of(text))


@contextmanager
def bench(folder: Path, workers: int, logs: Path | None = None) -> Iterator[Bench]:
    """A server below `folder`; two Unix users of its own where this is root, who may make them."""
    if os.geteuid() == 0:
        with people() as them, _server(folder, workers, them.alice, them.bob, {}) as server:
            yield Bench(server, them.bob, logs)
    else:
        with _server(folder, workers, "tester", "tester2", None) as server:
            yield Bench(server, "tester2", logs)


@contextmanager
def _server(
    folder: Path, workers: int, user: str, second: str, common: dict[str, str] | None
) -> Iterator[KsmbdServer]:
    if common is None:
        shared = {}  # KsmbdServer lets all files be accessed as the user that runs this
    else:
        shared = {**common, "force user": ""}
    shared |= {"vfs objects": _MODULES, "create mask": "0777", "directory mask": "0777"}
    shares = {name: dict(shared) for name in PLACES}
    for name, options in SPECIAL.items():
        shares[name] = shared | {key: value.replace("USER", user) for key, value in options.items()}
    options = {
        "smb2 leases": "yes", "durable handles": "yes", "server multi channel support": "yes",
        "max connections": "4096", "max ip connections": "4096",
    }  # fmt: skip
    server = KsmbdServer(
        folder, workers=workers, bpf=False, options=options, shares=shares, users={user: PASSWORD, second: PASSWORD}
    )
    try:
        for path in server.shares.values():
            os.chmod(path, 0o1777)
        server.wait_until_listening()
        yield server
    finally:
        problem = server.finish()
    if problem:
        raise AssertionError(f"{problem}\n{server.stderr}")


def run(tests: list[Expected], place: Bench, verbose: bool = False) -> list[str]:
    """Run the tests; a line for each whose outcome is not in the list."""
    wrong: list[str] = []
    count: Counter[str] = Counter()

    def one(test: Expected) -> None:
        begin = time.monotonic()
        outcome, reason = place.run(test)
        count[outcome] += 1
        expected = test.right_on(place.file_system)
        right = outcome in expected
        if not right:
            wanted = " or ".join(sorted(expected))
            why = f": {reason}" if outcome != "pass" else ""
            wrong.append(f"{test.test}: {outcome}, but {wanted} is listed{why}")
            print(f"UNEXPECTED {wrong[-1]}", flush=True)
        elif verbose:
            print(f"{outcome:5}{time.monotonic() - begin:7.2f} s  {test.test}", flush=True)

    with ThreadPoolExecutor(len(PLACES)) as pool:
        list(pool.map(one, (test for test in tests if "alone" not in test.needs)))
    for test in tests:
        if "alone" in test.needs:
            one(test)
    print(f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped; {len(wrong)} not as listed")
    return wrong


def missing(tests: Iterable[Expected]) -> str:
    """What these tests need and is not here, '' where all is."""
    if shutil.which("smbtorture") is None:
        return "smbtorture is not installed (Debian: samba-testsuite)"
    if any("iptables" in test.needs for test in tests) and shutil.which("iptables") is None:
        return "iptables is not installed"
    return ""


def alone(arguments: list[str]) -> None:
    """Start again in a network namespace, where blocking a port troubles nobody."""
    inside = 'ip link set lo up && exec "$0" "$@"'
    command = ["unshare", "--net", "--", "sh", "-c", inside, sys.executable, __file__, "--inside", *arguments]
    os.execvp(command[0], command)


def main(arguments: list[str]) -> int:
    """See the module; exit status 1 where an outcome is not as listed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--root", type=Path, help="where the shares are made, for another file system than /tmp's")
    parser.add_argument("--fs", choices=sorted(MAKE), help="make a file system of this kind for the shares; root")
    parser.add_argument("--logs", type=Path, help="a directory for the tests' own output")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("tests", nargs="*", help="suites or tests; none: all")
    options = parser.parse_args(arguments)
    tests = [test for test in read_list() if not options.tests or test.belongs_to(options.tests)]
    if os.geteuid() != 0:
        tests = [test for test in tests if "iptables" not in test.needs]
    elif not options.inside:
        alone(arguments)
    lack = missing(tests)
    if lack:
        print(lack, file=sys.stderr)
        return 2
    if options.logs is not None:
        options.logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.root) as folder, ExitStack() as made:
        os.chmod(folder, 0o755)
        below = Path(folder)
        if options.fs:
            try:
                below = made.enter_context(mount(options.fs, below, size=FS_SIZE))
            except pytest.skip.Exception as skipped:
                print(skipped, file=sys.stderr)
                return 2
        place = made.enter_context(bench(below / "server", options.workers, options.logs))
        wrong = run(tests, place, options.verbose)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
