# SPDX-License-Identifier: GPL-2.0-or-later
"""The last steps of a CREATE that local processes may delay (`kernel oplocks`, `posix locking`, or a lease that a local
process holds): once the open table has granted the open, the data of the file is opened, waiting for a lease holder
(fcntl(2), F_SETLEASE).
"""
from __future__ import annotations

from typing import Final

from ksmbd.smb.create_state import Creation
from ksmbd.smb.ports import Clock, OpenGrant
from ksmbd.smb.status import STATUS_SHARING_VIOLATION, NtStatusError
from ksmbd.smb.waiting import Future

FIRST_PAUSE: Final = 0.002
LAST_PAUSE: Final = 0.25
"""The longest pause between two tries, in seconds; pauses begin with FIRST_PAUSE and double. The kernel does not report
when a lease is given back."""
PATIENCE: Final = 90.0
"""Seconds after which the open is refused if a process takes its lease again and again. The kernel gives a holder
/proc/sys/fs/lease-break-time, 45 s, to give one back."""


async def admit(creation: Creation, grant: OpenGrant) -> OpenGrant:
    """Open the data and take the kernel's lease for the grant; returns the grant, perhaps with less. Raises
    STATUS_SHARING_VIOLATION where a local process keeps its lease for PATIENCE seconds."""
    table, clock = creation.server.table, creation.server.clock
    local, ref = creation.local, creation.ref
    assert local is not None and ref is not None
    pause = FIRST_PAUSE
    deadline = clock.monotonic() + PATIENCE
    while (admitted := table.admit(ref, local, grant)) is None:
        if clock.monotonic() >= deadline:
            raise NtStatusError(STATUS_SHARING_VIOLATION, "somebody has a lease on the file")
        await _pause(clock, pause)
        pause = min(2 * pause, LAST_PAUSE)
    return admitted


def _pause(clock: Clock, seconds: float) -> Future[None]:
    future: Future[None] = Future()

    def over() -> None:
        if not future.done:
            future.set_result(None)

    future.on_cancel = clock.call_later(seconds, over).cancel
    return future
