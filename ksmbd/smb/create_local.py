# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of CREATE where local processes count (`kernel oplocks`, `posix locking`, a file that somebody has a lease
on): the file's data is opened once the open table has agreed, and waits for whoever has a lease (fcntl(2), F_SETLEASE).
"""
from __future__ import annotations

from typing import Final

from ksmbd.smb.create_state import Creation
from ksmbd.smb.ports import Clock, OpenGrant
from ksmbd.smb.status import STATUS_SHARING_VIOLATION, NtStatusError
from ksmbd.smb.waiting import Future

FIRST_PAUSE: Final = 0.002
LAST_PAUSE: Final = 0.25
"""Seconds between two tries, twice as long each time: the kernel does not say when a lease is given back."""
PATIENCE: Final = 90.0
"""Seconds after which a lease that its holder takes again and again refuses the open. The kernel gives a holder
/proc/sys/fs/lease-break-time, 45 s, to give one back."""


async def admit(creation: Creation, grant: OpenGrant) -> OpenGrant:
    """Open the data and have the kernel stand behind the grant; what is granted then. STATUS_SHARING_VIOLATION where
    somebody's lease does not go."""
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
