# SPDX-License-Identifier: GPL-2.0-or-later
"""What the shared table of open files costs as workers and environments grow, without anything else of the server.

    .venv/bin/python tests/bench/store_growth.py [--workers 1,4,16,64] [--environments 1,4,16,64] [--seconds 2]

Each worker is a process that opens and closes files of its own, some of them with a lease. On a machine with fewer
processors they share them, so what counts is the CPU for an open with its close, and how often a process had to sleep
for another one's writer lock. First the time is measured for which an open with its close holds writer locks: the store
lets no more than environments / that time of them happen in a second, on however many processors. Workers at most is
the number of workers that this is enough for, each with a processor of its own and `--cost` of it for an open with its
close.
"""
from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import cast

from ksmbd.oplock.environment import Environment, Transaction
from ksmbd.oplock.record import OpenEntry, Record
from ksmbd.oplock.requests import Decision
from ksmbd.oplock.store import LEASES, IndexEntry
from ksmbd.oplock.store_lmdb import LmdbStore

FILES = 64
"""Files of each worker."""
TOGETHER = 20
"""Opens and closes between two looks at the clock."""
LEASED = 4
"""One open in so many has a lease, which is in an index over all files."""


@dataclass(frozen=True)
class Figure:
    """One row."""

    environments: int
    workers: int
    rate: float
    """Opens with their closes a second, of all workers together, on the processors of this machine."""
    cpu: float
    """Microseconds of CPU for one."""
    sleeps: float
    """Voluntary context switches for one: another worker had the lock."""


def record_of(open_id: int) -> Record:
    """The record of a file with one open."""
    entry = OpenEntry(
        open_id=open_id, stream="", worker=1, epoch=1, client_guid=bytes(16), session_id=1, owner="user", share="share",
        path=f"folder\\file-{open_id % FILES}.txt", is_directory=False, access=0x120089, share_access=7, options=0x40,
        parent=(64769, 2), delete_on_close=False, lease_key=b"", durable=0, persistent=False, create_guid=b"",
        app_instance_id=b"", app_instance_version=None, timeout=0, connected=True, deadline=0.0,
        reconnectable_state=b"", name=b"file.txt",
    )  # fmt: skip
    record = Record({open_id: entry})
    record.serial = 1
    return record


def one(store: LmdbStore, worker: int, number: int) -> None:
    """An open and its close."""
    file = (64769, (worker << 20) + number % FILES)
    open_id = worker << 32 | number + 1
    assert store.begin(file, record_of(open_id))
    key = open_id.to_bytes(8, "big") * 4
    if number % LEASED == 0:
        store.index_put(LEASES, key, IndexEntry(file, ""))
    if store.end(file, open_id) is None:  # the environment has to grow
        store.update(file, lambda record, locks_of: Decision(Record(), True, 0, [], set(), {}, 0.0))
    if number % LEASED == 0:
        store.index_remove(LEASES, key)


def work(
    folder: Path, worker: int, seconds: float, begin: Barrier, tell: Callable[[tuple[int, float, int]], None]
) -> None:
    """The process of a worker: tells how many it has done, its CPU seconds, and how often it slept."""
    store = LmdbStore(folder)
    for number in range(FILES):
        one(store, worker, number)
    begin.wait()
    before = resource.getrusage(resource.RUSAGE_SELF)
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(TOGETHER):
            one(store, worker, done)
            done += 1
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    tell((done, cpu, after.ru_nvcsw - before.ru_nvcsw))
    os._exit(0)


def measure(environments: int, workers: int, seconds: float) -> Figure:
    """Let so many workers use a fresh store."""
    folder = Path(tempfile.mkdtemp(prefix="ksmbd-store-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        LmdbStore(folder / "opens", fresh=True, environments=environments).close()
        context = multiprocessing.get_context("fork")
        begin = context.Barrier(workers)
        results = context.SimpleQueue()
        everyone = [
            context.Process(target=work, args=(folder / "opens", number + 1, seconds, begin, results.put))
            for number in range(workers)
        ]
        for process in everyone:
            process.start()
        told = [results.get() for _ in everyone]
        for process in everyone:
            process.join()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done = sum(count for count, _, _ in told)
    return Figure(
        environments, workers, done / seconds, sum(cpu for _, cpu, _ in told) * 1e6 / done,
        sum(slept for _, _, slept in told) / done,
    )  # fmt: skip


class Held:
    """Measures for how long writer locks are held, in a process that is alone."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def begin(self, environment: Environment, write: bool = False) -> Transaction:
        """In place of Environment.begin."""
        transaction = _begin(environment, write)
        return cast(Transaction, _Timed(transaction, self)) if write else transaction


def _clock_cost() -> float:
    """Seconds that two looks at the clock add."""
    least = 1.0
    for _ in range(1000):
        before = time.thread_time()
        least = min(least, time.thread_time() - before)
    return least


_CLOCK = _clock_cost()


class _Timed:
    """A write transaction whose time is counted from here to its end."""

    def __init__(self, transaction: Transaction, held: Held) -> None:
        self._transaction, self._held = transaction, held
        self.get, self.put, self.delete = transaction.get, transaction.put, transaction.delete
        self.cursor, self.stat = transaction.cursor, transaction.stat
        self._since = time.thread_time()

    def _ended(self) -> None:
        self._held.seconds += time.thread_time() - self._since - _CLOCK

    def commit(self) -> None:
        self._transaction.commit()
        self._ended()

    def abort(self) -> None:
        self._transaction.abort()
        self._ended()

    def __enter__(self) -> Transaction:
        return cast(Transaction, self)

    def __exit__(self, *error: object) -> None:
        self._transaction.__exit__(*error)
        self._ended()


_begin = Environment.begin


def held(count: int = 20_000) -> float:
    """Seconds for which an open with its close holds writer locks."""
    folder = Path(tempfile.mkdtemp(prefix="ksmbd-store-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    meter = Held()
    Environment.begin = lambda self, write=False: meter.begin(self, write)  # type: ignore[method-assign]
    try:
        store = LmdbStore(folder / "opens", fresh=True, environments=1)
        for number in range(FILES):
            one(store, 1, number)
        least = float("inf")
        for _ in range(5):
            meter.seconds = 0.0
            for number in range(count // 5):
                one(store, 1, number)
            least = min(least, meter.seconds / (count // 5))
        store.close()
    finally:
        Environment.begin = _begin  # type: ignore[method-assign]
        shutil.rmtree(folder, ignore_errors=True)
    return least


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Measure the table of open files with many workers.")
    parser.add_argument("--workers", default="1,4,16,64")
    parser.add_argument("--environments", default="1,4,16,64")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--cost", type=float, default=30.0, help="µs of a worker's CPU for an open and its close")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    locked = held()
    print(f"the writer locks are held for {locked * 1e6:.1f} µs of an open with its close")
    print("environments workers  op/s here   µs CPU   sleeps   op/s at most   workers at most")
    figures = []
    for environments in map(int, options.environments.split(",")):
        for workers in map(int, options.workers.split(",")):
            figure = measure(environments, workers, options.seconds)
            figures.append(figure)
            most = environments / locked
            print(f"{environments:12} {workers:7} {figure.rate:10.0f} {figure.cpu:8.1f} {figure.sleeps:8.3f}"
                  f" {most:14.0f} {most * options.cost / 1e6:17.1f}", flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps({"held": locked, "rows": [asdict(one) for one in figures]}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
