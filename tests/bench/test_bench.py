# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark runs and writes what it promises; nothing is said about how fast anything is."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMES = {
    f"{row}{suffix}"
    for row in (
        "read-plain", "read-signed-gmac", "read-signed-cmac", "read-encrypted-gcm", "write-plain", "write-signed-gmac",
        "write-encrypted-gcm",
    )
    for suffix in ("", "-8", "-mc")
} | {
    "random-read-4k", "random-write-4k", "echo-depth1", "echo-depth16", "open-close", "open-stat-close", "small-files",
    "listing", "open-close-8x4", "open-close-signed", "open-close-sealed", "compound-open-query-close",
    "open-query5-close", "read-plain-sendfile",
}
ON_EXT4 = {"read-plain-ext4", "write-plain-ext4", "write-encrypted-gcm-ext4", "small-files-ext4"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="both servers change to another account"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="the load client is compiled"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the servers' account may enter, in memory where there is such a place."""
    made = Path(tempfile.mkdtemp(prefix="bench-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, str(HERE / "run.py"), "--rounds", "1", "--scale", "0.008", "--folder", str(folder),
            "--output", str(folder / "bench.json"), *arguments,
        ],
        capture_output=True, text=True, timeout=285, check=False,
    )


def test_every_workload_runs_against_our_server(folder: Path) -> None:
    done = _run(folder, "--servers", "ksmbd")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "bench.json").read_text())
    rows = {row["name"]: row for row in result["workloads"]}
    assert rows.keys() >= NAMES
    assert result["machine"]["compiled"] in (True, False)
    assert all(row["ksmbd"] > 0 and row["unit"] for name, row in rows.items() if not name.startswith("idle"))
    bulk = {name: row for name, row in rows.items() if name.startswith(("read-", "write-"))}
    assert all(row["limit"] > 0 and row["limit_ratio"] > 0 and row["limit_cpu_ratio"] > 0 for row in bulk.values())
    assert rows.keys() >= ON_EXT4 or result["without"]["ext4"]
    assert all(row["ksmbd_spread"][0] <= row["ksmbd"] <= row["ksmbd_spread"][1] for row in bulk.values())
    assert all(name in done.stdout for name in rows)


@pytest.mark.skipif(shutil.which("smbd", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="needs Samba's smbd")
def test_samba_beside_it(folder: Path) -> None:
    wanted = "read-signed-gmac|write-encrypted-gcm-mc|open-close-s.*|compound-.*|small-files|idle-memory-.*"
    done = _run(folder, "--only", f"^({wanted})$")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "bench.json").read_text())
    for row in result["workloads"]:
        assert row.keys() >= {"name", "unit", "ksmbd", "samba", "ratio", "cpu_ratio"}
        if not row["name"].startswith("idle"):
            assert row["samba"] > 0 and row["ratio"] > 0
    rows = {row["name"]: row for row in result["workloads"]}
    assert rows["small-files"]["samba_default"] > 0 and "samba_default" not in rows["open-close-signed"]
    assert {"machine", "load"} <= result.keys()
    printed = subprocess.run(
        [sys.executable, str(HERE / "run.py"), "--markdown", str(folder / "bench.json")],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout
    assert "| read-signed-gmac |" in printed
