# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache of directory contents, for looking up names without regard to case and short names.

A client that creates 10,000 files looks up 10,000 names that do not exist, and each miss would read the whole
directory. So the names that one scan found are kept per directory (device, inode).

On file systems of this machine inotify tells every change to a directory that is kept, also of other workers and local
processes; `find` applies what has happened since. The kernel queues the event of a change before the system call that
made it returns, so a name is found that was there before the lookup began.

Elsewhere, or where inotify refuses, the names are valid while the directory's mtime and ctime stay the same. Changes
made through this server would invalidate them, so `added` and `removed` apply such a change to names that were valid
just before it. There, a change by another process in the same moment may be missed until the next change: until then a
name in another case is not found. An exact name is never missed, because exact names are looked up on the disk first.

A large directory is read in pieces where the caller allows it (`may_defer`). `find` then raises Unfinished; the caller
reads the rest by Unfinished.go_on, and calls `find` again.
"""
from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Final

from ksmbd import limits
from ksmbd.kernel import inotify
from ksmbd.kernel.filesystems import file_system_name
from ksmbd.kernel.inotify import Event, Inotify
from ksmbd.kernel.stat import Stat, stat_fd
from ksmbd.smb.ports import Unfinished
from ksmbd.vfs.directory_names import DirectoryNames
from ksmbd.vfs.names import from_scandir, to_client
from ksmbd.vfs.short_names import ShortNames
from ksmbd.vfs.tunnel import Tunnel

logger = logging.getLogger("ksmbd.vfs")

_AT_ONCE = 1000
"""Names of a directory that are always read at once: about a millisecond of work."""
_PIECE = 200
_CHANGES: Final = (
    inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO | inotify.IN_DELETE_SELF
)
_ADDS: Final = inotify.IN_CREATE | inotify.IN_MOVED_TO
_LOCAL: Final = frozenset(("bcachefs", "btrfs", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"))
"""File systems that nobody changes without this machine's kernel."""

_EVENTS_AT_ONCE = 4096
"""More would take longer than other clients should wait."""
_EVENT_COMES: Final = 2.0
"""Seconds after a change within which inotify tells it; the kernel does so before the call returns that made it."""

Stamp = tuple[int, int, int, int]
Key = tuple[int, int]


def _stamp(stat: Stat) -> Stamp:
    return stat.mtime, stat.mtime_ns, stat.ctime, stat.ctime_ns


class _Directory:
    """A directory whose names are kept, or read just now."""

    __slots__ = ("changed", "counted", "key", "later", "names", "scan", "stamp", "watch")

    def __init__(self, key: Key, stamp: Stamp, watch: int) -> None:
        self.key = key
        self.stamp: Stamp | None = stamp
        self.watch = watch
        """The number of its inotify watch; -1: it has none."""
        self.names = DirectoryNames()
        self.counted = 0
        """How many names of it the cache has counted."""
        self.scan: _Scan | None = None
        """Reads it; None: all is read, or nobody reads on."""
        self.later: list[tuple[bool, bytes]] = []
        """(whether it was added, name on disk) of what has happened while it was read."""
        self.changed = False
        """There was an event since `stamp`."""

    def apply(self, added: bool, disk: bytes) -> None:
        """Apply a change, once the directory is read."""
        self.changed = True
        if self.scan is not None:
            self.later.append((added, disk))
        elif added:
            self.names.add(disk, to_client(disk))
        else:
            self.names.remove(disk)

    def is_current(self, stamp: Stamp) -> bool:
        """Whether the names are those of the directory, which has this stamp now. All waiting events are applied.

        With a watch they are, unless the stamp has changed for a while and no event tells why: that is a change of the
        directory's own attributes, or one that inotify does not see."""
        if self.stamp == stamp:
            return True
        if self.watch < 0:
            return False
        if self.changed:
            self.stamp, self.changed = stamp, False
            return True
        return abs(time.time() - stamp[2]) < _EVENT_COMES


class _Scan:
    """Reads a directory into a _Directory."""

    __slots__ = ("_into", "_scan")

    def __init__(self, directory: int, into: _Directory) -> None:
        """Raises OSError."""
        self._into = into
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            self._scan = os.scandir(fd)  # duplicates the descriptor
        finally:
            os.close(fd)

    def run(self, most: int) -> bool:
        """Read at most `most` names. Returns whether there may be more. Raises OSError."""
        add = self._into.names.add
        count = 0
        for entry in islice(self._scan, most):
            disk, client = from_scandir(entry.name)
            add(disk, client)
            count += 1
        if count == most:
            return True
        self._scan.close()
        return False

    def close(self) -> None:
        """Read no more."""
        self._scan.close()


class DirectoryCache:
    """Maps folded names to names on disk, for a bounded number of directories."""

    __slots__ = ("_by_watch", "_directories", "_inotify", "_just_read", "_readings", "_total", "_watches",
                 "found_current", "may_defer", "scans", "tunnel")  # fmt: skip

    def __init__(self, watches: bool = True, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`watches`: whether inotify may be used."""
        self.tunnel = Tunnel(monotonic)
        self._directories: OrderedDict[Key, _Directory] = OrderedDict()
        self._readings: OrderedDict[Key, _Directory] = OrderedDict()
        """Those that are read in pieces."""
        self._by_watch: dict[int, _Directory] = {}
        self._watches = watches
        self._inotify: Inotify | None = None
        self._total = 0
        self.found_current: Key | None = None
        """The token that `prepare` would return right after the last `find`."""
        self.may_defer = False
        """Whether `find` may raise Unfinished for a large directory. Set before a lookup; `end_query` resets it."""
        self._just_read: Key | None = None
        """A directory that was just read in pieces: the lookup that caused it uses the names, even if the directory
        has changed meanwhile."""
        self.scans = 0
        """How many directories were read, for tests and statistics."""

    def close(self) -> None:
        """Forget everything, because the process ends."""
        for reading in self._readings.values():
            self._abandon(reading)
        self._directories.clear()
        self._readings.clear()
        self._by_watch.clear()
        if self._inotify is not None:
            self._inotify.close()

    def find(self, directory: int, name: str) -> bytes | None:
        """The name on disk that equals `name` without regard to case; None where there is none. `directory` is an open
        descriptor. Raises OSError; Unfinished if `may_defer` is set."""
        return self._names(directory).find(name)

    def find_short(self, directory: int, name: str, short_names: ShortNames) -> bytes | None:
        """The name on disk that has the short name `name`. Raises what `find` raises."""
        names = self._names(directory)
        if names.shorten(short_names, _AT_ONCE):
            if self.may_defer:
                raise Unfinished(lambda: names.shorten(short_names, _PIECE))
            while names.shorten(short_names, _AT_ONCE):
                pass
        self._count()
        return names.find_short(name)

    def forget(self, directory: int) -> None:
        """Forget the names of an open directory, because one of them is not there. Raises OSError."""
        stat = stat_fd(directory)
        self._forget((stat.dev, stat.ino))

    def _names(self, directory: int) -> DirectoryNames:
        self.found_current = None
        stat = stat_fd(directory)
        key = (stat.dev, stat.ino)
        stamp = _stamp(stat)
        if self._by_watch:
            self._take_changes()
        known = self._directories.get(key)
        if known is None or not (known.is_current(stamp) or self._just_read == key):
            known = self._read(directory, key, stamp)
        else:
            self._directories.move_to_end(key)
            self._count()
        if known.watch < 0 and known.stamp == stamp:
            self.found_current = key
        return known.names

    def end_query(self) -> None:
        """End a lookup that was begun with `may_defer`."""
        self.may_defer = False
        self._just_read = None

    # ------------------------------------------------------------------------------------------------ own changes

    def prepare(self, directory: int) -> Key | None:
        """Call before a change to `directory`. Returns the token for `added` and `removed`; None where no valid
        contents are cached, or inotify tells the change. Raises OSError."""
        if not self._directories:
            return None
        stat = stat_fd(directory)
        key = (stat.dev, stat.ino)
        known = self._directories.get(key)
        if known is None or known.watch >= 0:
            return None
        if known.stamp != _stamp(stat):
            self._forget(key)
            return None
        return key

    def added(self, token: Key | None, directory: int, name: bytes) -> None:
        """Add a new entry `name` (on disk) to the directory of `token`. Raises OSError."""
        self._changed(token, directory, True, name)

    def removed(self, token: Key | None, directory: int, name: bytes) -> None:
        """Remove an entry `name` (on disk) from the directory of `token`. Raises OSError."""
        self._changed(token, directory, False, name)

    def _changed(self, token: Key | None, directory: int, added: bool, name: bytes) -> None:
        known = self._directories.get(token) if token is not None else None
        if known is not None:
            known.apply(added, name)
            known.stamp = _stamp(stat_fd(directory))

    # ---------------------------------------------------------------------------------------------------- reading

    def _read(self, directory: int, key: Key, stamp: Stamp) -> _Directory:
        """Read a directory, and keep its names. Raises OSError; Unfinished."""
        reading = self._readings.get(key)
        if reading is None:
            self._forget(key)
            self.scans += 1
            reading = _Directory(key, stamp, -1)
            self._watch(directory, reading)
            try:
                scan = reading.scan = _Scan(directory, reading)
                more = scan.run(_AT_ONCE)
            except OSError:
                self._abandon(reading)
                raise
            if not more:
                return self._keep(reading)
            self._readings[key] = reading
            while len(self._readings) > limits.FOLDERS_READ.value:
                _, oldest = self._readings.popitem(last=False)
                self._abandon(oldest)
        if self.may_defer:
            raise Unfinished(partial(self._later, reading))
        while self._go_on(reading, _AT_ONCE):
            pass
        return self._directories.get(key) or reading

    def _later(self, reading: _Directory) -> bool:
        """Read a piece more; the callable of Unfinished."""
        if reading.scan is None:  # it was abandoned, or somebody else has read it
            return False
        if self._go_on(reading, _PIECE):
            return True
        self._just_read = reading.key
        return False

    def _go_on(self, reading: _Directory, most: int) -> bool:
        """Read at most `most` names more. Returns whether there may be others."""
        scan = reading.scan
        if scan is None:
            return False
        try:
            if scan.run(most):
                return True
        except OSError:
            self._readings.pop(reading.key, None)
            self._abandon(reading)
            return False  # the next lookup raises it
        self._readings.pop(reading.key, None)
        self._keep(reading)
        return False

    def _keep(self, reading: _Directory) -> _Directory:
        reading.scan = None
        for added, disk in reading.later:
            reading.apply(added, disk)
        reading.later.clear()
        self._directories[reading.key] = reading
        self._count()
        return reading

    def _count(self) -> None:
        """Count the names of the directory that was used last, and forget those unused for longest beyond the
        limits."""
        directories = self._directories
        if not directories:
            return
        last = directories[next(reversed(directories))]
        held = len(last.names)
        self._total += held - last.counted
        last.counted = held
        while len(directories) > 1 and (
            len(directories) > limits.FOLDERS_KEPT.value or self._total > limits.FOLDER_NAMES_KEPT.value
        ):
            self._forget(next(iter(directories)))

    def _forget(self, key: Key) -> None:
        known = self._directories.pop(key, None)
        if known is not None:
            self._total -= known.counted
            self._abandon(known)

    def _abandon(self, directory: _Directory) -> None:
        """End the watch of a directory, and its reading."""
        scan, directory.scan = directory.scan, None
        if scan is not None:
            scan.close()
        if directory.watch >= 0 and self._by_watch.pop(directory.watch, None) is not None:
            assert self._inotify is not None
            self._inotify.remove(directory.watch)

    # --------------------------------------------------------------------------------------------- others' changes

    def _watch(self, directory: int, known: _Directory) -> None:
        """Watch the directory, where inotify can tell all changes."""
        if not self._watches or file_system_name(directory, known.key[0]) not in _LOCAL:
            return
        try:
            if self._inotify is None:
                self._inotify = Inotify()
            known.watch = self._inotify.add(directory, _CHANGES)
        except OSError as error:
            if self._inotify is None:
                self._watches = False
                logger.warning("names in another case take longer to find: inotify: %s", error.strerror)
            return
        self._by_watch[known.watch] = known

    def _take_changes(self) -> None:
        """Apply all changes that inotify has told since the last time; where they are too many, forget the directories
        instead, which are read again in pieces."""
        assert self._inotify is not None
        left = _EVENTS_AT_ONCE
        while events := self._inotify.read():
            for event in events:
                self._take(event)
            left -= len(events)
            if left < 0:
                for known in list(self._by_watch.values()):
                    self._lose(known)
                self._inotify.close()
                self._inotify = None
                return

    def _take(self, event: Event) -> None:
        if event.mask & inotify.IN_Q_OVERFLOW:
            for known in list(self._by_watch.values()):
                self._lose(known)
            return
        changed = self._by_watch.get(event.watch)
        if changed is None:
            return
        if event.mask & (inotify.IN_IGNORED | inotify.IN_DELETE_SELF):
            self._lose(changed)
        elif event.name:
            changed.apply(bool(event.mask & _ADDS), event.name)

    def _lose(self, known: _Directory) -> None:
        """Forget a directory, or what was read of it: no more can be known of its changes."""
        self._readings.pop(known.key, None)
        if self._directories.get(known.key) is known:
            self._forget(known.key)
        else:
            self._abandon(known)
