# SPDX-License-Identifier: GPL-2.0-or-later
"""The ports in memory, where a module has no others."""
from __future__ import annotations

import pytest
from bench import Bench


@pytest.fixture
def bench() -> Bench:
    """A share with two files and a folder."""
    made = Bench()
    made.volume.add("source", bytes(range(256)) * 64)  # 16384 bytes
    made.volume.add("target", b"")
    made.volume.add("d", None)
    return made
