# SPDX-License-Identifier: GPL-2.0-or-later
"""The control files of the kernel's server, /sys/class/ksmbd-control."""

from __future__ import annotations

import os
from typing import Final

DIRECTORY: Final = "/sys/class/ksmbd-control"

STARTUP: Final = "startup"
"""It waits for a daemon, and serves nobody."""
RUNNING: Final = "running"
RESET: Final = "reset"
"""It ends its connections."""


class KernelControl:
    """The files below one directory."""

    def __init__(self, directory: str = DIRECTORY) -> None:
        self.directory = directory

    def state(self) -> str:
        """The server's state, the second word of `stats`: STARTUP, RUNNING, RESET or `shutdown`; '' where the module is
        not loaded."""
        try:
            with open(os.path.join(self.directory, "stats"), "rb") as stream:
                words = stream.read(256).split()
        except OSError:
            return ""
        return words[1].decode("ascii", "replace") if len(words) > 1 else ""

    def kill(self) -> None:
        """End all connections, and bring the server back to STARTUP. Returns when that is done. Raises OSError."""
        with open(os.path.join(self.directory, "kill_server"), "wb", buffering=0) as stream:
            stream.write(b"hard\n")
