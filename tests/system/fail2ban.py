# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the real fail2ban-regex with the filter in contrib."""
from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

FILTER = Path(__file__).resolve().parents[2] / "contrib" / "fail2ban" / "ksmbd.conf"
COMMON = Path("/etc/fail2ban/filter.d/common.conf")


def found_by_fail2ban(folder: Path, lines: Sequence[str]) -> list[str]:
    """The addresses that the filter finds in lines of a log, in their order. Skips the test without fail2ban."""
    if shutil.which("fail2ban-regex") is None or not COMMON.exists():
        pytest.skip("fail2ban is not installed")
    shutil.copy(COMMON, folder / "common.conf")
    shutil.copy(FILTER, folder / "ksmbd.conf")
    log = folder / "lines"
    log.write_text("".join(line + "\n" for line in lines))
    command = ["fail2ban-regex", "--out=ip", "--maxlines=1", str(log), str(folder / "ksmbd.conf")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode in (0, 1), result.stderr
    return result.stdout.split()
