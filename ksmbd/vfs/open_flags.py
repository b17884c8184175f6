# SPDX-License-Identifier: GPL-2.0-or-later
"""The open(2) flags for the access that an open asks for."""
from __future__ import annotations

import os
from typing import Final

from ksmbd.kernel.stat import S_IFDIR, S_IFREG
from ksmbd.smb.constants import (
    FILE_APPEND_DATA,
    FILE_EXECUTE,
    FILE_LIST_DIRECTORY,
    FILE_READ_DATA,
    FILE_WRITE_DATA,
)
from ksmbd.smb.status import STATUS_ACCESS_DENIED, NtStatusError

READS: Final = FILE_READ_DATA | FILE_EXECUTE
WRITES: Final = FILE_WRITE_DATA | FILE_APPEND_DATA
BASE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
PATH_ONLY: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def flags_of(kind: int, access: int) -> int:
    """The open(2) flags for a file of this kind (S_IFMT bits) and access. Raises STATUS_ACCESS_DENIED for the data of a
    special file."""
    if kind == S_IFREG:
        if access & WRITES:
            return (os.O_RDWR if access & READS else os.O_WRONLY) | BASE
        return os.O_RDONLY | BASE if access & READS else PATH_ONLY
    if kind == S_IFDIR:
        return os.O_RDONLY | os.O_DIRECTORY | BASE if access & FILE_LIST_DIRECTORY else PATH_ONLY
    if access & (READS | WRITES):
        raise NtStatusError(STATUS_ACCESS_DENIED, "a special file")
    return PATH_ONLY
