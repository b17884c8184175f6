# SPDX-License-Identifier: GPL-2.0-or-later
"""The worker's helper threads, as the protocol uses them for long calculations."""
from __future__ import annotations

from collections.abc import Callable

from ksmbd.smb.waiting import Future


class HelperThreads:
    """Set by the module that puts the rooms together."""

    def __init__(self) -> None:
        self.submit: Callable[[Callable[[], None]], Future[None]] | None = None
        """Runs a calculation in another thread; None: there is none, and all is done at once."""
