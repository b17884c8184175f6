# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: this server beside a private Samba, in turn, on loopback, with the same client and the same folder.

    make bench [BENCH_ROUNDS=5] [BENCH_SCALE=1] [BENCH_FOLDER=/dev/shm] [BENCH_WORKERS=0] [BENCH_ONLY=REGEX]

The table goes to stdout, progress to stderr, the figures to bench.json. Rounds are paired: in each both servers run the
workload one after the other, the first one alternating. `ratio` is the median of the rounds' ratios, turned so that
more than 1 is better for ksmbd; `cpu_ratio` likewise is Samba's processor time for the same work, divided by ours.
`limit_ratio` and `limit_cpu_ratio` compare us with a bare loop that knows no protocol, in the same rounds.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import pwd
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from client import BenchError
from disks import ext4, why_no_ext4
from plan import LoadFailed
from rows import LIMIT_TARGETS, SENDFILE, TARGETS, all_workloads
from servers import Ksmbd, Limit, Samba, Server, bench_user
from workloads import Idle, Measured, Place, Sizes, Workload, check_reading, idle, prepare

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent


@dataclass(frozen=True)
class Row:
    """One line of the table: medians of the rounds."""

    name: str
    what: str
    unit: str
    cpu_unit: str
    target: float | None
    values: dict[str, float]
    cpus: dict[str, float]
    ratio: float | None
    cpu_ratio: float | None
    limit_ratio: float | None = None
    limit_cpu_ratio: float | None = None
    spread: dict[str, list[float]] = field(default_factory=dict)
    """Least and most of the rounds, by server."""

    def as_json(self) -> dict[str, Any]:
        """As it stands in bench.json."""
        figures: dict[str, Any] = {"name": self.name, "unit": self.unit}
        figures |= {name: _rounded(value) for name, value in self.values.items()}
        figures |= {"ratio": _rounded(self.ratio), "cpu_ratio": _rounded(self.cpu_ratio), "cpu_unit": self.cpu_unit}
        figures |= {f"{name}_cpu": _rounded(value) for name, value in self.cpus.items()}
        figures |= {f"{name}_spread": [_rounded(value) for value in values] for name, values in self.spread.items()}
        if "limit" in self.values:
            figures |= {"limit_ratio": _rounded(self.limit_ratio), "limit_cpu_ratio": _rounded(self.limit_cpu_ratio)}
            figures["limit_target"] = LIMIT_TARGETS.get(self.name)
        return figures | {"target": self.target, "what": self.what}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


# -------------------------------------------------------------------------------------------------------- measuring


def measure(workload: Workload, servers: list[Server], place: Place, rounds: int) -> Row:
    """Paired rounds of one workload. A server called "limit" runs the same as a bare loop."""
    figures: dict[str, list[Measured]] = {server.name: [] for server in servers}
    with placed(servers, workload.apart) as spin:
        for number in range(rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                run = workload.limit.run if workload.limit and server.name == "limit" else workload.run
                figures[server.name].append(run(server, replace(place, spin=spin)))
    values = {name: median(one.value for one in all_) for name, all_ in figures.items()}
    cpus = {name: median(one.cpu for one in all_) for name, all_ in figures.items()}
    scale = 1 if workload.cpu_unit == "s/GiB" else 1e6

    def ratios(other: str) -> tuple[float | None, float | None]:
        """Of throughput and of processor time, to another server."""
        if not {"ksmbd", other} <= figures.keys():
            return None, None
        pairs = zip(figures["ksmbd"], figures[other], strict=True)
        return median(ours.value / theirs.value for ours, theirs in pairs), (
            cpus[other] / cpus["ksmbd"] if cpus["ksmbd"] else None
        )

    return Row(
        workload.name, workload.what, workload.unit, workload.cpu_unit, workload.target, values,
        {name: value * scale for name, value in cpus.items()}, *ratios("samba"), *ratios("limit"),
        {name: [min(one.value for one in all_), max(one.value for one in all_)] for name, all_ in figures.items()},
    )


@contextlib.contextmanager
def placed(servers: list[Server], apart: bool) -> Iterator[bool]:
    """`apart`: the client (this process and smbload) gets the last CPU and the servers the others, as if the client
    were another machine. Without that it is chance whether a request wakes a process on its own CPU or on another one,
    and a round trip takes 10 or 70 µs. Otherwise, with more than two CPUs, the client gets the second half of them.
    Gives whether the client may spin."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < (2 if apart else 3):
        yield False
        return
    own = set(cpus[-1:] if apart else cpus[len(cpus) // 2 :])
    try:
        os.sched_setaffinity(0, own)
        for server in servers:
            server.pin(set(cpus) - own)
        yield apart
    finally:
        os.sched_setaffinity(0, cpus)
        for server in servers:
            server.pin(set(cpus))


def idle_rows(results: dict[str, Idle]) -> list[Row]:
    """The rows of idle connections."""
    alone = {name: one.alone / 2**20 for name, one in results.items()}
    rows = [Row("idle-total", "no connection: PSS of all processes", "MiB", "ms/s", None, alone, {}, None, None)]
    for count in next(iter(results.values())).memory:
        values = {name: one.memory[count] / 2**20 for name, one in results.items()}
        ratio = values["samba"] / values["ksmbd"] if len(values) == 2 and values["ksmbd"] > 0 else None
        rows.append(Row(
            f"idle-memory-{count}", f"{count} idle connections with session and tree: PSS they add", "MiB", "ms/s",
            TARGETS.get(f"idle-memory-{count}"), values, {name: one.cpu * 1000 for name, one in results.items()}, ratio,
            None,
        ))
    return rows


def build(name: str, folder: Path) -> Path:
    """Compile one of the C programs here."""
    program = folder / name
    compiler = os.environ.get("CC", "cc")
    flags = ["-O2", "-Wall", "-Wextra", "-o", str(program)]
    subprocess.run([compiler, *flags, str(HERE / f"{name}.c"), "-lcrypto"], check=True)
    return program


@contextlib.contextmanager
def running(servers: list[Server]) -> Iterator[None]:
    """Started, and stopped whatever happens."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.stop()


def make_servers(folder: Path, share: Path, names: list[str], workers: int, shares: str = "") -> list[Server]:
    """New servers with folders of their own below `folder`. `shares`: sections of further shares."""
    made: list[Server] = []
    for name in names:
        own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder)) / "server"
        os.chmod(own.parent, 0o755)
        if name == "ksmbd":
            made.append(Ksmbd(own, share, workers, shares=shares))
        else:
            made.append(Samba(own, share, shares=shares))
    return made


class Bench:
    """One run: its servers, its places, and what has been measured."""

    def __init__(self, options: argparse.Namespace, folder: Path, on_ext4: Path | None) -> None:
        """`on_ext4`: a folder on ext4, where there is one."""
        self._options = options
        self._folder = folder
        self._sizes = Sizes.scaled(options.scale)
        scratch = folder / "scratch"
        scratch.mkdir()
        self._place = Place(folder / "share", scratch, build("smbload", scratch), self._sizes)
        self._limit_program = build("limit", scratch)
        self._places = {False: self._place}
        account = pwd.getpwnam(bench_user())
        shares = ""
        for share in [self._place.share, *([on_ext4 / "share"] if on_ext4 else [])]:
            say(f"making the files in {share}")
            prepare(share, self._sizes, (account.pw_uid, account.pw_gid))
        if on_ext4:
            self._places[True] = replace(self._place, share=on_ext4 / "share", share_name="ext4")
            shares = f"[ext4]\n    path = {on_ext4 / 'share'}\n    read only = no\n    max connections = 65536\n"
        self.servers = make_servers(folder, self._place.share, options.servers, options.workers, shares)
        self._beside: dict[str, Server] = {}
        """Further servers by their names here, started when the first row needs them."""
        self._stack = contextlib.ExitStack()
        self._begun = time.monotonic()
        self.rows: list[Row] = []
        self.failures: dict[str, str] = {}

    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    def _started(self, name: str, make: Callable[[], Server]) -> Server:
        if name not in self._beside:
            server = make()
            self._stack.enter_context(running([server]))
            self._beside[name] = server
        return self._beside[name]

    def _all_of(self, workload: Workload) -> list[Server]:
        """The servers of a row."""
        servers = list(self.servers)
        both = self._options.servers == ["ksmbd", "samba"]
        share = self._place.share
        if both and workload.name == SENDFILE:
            own = self._folder / "samba-sendfile" / "server"
            servers[1] = self._started("sendfile", lambda: Samba(own, share, aio_read=False))
        if both and workload.default:
            own_default = self._folder / "samba-default" / "server"
            servers.append(self._started("default", lambda: Samba(own_default, share, tuned=False)))
        if limited := workload.limit:
            where = self._places[workload.ext4].share
            key = f"limit-{limited.writes}-{limited.protection}-{workload.ext4}"
            servers.append(self._started(key, lambda: Limit(
                self._folder / key, where, self._limit_program, limited.writes, limited.protection,
            )))
        return servers

    def run(self, workloads: list[Workload]) -> None:
        """Measure these rows."""
        with self._stack, running(self.servers):
            for server in self.servers:
                check_reading(server, self._place)
            for workload in workloads:
                if workload.ext4 not in self._places:
                    continue
                try:
                    row = measure(
                        workload, self._all_of(workload), self._places[workload.ext4], self._options.rounds,
                    )
                except (LoadFailed, BenchError, OSError, AssertionError, subprocess.TimeoutExpired) as error:
                    # The other rows are still worth having; the exit status says that one is missing
                    self.failures[workload.name] = f"{type(error).__name__}: {error}"
                    say(f"{self.seconds():5.0f} s  {workload.name:26} FAILED: {self.failures[workload.name]}")
                    continue
                self.add(row)

    def run_idle(self) -> None:
        """The rows of idle connections, each server a fresh one."""
        results = {}
        options = self._options
        for server in make_servers(self._folder, self._place.share, options.servers, options.workers):
            with running([server]):
                results[server.name] = idle(server, self._sizes.idle)
        for row in idle_rows(results):
            self.add(row)

    def add(self, row: Row) -> None:
        """Keep and tell a row."""
        self.rows.append(row)
        say(f"{self.seconds():5.0f} s  " + _line(row))


def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All of it; the content of bench.json."""
    wanted = re.compile(options.only)
    workloads = [one for one in all_workloads(shutil.which("smbclient")) if wanted.search(one.name)]
    load = {"before": os.getloadavg()}
    sizes = Sizes.scaled(options.scale)
    missing = why_no_ext4() if any(one.ext4 for one in workloads) else "no row is on it"
    with contextlib.ExitStack() as stack:
        # Twice what is read, what eight connections write, the files, and the journal
        on_ext4 = None if missing else stack.enter_context(ext4(folder, 3 * sizes.mebibytes + 768))
        if on_ext4 is None and not missing:
            missing = "it cannot be mounted here"
        whole = Bench(options, folder, on_ext4)
        whole.run(workloads)
    if any(wanted.search(f"idle-memory-{count}") for count in sizes.idle):
        whole.run_idle()
    load["after"] = os.getloadavg()
    return {
        "machine": machine(whole.servers, folder),
        "command": options.command,
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "rounds": options.rounds,
        "seconds": round(whole.seconds()),
        "load": {when: [round(one, 2) for one in figures] for when, figures in load.items()},
        "workloads": [row.as_json() for row in whole.rows],
        "without": {"ext4": missing} if missing else {},
        "failures": whole.failures,
    }


def machine(servers: list[Server], folder: Path) -> dict[str, Any]:
    """What it ran on."""
    with open("/proc/cpuinfo") as file:
        model = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False,
    ).stdout.strip()
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file_system": kind,
        "compiled": any(isinstance(server, Ksmbd) and server.compiled for server in servers),
        "servers": [server.version() for server in servers],
    }


# --------------------------------------------------------------------------------------------------------- printing


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _line(row: Row) -> str:
    values = "  ".join(f"{name} {_figure(value)}" for name, value in row.values.items())
    cpus = "  ".join(f"{name} {_figure(value)}" for name, value in row.cpus.items())
    aim = f" (of {row.target:g})" if row.target and row.ratio is not None else ""
    limit = "" if row.limit_ratio is None else f", to the limit {row.limit_ratio:.2f}"
    return f"{row.name:26} {values} {row.unit}, ratio {_figure(row.ratio)}{aim}{limit}; CPU {cpus} {row.cpu_unit}"


def table(result: dict[str, Any], markdown: bool = False) -> str:
    """The table as text, or as README has it."""
    heads = ["workload", "unit", "ksmbd", "samba", "ratio", "aim", "to the limit", "CPU", "ksmbd", "samba", "ratio"]
    lines: list[list[str]] = []
    for row in result["workloads"]:
        lines.append([
            row["name"], row["unit"], _figure(row.get("ksmbd")), _figure(row.get("samba")), _figure(row["ratio"]),
            _figure(row["target"]), _figure(row.get("limit_ratio")), row["cpu_unit"], _figure(row.get("ksmbd_cpu")),
            _figure(row.get("samba_cpu")), _figure(row["cpu_ratio"]),
        ])
    machine_ = result["machine"]
    about = (
        f"{result['command']}, {result['date']}: {' and '.join(machine_['servers'])}, {machine_['cpus']} CPUs "
        f"({machine_['cpu']}), {machine_['memory_gib']} GiB, Linux {machine_['kernel']}, Python {machine_['python']}, "
        f"{machine_['file_system']}, {result['rounds']} rounds, load average {result['load']['before'][0]} before and "
        f"{result['load']['after'][0]} after."
    )
    if markdown:
        head = "| " + " | ".join(heads) + " |\n|" + "|".join(" --- " if i in (0, 1, 7) else " ---: " for i in range(11))
        return about + "\n\n" + head + "|\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    text = [
        "  ".join(one.ljust(width) if i in (0, 1, 7) else one.rjust(width)
                  for i, (one, width) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in [heads, *lines]
    ]
    return "\n".join([*text, "", about])


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Measure ksmbd beside Samba.")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS") or 5))
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE") or 1))
    parser.add_argument("--folder", default=os.environ.get("BENCH_FOLDER") or "/dev/shm")
    parser.add_argument("--workers", type=int, default=int(os.environ.get("BENCH_WORKERS") or 0))
    parser.add_argument("--only", default=os.environ.get("BENCH_ONLY") or "", help="an expression for workloads' names")
    parser.add_argument("--servers", type=lambda text: text.split(","), default=["ksmbd", "samba"])
    parser.add_argument("--output", type=Path, default=TOP / "bench.json", help="where the figures go")
    parser.add_argument("--json", action="store_true", help="print the figures instead of the table")
    parser.add_argument("--markdown", type=Path, help="measure nothing: print such a file as README has it")
    options = parser.parse_args()
    if options.markdown:
        print(table(json.loads(options.markdown.read_text()), markdown=True))
        return 0
    options.command = os.environ.get("BENCH_COMMAND") or "tests/bench/run.py " + " ".join(sys.argv[1:])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="ksmbd-bench-", dir=options.folder))
    os.chmod(folder, 0o755)
    try:
        result = bench(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1) if options.json else table(result))
    for name, why in result["failures"].items():
        say(f"{name} failed: {why}")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
