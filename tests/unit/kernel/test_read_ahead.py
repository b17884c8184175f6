# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from ksmbd.kernel import read_ahead
from ksmbd.kernel.files import cached_pages


@pytest.mark.parametrize(
    ("offset", "count", "pages"), [(0, 1, 1), (0, 4096, 1), (1, 4096, 2), (4095, 1, 1), (4095, 2, 2), (8192, 10000, 3)]
)
def test_pages_of_a_range(monkeypatch: pytest.MonkeyPatch, offset: int, count: int, pages: int) -> None:
    for cached, whole in ((pages, True), (pages + 3, True), (pages - 1, False), (None, True)):
        monkeypatch.setattr(read_ahead, "cached_pages", lambda *_, cached=cached: cached)
        monkeypatch.setattr(mmap, "PAGESIZE", 4096)
        assert read_ahead.is_cached(3, offset, count) is whole


def test_reading_ahead_fills_the_cache_and_closes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    read_ahead.read_ahead(os.dup(fd), 0, 1_000_000)
    assert cached_pages(fd, 0, 1_000_000) in (245, None)
    read_ahead.read_ahead(fd, 999_999, 5_000_000)
    with pytest.raises(OSError):
        os.fstat(fd)
    writer = os.open(path, os.O_WRONLY)
    read_ahead.read_ahead(writer, 0, 100)  # cannot be read: no error, and closed
    with pytest.raises(OSError):
        os.fstat(writer)
