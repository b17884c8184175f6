# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a file still exists, by its handle."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from ksmbd.kernel import handles
from ksmbd.kernel.stat import stat_fd


@pytest.fixture
def victim(tmp_path: Path) -> tuple[Path, tuple[int, int], bytes]:
    path = tmp_path / "file"
    path.touch()
    with path.open() as file:
        found = stat_fd(file.fileno())
        handle = handles.handle_of(file.fileno())
    if not handle:
        pytest.skip("this file system has no handles")
    return path, (found.dev, found.ino), handle


def test_a_handle_is_the_files_own(victim: tuple[Path, tuple[int, int], bytes]) -> None:
    path, _, handle = victim
    moved = path.rename(path.with_name("moved"))
    with moved.open() as file:
        assert handles.handle_of(file.fileno()) == handle
    assert handles.handle_of(-1) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="to open by handle needs root")
def test_a_deleted_file_is_gone_and_the_next_with_its_inode_is_another(
    victim: tuple[Path, tuple[int, int], bytes]
) -> None:
    path, key, handle = victim
    assert not handles.is_gone(key, handle)
    assert handles.is_gone((key[0], key[1] + 1), handle), "the handle is another file's"
    path.unlink()
    assert handles.is_gone(key, handle)
    for number in range(200):
        (path.parent / str(number)).touch()
    assert handles.is_gone(key, handle)


def test_an_unknown_file_system_says_nothing() -> None:
    assert not handles.is_gone((0xFFF << 20, 1), b"handle")
