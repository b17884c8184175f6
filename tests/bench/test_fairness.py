# SPDX-License-Identifier: GPL-2.0-or-later
"""The bench of fairness: its plan is complete, and its verdict fails where a row is over."""
from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
WANTED = {
    "nothing", "spnego-oids", "half-logons", "wrong-passwords", "connections", "trickle", "unread-replies",
    "tree-connects", "lock-same", "lock-overlapping", "lock-unlock", "many-locks", "one-file-opens", "logoff-opens",
    "delete-on-close", "rename-many-open", "breaks", "notify-flood", "notify-trees", "half-pipes", "compound-listings",
    "compound-creates", "create-contexts", "copy-chunks", "allocated-ranges", "trim-ranges", "zero-ranges",
    "allocations", "sealed-io", "flushes", "eas", "acls", "streams", "list-backtracking", "list-dos",
    "list-long-pattern", "list-rescans", "list-large", "list-together", "case-misses", "long-paths", "links",
}


@pytest.fixture(scope="module")
def fairness() -> Iterator[ModuleType]:
    """The program's module; its neighbours are imported by their bare names and are forgotten again."""
    before = set(sys.modules)
    sys.path.insert(0, str(HERE))
    try:
        yield importlib.import_module("fairness")
    finally:
        sys.path.remove(str(HERE))
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", None) and str(HERE) in str(sys.modules[name].__file__):
                del sys.modules[name]


def _outcome(fairness: ModuleType, worst: float, answered: int = 5, problem: str = "") -> object:
    waits = {kind: fairness.Waits(10, 0.1, worst / 2, worst) for kind in fairness.KINDS}
    return fairness.Outcome(waits, answered, problem)


def test_the_plan_is_complete(fairness: ModuleType) -> None:
    names = [row.name for row in fairness.ROWS]
    assert len(names) == len(set(names)) and set(names) >= WANTED
    assert names[0] == fairness.BASELINE
    assert all(row.what.endswith(".") for row in fairness.ROWS)
    assert fairness.BOUND == 200.0
    assert set(fairness.KINDS) == {"echo", "open-close"}


def test_figures_of_waits(fairness: ModuleType) -> None:
    waits = fairness.Waits.of([number / 1000 for number in range(1, 201)])
    assert (waits.count, waits.p50, waits.p99, waits.worst) == pytest.approx((200, 101.0, 199.0, 200.0))


@pytest.mark.parametrize(
    ("worst", "answered", "problem", "fair"),
    [(200.0, 5, "", True), (200.1, 5, "", False), (1.0, 0, "nothing was answered", False)],
)
def test_a_row_is_judged(fairness: ModuleType, worst: float, answered: int, problem: str, fair: bool) -> None:
    outcome = _outcome(fairness, worst, answered, problem)
    samba = _outcome(fairness, 5000.0)  # Samba's figures are shown and not judged
    assert fairness.unfair({"row": {"ksmbd": outcome, "samba": samba}}) == ([] if fair else ["row"])


def test_what_a_row_leaves_goes_however_deep_it_is(fairness: ModuleType, tmp_path: Path) -> None:
    top = tmp_path / "row"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    fairness.remove(top)
    assert not top.exists()


def test_a_lost_bystander_is_unfair(fairness: ModuleType) -> None:
    assert fairness.unfair({"row": {"ksmbd": fairness.Outcome({}, 7, "")}}) == ["row"]


def test_the_table_and_the_status_name_what_is_over(fairness: ModuleType) -> None:
    from dataclasses import asdict

    rows: dict[str, dict[str, Any]] = {
        "good": {"ksmbd": _outcome(fairness, 20.0), "samba": _outcome(fairness, 30.0)},
        "bad": {"ksmbd": _outcome(fairness, 201.0), "samba": _outcome(fairness, 30.0)},
    }
    result = {
        "command": "make bench-fairness", "date": "today", "seconds": 3, "workers": 1,
        "machine": {"servers": ["ksmbd", "Samba"], "cpus": 2, "cpu": "a CPU", "kernel": "6"},
        "load": {"before": (0.0, 0, 0), "after": (0.0, 0, 0)}, "unfair": fairness.unfair(rows),
        "rows": [{"name": name} | {server: asdict(one) for server, one in row.items()} for name, row in rows.items()],
    }
    lines = fairness.table(result).splitlines()
    assert [line.split()[0] for line in lines if line.endswith("over")] == ["bad"]
    assert "| bad |" in fairness.table(result, markdown=True)
    assert fairness.status_of(result) == 1
    assert fairness.status_of(result | {"unfair": []}) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the server changes to other accounts")
def test_rows_run_against_our_server() -> None:
    folder = Path(tempfile.mkdtemp(prefix="fairness-test-"))
    folder.chmod(0o755)
    try:
        done = subprocess.run(
            [
                sys.executable, str(HERE / "fairness.py"), "--servers", "ksmbd", "--seconds", "3", "--folder",
                str(folder), "--output", str(folder / "figures.json"), "--only", "^(half-logons|connections)$",
            ],
            capture_output=True, text=True, timeout=120, check=False,
        )
        result = json.loads((folder / "figures.json").read_text())
        assert [row["name"] for row in result["rows"]] == ["nothing", "half-logons", "connections"], done.stderr
        assert done.returncode == (1 if result["unfair"] else 0), done.stderr
        assert all(row["ksmbd"]["waits"].keys() == {"echo", "open-close"} for row in result["rows"])
        assert all(row["ksmbd"]["answered"] > 0 for row in result["rows"][1:])
        assert all(row["name"] in done.stdout for row in result["rows"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
