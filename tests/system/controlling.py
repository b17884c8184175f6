# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs ksmbd.control for a server of the tests."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from server import COMMANDS, KsmbdServer


def control(server: KsmbdServer, *argv: str, user: int = 0) -> subprocess.CompletedProcess[str]:
    """ksmbd.control for this server, as another user where one is given."""
    return subprocess.run(
        [str(COMMANDS / "ksmbd.control"), "-R", str(server.rundir), *argv],
        capture_output=True, text=True, timeout=60, check=False, user=user or None, group=user or None,
        extra_groups=[] if user else None, cwd="/",
    )  # fmt: skip


def outcome(result: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    return result.returncode, result.stdout, result.stderr


def listed(server: KsmbdServer, option: str = "--status") -> dict[str, list[dict[str, Any]]]:
    """The rows as JSON; nobody is silent."""
    status, out, err = outcome(control(server, option, "--json"))
    assert (status, err) == (0, "")
    found: dict[str, list[dict[str, Any]]] = json.loads(out)
    assert found.pop("silent") == []
    return found


def reachable(folder: Path) -> None:
    """Let everybody pass through to a folder of pytest's."""
    while folder != folder.parent:
        os.chmod(folder, os.stat(folder).st_mode | 0o001)
        folder = folder.parent
