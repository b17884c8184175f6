# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache of directory contents, for looking up names without regard to case.

A client that creates 10,000 files looks up 10,000 names that do not exist, and each miss would read the whole
directory. So the names that one scan found are kept per directory (device, inode). They are valid while the directory's
mtime and ctime stay the same. Changes made through this server would invalidate them, so `added` and `removed` apply
such a change to a cache that was valid just before it.

A change by another process in the same moment may be missed until the next change: until then a name in another case
is not found. An exact name is never missed, because exact names are looked up on the disk first.

A large directory is read in pieces where the caller allows it (`may_defer`). `find` then raises Unfinished; the caller
reads the rest by Unfinished.go_on, and calls `find` again.
"""
from __future__ import annotations

import os
from collections import OrderedDict
from functools import partial
from itertools import islice
from typing import Final

from ksmbd.kernel.stat import Stat, stat_fd
from ksmbd.smb.ports import Unfinished
from ksmbd.vfs.names import fold, from_scandir, to_client

_DIRECTORIES: Final = 256
_NAMES: Final = 2_000_000
"""Names that are kept at most, over all directories."""

_AT_ONCE: Final = 1000
"""Names of a directory that are always read at once: about a millisecond of work."""
_PIECE: Final = 200

Stamp = tuple[int, int, int, int]


def _stamp(stat: Stat) -> Stamp:
    return stat.mtime, stat.mtime_ns, stat.ctime, stat.ctime_ns


class _Directory:
    __slots__ = ("ambiguous", "names", "stamp")

    def __init__(self, stamp: Stamp, names: dict[str, bytes], ambiguous: bool) -> None:
        self.stamp = stamp
        self.names = names
        self.ambiguous = ambiguous
        """Some names differ in case only; `names` has one of them."""


class DirectoryCache:
    """Maps folded names to names on disk, for a bounded number of directories."""

    __slots__ = ("_directories", "_just_read", "_total", "found_current", "may_defer", "scans")

    def __init__(self) -> None:
        self._directories: OrderedDict[tuple[int, int], _Directory] = OrderedDict()
        self._total = 0
        self.found_current: tuple[int, int] | None = None
        """The token that `prepare` would return right after the last `find`."""
        self.may_defer = False
        """Whether `find` may raise Unfinished for a large directory. Set before a lookup; `end_query` resets it."""
        self._just_read: tuple[int, int] | None = None
        """A directory that was just read in pieces: the lookup that caused it uses the names, even if the directory
        has changed meanwhile."""
        self.scans = 0
        """How many directories were read, for tests and statistics."""

    def find(self, directory: int, name: str) -> bytes | None:
        """The name on disk that equals `name` without regard to case; None where there is none. `directory` is an open
        descriptor. Raises OSError; Unfinished if `may_defer` is set."""
        self.found_current = None
        stat = stat_fd(directory)
        key = (stat.dev, stat.ino)
        stamp = _stamp(stat)
        known = self._directories.get(key)
        if known is None or (known.stamp != stamp and self._just_read != key):
            known = self._scan(directory, key, stamp)
        else:
            self._directories.move_to_end(key)
        if known.stamp == stamp:
            self.found_current = key
        return known.names.get(fold(name))

    def end_query(self) -> None:
        """End a lookup that was begun with `may_defer`."""
        self.may_defer = False
        self._just_read = None

    def prepare(self, directory: int) -> tuple[int, int] | None:
        """Call before a change to `directory`. Returns the token for `added` and `removed`; None where no valid
        contents are cached. Raises OSError."""
        if not self._directories:
            return None
        stat = stat_fd(directory)
        key = (stat.dev, stat.ino)
        known = self._directories.get(key)
        if known is None:
            return None
        if known.stamp != _stamp(stat):
            self._forget(key)
            return None
        return key

    def added(self, token: tuple[int, int] | None, directory: int, name: bytes) -> None:
        """Add a new entry `name` (on disk) to the directory of `token`. Raises OSError."""
        known = self._directories.get(token) if token is not None else None
        if known is not None:
            if known.names.setdefault(fold(to_client(name)), name) != name:
                known.ambiguous = True
            else:
                self._total += 1
            known.stamp = _stamp(stat_fd(directory))

    def removed(self, token: tuple[int, int] | None, directory: int, name: bytes) -> None:
        """Remove an entry `name` (on disk) from the directory of `token`. Raises OSError."""
        known = self._directories.get(token) if token is not None else None
        if token is None or known is None:
            return
        if known.ambiguous:
            self._forget(token)
            return
        if known.names.pop(fold(to_client(name)), None) is not None:
            self._total -= 1
        known.stamp = _stamp(stat_fd(directory))

    def _forget(self, key: tuple[int, int]) -> None:
        known = self._directories.pop(key, None)
        if known is not None:
            self._total -= len(known.names)

    def _scan(self, directory: int, key: tuple[int, int], stamp: Stamp) -> _Directory:
        self._forget(key)
        self.scans += 1
        reading = _Reading(directory, stamp)
        if reading.run(_AT_ONCE):
            if self.may_defer:
                raise Unfinished(partial(self._go_on, key, reading))
            while reading.run(_AT_ONCE):
                pass
        return self._keep(key, reading)

    def _go_on(self, key: tuple[int, int], reading: _Reading) -> bool:
        """Read a piece more; the callable of Unfinished."""
        try:
            if reading.run(_PIECE):
                return True
        except OSError:
            return False  # the next lookup raises it
        self._keep(key, reading)
        self._just_read = key
        return False

    def _keep(self, key: tuple[int, int], reading: _Reading) -> _Directory:
        self._forget(key)
        known = self._directories[key] = _Directory(reading.stamp, reading.names, reading.ambiguous)
        self._total += len(known.names)
        while len(self._directories) > 1 and (len(self._directories) > _DIRECTORIES or self._total > _NAMES):
            _, dropped = self._directories.popitem(last=False)
            self._total -= len(dropped.names)
        return known


class _Reading:
    """A directory that is being read into the cache."""

    __slots__ = ("_scan", "ambiguous", "names", "stamp")

    def __init__(self, directory: int, stamp: Stamp) -> None:
        """Raises OSError."""
        self.stamp = stamp
        self.names: dict[str, bytes] = {}
        self.ambiguous = False
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            self._scan = os.scandir(fd)  # duplicates the descriptor
        finally:
            os.close(fd)

    def run(self, most: int) -> bool:
        """Read at most `most` names. Returns whether there may be more. Raises OSError."""
        names = self.names
        before = len(names)
        count = 0
        for entry in islice(self._scan, most):
            disk, client = from_scandir(entry.name)
            names.setdefault(fold(client), disk)
            count += 1
        if len(names) - before < count:
            self.ambiguous = True
        if count == most:
            return True
        self._scan.close()
        return False
