# SPDX-License-Identifier: GPL-2.0-or-later
"""AllocationSize is of the data alone (MS-FSCC 2.4.4), whatever blocks the file system needs besides."""
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from vfs_share import Share

from ksmbd.kernel import files
from ksmbd.kernel.files import FALLOC_FL_KEEP_SIZE, fallocate
from ksmbd.smb.constants import FILE_READ_ATTRIBUTES
from ksmbd.vfs import allocated
from ksmbd.vfs.allocated import allocation_of


@pytest.mark.parametrize(
    ("size", "blocks", "beyond", "shown"),
    [
        (0, 0, 0, 0), (1, 8, 0, 4096), (4096, 8, 0, 4096), (10_000, 8, 0, 4096), (1, 2, 0, 1024),
        (0, 8, 0, 0), (1, 16, 0, 4096), (5000, 24, 0, 8192), (1, 24, 0, 4096),
        (0, 8, 4096, 4096), (0, 16, 4096, 4096), (0, 264, 131072, 131072), (1, 24, 8192, 12288), (1, 80, None, 40960),
        ((1 << 63) - 1, 1 << 55, 0, 1 << 64),
    ],
)  # fmt: skip
def test_what_is_shown_of_an_open_file(
    monkeypatch: pytest.MonkeyPatch, size: int, blocks: int, beyond: int | None, shown: int
) -> None:
    """`beyond`: bytes of extents beyond its end, None for more than are counted."""
    monkeypatch.setattr(allocated, "extents_from", lambda fd, offset: beyond)
    assert allocation_of(size, blocks, 3) == shown


@pytest.mark.parametrize("fd", [-1, 3])
def test_what_is_shown_without_a_descriptor_that_tells(monkeypatch: pytest.MonkeyPatch, fd: int) -> None:
    def refuse(fd: int, offset: int) -> int:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(allocated, "extents_from", refuse)
    assert [allocation_of(5000, blocks, fd) for blocks in (8, 16, 24, 32)] == [4096, 8192, 8192, 16384]


def extents_of(fd: int) -> bool:
    try:
        files.has_extents(fd, 0)
    except OSError:
        return False
    return True


def test_extents_are_counted_from_within(tmp_path: Path) -> None:
    with open(tmp_path / "f", "w+b", buffering=0) as file:
        if not extents_of(file.fileno()):
            pytest.skip("the file system does not report extents")
        fallocate(file.fileno(), FALLOC_FL_KEEP_SIZE, 0, 65536)
        file.write(b"x" * 5000)
        os.fsync(file.fileno())
        found = [files.extents_from(file.fileno(), offset) for offset in (0, 4096, 8192, 65536)]
        assert found == [65536, 61440, 57344, 0]
        for number in range(40):
            fallocate(file.fileno(), FALLOC_FL_KEEP_SIZE, (100 + 2 * number) << 16, 4096)
        assert files.extents_from(file.fileno(), 8192) is None


@pytest.mark.parametrize("access", [None, FILE_READ_ATTRIBUTES])
def test_a_block_of_extended_attributes_is_no_allocation(share: Share, access: int | None) -> None:
    file = share.open("f")
    file.write(0, b"x" * 5000)
    file.flush(True)
    try:
        os.setxattr(share.path / "f", "user.large", b"y" * 2000)
    except OSError:
        pytest.skip("the file system has no room for it")
    if os.stat(share.path / "f").st_blocks == 16:
        pytest.skip("the file system counts no block for it")
    if access is not None:
        file = share.open("f", access)
    assert file.info().allocation_size == 8192
    assert [found.allocation_size for found in file.streams() if not found.name] == [8192]
    created = share.create("f").info
    assert created is not None and created.allocation_size == 8192
    listed = [entry.info for entry in share.open("").list_directory() if entry.name == "f"]
    assert [info.allocation_size for info in listed] == [8192]


def test_reserved_blocks_are_shown_beside_it(share: Share) -> None:
    file = share.open("f")
    os.setxattr(share.path / "f", "user.large", b"y" * 2000)
    file.set_allocation(65536)
    if not extents_of(file.fileno()):
        pytest.skip("the file system does not report extents")
    assert file.info().allocation_size == 65536
    file.set_allocation(0)
    assert file.info().allocation_size == 0
