# SPDX-License-Identifier: GPL-2.0-or-later
"""The real daemon for tests: `ksmbd` (one share, one user), `start_ksmbd` (what the test asks for), `start_shared`.

Each server has its own port, run directory, configuration, user database and folder below tmp_path. It is ready when
the fixture returns, and is stopped by its process id; what it printed is shown when the test fails. A server must end
with status 0 and must not have printed a traceback, whatever the test did to it.
"""

from __future__ import annotations

import os.path
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from beside_samba import network
from server import KsmbdServer, StartKsmbd
from unixusers import People, people


@contextmanager
def servers_below(folder: Path) -> Iterator[StartKsmbd]:
    """A function that starts servers below `folder`; at the end all are stopped and judged."""
    servers: list[KsmbdServer] = []

    def start(**options: object) -> KsmbdServer:
        server = KsmbdServer(folder / f"server{len(servers)}", **options)  # type: ignore[arg-type]
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
def start_ksmbd(tmp_path: Path) -> Iterator[StartKsmbd]:
    """A function that starts servers; its arguments are those of KsmbdServer without the folder."""
    with servers_below(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def own_network() -> Iterator[None]:
    """A network of the module's own, where port 445 is free."""
    with network():
        yield


@pytest.fixture(scope="module")
def them() -> Iterator[People]:
    """Unix users of the module's own."""
    with people() as made:
        yield made


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartKsmbd]:
    """The same for servers that all tests of a module use, one after the other."""
    with servers_below(tmp_path_factory.mktemp("shared")) as start:
        yield start


SHAPES = {
    "one worker": {"workers": 1, "bpf": True},
    "four workers": {"workers": 4, "bpf": True},
    "four workers, no BPF": {"workers": 4, "bpf": False},
}
"""The shapes of a server in which clients must find the same behaviour."""


@pytest.fixture(scope="module", params=sorted(SHAPES))
def start_shaped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartKsmbd]:
    """`start_shared`, once for each of SHAPES: a module that uses it runs three times."""
    with servers_below(tmp_path_factory.mktemp("shaped")) as start:
        yield partial(start, **SHAPES[request.param])


@pytest.fixture
def ksmbd(start_ksmbd: StartKsmbd) -> KsmbdServer:
    """A server with one writable share, `share`, and one user, `user` with the password `secret`."""
    return start_ksmbd()
