# SPDX-License-Identifier: GPL-2.0-or-later
"""Unix users for tests that run as root: made with useradd, removed afterwards."""

from __future__ import annotations

import grp
import os
import pwd
import select
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class People:
    """Two users, each with a group of its own, and a group that the first is a member of."""

    alice: str
    bob: str
    team: str

    def uid(self, name: str) -> int:
        return pwd.getpwnam(name).pw_uid

    def gid(self, name: str) -> int:
        return pwd.getpwnam(name).pw_gid

    @property
    def team_gid(self) -> int:
        return grp.getgrnam(self.team).gr_gid


def _run(*command: str) -> None:
    """Run one of shadow's tools, again while another one holds the lock on /etc/passwd."""
    for _ in range(100):
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if result.returncode == 0:
            return
        if "lock" not in result.stderr:
            break
        select.select([], [], [], 0.1)
    raise AssertionError(f"{' '.join(command)}: {result.stderr}")


@contextmanager
def people() -> Iterator[People]:
    """Make them; root only."""
    assert os.geteuid() == 0
    mark = uuid.uuid4().hex[:8]
    them = People(f"ka{mark}", f"kb{mark}", f"kt{mark}")
    made: list[tuple[str, str]] = []
    try:
        _run("groupadd", them.team)
        made.append(("groupdel", them.team))
        for name in (them.alice, them.bob):
            _run("useradd", "-M", "-U", "-s", "/usr/sbin/nologin", name)
            made.append(("userdel", name))
        _run("usermod", "-a", "-G", them.team, them.alice)
        yield them
    finally:
        for command in reversed(made):
            _run(*command)
