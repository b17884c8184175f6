# SPDX-License-Identifier: GPL-2.0-or-later
"""Reserves blocks beyond the end of a file when a client asks for them, and frees them after its last close
(FileAllocationInformation, MS-FSA 2.1.5.15.1; the last close, 2.1.5.5).

The blocks are freed by truncating the file to its current size. That must not collide with a write that extends the
file, by another client, another worker or a local process. So it is done under a kernel write lease (fcntl(2),
F_SETLEASE): the kernel grants it to the only open descriptor of a file, and lets others who open the file wait.

Where somebody else has the file open, freeing is tried again when an open of the file ends in this process, and for
about a minute by a timer. Then the blocks stay allocated, as they do on file systems without leases: space may be
wasted, but no data is lost. The reservations of a worker that died are freed by another worker.
"""
from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from ksmbd import limits
from ksmbd.kernel import credentials, leases, ofd_locks
from ksmbd.kernel import files as kernel
from ksmbd.kernel.credentials import Credentials
from ksmbd.kernel.files import set_times
from ksmbd.kernel.openat import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2
from ksmbd.kernel.stat import Stat, stat_fd
from ksmbd.smb.ports import Clock, FileKey, Timer
from ksmbd.smb.status import STATUS_DISK_FULL, NtStatusError
from ksmbd.smb.waiting import Future
from ksmbd.vfs import gate, ranges

logger = logging.getLogger("ksmbd.vfs")

_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LARGEST: Final = (1 << 63) - 1
_MANY: Final = 256 << 20
"""Bytes of allocated blocks from which on a file's surplus is freed in a helper thread."""
_FIRST_WAIT: Final = 1.0
_WAITS: Final = 6
"""Number of tries by the timer, after 1, 2, 4 ... seconds: for about a minute."""


class Reserved(NamedTuple):
    """A file with blocks that an open has reserved."""

    share: str
    """The path of the share."""
    names: tuple[bytes, ...]
    """Names on the disk, from the share's root."""
    key: FileKey
    user: Credentials


class Reservations(Protocol):
    """A record of the reservations that outlives this process (ksmbd/process/reservations.py)."""

    def add(self, reserved: Reserved) -> None:
        """Record that an open has reserved blocks."""
        ...

    def remove(self, key: FileKey) -> None:
        """Forget the reservation of an open that has ended."""
        ...

    def close(self) -> None:
        """Delete the record, because the process ends in order."""
        ...


def reclaim(reserved: Reserved) -> None:
    """Free the blocks that a dead process had reserved, as the user it acted for. The blocks stay where the file was
    moved or somebody has it open. Never raises."""
    try:
        root = gate.open_share(reserved.share)
        try:
            credentials.assume(reserved.user)
            fd = openat2(root, b"/".join(reserved.names), _WRITE, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
        finally:
            os.close(root)
        try:
            stat = stat_fd(fd)
            if (stat.dev, stat.ino) == reserved.key:
                give_back(fd, lambda fd, write: set_times(fd, (0, kernel.UTIME_OMIT), write))
        finally:
            os.close(fd)
    except (OSError, NtStatusError) as error:
        logger.debug("%r: blocks beyond the end stay: %s", reserved.names, error)
    finally:
        credentials.become_nobody()


def check(fd: int, more: int) -> None:
    """Raise STATUS_DISK_FULL where the file system of `fd` has less than `more` bytes free. Raises OSError."""
    if more > 0:
        found = os.fstatvfs(fd)
        if more > found.f_bavail * (found.f_frsize or 1):
            raise NtStatusError(STATUS_DISK_FULL, f"{more} bytes more")


def reserve(fd: int, size: int, stat: Stat) -> None:
    """Allocate blocks for `size` bytes of a file whose Stat is `stat`; `size` is larger than the file.

    Raises STATUS_DISK_FULL, and then nothing is allocated; OSError, and then some blocks may be."""
    check(fd, size - max(stat.size, stat.blocks << 9))
    try:
        ranges.allocate(fd, kernel.FALLOC_FL_KEEP_SIZE, stat.size, size - stat.size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def is_surplus(fd: int, stat: Stat) -> bool:
    """Whether an open file has blocks allocated beyond its end. Raises OSError."""
    end = -(-stat.size // (stat.block_size or 4096)) * (stat.block_size or 4096)
    try:
        return kernel.has_extents(fd, end)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
            raise
        return stat.blocks << 9 > end  # tmpfs does not report extents


def give_back(fd: int, set_write_time: Callable[[int, tuple[int, int]], None]) -> bool:
    """Free the blocks beyond the end of a file. `fd` is open for writing; `set_write_time` restores the write time,
    given as (seconds, nanoseconds).

    Returns False where others have the file open. True: freed, or there is nothing that can be freed. Raises OSError,
    NtStatusError."""
    stat = stat_fd(fd)
    if not stat.nlink or not is_surplus(fd, stat):
        return True
    before = leases.NONE
    number = 0
    try:
        before = leases.lease_of(fd)
        number = fcntl.fcntl(fd, fcntl.F_GETSIG)
        if before != leases.WRITE:
            # A process that opens the file meanwhile waits. SIGURG is ignored, so its lease-break signal does nothing.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
            leases.set_lease(fd, leases.WRITE)
    except OSError as error:
        fcntl.fcntl(fd, fcntl.F_SETSIG, number)
        if error.errno in (errno.EAGAIN, errno.EBUSY):
            return False
        logger.debug("blocks beyond the end stay: %s", error.strerror)
        return True
    try:
        stat = stat_fd(fd)
        ranges.truncate(fd, stat.size)
        set_write_time(fd, (stat.mtime, stat.mtime_ns))
    finally:
        if before != leases.WRITE:
            leases.set_lease(fd, before)
            fcntl.fcntl(fd, fcntl.F_SETSIG, number)
    return True


class ReservingOpen(Protocol):
    """An open that has reserved blocks (ksmbd/vfs/reserving.py)."""

    key: FileKey

    def give_back(self, fd: int) -> bool:
        """Free the blocks through `fd`, a descriptor that outlives the open. False: others have the file open."""
        ...


def release_at_close(
    file: ReservingOpen,
    fd: int,
    offload: Callable[[Callable[[], Any]], Future[Any]] | None,
    pending_releases: PendingReleases | None,
) -> None:
    """Free the reserved blocks of an open that is about to be closed: in a helper thread where they are many (tmpfs
    needs half a second for some gigabytes). Where others have the file open, keep it open until they close it.

    `offload` runs a call in a helper thread; None: there is none. `pending_releases` keeps the file open; None: the
    blocks stay allocated where others have the file open. Raises OSError."""
    if offload is not None and stat_fd(fd).blocks << 9 >= _MANY:
        spare = _spare(fd)
        offload(partial(file.give_back, spare)).add_callback(partial(_ended, file, spare, pending_releases))
    elif not file.give_back(fd) and pending_releases is not None:
        pending_releases.keep(file, _spare(fd))


def _spare(fd: int) -> int:
    """Duplicate a descriptor and drop its OFD locks, which would otherwise outlive the open: they belong to the open
    file description. Raises OSError."""
    spare = os.dup(fd)
    try:
        ofd_locks.set_lock(spare, ofd_locks.NONE, 0, _LARGEST)
    except OSError:
        pass  # this file system has no locks
    return spare


def _ended(file: ReservingOpen, spare: int, pending_releases: PendingReleases | None, given_back: Future[bool]) -> None:
    if given_back.result() or pending_releases is None:
        os.close(spare)
    else:
        pending_releases.keep(file, spare)


class PendingReleases:
    """Closed opens of this process whose surplus blocks are freed once others have closed the file; at most
    UNUSED_ALLOCATIONS of them."""

    __slots__ = ("_clock", "_timer", "_tries", "waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timer: Timer | None = None
        self._tries = 0
        self.waiting: dict[FileKey, tuple[int, ReservingOpen]] = {}
        """File key -> (descriptor, the closed open)."""

    def keep(self, file: ReservingOpen, fd: int) -> None:
        """Keep `fd`, a duplicate of the descriptor of `file`, which is about to be closed. This object closes it."""
        if file.key in self.waiting or len(self.waiting) >= limits.UNUSED_ALLOCATIONS.value:
            os.close(fd)
            return
        self.waiting[file.key] = fd, file
        self._tries = 0
        self._start()

    def closed(self, key: FileKey) -> None:
        """Try again for a file of which an open was just closed."""
        if key in self.waiting:
            self._try(key)

    def close(self) -> None:
        """Try a last time and close all descriptors, because the process ends."""
        for key in list(self.waiting):
            self._try(key)
            self._drop(key)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(_FIRST_WAIT * (1 << self._tries), self._again)

    def _again(self) -> None:
        self._timer = None
        self._tries += 1
        for key in list(self.waiting):
            self._try(key)
            if self._tries >= _WAITS:
                self._drop(key)
        if self.waiting:
            self._start()

    def _try(self, key: FileKey) -> None:
        fd, file = self.waiting[key]
        if file.give_back(fd):
            self._drop(key)

    def _drop(self, key: FileKey) -> None:
        found = self.waiting.pop(key, None)
        if found is not None:
            os.close(found[0])
