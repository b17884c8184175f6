# SPDX-License-Identifier: GPL-2.0-or-later
"""The default paths, and the files in a server's run directory.

Servers with different run directories are independent. The tools and the daemon communicate through the run directory:
the lock file with the process id of ksmbd.mountd (the manager), the FIFO for the list of shares, and the files in
class/ksmbd-control, which correspond to /sys/class/ksmbd-control of the kernel's server.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

DEFAULT_RUNDIR = "/run/ksmbd"
DEFAULT_CONFIG = "/etc/ksmbd/ksmbd.conf"
DEFAULT_PWDDB = "/etc/ksmbd/ksmbdpwd.db"
ENVIRONMENT = "KSMBD_RUNDIR"


def default_rundir() -> str:
    """The run directory where no option names one: $KSMBD_RUNDIR, else /run/ksmbd."""
    return os.environ.get(ENVIRONMENT) or DEFAULT_RUNDIR


@dataclass(frozen=True)
class RunDirectory:
    """The paths in the run directory of one server."""

    path: str

    @classmethod
    def from_option(cls, option: str | None) -> RunDirectory:
        """The directory that -R names, or the default one."""
        return cls(os.path.abspath(option or default_rundir()))

    @property
    def lock(self) -> str:
        """The lock file, which holds the manager's process id in decimal while it runs, and in a second line the
        directory of the control files where that is not in the run directory."""
        return os.path.join(self.path, "ksmbd.lock")

    @property
    def control(self) -> str:
        """The directory of the control files: the engine's, or the kernel's where the manager drives its server."""
        return self.kernel_control or os.path.join(self.path, "class", "ksmbd-control")

    @property
    def kernel_control(self) -> str:
        """The directory of the control files of the kernel's server where the manager drives that, else ''."""
        try:
            with open(self.lock, encoding="utf-8", errors="surrogateescape") as stream:
                _, *rest = stream.read(4096).splitlines() or [""]
        except OSError:
            return ""
        return rest[0] if rest else ""

    @property
    def debug(self) -> str:
        """The file that lists the debug components, enabled ones in brackets; writing a name toggles it."""
        return os.path.join(self.control, "debug")

    @property
    def stats(self) -> str:
        """The file with the engine's counters."""
        return os.path.join(self.control, "stats")

    @property
    def kill_server(self) -> str:
        """The file that ends the engine when `hard` is written to it."""
        return os.path.join(self.control, "kill_server")

    @property
    def features(self) -> str:
        """The file with one line per kernel feature: name, `on` or `off`, and why."""
        return os.path.join(self.control, "features")

    @property
    def socket(self) -> str:
        """The socket on which ksmbd.control asks the daemon (mountd/controlsocket.py)."""
        return os.path.join(self.path, "ksmbd.socket")

    def fifo(self, manager: int) -> str:
        """The FIFO into which the manager with this process id writes the list of shares on SIGUSR1. The requesting
        process creates and removes it."""
        return os.path.join(self.path, f"ksmbd.fifo.{manager}")

    def manager_pid(self) -> int | None:
        """The process id of the running manager; None where the lock file is missing or stale, also if its process id
        now belongs to another program."""
        try:
            with open(self.lock, "rb") as stream:
                text = stream.read(32).split(b"\n")[0].strip(b" \t\0")
        except OSError:
            return None
        if not text.isdigit() or int(text) <= 1:
            return None
        pid = int(text)
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                command = stream.read()
        except FileNotFoundError:
            return None
        except OSError:
            return pid  # the process exists but its command line may not be read
        return pid if b"ksmbd" in command else None

    def notify(self, number: signal.Signals) -> bool:
        """Send a signal to the running manager. Returns False where none runs. Raises PermissionError."""
        pid = self.manager_pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True
