# SPDX-License-Identifier: GPL-2.0-or-later
"""The lock file ksmbd.lock, which allows one ksmbd.mountd per run directory. It is locked by flock(2), and holds the
process id."""

from __future__ import annotations

import fcntl
import os


class AlreadyRunning(Exception):
    """Another ksmbd.mountd holds the lock; the message has its process id."""


class LockFile:
    """The lock, held from `acquire` to `release`. A file that a dead ksmbd.mountd has left is taken over."""

    def __init__(self, path: str, second: str = "") -> None:
        """`second`: a line to write below the process id."""
        self.path = path
        self._second = second
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock and write this process's id. Raises AlreadyRunning; OSError where the file cannot be
        created."""
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not self._is_current(descriptor):  # another process has removed the file between the two calls
                    os.close(descriptor)
                    continue
                os.ftruncate(descriptor, 0)
                lines = [str(os.getpid()), self._second] if self._second else [str(os.getpid())]
                os.pwrite(descriptor, "".join(f"{line}\n" for line in lines).encode(), 0)
            except BlockingIOError:
                pid = os.pread(descriptor, 32, 0).partition(b"\n")[0].strip().decode("ascii", "replace")
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
        """Remove the file and release the lock."""
        if self._descriptor >= 0:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
            os.close(self._descriptor)
            self._descriptor = -1
