# SPDX-License-Identifier: GPL-2.0-or-later
"""A server that nobody asks anything does nothing: no process of it wakes, with and without connections."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rawclient import RawClient
from server import KsmbdServer

SECONDS = 3.0
"""How long nothing happens."""
SETTLED = 40.0
"""Seconds within which the server has done all that the last request leaves to do."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KsmbdServer]:
    server = KsmbdServer(tmp_path_factory.mktemp("idle") / "server", workers=2)
    server.wait_until_listening()
    with server:
        yield server


def processes(server: KsmbdServer) -> dict[int, str]:
    """Process id -> name, of the daemon and all that it has started."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(text.rpartition(")")[2].split()[1])
    found = [server.pid]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return {pid: Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode() for pid in found}


def wake_ups(pid: int) -> int:
    """How often its threads have gone to sleep so far, each after it was woken."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)
        assert found is not None
        total += int(found[1])
    return total


def woken(server: KsmbdServer) -> dict[str, int]:
    """How often each process wakes in some seconds, by its name."""
    everyone = processes(server)
    before = {pid: wake_ups(pid) for pid in everyone}
    select.select([], [], [], SECONDS)
    return {f"{name} ({pid})": wake_ups(pid) - before[pid] for pid, name in everyone.items()}


def assert_sleeps(server: KsmbdServer) -> None:
    """Timers may end what requests have begun; then nothing ticks."""
    deadline = time.monotonic() + SETTLED
    while max((counts := woken(server)).values()) > 1:
        assert time.monotonic() < deadline, f"wake-ups in {SECONDS:g} s without any activity: {counts}"
    assert len(counts) >= 4, "mountd, ksmbd/0 and two workers at least"


def test_it_is_small(server: KsmbdServer) -> None:
    """All its processes together, what they share counted once; compiled modules are files of their own."""
    total = 0
    for pid in processes(server):
        found = re.search(r"^Pss_Anon:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        assert found is not None
        total += int(found[1])
    assert total < 68 << 10, f"{total >> 10} MiB"


def test_nobody_is_connected(server: KsmbdServer) -> None:
    assert_sleeps(server)


def test_connections_that_are_idle(server: KsmbdServer) -> None:
    clients = [RawClient(server) for _ in range(10)]
    try:
        assert_sleeps(server)
        assert sum(worker["sessions"] for worker in server.stats()["workers"]) == 10
    finally:
        for client in clients:
            client.vanish()


def test_the_counters_are_written_when_something_happens(server: KsmbdServer) -> None:
    """Nobody asks for them: who looks at the file finds what was a moment ago."""
    assert_sleeps(server)
    before = server.control("stats").read_text()
    with RawClient(server):
        deadline = time.monotonic() + SETTLED
        while (text := server.control("stats").read_text()) == before or "sessions: 1\n" not in text:
            assert time.monotonic() < deadline, text
            select.select([], [], [], 0.05)
