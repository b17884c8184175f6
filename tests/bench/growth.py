# SPDX-License-Identifier: GPL-2.0-or-later
"""How cost grows: with 1, 2 and 4 workers, with each of them for 1, 10, 100 and 1000 busy connections, and what the
shared table of open files lets through as workers and environments grow. Pictures: docs/growth-*.png.

    make bench-growth [BENCH_ROUNDS=3] [BENCH_SCALE=1] [BENCH_FOLDER=/dev/shm]

Samba is drawn beside it: a process for each connection, whatever `workers` says. The figures are in docs/growth.json.
"""
from __future__ import annotations

import argparse
import json
import os
import pwd
import resource
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import store_growth
from run import TOP, build, make_servers, running, say
from servers import Ksmbd, Server, bench_user
from workloads import PLAIN, SEALED, Measured, Place, Sizes, Workload, echo, idle, open_close, prepare, sequential

matplotlib.use("Agg")
from matplotlib import pyplot

WORKERS = (1, 2, 4)
CONNECTIONS = (1, 10, 100, 1000)
ENVIRONMENTS = (1, 4, 16, 64)
STORE_WORKERS = (1, 4, 16, 64)
COST = 30e-6
"""Seconds of a worker's CPU for an open with its close in all."""


@dataclass(frozen=True)
class Panel:
    """One diagram: a workload as a function of something."""

    title: str
    workload: Workload


def by_workers(count: int) -> list[Panel]:
    """What is measured against the number of workers, with `count` connections."""
    return [
        Panel("read, plain", Workload("read", "MiB/s", sequential(PLAIN, False, count), "", "s/GiB")),
        Panel("read, encrypted", Workload("read-encrypted", "MiB/s", sequential(SEALED, False, count), "", "s/GiB")),
        Panel("open and close", Workload("open-close", "op/s", open_close((), count, 4), "")),
        Panel("echo", Workload("echo", "op/s", echo(16, count), "")),
    ]


def by_connections(count: int) -> list[Panel]:
    """What is measured with `count` busy connections."""
    return [
        Panel("open and close", Workload("open-close", "op/s", open_close((), count, 1), "")),
        Panel("echo", Workload("echo", "op/s", echo(1, count), "")),
    ]


def rounds_of(workload: Workload, server: Server, place: Place, rounds: int) -> Measured:
    """Medians."""
    all_ = [workload.run(server, place) for _ in range(rounds)]
    scale = 1 if workload.cpu_unit == "s/GiB" else 1e6
    return Measured(median(one.value for one in all_), median(one.cpu for one in all_) * scale)


def measure(folder: Path, scale: float, rounds: int) -> dict[str, Any]:
    """All figures: {"workers" | "connections": {panel: {server: {x: [value, cpu]}}}, "memory": {server: {x: B}}}."""
    sizes = Sizes.scaled(scale)
    share, scratch = folder / "share", folder / "scratch"
    scratch.mkdir()
    place = Place(share, scratch, build("smbload", scratch), sizes)
    account = pwd.getpwnam(bench_user())
    prepare(share, sizes, (account.pw_uid, account.pw_gid))
    result: dict[str, Any] = {"workers": {}, "connections": {}, "memory": {}, "units": {}}

    def note(kind: str, panel: Panel, server: str, at: int, figure: Measured) -> None:
        result[kind].setdefault(panel.title, {}).setdefault(server, {})[at] = [figure.value, figure.cpu]
        result["units"][panel.title] = [panel.workload.unit, panel.workload.cpu_unit]
        say(f"{kind} {at:5} {panel.title:16} {server:6} {figure.value:10.0f} {panel.workload.unit} {figure.cpu:.3g}")

    for workers in WORKERS:
        servers = make_servers(folder, share, ["ksmbd", "samba"] if workers == WORKERS[0] else ["ksmbd"], workers)
        with running(servers):
            for server in servers:
                for panel in by_workers(8):
                    figure = rounds_of(panel.workload, server, place, rounds)
                    for at in WORKERS if server.name == "samba" else (workers,):
                        note("workers", panel, server.name, at, figure)
    for workers in WORKERS:
        for server in make_servers(folder, share, ["ksmbd", "samba"] if workers == WORKERS[0] else ["ksmbd"], workers):
            name = server.name if server.name == "samba" else f"ksmbd, {workers} worker{'s' if workers > 1 else ''}"
            with running([server]):
                for count in CONNECTIONS:
                    for panel in by_connections(count):
                        note("connections", panel, name, count, rounds_of(panel.workload, server, place, rounds))
    for server in make_servers(folder, share, ["ksmbd", "samba"], 0):
        with running([server]):
            result["memory"][server.name] = idle(server, CONNECTIONS, 1).memory
    for workers in WORKERS:
        with running([one := Ksmbd(folder / f"memory-{workers}", share, workers)]):
            result["memory"][f"ksmbd, {workers} workers"] = {0: one.pss()}
    result["store"] = of_store(rounds)
    return result


def of_store(rounds: int) -> dict[str, Any]:
    """The table of open files alone (store_growth.py): for how many seconds an open with its close holds writer locks,
    and the medians of CPU and sleeps by environments and workers."""
    held = min(store_growth.held() for _ in range(rounds))
    rows = []
    for environments in ENVIRONMENTS:
        for workers in STORE_WORKERS:
            figures = [store_growth.measure(environments, workers, 2.0) for _ in range(rounds)]
            cpu, sleeps = median(one.cpu for one in figures), median(one.sleeps for one in figures)
            rows.append({"environments": environments, "workers": workers, "cpu": cpu, "sleeps": sleeps})
            say(f"store, {environments:2} environments, {workers:2} workers: {cpu:.1f} µs CPU, {sleeps:.3f} sleeps")
    return {"held": held, "rows": rows}


def draw(result: dict[str, Any], docs: Path) -> None:
    """The pictures."""
    for kind, label in (("workers", "workers"), ("connections", "connections")):
        panels = result[kind]
        figure, axes = pyplot.subplots(2, len(panels), figsize=(3.4 * len(panels), 6), squeeze=False)
        for column, (title, servers) in enumerate(panels.items()):
            for row, what in enumerate(result["units"][title]):
                axis = axes[row][column]
                for name, points in servers.items():
                    axis.plot([str(x) for x in points], [point[row] for point in points.values()], "o-", label=name)
                axis.set_ylim(bottom=0)
                axis.set_title(title if row == 0 else f"{title}: CPU")
                axis.set_ylabel(what)
                axis.set_xlabel(label)
        axes[0][0].legend()
        figure.tight_layout()
        figure.savefig(docs / f"growth-{kind}.png", dpi=90)
        pyplot.close(figure)
    figure, axis = pyplot.subplots(figsize=(5, 4))
    for name in ("ksmbd", "samba"):
        points = result["memory"][name]
        axis.loglog([int(x) for x in points], [value / 2**20 for value in points.values()], "o-", label=name)
    axis.set_xlabel("idle connections")
    axis.set_ylabel("memory they add, MiB (PSS)")
    axis.legend()
    axis.grid(True, which="both", alpha=0.3)
    figure.tight_layout()
    figure.savefig(docs / "growth-memory.png", dpi=90)
    pyplot.close(figure)


def draw_store(result: dict[str, Any], docs: Path) -> None:
    """What the table lets through beside what workers ask for, each with a processor of its own; and its CPU here."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    workers = range(1, 65)
    for environments in ENVIRONMENTS:
        most = environments / result["held"]
        left.loglog(workers, [min(count / COST, most) for count in workers], label=f"{environments} environments")
        rows = [row for row in result["rows"] if row["environments"] == environments]
        right.plot([str(row["workers"]) for row in rows], [row["cpu"] for row in rows], "o-")
    left.set_xlabel("workers, each with a processor of its own")
    left.set_ylabel("opens with their closes a second, at most")
    left.legend()
    left.grid(True, which="both", alpha=0.3)
    right.set_xlabel("workers on this machine's processors")
    right.set_ylabel("µs of CPU in the table, an open with its close")
    right.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(docs / "growth-store.png", dpi=90)
    pyplot.close(figure)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Measure and draw how cost grows.")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS") or 3))
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE") or 1))
    parser.add_argument("--folder", default=os.environ.get("BENCH_FOLDER") or "/dev/shm")
    parser.add_argument("--docs", type=Path, default=TOP / "docs")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="ksmbd-bench-", dir=options.folder))
    os.chmod(folder, 0o755)
    try:
        result = measure(folder, options.scale, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.docs.mkdir(exist_ok=True)
    (options.docs / "growth.json").write_text(json.dumps(result, indent=1) + "\n")
    read = json.loads((options.docs / "growth.json").read_text())
    draw(read, options.docs)
    draw_store(read["store"], options.docs)
    say(f"pictures in {options.docs}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
