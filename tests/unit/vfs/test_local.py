# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors beside local processes: opened when the open table has agreed, shared, leased and locked."""
from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from vfs_share import Share

from ksmbd.kernel import credentials, leases, ofd_locks
from ksmbd.smb import constants as c
from ksmbd.smb.ports import (
    NO_LEASE,
    READ_LEASE,
    READ_LOCK,
    UNLOCKED,
    WRITE_LEASE,
    WRITE_LOCK,
    CreateResult,
    LocalOpen,
)
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import place
from ksmbd.vfs.files import LocalFiles

Make = Callable[..., Share]
OPLOCKS = {"kernel_oplocks": True}
LOCKING = {"posix_locking": "yes"}
READS, WRITES = c.FILE_GENERIC_READ, c.FILE_GENERIC_WRITE

pytestmark = pytest.mark.skipif(bool(leases.probe() or ofd_locks.probe()), reason="no leases or locks here")


@pytest.fixture(autouse=True)
def signals(files: LocalFiles) -> Iterator[leases.LeaseSignals]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    made = leases.LeaseSignals()
    files.leases = True
    yield made
    made.read()
    made.close()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def local_of(result: CreateResult) -> LocalOpen:
    assert result.local is not None
    return result.local


def entered(result: CreateResult) -> LocalOpen:
    local = local_of(result)
    assert local.open_data()
    return local


def make_file(share: Share, name: str = "file") -> None:
    share.open(name, disposition=c.FILE_CREATE).close()


def somebody(share: Share, name: str = "file", flags: int = os.O_RDWR) -> int:
    """A descriptor of a local process."""
    credentials.as_server()
    return os.open(share.path / name, flags)


def test_without_the_parameters_there_is_nothing(make_share: Make) -> None:
    share = make_share()
    assert share.create("file").local is None
    assert share.create("file").local is None
    share = make_share(kernel_oplocks=False, posix_locking="no")
    assert share.create("file").local is None


def test_data_is_opened_by_enter(make_share: Make) -> None:
    share = make_share(**OPLOCKS)
    make_file(share)
    result = share.create("file", access=READS | WRITES)
    assert result.file.fileno() == -1
    with pytest.raises(NtStatusError):
        result.file.write(0, b"x")
    local = entered(result)
    assert (local.fileno(), local.writable) == (result.file.fileno(), True)
    assert result.file.write(0, b"data") == 4
    reader = share.create("file", access=READS)
    assert not entered(reader).writable
    assert reader.file.read(0, 10) == b"data"


@pytest.mark.parametrize("access", [c.FILE_READ_ATTRIBUTES, c.DELETE])
def test_what_touches_no_data_opens_none(make_share: Make, access: int) -> None:
    share = make_share(**OPLOCKS)
    make_file(share)
    local = entered(share.create("file", access=access))
    assert (local.fileno(), local.writable) == (-1, False)
    assert not local.lease(READ_LEASE)
    assert local.lease(NO_LEASE)
    assert local.lock(WRITE_LOCK, 0, 1)
    assert not local.locked(0, 1, True)


def test_all_that_may_be_granted_is_opened(make_share: Make) -> None:
    share = make_share(**OPLOCKS)
    make_file(share)
    result = share.create("file", access=c.MAXIMUM_ALLOWED)
    assert entered(result).writable
    assert result.file.write(0, b"data") == 4


def test_an_overwriting_open_can_empty_the_file(make_share: Make) -> None:
    share = make_share(**OPLOCKS)
    share.open("file").write(0, b"data")
    for file in share.opened:
        file.close()
    result = share.create("file", access=READS, disposition=c.FILE_OVERWRITE)
    assert entered(result).writable
    result.file.overwrite(0, False, ())
    assert result.file.end_of_file() == 0


@pytest.mark.parametrize("options", [{}, OPLOCKS, LOCKING])
@pytest.mark.parametrize("access", [READS | WRITES, c.MAXIMUM_ALLOWED])
def test_a_lease_of_a_local_process_is_waited_for(make_share: Make, options: dict[str, bool], access: int) -> None:
    share = make_share(**options)
    make_file(share)
    fd = somebody(share)
    leases.set_lease(fd, leases.WRITE)
    local = local_of(share.create("file", access=access))
    assert not local.open_data()
    assert leases.lease_of(fd) == leases.NONE  # its holder is told
    leases.set_lease(fd, leases.NONE)
    assert local.open_data()
    os.close(fd)


def test_leases_are_the_kernels(make_share: Make, signals: leases.LeaseSignals) -> None:
    share = make_share(**OPLOCKS)
    result = share.create("file")
    local = entered(result)
    assert local.lease(WRITE_LEASE) and local.lease_left() == WRITE_LEASE
    with pytest.raises(BlockingIOError):
        somebody(share, flags=os.O_RDONLY | os.O_NONBLOCK)
    assert signals.read() == {local.fileno()}
    assert local.lease_left() == READ_LEASE
    assert not local.lease(READ_LEASE)  # it writes itself
    assert local.lease(NO_LEASE) and local.lease_left() == NO_LEASE
    fd = somebody(share, flags=os.O_RDONLY | os.O_NONBLOCK)
    assert not local.lease(WRITE_LEASE)
    os.close(fd)


def test_leases_that_nobody_listens_for_are_not_taken(make_share: Make, files: LocalFiles) -> None:
    files.leases = False
    assert not entered(make_share(**OPLOCKS).create("file")).lease(WRITE_LEASE)


def test_a_stream_needs_no_lease(make_share: Make) -> None:
    share = make_share(**OPLOCKS)
    local = entered(share.create("file", stream="stream"))
    assert local.writable and local.lease(WRITE_LEASE)
    assert local.lease_left() == WRITE_LEASE
    assert not local.posix_locking


SHARING = {"posix_locking": "auto"}


@pytest.mark.parametrize("access", [READS, WRITES, READS | WRITES, c.MAXIMUM_ALLOWED])
def test_an_open_shares_its_locks_when_it_is_asked_to(make_share: Make, access: int) -> None:
    share = make_share(**SHARING)
    make_file(share)
    result = share.create("file", access=access)
    assert result.local is None
    side = result.file.lock_side()
    assert side is not None and (side.posix_locking, side.kernel_oplocks) == (True, False)
    assert side.writable == (access != READS)
    assert result.file.lock_side() is None, "asked for once"
    assert side.lock(WRITE_LOCK, 5, 9)
    fd = somebody(share)
    with pytest.raises(BlockingIOError):
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5)
    assert side.lock(UNLOCKED, 5, 9)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5)
    assert not side.lock(READ_LOCK, 0, 100)
    os.close(fd)


def test_what_shares_no_locks(make_share: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_share(posix_locking="no").open("file").lock_side() is None
    share = make_share(**SHARING)
    assert share.open("file", access=c.FILE_READ_ATTRIBUTES).lock_side() is None
    assert share.open("file", stream="stream").lock_side() is None
    assert share.mkdir("dir").lock_side() is None
    monkeypatch.setattr(place, "file_system_type", lambda fd: 0x6969)
    assert make_share(**SHARING).open("file").lock_side() is None, "NFS"


def test_with_kernel_oplocks_all_opens_share_their_locks(make_share: Make) -> None:
    local = entered(make_share(**OPLOCKS, **SHARING).create("file"))
    assert (local.posix_locking, local.kernel_oplocks) == (True, True)


@pytest.mark.parametrize(("first", "second", "joins"), [
    (READS | WRITES, READS, True), (READS, READS, True), (READS, WRITES, False), (WRITES, READS, False),
])  # fmt: skip
def test_opens_share_one_file_that_is_enough_for_both(
    make_share: Make, first: int, second: int, joins: bool
) -> None:
    share = make_share(**OPLOCKS)
    make_file(share)
    one, two = share.create("file", access=first), share.create("file", access=second)
    assert local_of(one).open_data() and local_of(one).lease(WRITE_LEASE)
    assert local_of(two).join(local_of(one)) is joins
    if joins:
        assert local_of(two).lease(WRITE_LEASE)
        one.file.close()
        assert local_of(two).lease_left() == WRITE_LEASE


def test_a_wider_open_takes_the_place_of_a_narrow_one(make_share: Make) -> None:
    share = make_share(**OPLOCKS)
    make_file(share)
    one, two = share.create("file", access=READS), share.create("file", access=WRITES)
    assert local_of(one).open_data()
    number = local_of(one).fileno()
    assert local_of(two).open_data(True)
    assert local_of(one).join(local_of(two))
    assert local_of(one).fileno() == number
    assert fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    assert local_of(one).lease(WRITE_LEASE)


def test_locks_are_seen_by_others_and_theirs_here(make_share: Make) -> None:
    share = make_share(**LOCKING)
    make_file(share)
    local = local_of(share.create("file"))
    fd = somebody(share)
    assert local.lock(WRITE_LOCK, 0, 9)
    assert ofd_locks.is_locked(fd, ofd_locks.READ, 9, 9)
    assert local.lock(READ_LOCK, 5, 9)
    assert not ofd_locks.is_locked(fd, ofd_locks.READ, 9, 9)
    assert local.lock(UNLOCKED, 0, 4)
    assert ofd_locks.set_lock(fd, ofd_locks.WRITE, 0, 4)
    assert not local.lock(READ_LOCK, 4, 5)
    assert local.locked(0, 4, False) and not local.locked(5, 9, True)
    os.close(fd)


@pytest.mark.parametrize("access", [READS, WRITES])
def test_a_lock_is_what_the_descriptor_can_have(make_share: Make, access: int) -> None:
    share = make_share(**LOCKING)
    make_file(share)
    local = local_of(share.create("file", access=access))
    fd = somebody(share)
    for kind in (READ_LOCK, WRITE_LOCK):
        assert local.lock(kind, 0, 9)
        assert ofd_locks.is_locked(fd, ofd_locks.WRITE, 0, 9)
    os.close(fd)
