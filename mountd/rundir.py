# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are: the default files, and what is in a server's run directory.

Two servers with two run directories do not meet. Everything that the tools and the daemon say to each other goes
through the run directory: the lock file with the manager's process id, the FIFO for a listing, and the files of
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
    """The paths in one server's run directory."""

    path: str

    @classmethod
    def from_option(cls, option: str | None) -> RunDirectory:
        """The directory that -R names, or the default one."""
        return cls(os.path.abspath(option or default_rundir()))

    @property
    def lock(self) -> str:
        """Holds the manager's process id in decimal while it runs."""
        return os.path.join(self.path, "ksmbd.lock")

    @property
    def control(self) -> str:
        """The folder of the control files."""
        return os.path.join(self.path, "class", "ksmbd-control")

    @property
    def debug(self) -> str:
        """Lists the components, those that print in brackets; a name written to it is toggled."""
        return os.path.join(self.control, "debug")

    @property
    def stats(self) -> str:
        """The engine's counters."""
        return os.path.join(self.control, "stats")

    @property
    def kill_server(self) -> str:
        """`hard` written to it ends the engine."""
        return os.path.join(self.control, "kill_server")

    @property
    def features(self) -> str:
        """A line a kernel feature: name, `on` or `off`, and why."""
        return os.path.join(self.control, "features")

    def fifo(self, manager: int) -> str:
        """Through it the manager answers SIGUSR1 with the list of shares; whoever asks makes and removes it."""
        return os.path.join(self.path, f"ksmbd.fifo.{manager}")

    def manager_pid(self) -> int | None:
        """The process id of the running manager, or None. A stale lock file, also one whose number is another
        program's by now, counts as none."""
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
            return pid  # hidden from us, and so it is there
        return pid if b"ksmbd" in command else None

    def notify(self, number: signal.Signals) -> bool:
        """Send the running manager a signal. False: it does not run. PermissionError: it is another user's."""
        pid = self.manager_pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True
