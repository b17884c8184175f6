# SPDX-License-Identifier: GPL-2.0-or-later
"""Leases of this very kernel, where it has them."""
from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ksmbd.kernel import leases

pytestmark = pytest.mark.skipif(bool(leases.probe()), reason=f"no leases here: {leases.probe()}")


@pytest.fixture
def signals() -> Iterator[leases.LeaseSignals]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    made = leases.LeaseSignals()
    yield made
    made.read()  # what is left would end this process once it is no longer blocked
    made.close()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(b"data")
    return made


def test_an_open_by_somebody_else_is_told_and_waits(signals: leases.LeaseSignals, path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    leases.signal_for(fd)
    leases.set_lease(fd, leases.WRITE)
    assert leases.lease_of(fd) == leases.WRITE
    assert signals.read() == set()
    with pytest.raises(BlockingIOError):
        os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert select.select([signals], [], [], 10)[0]
    assert signals.read() == {fd}
    assert leases.lease_of(fd) == leases.READ
    with pytest.raises(BlockingIOError):
        os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    assert leases.lease_of(fd) == leases.NONE
    leases.set_lease(fd, leases.NONE)
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    os.close(fd)


def test_opens_that_look_at_attributes_disturb_nobody(signals: leases.LeaseSignals, path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    leases.signal_for(fd)
    leases.set_lease(fd, leases.WRITE)
    os.close(os.open(path, os.O_PATH))
    path.stat()
    assert signals.read() == set()
    assert leases.lease_of(fd) == leases.WRITE
    os.close(fd)


@pytest.mark.parametrize(("own", "theirs", "kind"), [
    (os.O_RDWR, os.O_RDONLY, leases.WRITE), (os.O_RDONLY, os.O_RDWR, leases.READ), (os.O_RDWR, None, leases.READ),
])  # fmt: skip
def test_who_has_the_file_open_decides_what_there_is(path: Path, own: int, theirs: int | None, kind: int) -> None:
    fd = os.open(path, own)
    other = os.open(path, theirs) if theirs is not None else -1
    with pytest.raises(OSError) as refused:
        leases.set_lease(fd, kind)
    assert refused.value.errno == errno.EAGAIN
    for number in (fd, other):
        if number >= 0:
            os.close(number)


def test_more_signals_than_can_be_queued_are_one_that_names_none(
    signals: leases.LeaseSignals, path: Path
) -> None:
    os.kill(os.getpid(), signal.SIGIO)
    assert select.select([signals], [], [], 10)[0]
    assert signals.read() is None


def test_the_time_that_a_holder_has() -> None:
    assert leases.break_time() > 0


def test_without_proc_the_time_is_the_kernels_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(leases, "BREAK_TIME", str(tmp_path / "missing"))
    assert leases.break_time() == leases.DEFAULT_BREAK_TIME


def test_a_kernel_without_leases_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, kind: int) -> None:
        raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(leases, "set_lease", refuse)
    assert leases.probe() == os.strerror(errno.EINVAL)
    monkeypatch.setattr(leases, "_signalfd", None)
    assert "signalfd" in leases.probe()
