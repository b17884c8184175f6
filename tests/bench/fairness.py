# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a bystander waits while another client asks for too much: this server beside a private Samba.

    make bench-fairness [BENCH_SECONDS=3] [BENCH_FOLDER=/dev/shm] [BENCH_WORKERS=1] [BENCH_ONLY=REGEX]

The table goes to stdout, progress to stderr, the figures to bench-fairness.json. It ends with 0 only where no
bystander of this server waited longer than 200 ms in any row, and each abuse took place. docs/fairness.md says how it
is measured.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import pwd
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import abuse_files as files
import abuse_tables as tables
from abuser import DISK_SHARE, PLAIN_SHARE, Ground, remove
from bystander import GIVE_UP, KINDS, Bystander, BystanderLost, Waits
from run import TOP, machine, say
from servers import Ksmbd, Samba, Server

BOUND: Final = 200.0
"""Milliseconds that a bystander of this server may wait at most."""
ABUSER: Final = "games"
"""The account that asks for too much; the bystanders have another one (servers.bench_user)."""
OVERTIME: Final = 30.0
"""Seconds that an abuse may take longer than it should, until its process is ended."""
AFTERWARDS: Final = 0.7
"""Seconds that the bystanders go on after it: what the abuser leaves is cleared away then."""
BASELINE: Final = "nothing"
LAG: Final = re.compile(r"(\S+) held the loop for ([\d.]+) ms, ([\d.]+) ms")


@dataclass(frozen=True)
class Row:
    """One kind of abuse."""

    name: str
    run: Callable[[Ground], None]
    prepare: Callable[[Path], None] | None = None
    """Makes what it needs in its folder."""

    @property
    def what(self) -> str:
        """In one sentence."""
        return " ".join((self.run.__doc__ or "").split())


def _nothing(ground: Ground) -> None:
    """No abuse: what a bystander waits on this machine anyway."""
    time.sleep(max(0.0, ground.until - time.monotonic()))


ROWS: Final = (
    Row(BASELINE, _nothing),
    Row("spnego-oids", tables.spnego_oids),
    Row("half-logons", tables.logons_in_progress),
    Row("wrong-passwords", tables.wrong_passwords),
    Row("connections", tables.connections),
    Row("trickle", tables.trickle),
    Row("unread-replies", tables.unread),
    Row("tree-connects", tables.tree_connects),
    Row("lock-same", tables.lock_same),
    Row("lock-overlapping", tables.lock_overlapping),
    Row("lock-unlock", tables.lock_unlock),
    Row("many-locks", tables.many_locks),
    Row("one-file-opens", tables.one_file_opens),
    Row("logoff-opens", tables.logoff_opens),
    Row("delete-on-close", tables.delete_on_close),
    Row("rename-many-open", tables.rename_many_open),
    Row("breaks", tables.breaks),
    Row("notify-flood", tables.notify_flood),
    Row("notify-trees", tables.notify_trees, tables.make_tree),
    Row("half-pipes", tables.half_pipes),
    Row("compound-listings", tables.compound_listings, tables.make_compound),
    Row("compound-creates", tables.compound_creates),
    Row("create-contexts", tables.create_contexts),
    Row("copy-chunks", files.copy_chunks),
    Row("allocated-ranges", files.allocated_ranges, files.make_sparse),
    Row("trim-ranges", files.trim_ranges, files.make_sparse),
    Row("zero-ranges", files.zero_ranges, files.make_sparse),
    Row("allocations", files.allocations),
    Row("sealed-io", files.sealed_io),
    Row("flushes", files.flushes),
    Row("eas", files.eas),
    Row("acls", files.acls),
    Row("streams", files.streams, files.make_streams),
    Row("list-backtracking", files.list_backtracking, files.make_listed),
    Row("list-dos", files.list_dos, files.make_listed),
    Row("list-long-pattern", files.list_long_pattern, files.make_listed),
    Row("list-rescans", files.list_rescans, files.make_listed),
    Row("list-large", files.list_large, files.make_listed),
    Row("list-together", files.list_two_ways, files.make_listed),
    Row("case-misses", files.case_misses, files.make_listed),
    Row("long-paths", files.long_paths),
    Row("links", files.links, files.make_links),
)


@dataclass(frozen=True)
class Outcome:
    """What one server's bystanders saw in one row."""

    waits: dict[str, Waits]
    """By the bystander's kind."""
    answered: int
    """Replies that the abuser got."""
    problem: str = ""
    """Why there are no figures, or none that count."""

    @property
    def worst(self) -> float:
        """Milliseconds."""
        return max((one.worst for one in self.waits.values()), default=GIVE_UP * 1000)

    @property
    def fair(self) -> bool:
        """Whether the abuse took place and nobody waited longer than he may."""
        return not self.problem and self.worst <= BOUND


# --------------------------------------------------------------------------------------------------------- measuring


class Stage:
    """A server with its bystanders; both are started again where a row has left them in disorder."""

    def __init__(self, make: Callable[[], Server], share: Path, disk: Path, bystanders: int) -> None:
        """`bystanders` of each kind."""
        self._make = make
        self._share, self._disk = share, disk
        self._count = bystanders
        self._server: Server | None = None
        self._bystanders: list[Bystander] = []
        self._seen = 0

    def measure(self, row: Row, seconds: float) -> Outcome:
        """One row. Never raises for what the server does."""
        folders = [Path(tempfile.mkdtemp(prefix=f"{row.name}-", dir=one)) for one in (self._share, self._disk)]
        try:
            for folder in folders:
                folder.chmod(0o777)
            if row.prepare is not None:
                row.prepare(folders[0])
                _give(folders[0], pwd.getpwnam(ABUSER))
            server = self._ready()
            for one in self._bystanders:
                one.begin()
            answered, problem = _abuse(row, server, folders, seconds)
            time.sleep(AFTERWARDS)
            waits = {kind: [] for kind in KINDS}  # type: dict[str, list[float]]
            for one in self._bystanders:
                waits[one.kind] += one.end()
            return Outcome({kind: Waits.of(found) for kind, found in waits.items() if found}, answered, problem)
        except BystanderLost as lost:
            self.stop()
            return Outcome({}, 0, str(lost))
        finally:
            for folder in folders:
                remove(folder)

    def _ready(self) -> Server:
        if self._server is None:
            self._server = self._make()
            self._server.start()
        while len(self._bystanders) < self._count * len(KINDS):
            number, kind = divmod(len(self._bystanders), len(KINDS))
            self._bystanders.append(Bystander(KINDS[kind], self._server, number))
        return self._server

    def lag(self) -> str:
        """Where this server (of ours) tells of it, the calls of the last row that computed longest in its loop."""
        server = self._server
        if not isinstance(server, Ksmbd):
            return ""
        debug = server.folder / "run" / "class" / "ksmbd-control" / "debug"
        if "[conn]" not in debug.read_text():
            debug.write_text("conn")
        output = server.folder / "output"
        with open(output, errors="replace") as file:
            file.seek(self._seen)
            found = LAG.findall(file.read())
            self._seen = file.tell()
        longest = sorted(((float(busy), float(wall), name) for name, wall, busy in found), reverse=True)[:3]
        return "".join(f"\n    {busy:.0f} ms computing, {wall:.0f} ms in all: {name}" for busy, wall, name in longest)

    def stop(self) -> None:
        """All of it, to be started again by the next row."""
        self._seen = 0
        for one in self._bystanders:
            one.stop()
        self._bystanders.clear()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def version(self) -> str:
        """The server's."""
        return self._ready().version()


def _give(folder: Path, account: pwd.struct_passwd) -> None:
    """What is below the folder is the account's."""
    for path, folders, names in os.walk(folder):
        for name in folders + names:
            os.lchown(os.path.join(path, name), account.pw_uid, account.pw_gid)


def _abuse(row: Row, server: Server, folders: list[Path], seconds: float) -> tuple[int, str]:
    """Run a row's abuse in a process of its own: how many answers it got, and what went wrong."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def work() -> None:
        ground = Ground(server.port, ABUSER, folders[0], folders[1], time.monotonic() + seconds)
        problem = ""
        try:
            row.run(ground)
        except Exception as error:  # noqa: BLE001 - all that goes wrong is the row's outcome
            problem = f"{type(error).__name__}: {error}"
        theirs.send((ground.answered, problem))

    process = context.Process(target=work, daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds + OVERTIME):
            return 0, f"the abuse did not end within {seconds + OVERTIME:g} s"
        answered, problem = ours.recv()
    except (EOFError, OSError):
        return 0, "the abuse's process died"
    finally:
        process.kill()
        process.join()
        ours.close()
    if not answered and row.name != BASELINE:
        problem = problem or "nothing was answered"
    # What a server refuses, or ends the connection for, is its answer
    return answered, "" if answered else problem


def share_sections(share: Path, disk: Path) -> str:
    """The sections of the other shares, as both servers read them; the first lines are the first share's."""
    return f"""    vfs objects = acl_xattr streams_xattr
[{PLAIN_SHARE}]
    path = {share}
    read only = no
[{DISK_SHARE}]
    path = {disk}
    read only = no
"""


def _maker(name: str, folder: Path, share: Path, disk: Path, workers: int) -> Callable[[], Server]:
    def make() -> Server:
        own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder)) / "server"
        own.parent.chmod(0o755)
        sections = share_sections(share, disk)
        if name == "samba":
            return Samba(own, share, shares=sections, users=[ABUSER])
        limits = {"max open files": "65536", "smb2 max read": "8MB", "smb2 max write": "8MB"}
        return Ksmbd(own, share, workers, limits, sections, [ABUSER])

    return make


@contextlib.contextmanager
def _folder(where: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ksmbd-fairness-", dir=where))
    made.chmod(0o755)
    try:
        yield made
    finally:
        remove(made)


def bench(options: argparse.Namespace, rows: Sequence[Row]) -> dict[str, Any]:
    """All of it; the content of bench-fairness.json."""
    stages: dict[str, Stage] = {}
    load = {"before": os.getloadavg()}
    outcomes: dict[str, dict[str, Outcome]] = {}
    with _folder(Path(options.folder)) as folder, _folder(Path(options.disk)) as disk:
        share = folder / "share"
        share.mkdir()
        for one in (share, disk):
            one.chmod(0o777)
        try:
            for name in options.servers:
                bystanders = max(1, options.workers) if name == "ksmbd" else 1
                stages[name] = Stage(_maker(name, folder, share, disk, options.workers), share, disk, bystanders)
            for row in rows:
                outcomes[row.name] = {}
                for name, stage in stages.items():
                    outcome = outcomes[row.name][name] = stage.measure(row, options.seconds)
                    say(f"{row.name:20} {name:6} {_line(outcome)}{stage.lag() if options.lag else ''}")
            versions = [stage.version() for stage in stages.values()]
        finally:
            for stage in stages.values():
                stage.stop()
    load["after"] = os.getloadavg()
    return {
        "command": options.command, "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "load": load,
        "machine": machine([], Path(options.folder)) | {"servers": versions}, "seconds": options.seconds,
        "workers": options.workers, "bound": BOUND,
        "rows": [
            {"name": row.name, "what": row.what, **{name: asdict(one) for name, one in outcomes[row.name].items()}}
            for row in rows
        ],
        "unfair": unfair(outcomes),
    }


def unfair(outcomes: dict[str, dict[str, Outcome]]) -> list[str]:
    """Rows in which a bystander of this server waited longer than it may, or that did not take place."""
    return [name for name, row in outcomes.items() if "ksmbd" in row and not row["ksmbd"].fair]


# ---------------------------------------------------------------------------------------------------------- printing


def _line(outcome: Outcome) -> str:
    figures = ", ".join(
        f"{kind} {one.p50:.1f} {one.p99:.1f} {one.worst:.1f} ms" for kind, one in outcome.waits.items()
    )
    return f"{figures or 'no figures'}; {outcome.answered} replies" + (f"; {outcome.problem}" * bool(outcome.problem))


def _cells(outcome: dict[str, Any] | None) -> list[str]:
    if outcome is None:
        return ["", "", "", "", ""]
    cells = []
    for kind in KINDS:
        one = outcome["waits"].get(kind)
        cells += [f"{one['p50']:.1f} / {one['p99']:.1f}", f"{one['worst']:.1f}"] if one else ["-", "lost"]
    return [*cells, f"{outcome['answered']:,}"]


def table(result: dict[str, Any], markdown: bool = False) -> str:
    """The table as text, or as docs/fairness.md has it. Milliseconds."""
    names = [name for name in ("ksmbd", "samba") if name in result["rows"][0]]
    heads = ["row"]
    for name in names:
        heads += [f"{name} {kind}{what}" for kind in ("ECHO", "open") for what in (" p50 / p99", " worst")]
        heads.append("replies")
    heads.append("")
    lines = [
        [row["name"], *(cell for name in names for cell in _cells(row.get(name))),
         "over" if row["name"] in result["unfair"] else ""]
        for row in result["rows"]
    ]
    about = (
        f"{result['command']}, {result['date']}: milliseconds; {' and '.join(result['machine']['servers'])}, "
        f"workers = {result['workers']}, {result['seconds']:g} s a row, {result['machine']['cpus']} CPUs "
        f"({result['machine']['cpu']}), Linux {result['machine']['kernel']}, load average "
        f"{result['load']['before'][0]:.2f} before and {result['load']['after'][0]:.2f} after."
    )
    if markdown:
        head = "| " + " | ".join(heads) + " |\n|" + "|".join(" --- " if i == 0 else " ---: " for i in range(len(heads)))
        return about + "\n\n" + head + "|\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    text = [
        "  ".join(one.rjust(width) if i else one.ljust(width)
                  for i, (one, width) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in [heads, *lines]
    ]
    return "\n".join([*text, "", about])


def status_of(result: dict[str, Any]) -> int:
    """The exit status: 0 only where all rows are fair."""
    return 1 if result["unfair"] else 0


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Measure how long bystanders wait.")
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("BENCH_SECONDS") or 3), help="a row")
    parser.add_argument("--folder", default=os.environ.get("BENCH_FOLDER") or "/dev/shm")
    parser.add_argument("--disk", default=tempfile.gettempdir(), help="a folder on a disk")
    parser.add_argument("--workers", type=int, default=int(os.environ.get("BENCH_WORKERS") or 1))
    parser.add_argument("--only", default=os.environ.get("BENCH_ONLY") or "", help="an expression for rows' names")
    parser.add_argument("--lag", action="store_true", help="tell what held our server's loop longest (debug: conn)")
    parser.add_argument("--servers", type=lambda text: text.split(","), default=["ksmbd", "samba"])
    parser.add_argument("--output", type=Path, default=TOP / "bench-fairness.json", help="where the figures go")
    parser.add_argument("--markdown", type=Path, help="measure nothing: print such a file as docs/fairness.md has it")
    options = parser.parse_args()
    if options.markdown:
        print(table(json.loads(options.markdown.read_text()), markdown=True))
        return 0
    if os.geteuid() != 0:
        say("root is needed: both servers act as other accounts")
        return 2
    options.command = os.environ.get("BENCH_COMMAND") or "tests/bench/fairness.py " + " ".join(sys.argv[1:])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = re.compile(options.only)
    rows = [row for row in ROWS if row.name == BASELINE or wanted.search(row.name)]
    result = bench(options, rows)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    for name in result["unfair"]:
        say(f"{name}: a bystander waited longer than {BOUND:g} ms, or the abuse did not take place")
    return status_of(result)


if __name__ == "__main__":
    sys.exit(main())


