# SPDX-License-Identifier: GPL-2.0-or-later
"""A twin of an open file, for one operation in a helper thread: a descriptor of its own and what the open knows.

It acts as the session's user as every open does: its descriptor is only to be had as him, in whatever thread. The open
may be closed, and its number be another file's, while the thread is at work."""
from __future__ import annotations

import os
from typing import TypeVar

from ksmbd.kernel.stat import stat_fd
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.reserving import ReservingFile

F = TypeVar("F", bound=ReservingFile)


def make(file: ReservingFile, kind: type[F]) -> F:
    """The twin; `rejoin` ends it."""
    with os_errors:
        fd = os.dup(file.fd)
    try:
        with os_errors:
            stat = stat_fd(fd)
        twin = kind(
            file.place, fd, file.path_only, stat, file.names, file.path, file.granted_access, file.entry_key,
            file.posix, file.created,
        )  # fmt: skip
    except BaseException:
        os.close(fd)
        raise
    twin.know(file)
    twin.is_twin = True
    file.twins += 1
    return twin


def rejoin(file: ReservingFile, twin: ReservingFile) -> None:
    """The operation has ended: what the twin came to know is the open's. Where that was closed meanwhile, the last twin
    ends as the open would have: no block goes while another thread may be writing by the same descriptor."""
    file.twins -= 1
    twin.is_twin = False
    if twin.reserved:
        file.reserves()
        twin.reserved = False
    if not file.closed:
        file.know(twin)
        twin.write_time = None
        if twin.wasteful and not file.twins:
            file.give_back(file.fd)
    elif file.reserved and not file.twins:
        file.reserved, twin.reserved = False, True
    twin.close()

