# SPDX-License-Identifier: GPL-2.0-or-later
"""The doubles beside the tests can be imported; the kernel's server."""
from __future__ import annotations

import os.path
import sys
from collections.abc import Iterator

import pytest

from mountd.kernelserver import startup

sys.path.insert(0, os.path.dirname(__file__))

from kernel_office import Office


@pytest.fixture
def no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else listens on the server's port."""
    monkeypatch.setattr(startup, "taken", lambda port, names: "")


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    made.engine.start()
    yield made
    made.socket.close()
