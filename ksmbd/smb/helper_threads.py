# SPDX-License-Identifier: GPL-2.0-or-later
"""The helper threads that sign and encrypt long messages, as the protocol sees them."""
from __future__ import annotations

from collections.abc import Callable

from ksmbd.smb.waiting import Future


class HelperThreads:
    """The entry point of the helper threads; process/worker.py sets it."""

    def __init__(self) -> None:
        self.submit: Callable[[Callable[[], None]], Future[None]] | None = None
        """Runs a function in another thread. None: there are no threads, and everything is computed at once."""
