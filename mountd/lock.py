# SPDX-License-Identifier: GPL-2.0-or-later
"""The lock file ksmbd.lock: one manager a run directory. The kernel holds the lock (flock), the file the process id."""

from __future__ import annotations

import fcntl
import os


class AlreadyRunning(Exception):
    """Another manager holds the lock; the message says which."""


class LockFile:
    """Held from `acquire` to `release`. A file that a dead manager left is taken over."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock and write our process id. AlreadyRunning; OSError: the file cannot be made."""
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not self._is_current(descriptor):  # released, and removed, between our two calls
                    os.close(descriptor)
                    continue
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            except BlockingIOError:
                pid = os.pread(descriptor, 32, 0).strip().decode("ascii", "replace")
                os.close(descriptor)
                raise AlreadyRunning(f"already running with process id {pid} ({self.path})") from None
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
            return

    def _is_current(self, descriptor: int) -> bool:
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        ours = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Remove the file and give the lock back."""
        if self._descriptor >= 0:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
            os.close(self._descriptor)
            self._descriptor = -1
