# SPDX-License-Identifier: GPL-2.0-or-later
"""Some hundred draws of each part of the oracle, always the same; `make oracle` draws ten thousand others.

Each runs in a process with mounts of its own, since it changes its rights and its umask.
"""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root
HERE = Path(__file__).parent
CANNOT = 77


@pytest.mark.parametrize(
    ("part", "draws", "kind"), [("files", 150, "tmpfs"), ("files", 50, "ext4"), ("access", 300, "")]
)
def test_the_server_does_what_the_user_could(part: str, draws: int, kind: str) -> None:
    call = [sys.executable, "-P", str(HERE / "run.py"), part, "--draws", str(draws), "--seed", "1"]
    done = subprocess.run(
        [*call, "--fs", kind] if kind else call, capture_output=True, text=True, timeout=250, check=False
    )
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
