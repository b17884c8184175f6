# SPDX-License-Identifier: GPL-2.0-or-later
"""For all tests: continuous integration draws the same examples each time, so that it tells what a change did.

Elsewhere hypothesis searches anew in every run; what it finds becomes a test of its own."""
from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from ksmbd.kernel import leases

# How long an example takes says something of the machine, and nothing of the code.
_UNTIMED: Final = settings(deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.register_profile("untimed", _UNTIMED)
settings.register_profile("ci", _UNTIMED, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "untimed")

_base: list[Path] = []
"""The folder of this run's temporary folders, where it is not pytest's."""


_PREFIX = "ksmbd-tests-"
_KEPT = 3
"""Folders of runs that failed or were killed which stay, as pytest keeps three."""


def _forget_old_runs() -> None:
    """Remove the folders of runs that have ended, but for the last ones. Others' runs may be under way."""
    ended = []
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdigit() and folder.owner() == "root" and not Path("/proc", process).exists():
            ended.append((folder.stat().st_mtime, folder))
    for _, folder in sorted(ended)[:-_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Root's tests work as other users, who must be able to pass through the folders above. pytest closes its own to
    them, and a second run closes it again under the first one; so each run has its own."""
    # Servers that tests make in their own process keep many files open.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return  # its folder is in that of the process that started it
    if getattr(config.option, "numprocesses", None):
        # Inherited by the processes that run the tests. A thread of theirs that leaves these signals open would get
        # those of leases, and end the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, (leases.SIGNAL, signal.SIGIO))
    if os.geteuid() == 0 and not config.option.basetemp and not config.option.collectonly:
        _forget_old_runs()
        _base.append(Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")))
        config.option.basetemp = str(_base[0] / "t")


@pytest.fixture(scope="session", autouse=True)
def passable(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lets everybody pass through the base of all temporary folders."""
    if os.geteuid() == 0:
        base = tmp_path_factory.getbasetemp()
        for folder in (base, *_base, *([base.parent] if os.environ.get("PYTEST_XDIST_WORKER") else ())):
            folder.chmod(0o711)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the folders only where a test has failed."""
    if _base and not exitstatus:
        shutil.rmtree(_base[0], ignore_errors=True)
