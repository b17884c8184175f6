# SPDX-License-Identifier: GPL-2.0-or-later
"""Implements the port LocalOpen: the kernel's leases and open file description locks on an open's descriptor.

Where kernel leases do not work (no signalfd, or the probe failed) none is taken. Clients then cache nothing on shares
with `kernel oplocks`, because the server would not learn of local opens. On a file system without open file
description locks only SMB's own locks count.
"""
from __future__ import annotations

import errno
import fcntl
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
"""O_ACCMODE value -> bits: 1 reads, 2 writes."""


class LocalDescriptor:
    """The descriptor of one open, as the port LocalOpen wants it."""

    __slots__ = ("_file", "_flags", "_mode", "kernel_oplocks", "posix_locking", "writable")

    def __init__(
        self, file: LocalEntry, flags: int | None, mode: int, kernel_oplocks: bool, posix_locking: bool
    ) -> None:
        """`flags`: the open(2) flags for the data that `open_data` has still to open; None where the data is open or
        not needed. `mode`: the O_ACCMODE of the data's descriptor; -1 where the data will never be opened."""
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
            return False  # a descriptor belongs to one name of the file (LocalEntry.entry)
        # dup2 keeps the descriptor's number, which other code has stored.
        os.dup2(theirs, file.fd, inheritable=False)
        self._mode = other._mode
        self._flags = None
        file.path_only = False
        return True

    def lease(self, kind: int) -> bool:
        """See LocalOpen. A named stream needs no kernel lease: local processes do not open extended attributes."""
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
        """See LocalOpen. The kernel demands a writable descriptor for a write lock and a readable one for a read lock;
        otherwise the other kind is taken."""
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
    """Make the LocalOpen of an open whose data needs the open(2) `flags`. `later`: the data is opened after the open
    table has granted the open."""
    options = file.place.options
    mode = -1 if flags & os.O_PATH else flags & os.O_ACCMODE
    return LocalDescriptor(
        file, flags if later and mode >= 0 else None, mode, options.kernel_oplocks,
        options.posix_locking or file.place.shares_locks,
    )


def lock_side(file: LocalEntry) -> LocalDescriptor | None:
    """Make the LocalOpen for the byte-range locks of an open whose data is open; None where the place does not share
    them."""
    if not file.place.shares_locks:
        return None
    try:
        mode = fcntl.fcntl(file.fd, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return None
    return LocalDescriptor(file, None, mode, False, True)


def local_stream(stream: LocalEntry, writable: bool) -> LocalDescriptor:
    """Make the LocalOpen of a named stream on a share with `kernel oplocks`."""
    return LocalDescriptor(stream, None, os.O_RDWR if writable else os.O_RDONLY, True, False)
