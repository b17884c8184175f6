# SPDX-License-Identifier: GPL-2.0-or-later
"""Duplicates an open file for one operation in a helper thread: its own descriptor, and a copy of its state.

The open may be closed, and its descriptor number reused for another file, while the thread works. Like every open a
duplicate acts as the session's user, in whatever thread.
"""
from __future__ import annotations

import os
from typing import TypeVar

from ksmbd.kernel.stat import stat_fd
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.reserving import ReservingFile

F = TypeVar("F", bound=ReservingFile)


def make(file: ReservingFile, kind: type[F]) -> F:
    """A duplicate of `file`, an object of class `kind`. The caller ends it by `rejoin`. Raises NtStatusError."""
    opened = Opened(file.place, file.posix)
    with os_errors:
        opened.fd = os.dup(file.fd)
    try:
        with os_errors:
            opened.now = stat_fd(opened.fd)
        opened.path_only, opened.disk_names, opened.path = file.path_only, file.names, file.path
        opened.granted, opened.entry_key = file.granted_access, file.entry_key
        duplicate = kind(opened, file.created)
    except BaseException:
        os.close(opened.fd)
        raise
    duplicate.copy_state(file)
    duplicate.is_duplicate = True
    file.duplicates += 1
    return duplicate


def rejoin(file: ReservingFile, duplicate: ReservingFile) -> None:
    """Copy the duplicate's state back to the open, and close the duplicate.

    Where the open was closed meanwhile, its last duplicate frees the reserved blocks in its place. Before that another
    thread may still be writing through the same open file description."""
    file.duplicates -= 1
    duplicate.is_duplicate = False
    if duplicate.reserved:
        file.reserves()
        duplicate.reserved = False
    if not file.closed:
        file.copy_state(duplicate)
        duplicate.write_time = None
        if duplicate.allocation_failed and not file.duplicates:
            file.give_back(file.fd)
    elif file.reserved and not file.duplicates:
        file.reserved, duplicate.reserved = False, True
    duplicate.close()

