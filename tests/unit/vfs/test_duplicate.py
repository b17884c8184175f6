# SPDX-License-Identifier: GPL-2.0-or-later
"""The duplicate of an open file: its own descriptor, the same user, and what it came to know is the open's."""
from __future__ import annotations

import errno
import os
import threading
from typing import Any

import pytest
from vfs_share import USER, Share

from ksmbd.kernel import credentials, files
from ksmbd.smb.status import STATUS_DISK_FULL, NtStatusError

MIB = 1 << 20


def in_thread(call: Any) -> None:
    """Run it in a new thread and wait for it."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_a_twin_outlives_the_open_and_reaches_the_same_file(share: Share) -> None:
    file = share.open("file")
    file.write(0, b"x" * 8192)
    duplicate = file.duplicate()
    assert duplicate.fileno() != file.fileno() and duplicate.key == file.key
    file.close()
    taken = share.open("other")  # has the number that the first one had
    taken.write(0, b"y" * 10)
    duplicate.zero_data(0, 4096)
    file.rejoin(duplicate)
    assert (share.path / "file").read_bytes() == bytes(4096) + b"x" * 4096
    assert (share.path / "other").read_bytes() == b"y" * 10
    assert duplicate.closed and duplicate not in list(share.files.registry) and file not in list(share.files.registry)


def test_what_a_twin_reserved_is_given_back_by_the_open(share: Share) -> None:
    file = share.open("file")
    duplicate = file.duplicate()
    duplicate.set_allocation(4 * MIB)
    file.rejoin(duplicate)
    assert file.reserved and file.info().allocation_size >= 4 * MIB
    file.close()
    assert os.stat(share.path / "file").st_blocks == 0


def test_what_it_reserved_after_the_open_was_closed_is_given_back_at_once(share: Share) -> None:
    file = share.open("file")
    duplicate = file.duplicate()
    file.close()
    duplicate.set_allocation(4 * MIB)
    file.rejoin(duplicate)
    assert os.stat(share.path / "file").st_blocks == 0


@pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root to act as somebody else")
def test_another_thread_acts_as_the_user(share: Share) -> None:
    file = share.open("file")
    duplicate = file.duplicate()
    seen: list[Any] = []

    def work() -> None:
        duplicate.set_end_of_file(10)
        seen.append(credentials.current())

    in_thread(work)
    file.rejoin(duplicate)
    (current,) = seen
    assert current is not None and current.uid == USER
    assert (share.path / "file").stat().st_size == 10


class Told:
    """Reservations that are counted."""

    def __init__(self) -> None:
        self.held: list[Any] = []

    def add(self, reserved: Any) -> None:
        self.held.append(reserved.key)

    def remove(self, key: Any) -> None:
        self.held.remove(key)

    def close(self) -> None:
        """Nothing is kept."""


@pytest.fixture
def told(share: Share) -> Told:
    told = Told()
    share.files.reservations = told
    return told


def test_no_block_goes_while_a_twin_is_at_work(share: Share, told: Told) -> None:
    """It may be making the file longer, by the same open file as the kernel sees it."""
    file = share.open("file")
    file.write(0, b"x" * 1000)
    file.set_allocation(4 * MIB)
    one, two = file.duplicate(), file.duplicate()
    file.close()
    assert os.stat(share.path / "file").st_blocks << 9 >= 4 * MIB
    one.write(1000, b"y" * 1000)
    file.rejoin(one)
    assert os.stat(share.path / "file").st_blocks << 9 >= 4 * MIB
    two.write(2000, b"z" * 1000)
    file.rejoin(two)
    assert os.stat(share.path / "file").st_blocks << 9 < MIB
    assert (share.path / "file").read_bytes() == b"x" * 1000 + b"y" * 1000 + b"z" * 1000
    assert told.held == []


def test_what_is_reserved_beside_a_twin_is_not_forgotten(share: Share, told: Told) -> None:
    file = share.open("file")
    flushing, reserving = file.duplicate(), file.duplicate()
    file.set_allocation(4 * MIB)
    reserving.set_allocation(5 * MIB)
    file.rejoin(reserving)
    file.rejoin(flushing)
    assert file.reserved and told.held == [file.key]
    file.close()
    assert os.stat(share.path / "file").st_blocks == 0
    assert told.held == []


def test_what_a_twin_took_in_vain_is_given_back(
    share: Share, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallocate = files.fallocate

    def half(fd: int, mode: int, offset: int, length: int) -> None:
        fallocate(fd, mode, offset, length // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    file = share.open("file")
    file.write(0, b"x" * 1000)
    duplicate = file.duplicate()
    monkeypatch.setattr(files, "fallocate", half)
    with pytest.raises(NtStatusError) as caught:
        duplicate.set_allocation(8 * MIB)
    assert caught.value.status == STATUS_DISK_FULL
    assert os.stat(share.path / "file").st_blocks << 9 >= 4 * MIB
    file.rejoin(duplicate)
    assert os.stat(share.path / "file").st_blocks << 9 < MIB
    file.close()
    assert told.held == []
