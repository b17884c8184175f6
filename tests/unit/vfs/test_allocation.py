# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks beyond a file's end: reserved, and given back without a byte of anybody's lost (MS-FSA 2.1.5.15.1)."""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from vfs_share import Share, StillClock

from ksmbd.kernel import files as kernel
from ksmbd.overriding import override
from ksmbd.smb.constants import (
    FILE_GENERIC_READ,
    FILE_OPEN,
    FILE_OVERWRITE_IF,
    FILE_READ_ATTRIBUTES,
    MAXIMUM_ALLOWED,
)
from ksmbd.smb.status import STATUS_DISK_FULL, STATUS_INVALID_PARAMETER, NtStatusError
from ksmbd.vfs import allocation
from ksmbd.vfs.allocation import PendingReleases
from ksmbd.vfs.files import LocalFiles

MIB = 1 << 20


class TurnedClock(StillClock):
    """Its one timer goes off when a test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.waits: list[float] = []

    @override
    def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
        self.calls.append(call)
        self.waits.append(seconds)
        return self

    def cancel(self) -> None:
        self.calls.clear()

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def clock(files: LocalFiles) -> TurnedClock:
    clock = TurnedClock()
    files.pending_releases = PendingReleases(clock)
    return clock


@pytest.fixture
def file(share: Share, clock: TurnedClock) -> Iterator[Any]:
    """An open file of 1,000 bytes on a file system that reserves blocks."""
    file = share.open("f")
    file.write(0, b"x" * 1000)
    file.set_allocation(8 * MIB)
    if _allocated(share) < 8 * MIB:
        pytest.skip("this file system reserves no blocks")
    yield file
    file.close()


def _allocated(share: Share, name: str = "f") -> int:
    return os.stat(share.path / name).st_blocks << 9


def _content(share: Share, name: str = "f") -> bytes:
    with open(share.path / name, "rb") as data:
        return data.read()


def _refused(call: Callable[[], Any], status: int) -> None:
    with pytest.raises(NtStatusError) as caught:
        call()
    assert caught.value.status == status


def test_the_last_close_gives_back_what_was_not_used(share: Share, file: Any, clock: TurnedClock) -> None:
    os.utime(share.path / "f", (1000, 1000))
    file.close()
    assert _allocated(share) < MIB
    assert _content(share) == b"x" * 1000
    assert os.stat(share.path / "f").st_mtime == 1000
    assert not clock.calls


def test_blocks_that_are_used_are_left_alone(share: Share, file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write(0, b"y" * (8 * MIB))
    monkeypatch.setattr(os, "ftruncate", lambda fd, size: pytest.fail("the file is cut"))
    file.close()
    assert _content(share) == b"y" * (8 * MIB)


@pytest.mark.parametrize("access", [FILE_GENERIC_READ, MAXIMUM_ALLOWED])
def test_another_open_is_waited_for(share: Share, file: Any, access: int) -> None:
    other = share.open("f", access=access, disposition=FILE_OPEN)
    file.close()
    assert _allocated(share) >= 8 * MIB
    other.close()
    assert _allocated(share) < MIB


def test_an_open_that_holds_no_data_is_not_waited_for(share: Share, file: Any) -> None:
    share.open("f", access=FILE_READ_ATTRIBUTES, disposition=FILE_OPEN)
    file.close()
    assert _allocated(share) < MIB


def test_what_a_local_process_writes_behind_the_end_stays(share: Share, file: Any, clock: TurnedClock) -> None:
    local = os.open(share.path / "f", os.O_RDWR)
    try:
        file.close()
        assert os.pwrite(local, b"z" * 5000, 1000) == 5000
        clock.turn()
        assert os.fstat(local).st_size == 6000
        assert _allocated(share) >= 8 * MIB
    finally:
        os.close(local)
    clock.turn()
    assert _content(share) == b"x" * 1000 + b"z" * 5000
    assert _allocated(share) < MIB
    assert not clock.calls


def test_a_write_between_the_look_and_the_cut_stays(
    share: Share, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens the file after it was looked at is seen, or waits."""
    local: list[int] = []
    is_surplus = allocation.is_surplus

    def look(fd: int, stat: Any) -> bool:
        found = is_surplus(fd, stat)
        local.append(os.open(share.path / "f", os.O_RDWR))
        os.pwrite(local[0], b"z" * 5000, 1000)
        return found

    monkeypatch.setattr(allocation, "is_surplus", look)
    file.close()
    monkeypatch.undo()
    os.close(local[0])
    assert _content(share) == b"x" * 1000 + b"z" * 5000


def test_nobody_waits_for_ever_for_others(share: Share, file: Any, files: LocalFiles, clock: TurnedClock) -> None:
    local = os.open(share.path / "f", os.O_RDONLY)
    try:
        file.close()
        while clock.calls:
            clock.turn()
        assert not files.pending_releases.waiting
        assert 30 <= sum(clock.waits) <= 120
    finally:
        os.close(local)
    assert _content(share) == b"x" * 1000


def test_a_file_that_was_deleted_is_not_kept(share: Share, file: Any, files: LocalFiles) -> None:
    file.unlink()
    file.close()
    assert not files.pending_releases.waiting


def test_an_allocation_that_does_not_fit_takes_no_block(
    share: Share, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = share.open("f")
    file.write(0, b"x" * 1000)
    before = _allocated(share)
    monkeypatch.setattr(kernel, "fallocate", lambda *args: pytest.fail("blocks are taken"))
    _refused(lambda: file.set_allocation(1 << 50), STATUS_DISK_FULL)
    assert _allocated(share) == before
    assert _content(share) == b"x" * 1000


def test_an_allocation_that_fails_half_way_gives_its_blocks_back(
    share: Share, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallocate = kernel.fallocate

    def half(fd: int, mode: int, offset: int, length: int) -> None:
        fallocate(fd, mode, offset, length // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    file = share.open("f")
    file.write(0, b"x" * 1000)
    monkeypatch.setattr(kernel, "fallocate", half)
    _refused(lambda: file.set_allocation(8 * MIB), STATUS_DISK_FULL)
    assert _allocated(share) < MIB
    assert _content(share) == b"x" * 1000


def test_a_smaller_allocation_gives_blocks_back(share: Share, file: Any) -> None:
    file.set_allocation(MIB)
    assert MIB <= _allocated(share) < 2 * MIB
    file.set_allocation(1000)
    assert _allocated(share) < MIB
    assert _content(share) == b"x" * 1000
    file.set_allocation(100)
    assert _content(share) == b"x" * 100


def test_create_reserves_and_the_close_gives_back(share: Share, clock: TurnedClock) -> None:
    file = share.open("g", allocation_size=4 * MIB)
    if _allocated(share, "g") < 4 * MIB:
        pytest.skip("this file system reserves no blocks")
    file.close()
    assert _allocated(share, "g") < MIB


def test_create_with_an_allocation_that_cannot_be_makes_nothing(share: Share) -> None:
    _refused(lambda: share.open("g", allocation_size=1 << 50), STATUS_DISK_FULL)
    _refused(lambda: share.open("g", allocation_size=1 << 63), STATUS_INVALID_PARAMETER)
    _refused(lambda: share.open("g", stream="s", allocation_size=1 << 63), STATUS_INVALID_PARAMETER)
    assert not os.path.exists(share.path / "g")
    share.open("g")
    _refused(lambda: share.open("g", stream="s", allocation_size=1 << 63), STATUS_INVALID_PARAMETER)
    assert [stream.name for stream in share.open("g").streams()] == [""]


def test_an_allocation_for_a_stream_reserves_nothing(share: Share) -> None:
    """It is asked for in good faith: how much an attribute can hold, the writes will tell."""
    stream = share.open("g", stream="s", allocation_size=1 << 30)
    assert stream.info().end_of_file == 0


def test_overwriting_with_an_allocation_that_cannot_be_leaves_the_file(share: Share) -> None:
    file = share.open("g")
    file.write(0, b"old")
    again = share.open("g", disposition=FILE_OVERWRITE_IF)
    _refused(lambda: again.overwrite(0, False, (), 1 << 50), STATUS_DISK_FULL)
    assert _content(share, "g") == b"old"
    again.overwrite(0, False, (), 2 * MIB)
    assert _content(share, "g") == b""
    file.close()
    again.close()
    assert _allocated(share, "g") < MIB
