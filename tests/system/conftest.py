# SPDX-License-Identifier: GPL-2.0-or-later
"""The real daemon for tests: `ksmbd` (one share, one user) and `start_ksmbd` (what the test asks for).

Each server has its own port, run directory, configuration, user database and folder below tmp_path. It is ready when
the fixture returns, and is stopped by its process id; what it printed is shown when the test fails. A server must end
with status 0 and must not have printed a traceback, whatever the test did to it.
"""

from __future__ import annotations

import os.path
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from server import KsmbdServer, StartKsmbd


@pytest.fixture
def start_ksmbd(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartKsmbd]:
    """A function that starts servers; its arguments are those of KsmbdServer without the folder."""
    servers: list[KsmbdServer] = []

    def start(**options: object) -> KsmbdServer:
        server = KsmbdServer(tmp_path / f"server{len(servers)}", **options)  # type: ignore[arg-type]
        servers.append(server)
        server.wait_until_listening()
        return server

    yield start
    problems = []
    for server in servers:
        problem = server.finish()
        print(f"--- the server on port {server.port} printed:\n{server.stderr}")
        if problem:
            problems.append(problem)
    if problems:
        pytest.fail("; ".join(problems), pytrace=False)


@pytest.fixture
def ksmbd(start_ksmbd: StartKsmbd) -> KsmbdServer:
    """A server with one writable share, `share`, and one user, `user` with the password `secret`."""
    return start_ksmbd()
