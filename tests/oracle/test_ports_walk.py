# SPDX-License-Identifier: GPL-2.0-or-later
"""No method of the ports reaches the disk as another user than the session's, whatever the thread did before: see
walk.py, which runs in a process of its own, since the kernel observes all that it does."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root
CANNOT = 77


def test_every_method_acts_as_the_session_s_user() -> None:
    call = [sys.executable, "-P", str(Path(__file__).parent / "walk.py")]
    done = subprocess.run(call, capture_output=True, text=True, timeout=250, check=False)
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
