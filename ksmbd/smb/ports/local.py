# SPDX-License-Identifier: GPL-2.0-or-later
"""LocalOpen, the port implemented by ksmbd/vfs that coordinates an open with local processes: leases and locks of the
kernel."""
from __future__ import annotations

from typing import Protocol

NO_LEASE, READ_LEASE, WRITE_LEASE = 0, 1, 2
"""Kinds of kernel leases, the stronger the higher (LocalOpen.lease)."""

UNLOCKED, READ_LOCK, WRITE_LOCK = 0, 1, 2
"""Kinds of kernel locks of a byte range (LocalOpen.lock)."""


class LocalOpen(Protocol):
    """The descriptor of an open that must be coordinated with local processes: the share has `kernel oplocks` or `posix
    locking`, or a local process has a lease on the file that delays the open."""

    kernel_oplocks: bool
    posix_locking: bool
    writable: bool
    """The descriptor is open for writing, or can be."""

    def fileno(self) -> int:
        """The current descriptor."""
        ...

    def open_data(self, both: bool = False) -> bool:
        """Open the file's data where only the entry is open yet; with `both` for reading and writing, if the user may.
        False: a local process has a lease, which is being broken now; the caller tries again. Raises NtStatusError."""
        ...

    def join(self, other: LocalOpen) -> bool:
        """Use the open file description of another open, so that there is only one. False: it cannot do what this open
        needs."""
        ...

    def lease(self, kind: int) -> bool:
        """Take or change the kernel's lease, one of NO_LEASE, READ_LEASE, WRITE_LEASE. False: refused."""
        ...

    def lease_left(self) -> int:
        """The lease that the kernel still allows: less than what was taken while a break is under way."""
        ...

    def lock(self, kind: int, first: int, last: int) -> bool:
        """Lock the bytes from `first` to `last`: UNLOCKED, READ_LOCK or WRITE_LOCK. False: a lock of a local process
        conflicts."""
        ...

    def locked(self, first: int, last: int, write: bool) -> bool:
        """Whether a lock of a local process forbids reading or writing these bytes."""
        ...
