# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths of open descriptors in /proc (proc(5)), for system calls that take no descriptor, or none opened with O_PATH.

An absolute path is resolved from `/` with the credentials of the calling thread. So a user who may not search `/` (the
root of a container or chroot with mode 0700) could not use a file that is open already. Therefore a worker makes its
own /proc/self/fd the working directory, once. The path of a descriptor is then its number, and the kernel lets a
process search its own /proc/self/fd with any file-system credentials.
"""

from __future__ import annotations

import os
from typing import Final

FOLDER: Final = "/proc/self/fd"
_prefix = FOLDER + "/"


def enter() -> None:
    """Make /proc/self/fd the working directory of this process; needed after each fork. Without /proc paths stay
    absolute, and calls that need one fail."""
    global _prefix
    try:
        os.chdir(FOLDER)
    except OSError:
        return
    _prefix = ""


def count() -> int:
    """The number of open descriptors of this process."""
    try:
        return os.stat(FOLDER).st_size or len(os.listdir(FOLDER))  # the size is their number since Linux 6.2
    except OSError:
        return 0


def leave(directory: str) -> None:
    """Make `directory` the working directory, so that paths are absolute again. Raises OSError."""
    global _prefix
    os.chdir(directory)
    _prefix = FOLDER + "/"


def path(fd: int) -> str:
    """The path of an open descriptor."""
    return f"{_prefix}{fd}"


def path_bytes(fd: int) -> bytes:
    """The path of an open descriptor as bytes."""
    return f"{_prefix}{fd}".encode()
