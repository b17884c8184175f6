# SPDX-License-Identifier: GPL-2.0-or-later
"""The core alone can be measured and traced; nothing is said about how fast it is."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent


def _core(*arguments: str) -> str:
    path = os.pathsep.join([str(TOP), str(TOP / "tests/unit/smb")])
    done = subprocess.run(
        [sys.executable, str(HERE / "core.py"), *arguments], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=120, check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("store", ["dict", "lmdb"])
def test_every_kind_of_operation_runs(tmp_path: Path, store: str) -> None:
    tmp_path.chmod(0o755)
    said = _core("--rounds", "1", "--folder", str(tmp_path), "--store", store).splitlines()
    assert [line.split()[0] for line in said[1:]] == [
        "echo", "open-close", "open-stat-close", "open-read-close", "open-write-close",
    ]
    assert not list(tmp_path.iterdir()), "its files have gone"


def test_lines_of_the_way_are_counted(tmp_path: Path) -> None:
    target = tmp_path / "trace.json"
    _core("--trace", str(target))
    counted = json.loads(target.read_text())
    assert {f"ksmbd/smb/{name}.py" for name in ("create", "close", "write", "fast_path")} <= counted.keys()
    assert all(times > 0 for lines in counted.values() for times in lines.values())
