# SPDX-License-Identifier: GPL-2.0-or-later
"""The files by which durable opens get over an orderly restart."""
from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel.handles import handle_of
from ksmbd.kernel.stat import stat_fd
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.process import handing_on
from ksmbd.process.handing_on import leave, take
from ksmbd.process.opens import FOLDER, prepare
from ksmbd.smb.model import Server
from ksmbd.smb.ports import DurableRequest, FileKey
from tests.unit.oplock.world import World


def kept_by(tmp_path: Path) -> tuple[World, Server, Path, FileKey]:
    """A worker that has kept a durable open of a file."""
    path = tmp_path / "file"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    stat = stat_fd(fd)
    handle = handle_of(fd)
    os.close(fd)
    world = World()
    client = world.client("a")
    key = (stat.dev, stat.ino)
    ref, _ = client.open(key, durable=DurableRequest(2, b"g" * 16, 60_000), oplock="b")
    client.table.disconnect(ref)
    open_ = SimpleNamespace(file=SimpleNamespace(handle=lambda: handle), closed=False)
    return world, cast(Server, SimpleNamespace(opens={ref.open_id: open_})), path, key


def left(tmp_path: Path) -> tuple[str, Path, FileKey]:
    world, server, path, key = kept_by(tmp_path)
    statedir = str(tmp_path / "state")
    leave(statedir, world.store, world.tables[0]._me, server)
    assert len(os.listdir(statedir)) == 1
    return statedir, path, key


def test_what_is_left_counts_once(tmp_path: Path) -> None:
    statedir, _, key = left(tmp_path)
    assert [file for file, _ in take(statedir)] == [key]
    assert take(statedir) == []
    assert os.listdir(statedir) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="to open by handle needs root")
def test_a_file_that_is_gone_has_no_opens(tmp_path: Path) -> None:
    statedir, path, _ = left(tmp_path)
    path.unlink()
    assert take(statedir) == []


def test_a_damaged_file_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    statedir, _, _ = left(tmp_path)
    (file,) = Path(statedir).iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert take(statedir) == []
    assert os.listdir(statedir) == []


def test_nothing_is_left_where_nothing_was_kept(tmp_path: Path) -> None:
    world = World()
    world.client("a").open(1)
    leave(str(tmp_path / "state"), world.store, world.tables[0]._me, cast(Server, SimpleNamespace(opens={})))
    assert not (tmp_path / "state").exists()
    assert take(str(tmp_path / "state")) == []


def test_a_file_system_that_hangs_does_not_keep_the_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statedir, _, _ = left(tmp_path)
    monkeypatch.setattr(handing_on, "SECONDS", 0.01)
    monkeypatch.setattr(handing_on, "is_gone", lambda file, handle: time.sleep(0.5))
    assert take(statedir) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_the_next_server_adopts_them(tmp_path: Path, workers: int) -> None:
    """One worker does it itself, for several the store that they share has them."""
    statedir, _, key = left(tmp_path)
    kept = prepare(EngineSettings(workers=workers), str(tmp_path / "run"), statedir)
    if workers == 1:
        assert [file for file, _ in kept] == [key]
        return
    assert kept == []
    store = LmdbStore(tmp_path / "run" / FOLDER)
    assert store.files() == [key]
    store.close()
