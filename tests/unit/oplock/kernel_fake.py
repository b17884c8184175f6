# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel for tests: who has a file open, its leases and its byte-range locks, with the rules of fcntl(2).

A descriptor's number stands for the open file behind it: descriptors that were joined have one number.
"""
from __future__ import annotations

from itertools import count

from ksmbd.smb.ports import NO_LEASE, READ_LEASE, READ_LOCK, UNLOCKED, WRITE_LEASE, WRITE_LOCK, LocalOpen

BYTES = 64
"""How many bytes of a file there are, for its locks."""


class OpenFile:
    """One open file: `reads`, `writes`, its lease, what the kernel leaves of that, its locks."""

    def __init__(self, number: int, reads: bool, writes: bool) -> None:
        self.number = number
        self.reads = reads
        self.writes = writes
        self.lease = NO_LEASE
        self.left = NO_LEASE
        self.locks = [UNLOCKED] * BYTES


class Kernel:
    """One file's."""

    def __init__(self) -> None:
        self.opens: list[OpenFile] = []
        self.signals: set[int] = set()
        """Descriptors whose leases are to be broken."""
        self.refuse = False
        """Gives no leases, like a file system without them."""
        self._numbers = count(100)

    def open(self, reads: bool, writes: bool) -> OpenFile | None:
        """What open(2) with O_NONBLOCK gives; None: EWOULDBLOCK, and who has a lease is told."""
        blocked = False
        for other in self.opens:
            left = NO_LEASE if writes else READ_LEASE
            if other.lease > left:
                blocked = True
                if other.left > left:
                    other.left = left
                    self.signals.add(other.number)
        if blocked:
            return None
        made = OpenFile(next(self._numbers), reads, writes)
        self.opens.append(made)
        return made

    def close(self, file: OpenFile) -> None:
        """The last descriptor of it goes."""
        self.opens.remove(file)

    def lease(self, file: OpenFile, kind: int) -> bool:
        """F_SETLEASE."""
        if kind == WRITE_LEASE and len(self.opens) > 1:
            return False
        if kind == READ_LEASE and any(other.writes for other in self.opens):
            return False
        if kind and self.refuse:
            return False
        file.lease = file.left = kind
        return True

    def lock(self, file: OpenFile, kind: int, first: int, last: int) -> bool:
        """F_OFD_SETLK."""
        last = min(last, BYTES - 1)
        if kind and self.locked(file, kind == WRITE_LOCK, first, last):
            return False
        file.locks[first : last + 1] = [kind] * (last + 1 - first)
        return True

    def locked(self, file: OpenFile, write: bool, first: int, last: int) -> bool:
        """F_OFD_GETLK."""
        strongest = UNLOCKED if write else READ_LOCK
        return any(
            kind > strongest for other in self.opens if other is not file
            for kind in other.locks[first : min(last, BYTES - 1) + 1]
        )  # fmt: skip


class Side:
    """A LocalOpen on it."""

    def __init__(
        self, kernel: Kernel, writable: bool = True, *, reads: bool = True, oplocks: bool = True, locking: bool = False
    ) -> None:
        self.kernel = kernel
        self.kernel_oplocks = oplocks
        self.posix_locking = locking
        self.writable = writable
        self.reads = reads
        self.file: OpenFile | None = None
        self.shared = [self]
        self.wide_allowed = True

    def fileno(self) -> int:
        return self.file.number if self.file is not None else -1

    def open_data(self, both: bool = False) -> bool:
        if self.file is None:
            wide = both and self.wide_allowed
            self.file = self.kernel.open(self.reads or wide, self.writable or wide)
        return self.file is not None

    def join(self, other: LocalOpen) -> bool:
        assert isinstance(other, Side)
        theirs = other.file
        if theirs is None or (self.writable and not theirs.writes) or (self.reads and not theirs.reads):
            return False
        if self.file is not None:
            self.close()
        self.file = other.file
        self.shared = other.shared
        self.shared.append(self)
        return True

    def lease(self, kind: int) -> bool:
        if self.file is None:
            return kind == NO_LEASE
        return self.kernel.lease(self.file, kind)

    def lease_left(self) -> int:
        return self.file.left if self.file is not None else NO_LEASE

    def lock(self, kind: int, first: int, last: int) -> bool:
        return self.file is None or self.kernel.lock(self.file, kind, first, last)

    def locked(self, first: int, last: int, write: bool) -> bool:
        return self.file is not None and self.kernel.locked(self.file, write, first, last)

    def close(self) -> None:
        """The descriptor."""
        self.shared.remove(self)
        if self.file is not None and not self.shared:
            self.kernel.close(self.file)
        self.file = None
        self.shared = [self]
