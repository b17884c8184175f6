# SPDX-License-Identifier: GPL-2.0-or-later
"""What ksmbd.trace is told: the ports of the server, and the keys of encrypted sessions where `trace keys` allows it.

The control socket lets nobody but root and the user that runs the daemon ask.
"""

from __future__ import annotations

from collections.abc import Callable

from ksmbd import log
from mountd.activity import Activity, OnRows
from mountd.questions import OnEnd


class Tracing:
    """Answers ksmbd.trace."""

    def __init__(self, activity: Activity, ports: Callable[[], list[int]], allowed: Callable[[], bool]) -> None:
        """`ports`: on which the server listens. `allowed`: the parameter `trace keys`."""
        self._activity = activity
        self._ports = ports
        self._allowed = allowed

    def begin(self, who: str) -> dict[str, object]:
        """A trace begins; `who` asks for it, in words. The log tells that keys are handed out."""
        allowed = self._allowed()
        if allowed:
            log.info(f"the keys of encrypted sessions are handed to ksmbd.trace ({who}); `trace keys = no` forbids it")
        return {"ports": self._ports(), "keys": allowed}

    def keys(self, after: int, on_rows: OnRows, on_end: OnEnd) -> None:
        """Ask for the keys of sessions that were established at `after` (FILETIME) or later. Raises ValueError where
        they are not handed out, NotRunning."""
        if not self._allowed():
            raise ValueError("`trace keys = no` keeps the keys of sessions in the server")
        self._activity.keys(after, on_rows, on_end)
