# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells how much memory this process may use: that of the machine, or that of its control groups (cgroups(7)) if it is
less."""
from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def limit(proc: Path = Path("/proc"), root: Path = _ROOT) -> int:
    """The limit in bytes; one GiB where it cannot be read."""
    limits = [size for size in (_machine(proc), *_groups(proc, root)) if size]
    return min(limits, default=1 << 30)


def _machine(proc: Path) -> int:
    try:
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _groups(proc: Path, root: Path) -> list[int]:
    """The limits of the group and of those above it: version 2 (`0::/path`), version 1 (`N:...memory...:/path`)."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        folder = top / path.lstrip("/")
        while True:
            found.append(_number(folder / name))
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent
    return found


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # `max`, or no such group to see
        return 0
