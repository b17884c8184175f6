# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs smbtorture's tests against servers of our own and holds each outcome against the list (`listed.py`).

Tests run in lanes, side by side. A lane is a server with its shares in a network namespace of its own, and runs one
test after the other; so what a test blocks or leaves troubles no other lane. Without root there is one lane, in the
network that is there.

With `--all` each test has the configuration that the list names for it; otherwise all those run that the plain server
can serve, on one file system.
"""
from __future__ import annotations

import argparse
import ctypes
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

import pytest  # noqa: E402
from configurations import MODULES, NO_PERMISSION, SPECIAL  # noqa: E402
from listed import Expected, read_list  # noqa: E402
from mounted import MAKE, mount  # noqa: E402
from realm import HOST, Realm, realm_below  # noqa: E402
from report import Report, Result  # noqa: E402
from server import KsmbdServer  # noqa: E402
from unixusers import people  # noqa: E402

from ksmbd.kernel.filesystems import file_system_name  # noqa: E402

PASSWORD = "Passw0rd!"
FS_SIZE = 1 << 30
"""Bytes of a file system that is made for the shares."""
SECONDS = 60.0
"""What a test may take if it is not said to be long."""
LANES = 4
"""How many run side by side."""
TESTS_PER_LANE = 8
"""Fewer are not worth a server."""
PORT = 445
"""Of the server in a namespace: some test knows no other."""
CLONE_NEWNET = 0x40000000
_PLAIN = "share"


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


class Lane:
    """A server with the shares that the tests want, and smbtorture; one test at a time."""

    def __init__(
        self, server: KsmbdServer, second_user: str, logs: Path | None = None, realm: Realm | None = None
    ) -> None:
        """`realm`: log on with its tickets."""
        self._realm = realm
        self.server = server
        self._second = second_user
        self._logs = logs
        directory = os.open(server.share_path, os.O_PATH)
        self.file_system = file_system_name(directory, os.fstat(directory).st_dev)
        """The kind that the shares are on."""
        os.close(directory)

    def run(self, test: Expected) -> Result:
        """One test; its share is empty before."""
        begin = time.monotonic()
        outcome, said = self._smbtorture(test, self._share(test))
        return Result(test, outcome, said, test.right_on(self.file_system), time.monotonic() - begin)

    def _share(self, test: Expected) -> str:
        name = test.configuration if test.configuration in SPECIAL else _PLAIN
        directory = self.server.shares[name]
        empty(directory)
        if name == "snapshots":
            make_snapshot(directory)
        for file in test.need("file"):
            (directory / file).write_bytes(bytes(65536))
            if os.geteuid() == 0:
                shutil.chown(directory / file, self.server.user)
        return name

    def _smbtorture(self, test: Expected, share: str) -> tuple[str, str]:
        given = [value.replace("SHARE_DIR", str(self.server.shares[share])) for value in test.need("opt")]
        given += ["progress=no", f"user2name={self._second}", f"user2password={PASSWORD}"]
        if "iptables" in test.needs:
            given.append("use_iptables=true")
        limit = float(next(iter(test.need("long")), SECONDS))
        command = [
            "smbtorture", f"//127.0.0.1/{share}", "-p", str(self.server.port), "-s", "/dev/null",
            "-U", f"{self.server.user}%{PASSWORD}", *(f"--option=torture:{option}" for option in given), test.test,
        ]  # fmt: skip
        environment = None
        if self._realm is not None:
            command[1] = f"//{HOST}/{share}"
            more = ("--use-kerberos=required", f"--realm={self._realm.name}")
            command = self._realm.knowing_the_host(*command[:-1], *more, command[-1])
            environment = {**os.environ, **self._realm.environment}
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, cwd=self.server.folder, env=environment,
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


@dataclass(frozen=True)
class Users:
    """The two users of the tests; whether they are Unix users of their own."""

    first: str
    second: str
    own: bool


@contextmanager
def users() -> Iterator[Users]:
    """Two of the run's own where this is root, who may make them."""
    if os.geteuid() == 0:
        with people() as them:
            yield Users(them.alice, them.bob, own=True)
    else:
        yield Users("tester", "tester2", own=False)


@contextmanager
def lane(
    folder: Path, workers: int, them: Users, logs: Path | None = None, options: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Lane]:  # fmt: skip
    """A server below `folder`, in the network of this thread. `options`: of [global], beside the usual ones."""
    # without users of its own, KsmbdServer lets all files be accessed as the user that runs this
    shared = {"force user": ""} if them.own else {}
    shared |= {"vfs objects": MODULES, "create mask": "0777", "directory mask": "0777"}
    shares = {name: dict(shared) for name in (_PLAIN, NO_PERMISSION)}
    for name, given in SPECIAL.items():
        shares[name] = shared | {key: value.replace("USER", them.first) for key, value in given.items()}
    usual = {
        "smb2 leases": "yes", "durable handles": "yes", "server multi channel support": "yes",
        "max connections": "4096", "max ip connections": "4096",
    }  # fmt: skip
    usual |= options or {}
    with ExitStack() as made:
        realm = None
        if "kerberos support" in usual:
            realm = made.enter_context(realm_below(folder.with_name(f"{folder.name}.realm")))
            for name in (them.first, them.second):
                realm.add(name, PASSWORD)
            usual["kerberos keytab file"] = str(realm.keytab)
        server = KsmbdServer(
            folder, workers=workers, bpf=False, options=usual, shares=shares,
            users={them.first: PASSWORD, them.second: PASSWORD}, port=port,
            environment=realm.environment if realm else None,
        )  # fmt: skip
        try:
            for name, path in server.shares.items():
                os.chmod(path, 0 if name == NO_PERMISSION else 0o1777)
            server.wait_until_listening()
            yield Lane(server, them.second, logs, realm)
        finally:
            problem = server.finish()
    if problem:
        raise AssertionError(f"{problem}\n{server.stderr}")


def own_network() -> None:
    """Give this thread, and what it starts, a network namespace where only `lo` is."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Runner:
    """Runs tests on the servers that they want."""

    def __init__(self, folder: Path, options: argparse.Namespace, them: Users, report: Report) -> None:
        self._folder = folder
        self._options = options
        self._them = them
        self._report = report
        self._is_root = os.geteuid() == 0

    def run(self, tests: list[Expected]) -> None:
        """All of them, one kind of server after the other."""
        served: dict[tuple[str, tuple[tuple[str, str], ...]], list[Expected]] = {}
        for test in tests:
            server = test.wants.server if self._options.all else ("", ())
            served.setdefault(server, []).append(test)
        for number, ((file_system, options), some) in enumerate(served.items()):
            folder = self._folder / str(number)
            folder.mkdir()
            os.chmod(folder, 0o755)
            try:
                with self._mounted(file_system or self._options.fs, folder) as below:
                    self._lanes(below, some, dict(options))
            except pytest.skip.Exception as skipped:
                print(f"{file_system or self._options.fs}: {skipped}", flush=True)
                for test in some:
                    self._report.add(Result(test, "skip", str(skipped), test.right_on(file_system), 0))

    @contextmanager
    def _mounted(self, file_system: str, below: Path) -> Iterator[Path]:
        if not file_system:
            yield below
            return
        with mount(file_system, below, size=FS_SIZE) as made:
            yield made

    def _lanes(self, below: Path, tests: list[Expected], options: dict[str, str]) -> None:
        waiting: queue.SimpleQueue[Expected] = queue.SimpleQueue()
        # the long ones first, so that none is left alone at the end
        for test in sorted(tests, key=lambda test: -float(next(iter(test.need("long")), 0))):
            waiting.put(test)
        count = max(1, min(self._options.lanes, len(tests) // TESTS_PER_LANE)) if self._is_root else 1
        with ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(self._lane, below / f"lane{n}", options, waiting) for n in range(count)]:
                done.result()

    def _lane(self, folder: Path, options: dict[str, str], waiting: queue.SimpleQueue[Expected]) -> None:
        if self._is_root:
            own_network()
        port = PORT if self._is_root else None
        with lane(folder, self._options.workers, self._them, self._options.logs, options, port) as place:
            while True:
                try:
                    test = waiting.get_nowait()
                except queue.Empty:
                    return
                self._report.add(place.run(test))


def run(tests: Iterable[Expected], place: Lane, report: Report) -> None:
    """Run the tests in one lane."""
    for test in tests:
        report.add(place.run(test))


def chosen(tests: Iterable[Expected], options: argparse.Namespace) -> list[Expected]:
    """Those that are asked for and can run here."""
    some = [test for test in tests if not options.tests or test.belongs_to(options.tests)]
    if not options.all:
        some = [test for test in some if test.wants.is_plain]
    if os.geteuid() != 0:
        some = [test for test in some if "iptables" not in test.needs and not (options.all and test.wants.file_system)]
    return some


def missing(tests: Iterable[Expected]) -> str:
    """What these tests need and is not here, '' where all is."""
    if shutil.which("smbtorture") is None:
        return "smbtorture is not installed (Debian: samba-testsuite)"
    if any("iptables" in test.needs for test in tests) and shutil.which("iptables") is None:
        return "iptables is not installed"
    return ""


def main(arguments: list[str]) -> int:
    """See the module; exit status 1 where an outcome is not as listed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=LANES, help=f"servers side by side ({LANES}); root")
    parser.add_argument("--all", action="store_true", help="each test in its configuration")
    parser.add_argument("--json", type=Path, help="a file for the outcomes")
    parser.add_argument("--root", type=Path, help="where the shares are made, for another file system than /tmp's")
    parser.add_argument("--fs", choices=sorted(MAKE), default="", help="make a file system of this kind; root")
    parser.add_argument("--logs", type=Path, help="a directory for the tests' own output")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("tests", nargs="*", help="suites or tests; none: all")
    options = parser.parse_args(arguments)
    tests = chosen(read_list(), options)
    lack = missing(tests)
    if lack:
        print(lack, file=sys.stderr)
        return 2
    if options.logs is not None:
        options.logs.mkdir(parents=True, exist_ok=True)
    report = Report(options.verbose)
    with tempfile.TemporaryDirectory(dir=options.root) as folder, ExitStack() as made:
        os.chmod(folder, 0o755)
        Runner(Path(folder), options, made.enter_context(users()), report).run(tests)
    print(report.table())
    if options.json:
        options.json.write_text(json.dumps(report.json(), indent=1) + "\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
