# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker shares the table of open files that the forker made, or does not serve."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ksmbd.ipc.settings import EngineSettings
from ksmbd.oplock.store_dict import DictStore
from ksmbd.process.opens import FOLDER, StoreGone, open_store, prepare, remove

SETTINGS = EngineSettings(workers=2)


def test_one_worker_needs_no_folder(tmp_path: Path) -> None:
    alone = EngineSettings(workers=1)
    prepare(alone, str(tmp_path), str(tmp_path / "state"))
    assert isinstance(open_store(alone, str(tmp_path)), DictStore)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("gone", ["", "counters", "files2", "files0/data.mdb", "files1/lock.mdb"])
def test_what_is_gone_is_not_made_anew(tmp_path: Path, gone: str) -> None:
    prepare(SETTINGS, str(tmp_path), str(tmp_path / "state"))
    open_store(SETTINGS, str(tmp_path)).close()
    victim = tmp_path / FOLDER / gone
    if victim.is_dir():
        shutil.rmtree(victim)
    else:
        victim.unlink()
    with pytest.raises(StoreGone):
        open_store(SETTINGS, str(tmp_path))
    assert not victim.exists()
    prepare(SETTINGS, str(tmp_path), str(tmp_path / "state"))
    open_store(SETTINGS, str(tmp_path)).close()
    remove(str(tmp_path))
    assert not list(tmp_path.iterdir())
