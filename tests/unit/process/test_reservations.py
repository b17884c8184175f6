# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of reserved blocks after a worker's death."""
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ksmbd.kernel.credentials import Credentials
from ksmbd.process import reservations
from ksmbd.vfs.allocation import Reserved

USER = Credentials(2001, 2001, (2001, 3000))
ONE = Reserved("/srv/share", (b"folder", b"\xff\n"), (7, 8), USER)
TWO = Reserved("/srv/share", (b"two",), (7, 9), USER)


@pytest.fixture
def reclaimed(monkeypatch: pytest.MonkeyPatch) -> list[Reserved]:
    found: list[Reserved] = []
    monkeypatch.setattr(reservations, "reclaim", found.append)
    return found


def test_a_dead_workers_files_are_found(tmp_path: Path, reclaimed: list[Reserved]) -> None:
    journal = reservations.Journal(str(tmp_path), 2, 5)
    for reserved in (ONE, TWO, ONE):
        journal.add(reserved)
    reservations.after_death(str(tmp_path), 2, 4)
    assert reclaimed == []
    reservations.after_death(str(tmp_path), 2, 5)
    assert reclaimed == [ONE, TWO]
    assert os.listdir(tmp_path) == []


def test_what_has_ended_is_forgotten(tmp_path: Path, reclaimed: list[Reserved]) -> None:
    journal = reservations.Journal(str(tmp_path), 2, 5)
    journal.add(ONE)
    journal.add(ONE)
    journal.remove(ONE.key)
    assert (tmp_path / "reserved.2.5").stat().st_size
    journal.remove(ONE.key)
    assert not (tmp_path / "reserved.2.5").stat().st_size
    journal.add(TWO)
    reservations.after_death(str(tmp_path), 2, 5)
    assert reclaimed == [TWO]


def test_an_orderly_end_leaves_nothing(tmp_path: Path) -> None:
    journal = reservations.Journal(str(tmp_path), 1, 1)
    journal.add(ONE)
    journal.close()
    assert os.listdir(tmp_path) == []


def test_what_a_server_that_died_has_left_is_gathered(tmp_path: Path, reclaimed: list[Reserved]) -> None:
    for index, reserved in ((1, ONE), (2, TWO)):
        reservations.Journal(str(tmp_path), index, 1).add(reserved)
    reservations.gather(str(tmp_path))
    assert os.listdir(tmp_path) == ["reserved.0.0"]
    reservations.after_death(str(tmp_path), *reservations.BEFORE)
    assert reclaimed == [ONE, TWO]
    reservations.gather(str(tmp_path))
    reservations.remove(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_line_that_is_cut_off_hides_no_other(tmp_path: Path, reclaimed: list[Reserved]) -> None:
    journal = reservations.Journal(str(tmp_path), 1, 1)
    journal.add(ONE)
    whole = (tmp_path / "reserved.1.1").read_bytes()
    (tmp_path / "reserved.1.1").write_bytes(whole[:20] + b"\n[]\n{}\n" + whole)
    reservations.after_death(str(tmp_path), 1, 1)
    assert reclaimed == [ONE]


def test_a_full_run_directory_fails_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = reservations.Journal(str(tmp_path), 1, 1)

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    journal.add(ONE)
    journal.remove(ONE.key)
    journal.close()


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    journal = reservations.Journal(str(tmp_path), 1, 1)
    long = Reserved("/" + "s" * 4000, (b"n" * 4000,), (1, 1), USER)
    for number in range(1000):
        journal.add(long._replace(key=(1, number)))
    assert (tmp_path / "reserved.1.1").stat().st_size < 2 << 20
