# SPDX-License-Identifier: GPL-2.0-or-later
"""How much memory there is: a machine's and its groups' files as the kernel writes them."""
from __future__ import annotations

from pathlib import Path

from ksmbd.kernel import memory


def files(top: Path, texts: dict[str, str]) -> tuple[Path, Path]:
    for name, text in texts.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top / "proc", top / "cgroup"


def test_the_least_of_machine_and_groups(tmp_path: Path) -> None:
    proc, root = files(tmp_path, {
        "proc/meminfo": "MemTotal:        8000000 kB\nMemFree: 1 kB\n",
        "proc/self/cgroup": "0::/system.slice/ksmbd.service\n",
        "cgroup/system.slice/ksmbd.service/memory.max": "max\n",
        "cgroup/system.slice/memory.max": f"{2 << 30}\n",
    })  # fmt: skip
    assert memory.limit(proc, root) == 2 << 30


def test_the_first_version_of_groups(tmp_path: Path) -> None:
    proc, root = files(tmp_path, {
        "proc/meminfo": "MemTotal:        8000000 kB\n",
        "proc/self/cgroup": "5:cpu,memory:/a\n4:devices:/b\n",
        "cgroup/memory/a/memory.limit_in_bytes": f"{128 << 20}\n",
        "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "cgroup/b/memory.max": "1\n",
    })  # fmt: skip
    assert memory.limit(proc, root) == 128 << 20


def test_the_machine_alone_and_nothing(tmp_path: Path) -> None:
    proc, root = files(tmp_path, {"proc/meminfo": "MemTotal: 1000 kB\n", "proc/self/cgroup": "0::/../outside\n"})
    assert memory.limit(proc, root) == 1000 << 10
    assert memory.limit(tmp_path / "none", root) == 1 << 30
    assert memory.limit() > 1 << 20
