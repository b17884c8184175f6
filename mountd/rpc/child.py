# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.rpc, the process of the RPC services, as the daemon sees it (mountd/serviceprocess.py)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from ksmbd import limits
from mountd.loop import Loop
from mountd.rpc.frames import ASKING, Status
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


class RpcProcess(ServiceProcess):
    """The process of the RPC services. Implements mountd.rpc.host.Backend."""

    def __init__(
        self, loop: Loop, command: Sequence[str] = COMMAND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(loop, SERVICE, command, clock)
