# SPDX-License-Identifier: GPL-2.0-or-later
"""Change notify (MS-FSA 2.1.5.11, MS-SMB2 3.3.5.19) from inotify: changes made by clients and by local processes alike.

A tree watch adds a kernel watch for each directory below, bounded; beyond the bound fanotify watches the file system
(ksmbd/vfs/watch_filesystem.py). Where that is not allowed, the client is told to list again.
"""
from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final

from ksmbd import limits
from ksmbd.kernel import inotify
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, STATUS_NOTIFY_CLEANUP, NtStatusError
from ksmbd.smb.waiting import Future
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.names import Patterns, to_client
from ksmbd.vfs.watches import Watches

# CompletionFilter (MS-SMB2 2.2.35)
CHANGE_FILE_NAME: Final = 0x001
CHANGE_DIR_NAME: Final = 0x002
CHANGE_ATTRIBUTES: Final = 0x004
CHANGE_SIZE: Final = 0x008
CHANGE_LAST_WRITE: Final = 0x010
CHANGE_LAST_ACCESS: Final = 0x020
CHANGE_CREATION: Final = 0x040
CHANGE_EA: Final = 0x080
CHANGE_SECURITY: Final = 0x100
CHANGE_STREAM_NAME: Final = 0x200
CHANGE_STREAM_SIZE: Final = 0x400
CHANGE_STREAM_WRITE: Final = 0x800

# Action (MS-FSCC 2.7.1)
ACTION_ADDED: Final = 1
ACTION_REMOVED: Final = 2
ACTION_MODIFIED: Final = 3
ACTION_RENAMED_OLD_NAME: Final = 4
ACTION_RENAMED_NEW_NAME: Final = 5

_NAMES: Final = inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO
_QUEUE: Final = limits.CHANGES_KEPT.value
"""Changes kept between two requests."""
_MAKING: Final = 0.02
"""Seconds in which a worker that made a file writes what belongs to it (attributes, owner)."""
_DIRECTORIES: Final = limits.WATCHED_DIRECTORIES.value
"""Kernel watches of one tree watch."""
_DEPTH: Final = limits.WATCHED_DEPTH.value
# A change of metadata arrives as IN_ATTRIB whatever it was: times, mode, extended attributes (EAs, streams, ACLs).
_ON_ATTRIB: Final = (
    CHANGE_ATTRIBUTES | CHANGE_LAST_WRITE | CHANGE_LAST_ACCESS | CHANGE_CREATION | CHANGE_EA | CHANGE_SECURITY
    | CHANGE_STREAM_NAME | CHANGE_STREAM_SIZE | CHANGE_STREAM_WRITE
)  # fmt: skip
_ON_MODIFY: Final = CHANGE_SIZE | CHANGE_LAST_WRITE


def _kernel_mask(completion_filter: int, tree: bool) -> int:
    mask = 0
    if completion_filter & (CHANGE_FILE_NAME | CHANGE_DIR_NAME) or tree:
        mask |= _NAMES
    if completion_filter & CHANGE_CREATION:
        mask |= inotify.IN_CREATE
    if completion_filter & (CHANGE_ATTRIBUTES | CHANGE_CREATION):
        mask |= inotify.IN_MOVED_TO
    if completion_filter & _ON_ATTRIB:
        mask |= inotify.IN_ATTRIB | inotify.IN_CREATE
    if completion_filter & _ON_MODIFY:
        mask |= inotify.IN_MODIFY
    return mask or inotify.IN_DELETE_SELF


def begin(file: LocalEntry, completion_filter: int, tree: bool, later: bool = False) -> LocalWatch:
    """Begin a watch of an open directory; with `later`, what is below it is left to `go_on`. Raises OSError."""
    result = LocalWatch(file.place.common.watches, file, completion_filter, tree)
    result.begin()
    while not later and result.go_on():
        pass
    return result


class LocalWatch:
    """Implements the port Watch."""

    __slots__ = ("_buffer", "_created", "_described", "_filter", "_mask", "_moved", "_overflow", "_queue", "_rest",
                 "_too_many", "_tree", "_veto", "_waiters", "_watches", "_on_fanotify", "file", "numbers")  # fmt: skip

    def __init__(self, watches: Watches, file: LocalEntry, completion_filter: int, tree: bool) -> None:
        self._watches = watches
        self.file = file
        self._filter = completion_filter
        self._tree = tree
        self._mask = _kernel_mask(completion_filter, tree)
        self._queue: deque[tuple[int, str]] = deque()
        self._overflow = False
        self._too_many = False
        """Not all directories below are watched one by one."""
        self._on_fanotify = False
        """fanotify tells of the whole tree."""
        self._moved: dict[int, str] = {}
        """Cookies of IN_MOVED_FROM in this batch: a second half makes a pair of the two."""
        self._waiters: dict[Future[list[tuple[int, str]] | None], int] = {}
        """Requests that wait, in their order; a change answers the first."""
        self._veto: Patterns = file.place.options.veto
        self._buffer: int | None = None
        self._created: dict[str, float] = {}
        """Names just made, with the time from which their attributes are news: what is written about a new file is part
        of making it. Another worker may write it a moment later, so that it comes in another batch of events."""
        self._described: set[str] = set()
        """Those of them whose attributes came in this batch."""
        self.numbers: set[int] = set()
        self._rest: Iterator[None] | None = None
        """Directories below that are still to be watched."""

    @property
    def fd(self) -> int:
        """The watched directory's descriptor, as its user."""
        return self.file.fd

    def may_list(self, names: tuple[bytes, ...]) -> bool:
        """Whether the user may list a directory, by its names on disk below the watched one."""
        place = self.file.place
        try:
            directory = place.resolver.open_parent((*self.file.names, *names))
        except (NtStatusError, OSError):
            return False
        try:
            os.close(os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory))
        except OSError:
            return False
        finally:
            place.resolver.release(directory)
        return True

    def begin(self) -> None:
        """Add the kernel watches. Raises OSError."""
        if not self.file.place.options.change_notify:
            return  # the request waits until it is cancelled
        try:
            self._watches.add(self.file.fd, self, "", self._mask)
        except OSError as error:
            raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, f"inotify: {error.strerror}") from error
        if self._tree:
            self._rest = self._add_below(self.file.fd, "", 0)

    def go_on(self) -> bool:
        """See the port: one more directory of the tree."""
        if self._rest is None:
            return False
        self.file.place.become()  # between two steps others may have run
        try:
            next(self._rest)
        except StopIteration:
            self._rest = None
            self._use_fanotify()
            self._overflow = self._overflow or (self._too_many and not self._on_fanotify)
            return False
        return True

    def _leave_out(self) -> None:
        """There are too many directories. Where the watch has begun already, the client is to know."""
        self._too_many = True
        if self._rest is None:
            self._overflow = True

    def _use_fanotify(self) -> None:
        """Where there are too many directories, and fanotify is allowed."""
        if self._too_many and not self._on_fanotify:
            try:
                self._watches.add_filesystem(self, self._mask)
            except OSError:
                return
            self._on_fanotify = True

    def _add_below(self, directory: int, below: str, depth: int) -> Iterator[None]:
        """The directories below an open one, links not followed, a step each; what cannot be read or watched is left
        out."""
        try:
            fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            return
        try:
            with os.scandir(fd) as scan:
                for entry in scan:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            yield from self._add_entry(fd, os.fsencode(entry.name), below, depth)
                    except OSError:
                        continue
        finally:
            os.close(fd)

    def _add_entry(self, directory: int, name: bytes, below: str, depth: int) -> Iterator[None]:
        if len(self.numbers) >= _DIRECTORIES or depth >= _DEPTH:
            self._leave_out()
            return
        if len(below) > self.file.place.resolver.longest:
            return  # beyond what clients can open
        child = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            path = below + to_client(name) + "\\"
            try:
                self._watches.add(child, self, path, self._mask)
            except OSError as error:
                if error.errno == errno.ENOSPC:  # as many as this user may have
                    self._leave_out()
                raise
            yield
            self.file.place.become()
            yield from self._add_below(child, path, depth + 1)
        finally:
            os.close(child)

    def on_event(self, event: inotify.Event, below: str) -> None:
        """One event of a directory that is `below` (with a final backslash, '' for itself)."""
        mask = event.mask
        if not event.name:
            return
        client = to_client(event.name)
        if self._veto.match(client):
            return
        name = below + client
        is_directory = bool(mask & inotify.IN_ISDIR)
        if mask & _NAMES:
            self._name_changed(event, name, is_directory)
        elif mask & inotify.IN_MODIFY:
            if self._filter & _ON_MODIFY:
                self._put(ACTION_MODIFIED, name)
        elif mask & inotify.IN_ATTRIB and self._filter & _ON_ATTRIB:
            if self._now() < self._created.get(name, 0.0):
                self._described.add(name)
            else:
                self._put(ACTION_MODIFIED, name)
        if self._tree and not self._on_fanotify and is_directory and mask & (inotify.IN_CREATE | inotify.IN_MOVED_TO):
            self._descend(below, event.name)

    def _name_changed(self, event: inotify.Event, name: str, is_directory: bool) -> None:
        mask = event.mask
        wanted = self._filter & (CHANGE_DIR_NAME if is_directory else CHANGE_FILE_NAME)
        if mask & inotify.IN_CREATE:
            self._created[name] = self._now() + _MAKING
            if wanted or self._filter & CHANGE_CREATION:
                self._put(ACTION_ADDED, name)
        elif mask & inotify.IN_DELETE:
            if wanted:
                self._put(ACTION_REMOVED, name)
        elif mask & inotify.IN_MOVED_FROM:
            if wanted:
                self._moved[event.cookie] = name
                self._put(ACTION_REMOVED, name)
        elif wanted:
            self._moved_to(event.cookie, name)
        elif not is_directory and self._filter & (CHANGE_ATTRIBUTES | CHANGE_CREATION):
            # Windows tells this of a renamed file, not of a directory.
            self._put(ACTION_MODIFIED, name)

    def _now(self) -> float:
        return self.file.place.common.clock.monotonic()

    def end_batch(self) -> None:
        """All events that were there have been seen."""
        if not self._created:
            return
        now = self._now()
        self._created = {
            name: until for name, until in self._created.items() if until > now and name not in self._described
        }
        self._described.clear()

    def _moved_to(self, cookie: int, name: str) -> None:
        old = self._moved.pop(cookie, None)
        same = old is not None and old.rpartition("\\")[0] == name.rpartition("\\")[0]
        if old is not None and same:
            # MS-FSA 2.1.5.15.11: within one directory a rename is a pair.
            for index in range(len(self._queue) - 1, -1, -1):
                if self._queue[index] == (ACTION_REMOVED, old):
                    self._queue[index] = (ACTION_RENAMED_OLD_NAME, old)
                    self._put(ACTION_RENAMED_NEW_NAME, name)
                    return
        self._put(ACTION_ADDED, name)

    def _descend(self, below: str, name: bytes) -> None:
        place = self.file.place
        place.become()
        try:
            directory, _ = place.resolver.parent(self._components(below))
        except (NtStatusError, OSError):
            return
        try:
            for _ in self._add_entry(directory, name, below, below.count("\\")):
                pass
            self._use_fanotify()
        except OSError:
            return
        finally:
            place.resolver.release(directory)

    def _components(self, below: str) -> list[str]:
        own = [to_client(name) for name in self.file.names]
        return own + [part for part in below.split("\\") if part]

    def _put(self, action: int, name: str) -> None:
        if self._overflow:
            return
        if action == ACTION_MODIFIED and self._queue and self._queue[-1] == (action, name):
            return
        if len(self._queue) >= _QUEUE:
            self.overflow()
            return
        self._queue.append((action, name))

    def overflow(self) -> None:
        """Changes were lost: the client shall list again."""
        self._queue.clear()
        self._overflow = True

    def next(self, limit: int) -> Future[list[tuple[int, str]] | None]:
        """See the port. `limit` is in bytes of FILE_NOTIFY_INFORMATION (MS-FSCC 2.7.1)."""
        future: Future[list[tuple[int, str]] | None] = Future()
        # The first request's buffer is the one that changes are gathered in (MS-FSA 2.1.5.11).
        self._buffer = limit if self._buffer is None else self._buffer
        self._waiters[future] = min(limit, self._buffer)
        future.on_cancel = partial(self._forget_waiter, future)
        self.deliver()
        return future

    def _forget_waiter(self, future: Future[list[tuple[int, str]] | None]) -> None:
        self._waiters.pop(future, None)

    def deliver(self) -> None:
        """Complete the waiter if there is something to tell."""
        self._moved.clear()
        if not self._waiters or not (self._queue or self._overflow):
            return
        future = next(iter(self._waiters))
        limit = self._waiters.pop(future)
        changes = list(self._queue)
        self._queue.clear()
        lost, self._overflow = self._overflow, False
        size = 0
        for _, name in changes:
            size = (size + 3 & ~3) + 12 + len(name.encode("utf-16-le", "surrogatepass"))
        future.set_result(None if lost or size > limit else changes)

    def close(self) -> None:
        """The watch ends; who waits gets STATUS_NOTIFY_CLEANUP."""
        self._rest = None
        self._watches.remove(self)
        while self._waiters:
            future = next(iter(self._waiters))
            del self._waiters[future]
            future.set_error(NtStatusError(STATUS_NOTIFY_CLEANUP))
