# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of one server, and stand-ins for its daemon and its engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbench import Engine, Manager, Place


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    (tmp_path / "run").mkdir()
    return Place(tmp_path, capsys)


@pytest.fixture
def manager(place: Place) -> Iterator[Manager]:
    shares = [
        {
            "name": "data",
            "path": "/srv",
            "comment": "Our data",
            "browseable": True,
            "read_only": False,
            "guest_ok": True,
        }
    ]
    running = Manager(place, json.dumps({"shares": shares}))
    yield running
    running.end()


@pytest.fixture
def engine(place: Place, manager: Manager) -> Iterator[Engine]:
    running = Engine(place)
    yield running
    running.end()
