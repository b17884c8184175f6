# SPDX-License-Identifier: GPL-2.0-or-later
"""Both stores for the tests that are about them."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ksmbd.oplock.state import StateDirectory
from ksmbd.oplock.store import Store
from ksmbd.oplock.store_dict import DictStore
from ksmbd.oplock.store_lmdb import LmdbStore


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    """A state directory for persistent opens."""
    made = StateDirectory(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture(params=["dict", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind."""
    made: Store = DictStore() if request.param == "dict" else LmdbStore(tmp_path / "table", fresh=True)
    yield made
    made.close()
