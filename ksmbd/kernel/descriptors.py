# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of open descriptors below /proc (proc(5)), for calls that take none or refuse one opened with O_PATH.

An absolute name is resolved from `/` with the credentials of the calling thread: a user who may not search `/` (the
root of a container or chroot with mode 0700) could not use a file that is open already. A worker therefore makes its
own /proc/self/fd the working directory, once; a descriptor's name is its number from then on, and the kernel lets a
process search its own /proc/self/fd whatever its file-system credentials are.
"""

from __future__ import annotations

import os
from typing import Final

FOLDER: Final = "/proc/self/fd"
_prefix = FOLDER + "/"


def enter() -> None:
    """Make /proc/self/fd the working directory of this process; after each fork, since it is another's otherwise.

    Without /proc, names stay absolute, and nothing that needs one works."""
    global _prefix
    try:
        os.chdir(FOLDER)
    except OSError:
        return
    _prefix = ""


def count() -> int:
    """How many descriptors this process has."""
    try:
        return os.stat(FOLDER).st_size or len(os.listdir(FOLDER))  # the size is their number since Linux 6.2
    except OSError:
        return 0


def leave(directory: str) -> None:
    """Make `directory` the working directory; names are absolute again. Raises OSError."""
    global _prefix
    os.chdir(directory)
    _prefix = FOLDER + "/"


def path(fd: int) -> str:
    """The name of an open descriptor."""
    return f"{_prefix}{fd}"


def path_bytes(fd: int) -> bytes:
    """The same for calls that take bytes."""
    return f"{_prefix}{fd}".encode()
