# SPDX-License-Identifier: GPL-2.0-or-later
"""Open file description locks (fcntl(2), F_OFD_SETLK): byte-range locks that belong to an open, not to a process.

They conflict with locks of other processes (F_SETLK, lockf, NFS clients). Locks of one open merge and split. A write
lock needs a descriptor open for writing, a read lock one open for reading.
"""
from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from struct import Struct
from typing import Final

NONE: Final = fcntl.F_UNLCK
READ: Final = fcntl.F_RDLCK
WRITE: Final = fcntl.F_WRLCK

LARGEST: Final = (1 << 63) - 1
"""The largest offset that can be locked."""

_FLOCK: Final = Struct("@hhqqi4x")
"""struct flock: type, whence, start, length (0 = to the end), pid."""


def _lock(kind: int, first: int, last: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, first, 0 if last >= LARGEST else last - first + 1, 0)


def set_lock(fd: int, kind: int, first: int, last: int) -> bool:
    """Lock the bytes from `first` to `last`, or unlock them with NONE; never waits. False: another lock conflicts.
    Raises OSError."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _lock(kind, first, last))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def is_locked(fd: int, kind: int, first: int, last: int) -> bool:
    """Whether a lock of another open or process conflicts with a lock of this kind. Raises OSError."""
    found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _lock(kind, first, last))
    return bool(_FLOCK.unpack(found)[0] != NONE)


def probe() -> str:
    """The reason why these locks cannot be used here; '' if they can."""
    try:
        with tempfile.TemporaryFile() as file:
            set_lock(file.fileno(), WRITE, 0, LARGEST)
    except OSError as error:
        return os.strerror(error.errno or errno.EINVAL)
    return ""
