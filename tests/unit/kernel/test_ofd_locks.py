# SPDX-License-Identifier: GPL-2.0-or-later
"""Open file description locks of this very kernel, where it has them."""
from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ksmbd.kernel import ofd_locks

pytestmark = pytest.mark.skipif(bool(ofd_locks.probe()), reason=f"no such locks here: {ofd_locks.probe()}")


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[tuple[int, int]]:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    made = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    yield made
    for fd in made:
        os.close(fd)


def test_two_opens_exclude_each_other_and_one_does_not_exclude_itself(opens: tuple[int, int]) -> None:
    one, two = opens
    assert ofd_locks.set_lock(one, ofd_locks.WRITE, 10, 19)
    assert ofd_locks.set_lock(one, ofd_locks.WRITE, 15, 30)
    assert not ofd_locks.set_lock(two, ofd_locks.READ, 0, 10)
    assert ofd_locks.set_lock(two, ofd_locks.WRITE, 0, 9)
    assert ofd_locks.is_locked(two, ofd_locks.READ, 30, 30)
    assert not ofd_locks.is_locked(one, ofd_locks.WRITE, 10, 30)
    assert ofd_locks.set_lock(one, ofd_locks.NONE, 12, 12)
    assert not ofd_locks.is_locked(two, ofd_locks.WRITE, 12, 12)
    assert ofd_locks.is_locked(two, ofd_locks.READ, 11, 11)


def test_the_last_byte_is_the_end_of_all(opens: tuple[int, int]) -> None:
    one, two = opens
    last = ofd_locks.LARGEST
    assert ofd_locks.set_lock(one, ofd_locks.WRITE, last, last)
    assert ofd_locks.is_locked(two, ofd_locks.READ, 5, last)
    assert not ofd_locks.is_locked(two, ofd_locks.READ, 5, last - 1)


def test_a_lock_that_the_descriptor_cannot_have_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(OSError) as refused:
        ofd_locks.set_lock(fd, ofd_locks.WRITE, 0, 1)
    assert refused.value.errno == errno.EBADF
    os.close(fd)


def test_a_kernel_without_them_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, kind: int, first: int, last: int) -> bool:
        raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(ofd_locks, "set_lock", refuse)
    assert ofd_locks.probe() == os.strerror(errno.EINVAL)
