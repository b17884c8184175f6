# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks beyond the end of a file: reserved when a client asks for them, given back when nobody uses them any longer
(FileAllocationInformation, MS-FSA 2.1.5.15.1; the last close, 2.1.5.5).

They are given back by cutting the file to the size that it has. That must not meet a write which makes it longer, by
another client, another worker or a local process: so it is done under a write lease of the kernel, which is granted to
the only open descriptor of a file alone, and keeps others who open it waiting meanwhile. Where somebody else has the
file open, it is tried again when an open of it ends here, and for a while by a timer; then the blocks stay, as they do
on file systems without leases: blocks may be wasted, data never. After a worker's death another one does it.
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
"""Bytes of a file's blocks from which on they are given back in another thread."""
_FIRST_WAIT: Final = 1.0
_WAITS: Final = 6
"""Times that the timer tries it, after 1, 2, 4 ... seconds: for about a minute."""


class Reserved(NamedTuple):
    """A file that an open has reserved blocks of."""

    share: str
    """The path of the share."""
    names: tuple[bytes, ...]
    """On the disk, below the share."""
    key: FileKey
    user: Credentials


class Reservations(Protocol):
    """Who is told of them, so that they are known after this process has died."""

    def add(self, reserved: Reserved) -> None:
        """An open has reserved blocks."""
        ...

    def remove(self, key: FileKey) -> None:
        """That open has ended."""
        ...

    def close(self) -> None:
        """The process ends in order."""
        ...


def reclaim(reserved: Reserved) -> None:
    """Give back what a process that is dead had reserved, as its user. Where the file is somewhere else now, or
    somebody has it open, the blocks stay. Never raises."""
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
        credentials.rest()


def check(fd: int, more: int) -> None:
    """STATUS_DISK_FULL where the file system of `fd` has no room for so many bytes more."""
    if more > 0:
        found = os.fstatvfs(fd)
        if more > found.f_bavail * (found.f_frsize or 1):
            raise NtStatusError(STATUS_DISK_FULL, f"{more} bytes more")


def reserve(fd: int, size: int, stat: Stat) -> None:
    """Take blocks for `size` bytes, more than the file with this `stat` is long. STATUS_DISK_FULL before anything is
    taken. Raises OSError, and then some blocks may be taken."""
    check(fd, size - max(stat.size, stat.blocks << 9))
    try:
        ranges.allocate(fd, kernel.FALLOC_FL_KEEP_SIZE, stat.size, size - stat.size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def is_surplus(fd: int, stat: Stat) -> bool:
    """Whether a file has blocks beyond its end. Raises OSError."""
    end = -(-stat.size // (stat.block_size or 4096)) * (stat.block_size or 4096)
    try:
        return kernel.has_extents(fd, end)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
            raise
        return stat.blocks << 9 > end  # tmpfs tells no extents


def give_back(fd: int, set_write_time: Callable[[int, tuple[int, int]], None]) -> bool:
    """Free the blocks beyond the end of a file; `set_write_time` keeps its write time. `fd` can write.

    False: others have it open. True: done, or not to be done here. Raises OSError, NtStatusError."""
    stat = stat_fd(fd)
    if not stat.nlink or not is_surplus(fd, stat):
        return True
    before = leases.NONE
    number = 0
    try:
        before = leases.lease_of(fd)
        number = fcntl.fcntl(fd, fcntl.F_GETSIG)
        if before != leases.WRITE:
            # Whoever opens the file meanwhile waits; the signal that tells of him, nobody needs.
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
        """Free the blocks by a descriptor that outlives the open; False: others have the file open."""
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
    """A descriptor that outlives the open, without its locks: those are of the open file, not of the number."""
    spare = os.dup(fd)
    try:
        ofd_locks.set_lock(spare, ofd_locks.NONE, 0, _LARGEST)
    except OSError:
        pass  # no locks, then
    return spare


def _ended(file: ReservingOpen, spare: int, pending_releases: PendingReleases | None, given_back: Future[bool]) -> None:
    if given_back.result() or pending_releases is None:
        os.close(spare)
    else:
        pending_releases.keep(file, spare)


class PendingReleases:
    """Of one process: closed opens whose blocks beyond the end wait for others to close the file. Bounded."""

    __slots__ = ("_clock", "_timer", "_tries", "waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timer: Timer | None = None
        self._tries = 0
        self.waiting: dict[FileKey, tuple[int, ReservingOpen]] = {}
        """Descriptor and open, which is closed, of each file."""

    def keep(self, file: ReservingOpen, fd: int) -> None:
        """`fd` is a duplicate of the descriptor of `file`, which is about to be closed; it is closed here."""
        if file.key in self.waiting or len(self.waiting) >= limits.UNUSED_ALLOCATIONS.value:
            os.close(fd)
            return
        self.waiting[file.key] = fd, file
        self._tries = 0
        self._start()

    def closed(self, key: FileKey) -> None:
        """An open of a file has been closed."""
        if key in self.waiting:
            self._try(key)

    def close(self) -> None:
        """The process ends."""
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
