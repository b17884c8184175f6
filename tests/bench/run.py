# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark: this server beside a private Samba, in turn, on loopback, with the same client and the same folder.

    make bench [BENCH_ROUNDS=5] [BENCH_SCALE=1] [BENCH_FOLDER=/dev/shm] [BENCH_WORKERS=0] [BENCH_ONLY=REGEX]

The table goes to stdout, progress to stderr, the figures to bench.json. Rounds are paired: in each both servers run the
workload one after the other, the first one alternating. `ratio` is the median of the rounds' ratios, turned so that
more than 1 is better for ksmbd; `cpu_ratio` likewise is Samba's processor time for the same work, divided by ours.
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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from client import BenchError
from plan import LoadFailed
from servers import Ksmbd, Limit, Samba, Server, bench_user
from workloads import Idle, Measured, Place, Sizes, Workload, all_workloads, check_reading, idle, limit, prepare

SENDFILE = "read-plain-sendfile"
"""The row where Samba reads synchronously, so that it uses sendfile."""
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

    def as_json(self) -> dict[str, Any]:
        """As it stands in bench.json."""
        figures: dict[str, Any] = {"name": self.name, "unit": self.unit}
        figures |= {name: _rounded(value) for name, value in self.values.items()}
        figures |= {"ratio": _rounded(self.ratio), "cpu_ratio": _rounded(self.cpu_ratio), "cpu_unit": self.cpu_unit}
        figures |= {f"{name}_cpu": _rounded(value) for name, value in self.cpus.items()}
        return figures | {"target": self.target, "what": self.what}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


# -------------------------------------------------------------------------------------------------------- measuring


def measure(workload: Workload, servers: list[Server], place: Place, rounds: int) -> Row:
    """Paired rounds of one workload."""
    figures: dict[str, list[Measured]] = {server.name: [] for server in servers}
    with placed(servers, workload.apart) as spin:
        for number in range(rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                figures[server.name].append(workload.run(server, replace(place, spin=spin)))
    values = {name: median(one.value for one in all_) for name, all_ in figures.items()}
    cpus = {name: median(one.cpu for one in all_) for name, all_ in figures.items()}
    scale = 1 if workload.cpu_unit == "s/GiB" else 1e6
    ratio = cpu_ratio = None
    if {"ksmbd", "samba"} <= figures.keys():
        pairs = list(zip(figures["ksmbd"], figures["samba"], strict=True))
        ratio = median(ours.value / theirs.value for ours, theirs in pairs)
        cpu_ratio = cpus["samba"] / cpus["ksmbd"] if cpus["ksmbd"] else None
    return Row(
        workload.name, workload.what, workload.unit, workload.cpu_unit, workload.target, values,
        {name: value * scale for name, value in cpus.items()}, ratio, cpu_ratio,
    )


@contextlib.contextmanager
def placed(servers: list[Server], apart: bool) -> Iterator[bool]:
    """`apart`: the client (this process and smbload) gets the last CPU and the servers the others, as if the client
    were another machine. Without that it is chance whether a request wakes a process on its own CPU or on another one,
    and a round trip takes 10 or 70 µs. Gives whether the client may spin."""
    cpus = os.sched_getaffinity(0)
    if not apart or len(cpus) < 2:
        yield False
        return
    own = {max(cpus)}
    try:
        os.sched_setaffinity(0, own)
        for server in servers:
            server.pin(cpus - own)
        yield True
    finally:
        os.sched_setaffinity(0, cpus)
        for server in servers:
            server.pin(cpus)


def idle_rows(results: dict[str, Idle]) -> list[Row]:
    """The rows of idle connections."""
    rows = []
    for count in next(iter(results.values())).memory:
        values = {name: one.memory[count] / 2**20 for name, one in results.items()}
        ratio = values["samba"] / values["ksmbd"] if len(values) == 2 and values["ksmbd"] > 0 else None
        rows.append(Row(
            f"idle-memory-{count}", f"{count} idle connections with session and tree: PSS they add", "MiB", "ms/s",
            10.0 if count == 1000 else None, values, {name: one.cpu * 1000 for name, one in results.items()}, ratio,
            None,
        ))
    return rows


def build(name: str, folder: Path) -> Path:
    """Compile one of the C programs here."""
    program = folder / name
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(HERE / f"{name}.c")], check=True)
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


def make_servers(folder: Path, share: Path, names: list[str], workers: int) -> list[Server]:
    """New servers with folders of their own below `folder`."""
    made: list[Server] = []
    for name in names:
        own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder)) / "server"
        os.chmod(own.parent, 0o755)
        made.append(Ksmbd(own, share, workers) if name == "ksmbd" else Samba(own, share))
    return made


def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All of it; the content of bench.json."""
    sizes = Sizes.scaled(options.scale)
    share, scratch = folder / "share", folder / "scratch"
    scratch.mkdir()
    place = Place(share, scratch, build("smbload", scratch), sizes)
    limit_program = build("limit", scratch)
    account = pwd.getpwnam(bench_user())
    say(f"making the files in {share}")
    prepare(share, sizes, (account.pw_uid, account.pw_gid))
    wanted = re.compile(options.only)
    workloads = [one for one in all_workloads(shutil.which("smbclient")) if wanted.search(one.name)]
    servers = make_servers(folder, share, options.servers, options.workers)
    other: list[Server] = []
    if options.servers == ["ksmbd", "samba"] and any(one.name == SENDFILE for one in workloads):
        other.append(Samba(folder / "samba-sendfile" / "server", share, aio_read=False))
    load = {"before": os.getloadavg()}
    begun = time.monotonic()
    rows: list[Row] = []
    failures: dict[str, str] = {}
    with running([*servers, *other]):
        for server in servers:
            check_reading(server, place)
        for workload in workloads:
            pair = [servers[0], *other] if workload.name == SENDFILE and other else servers
            try:
                row = measure(workload, pair, place, options.rounds)
            except (LoadFailed, BenchError, OSError, AssertionError, subprocess.TimeoutExpired) as error:
                # The other rows are still worth having; the exit status says that one is missing
                failures[workload.name] = f"{type(error).__name__}: {error}"
                say(f"{time.monotonic() - begun:5.0f} s  {workload.name:26} FAILED: {failures[workload.name]}")
                continue
            rows.append(row)
            say(f"{time.monotonic() - begun:5.0f} s  " + _line(row))
    limits = []
    for name, mode, writes in (("limit-read", "send", False), ("limit-write", "receive", True)):
        if wanted.search(name):
            file = share / "data" if mode == "send" else scratch / "received"
            with running([server := Limit(scratch / name, share, limit_program, mode, file)]):
                row = measure(
                    Workload(name, "MiB/s", limit(writes), "the same frames, no protocol", "s/GiB"), [server], place,
                    options.rounds,
                )
            limits.append(row)
            say(f"{time.monotonic() - begun:5.0f} s  " + _line(row))
    if any(wanted.search(f"idle-memory-{count}") for count in sizes.idle):
        results = {}
        for server in make_servers(folder, share, options.servers, options.workers):
            with running([server]):
                results[server.name] = idle(server, sizes.idle)
        for row in idle_rows(results):
            rows.append(row)
            say(f"{time.monotonic() - begun:5.0f} s  " + _line(row))
    load["after"] = os.getloadavg()
    return {
        "machine": machine(servers, folder),
        "command": options.command,
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "rounds": options.rounds,
        "seconds": round(time.monotonic() - begun),
        "load": {when: [round(one, 2) for one in figures] for when, figures in load.items()},
        "workloads": [row.as_json() for row in rows],
        "limits": [row.as_json() for row in limits],
        "failures": failures,
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
    return f"{row.name:26} {values} {row.unit}, ratio {_figure(row.ratio)}{aim}; CPU {cpus} {row.cpu_unit}"


def table(result: dict[str, Any], markdown: bool = False) -> str:
    """The table as text, or as README has it."""
    heads = ["workload", "unit", "ksmbd", "samba", "ratio", "aim", "CPU", "ksmbd", "samba", "ratio"]
    lines: list[list[str]] = []
    for row in result["workloads"] + result["limits"]:
        target = row["target"]
        lines.append([
            row["name"], row["unit"], _figure(row.get("ksmbd", row.get("limit"))), _figure(row.get("samba")),
            _figure(row["ratio"]), _figure(target), row["cpu_unit"],
            _figure(row.get("ksmbd_cpu", row.get("limit_cpu"))), _figure(row.get("samba_cpu")),
            _figure(row["cpu_ratio"]),
        ])
    machine_ = result["machine"]
    about = (
        f"{result['command']}, {result['date']}: {' and '.join(machine_['servers'])}, {machine_['cpus']} CPUs "
        f"({machine_['cpu']}), {machine_['memory_gib']} GiB, Linux {machine_['kernel']}, Python {machine_['python']}, "
        f"{machine_['file_system']}, {result['rounds']} rounds, load average {result['load']['before'][0]} before and "
        f"{result['load']['after'][0]} after."
    )
    if markdown:
        head = "| " + " | ".join(heads) + " |\n|" + "|".join(" --- " if i in (0, 1, 6) else " ---: " for i in range(10))
        return about + "\n\n" + head + "|\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    text = [
        "  ".join(one.ljust(width) if i in (0, 1, 6) else one.rjust(width)
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
