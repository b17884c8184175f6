# SPDX-License-Identifier: GPL-2.0-or-later
"""A damaged state directory never keeps the server from starting."""
from __future__ import annotations

import logging
import os
from pathlib import Path

import lmdb
import pytest

from ksmbd.ipc.settings import EngineSettings
from ksmbd.oplock.state import FILE, StateDirectory
from ksmbd.process.opens import FOLDER, prepare
from ksmbd.process.stored_opens import ASIDE
from ksmbd.smb.ports import DurableRequest
from tests.unit.oplock.world import World

LASTING = EngineSettings(workers=2, continuous_availability=True)


def filled(folder: Path, opens: int = 100) -> None:
    state = StateDirectory(folder)
    client = World(state=state).client("a")
    for number in range(opens):
        client.open(number, durable=DurableRequest(2, number.to_bytes(16, "big"), 0, persistent=True))
    state.close()


@pytest.mark.parametrize("left", [0, 100, 4096, 5000, 8192, 40960])
def test_the_file_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture, left: int) -> None:
    """LMDB reads beyond its end, which ends a process; it is not the one that serves."""
    folder = tmp_path / "state" / FOLDER
    filled(folder)
    os.truncate(folder / "data.mdb", left)
    with caplog.at_level(logging.INFO):
        prepare(LASTING, str(tmp_path / "run"), str(tmp_path / "state"))
    if left:
        assert (folder.with_name(FOLDER + ASIDE) / "data.mdb").stat().st_size == left
    state = StateDirectory(folder)
    assert state.load() == []
    state.close()


def test_all_of_it_is_something_else(tmp_path: Path) -> None:
    folder = tmp_path / "state" / FOLDER
    filled(folder)
    (folder / "data.mdb").write_bytes(b"\xff" * 65536)
    prepare(LASTING, str(tmp_path / "run"), str(tmp_path / "state"))
    prepare(LASTING, str(tmp_path / "run"), str(tmp_path / "state"))
    assert (folder.with_name(FOLDER + ASIDE) / "data.mdb").read_bytes() == b"\xff" * 65536


def test_a_damaged_length_takes_no_memory(tmp_path: Path) -> None:
    """A record as earlier servers wrote it, without a checksum: it asks for a billion values."""
    folder = tmp_path / "state" / FOLDER
    filled(folder, 2)
    with lmdb.open(os.fspath(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        txn.put(FILE.pack(1, 1), b"(kOkOkOkO", db=env.open_db(b"records", txn, create=False))
    prepare(LASTING, str(tmp_path / "run"), str(tmp_path / "state"))
    state = StateDirectory(folder)
    assert [file for file, _ in state.load()] == [(1, 0)]
    state.close()


def test_what_is_whole_stays(tmp_path: Path) -> None:
    folder = tmp_path / "state" / FOLDER
    filled(folder)
    prepare(LASTING, str(tmp_path / "run"), str(tmp_path / "state"))
    state = StateDirectory(folder)
    assert len(state.load()) == 100
    state.close()
    assert not folder.with_name(FOLDER + ASIDE).exists()
