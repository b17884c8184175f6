# SPDX-License-Identifier: GPL-2.0-or-later
"""File leases of the kernel (fcntl(2), F_SETLEASE): the holder is told when another process opens the file, before that
open returns.

A write lease needs a file that nobody else has open, a read lease one that nobody, the holder included, has open for
writing. The caller must own the file or have CAP_LEASE. The kernel notifies by a real-time signal that names the
descriptor, and removes the lease itself after /proc/sys/fs/lease-break-time. Errors: EAGAIN, EACCES, or EINVAL where
the file system has no leases.

The signal is blocked in every thread and read from a signalfd, so it interrupts nothing.
"""
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import tempfile
from struct import Struct
from typing import Final

from ksmbd.kernel.syscalls import check, function, read_now

NONE: Final = fcntl.F_UNLCK
READ: Final = fcntl.F_RDLCK
WRITE: Final = fcntl.F_WRLCK

SIGNAL: Final = signal.SIGRTMIN + 1
"""The signal that the kernel sends when a lease must be broken."""

BREAK_TIME: Final = "/proc/sys/fs/lease-break-time"
DEFAULT_BREAK_TIME: Final = 45.0

_INFO: Final = Struct("=IiIIIi104x")
"""struct signalfd_siginfo: number, errno, code, pid, uid, descriptor."""
_SFD_FLAGS: Final = os.O_CLOEXEC | os.O_NONBLOCK
_SET_BYTES: Final = 128
"""sizeof(sigset_t)."""

_signalfd: Final = function("signalfd", ctypes.c_int, ctypes.c_char_p, ctypes.c_int)


def set_lease(fd: int, kind: int) -> None:
    """Take, change or release the lease of an open file; `kind` is NONE, READ or WRITE. Raises OSError."""
    fcntl.fcntl(fd, fcntl.F_SETLEASE, kind)


def lease_of(fd: int) -> int:
    """The lease of this descriptor; while it is being broken, the kind that it must be reduced to. Raises OSError."""
    return fcntl.fcntl(fd, fcntl.F_GETLEASE)


def signal_for(fd: int) -> None:
    """Request SIGNAL, with the descriptor, when its lease must be broken. To be called before `set_lease`."""
    fcntl.fcntl(fd, fcntl.F_SETSIG, SIGNAL)


def break_time() -> float:
    """Seconds after which the kernel removes a lease whose holder did not release it."""
    try:
        with open(BREAK_TIME, encoding="ascii") as file:
            return float(file.read())
    except (OSError, ValueError):
        return DEFAULT_BREAK_TIME


class LeaseSignals:
    """A signalfd for SIGNAL, and for SIGIO, which the kernel sends instead when too many signals are queued."""

    def __init__(self) -> None:
        """Blocks both signals in the calling thread and in those that it starts from now on. Raises OSError."""
        numbers = (SIGNAL, signal.SIGIO)
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        mask = sum(1 << (number - 1) for number in numbers).to_bytes(_SET_BYTES, "little")
        self._fd = check(_signalfd(-1, mask, _SFD_FLAGS))

    def fileno(self) -> int:
        """Readable when a lease is to be broken."""
        return self._fd

    def read(self) -> set[int] | None:
        """The descriptors whose leases must be broken; None: some leases, but signals were lost."""
        found: set[int] = set()
        lost = False
        while data := read_now(self._fd, 64 * _INFO.size):
            for at in range(0, len(data), _INFO.size):
                number, _, _, _, _, fd = _INFO.unpack_from(data, at)
                lost |= number == signal.SIGIO
                found.add(fd)
        return None if lost else found

    def close(self) -> None:
        """No more signals are read; they stay blocked."""
        os.close(self._fd)


def probe() -> str:
    """The reason why leases cannot be used here; '' if they can."""
    if _signalfd is None:
        return "this libc has no signalfd"
    try:
        with tempfile.TemporaryFile() as file:
            fd = file.fileno()
            signal_for(fd)
            set_lease(fd, WRITE)
            set_lease(fd, NONE)
    except OSError as error:
        return os.strerror(error.errno or errno.EINVAL)
    return ""
