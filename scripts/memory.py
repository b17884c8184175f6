#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What each process of a running server costs: memory, and CPU and wake-ups of some seconds.

    scripts/memory.py [PID | RUNDIR] [SECONDS]

PID is that of ksmbd.mountd; RUNDIR is the server's run directory, by default /run/ksmbd. Memory in MiB: PSS counts
what processes share once, private is what a process alone has. Wake-ups are those of all threads (voluntary context
switches).
"""
from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path


def processes(first: int) -> list[int]:
    """A process and all that it has started, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [first]
    for pid in found:
        found += sorted(children.get(pid, []))
    return found


def wake_ups(pid: int) -> int:
    """How often its threads have slept so far."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (thread / "status").read_text(), re.M)
        total += int(found[1]) if found else 0
    return total


def cpu(pid: int) -> float:
    """Seconds of CPU so far (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def main(words: list[str]) -> int:
    """Print the table. Returns the exit status."""
    where = words[0] if words else "/run/ksmbd"
    seconds = float(words[1]) if len(words) > 1 else 3.0
    try:
        pid = int(where) if where.isdecimal() else int(Path(where, "ksmbd.lock").read_text().split()[0])
        everyone = processes(pid)
        before = {pid: (wake_ups(pid), cpu(pid)) for pid in everyone}
    except (OSError, ValueError, IndexError) as error:
        print(f"{where}: no running server: {error}", file=sys.stderr)
        return 1
    time.sleep(seconds)
    print(f"{'process':16} {'pid':>8} {'PSS':>7} {'private':>7} {'CPU ms/s':>8} {'wake-ups':>8}")
    sums = [0.0] * 4
    for pid in everyone:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        sizes = {name: int(size) / 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
        row = [
            sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"], (cpu(pid) - before[pid][1]) * 1e3 / seconds,
            float(wake_ups(pid) - before[pid][0]),
        ]  # fmt: skip
        name = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode("utf-8", "replace")
        print(f"{os.path.basename(name):16} {pid:8} {row[0]:7.1f} {row[1]:7.1f} {row[2]:8.3f} {row[3]:8.0f}")
        sums = [total + one for total, one in zip(sums, row, strict=True)]
    print(f"{'all':16} {'':8} {sums[0]:7.1f} {sums[1]:7.1f} {sums[2]:8.3f} {sums[3]:8.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
