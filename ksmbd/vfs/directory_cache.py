# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of a directory without regard to case.

A client that makes 10,000 files looks up 10,000 names that are not there, and each miss would read the whole directory.
So what one scan found is kept by directory (device, inode) and is good while the directory's mtime and ctime stay.
Our own
changes to it would end that, so `added` and `removed` carry them into a cache that was good just before the change.
A change by somebody else in that same moment may be missed until the next one: then a name in other case counts as
absent. Exact names are always tried on the disk first, so nothing that exists under the name asked for is ever missed.

A large directory is read in pieces where the caller can wait for that (`may_defer`): Unfinished then says that there is
more to do, and once it is done the same question is answered by what was read.
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
"""Names kept over all directories."""

_AT_ONCE: Final = 1000
"""Names of a directory that are read whatever the caller can wait for: about a millisecond."""
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
        """Some names differ in case only, so that one is not in `names`."""


class DirectoryCache:
    """Folded names of directories to the names on disk, bounded."""

    __slots__ = ("_directories", "_just_read", "_total", "found_current", "may_defer", "scans")

    def __init__(self) -> None:
        self._directories: OrderedDict[tuple[int, int], _Directory] = OrderedDict()
        self._total = 0
        self.found_current: tuple[int, int] | None = None
        """What `prepare` would return just after the last `find`, without asking again."""
        self.may_defer = False
        """Reading a large directory may be left unfinished."""
        self._just_read: tuple[int, int] | None = None
        """Read in pieces just now: good for the question that asked for it, whatever has changed meanwhile."""
        self.scans = 0
        """Directories read, for tests and statistics."""

    def find(self, directory: int, name: str) -> bytes | None:
        """The name on disk of `name` in other case, None where there is none. Raises OSError."""
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
        """The question that was asked with `may_defer` is over."""
        self.may_defer = False
        self._just_read = None

    def prepare(self, directory: int) -> tuple[int, int] | None:
        """Call before a change to `directory`: the token for `added` and `removed`, None where nothing good is kept."""
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
        """`name` was made in the directory of `token`."""
        known = self._directories.get(token) if token is not None else None
        if known is not None:
            if known.names.setdefault(fold(to_client(name)), name) != name:
                known.ambiguous = True
            else:
                self._total += 1
            known.stamp = _stamp(stat_fd(directory))

    def removed(self, token: tuple[int, int] | None, directory: int, name: bytes) -> None:
        """`name` was removed."""
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
        """See Unfinished."""
        try:
            if reading.run(_PIECE):
                return True
        except OSError:
            return False  # who asks again hears of it
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
    """A directory on its way into the cache."""

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
        """Read so many names. Whether there may be more; OSError."""
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
