# SPDX-License-Identifier: GPL-2.0-or-later
"""An open's descriptor beside local processes: implements the port LocalOpen with leases and locks of the kernel.

Without leases here (no signalfd, or the probe said no) none is taken, so that clients cache nothing on shares with
`kernel oplocks`: nobody would be told. A file system without open file description locks has those of SMB alone.
"""
from __future__ import annotations

import errno
import logging
import os
from typing import Final

from ksmbd.kernel import descriptors, leases, ofd_locks
from ksmbd.smb.ports import NO_LEASE, READ_LEASE, READ_LOCK, UNLOCKED, WRITE_LEASE, WRITE_LOCK, LocalOpen
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.errors import to_status

logger = logging.getLogger("ksmbd.vfs")

_LEASES: Final = {NO_LEASE: leases.NONE, READ_LEASE: leases.READ, WRITE_LEASE: leases.WRITE}
_LEFT: Final = {number: kind for kind, number in _LEASES.items()}
_LOCKS: Final = {UNLOCKED: ofd_locks.NONE, READ_LOCK: ofd_locks.READ, WRITE_LOCK: ofd_locks.WRITE}
_MODES: Final = {os.O_RDONLY: 1, os.O_WRONLY: 2, os.O_RDWR: 3}
"""Access mode -> bits, reading 1 and writing 2."""


class LocalDescriptor:
    """See LocalOpen. `flags`: how the data is still to be opened, None where it is open or nobody asked for it."""

    __slots__ = ("_file", "_flags", "_mode", "kernel_oplocks", "posix_locking", "writable")

    def __init__(
        self, file: LocalEntry, flags: int | None, mode: int, kernel_oplocks: bool, posix_locking: bool
    ) -> None:
        """`mode`: O_RDONLY, O_WRONLY or O_RDWR of the descriptor, once its data is open; -1 where it never will be."""
        self._file = file
        self._flags = flags
        self._mode = _MODES.get(mode, 0)
        self.kernel_oplocks = kernel_oplocks
        self.posix_locking = posix_locking and bool(self._mode)
        self.writable = bool(self._mode & 2)

    def fileno(self) -> int:
        """See LocalOpen."""
        return self._file.fileno()

    def open_data(self, both: bool = False) -> bool:
        """See LocalOpen."""
        flags = self._flags
        if flags is None:
            return True
        if both and self._mode != 3 and self._reopen(flags & ~os.O_ACCMODE | os.O_RDWR, True):
            self._mode = 3
            return True
        return self._reopen(flags, False)

    def _reopen(self, flags: int, optional: bool) -> bool:
        file = self._file
        try:
            fd = os.open(descriptors.path(file.fd), flags & ~os.O_NOFOLLOW)
        except OSError as error:
            if optional or error.errno == errno.EAGAIN:
                return False
            raise to_status(error) from error
        self._flags = None
        file.replace_fd(fd)
        file.path_only = False
        return True

    def join(self, other: LocalOpen) -> bool:
        """See LocalOpen."""
        file = self._file
        theirs = other.fileno()
        if not isinstance(other, LocalDescriptor) or theirs < 0 or file.fd < 0 or self._mode & ~other._mode:
            return False
        if file.disk_name != other._file.disk_name or file.parent_key != other._file.parent_key:
            return False  # a descriptor is of one name of the file (LocalEntry.entry)
        # In place: what waits for this descriptor's number goes on with the other's file.
        os.dup2(theirs, file.fd, inheritable=False)
        self._mode = other._mode
        self._flags = None
        file.path_only = False
        return True

    def lease(self, kind: int) -> bool:
        """See LocalOpen. A named stream is an extended attribute, which only we open: nothing to be watched over."""
        file = self._file
        if file.stream or kind == NO_LEASE:
            if not file.stream and file.fileno() >= 0:
                try:
                    leases.set_lease(file.fd, leases.NONE)
                except OSError as error:
                    logger.debug("no lease to give back of %s: %s", file.path, error.strerror)
            return True
        fd = file.fileno()
        if fd < 0 or not file.place.common.leases:
            return False
        try:
            leases.signal_for(fd)
            leases.set_lease(fd, _LEASES[kind])
        except OSError as error:
            logger.debug("no lease on %s: %s", file.path, error.strerror)
            return False
        return True

    def lease_left(self) -> int:
        """See LocalOpen."""
        if self._file.stream:
            return WRITE_LEASE
        fd = self._file.fileno()
        try:
            return _LEFT[leases.lease_of(fd)] if fd >= 0 else NO_LEASE
        except OSError:
            return NO_LEASE

    def lock(self, kind: int, first: int, last: int) -> bool:
        """See LocalOpen. A descriptor that cannot write locks for reading, one that cannot read for writing."""
        fd = self._file.fileno()
        if fd < 0:
            return True
        if kind == WRITE_LOCK and not self._mode & 2:
            kind = READ_LOCK
        elif kind == READ_LOCK and not self._mode & 1:
            kind = WRITE_LOCK
        try:
            return ofd_locks.set_lock(fd, _LOCKS[kind], first, last)
        except OSError as error:
            logger.debug("no lock on %s: %s", self._file.path, error.strerror)
            return error.errno != errno.ENOLCK

    def locked(self, first: int, last: int, write: bool) -> bool:
        """See LocalOpen."""
        fd = self._file.fileno()
        try:
            return fd >= 0 and ofd_locks.is_locked(fd, ofd_locks.WRITE if write else ofd_locks.READ, first, last)
        except OSError:
            return False


def local_open(file: LocalEntry, flags: int, later: bool) -> LocalDescriptor:
    """The LocalOpen of an open whose data needs `flags`; `later`: it is opened once the open table has agreed."""
    options = file.place.options
    mode = -1 if flags & os.O_PATH else flags & os.O_ACCMODE
    return LocalDescriptor(
        file, flags if later and mode >= 0 else None, mode, options.kernel_oplocks, options.posix_locking
    )


def local_stream(stream: LocalEntry, writable: bool) -> LocalDescriptor:
    """The LocalOpen of a named stream, on a share with `kernel oplocks`."""
    return LocalDescriptor(stream, None, os.O_RDWR if writable else os.O_RDONLY, True, False)
