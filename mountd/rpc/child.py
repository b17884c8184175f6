# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.rpc, the process of the RPC services, as the daemon sees it (mountd/serviceprocess.py)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from ksmbd import limits
from ksmbd.overriding import override
from mountd.loop import Loop, Timer
from mountd.rpc.frames import ASKING, Kind, Request, Status
from mountd.serviceprocess import Service, ServiceProcess

COMMAND: Final = (sys.executable, "-P", "-m", "mountd.rpc.process")
SERVICE: Final = Service(
    title="ksmbd.rpc",
    what="the RPC services",
    broken="open pipes are broken",
    asking=frozenset(ASKING),
    statuses=Status,
    backlog=limits.RPC_BACKLOG,
    seconds=limits.RPC_SECONDS,
)


REST_SECONDS: Final = 300.0
"""Seconds without an open pipe after which the process ends, until there is one again."""


class RpcProcess(ServiceProcess):
    """The process of the RPC services. Implements mountd.rpc.host.Backend."""

    def __init__(
        self, loop: Loop, command: Sequence[str] = COMMAND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(loop, SERVICE, command, clock)
        self._pipes = 0
        """Open pipes."""
        self._rest: Timer | None = None

    @override
    def send(self, request: Request, guest: bool) -> bool:
        """See ServiceProcess.send. Some time after the last pipe was closed the process ends."""
        if request.kind == Kind.OPEN:
            self._pipes += 1
            self._stay()
        elif request.kind == Kind.CLOSE and self._pipes:
            self._pipes -= 1
            if not self._pipes:
                self._rest = self._loop.call_later(REST_SECONDS, self._unused)
        return super().send(request, guest)

    def _stay(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _unused(self) -> None:
        self._rest = None
        self.sleep()

    @override
    def _hang_up(self) -> None:
        super()._hang_up()
        self._pipes = 0
        self._stay()
