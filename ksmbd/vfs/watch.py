# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches directories for CHANGE_NOTIFY by inotify (MS-FSA 2.1.5.11, MS-SMB2 3.3.5.19).

inotify reports changes by clients and by local processes alike. A watch of a tree adds an inotify watch for each
directory below, up to WATCHED_DIRECTORIES. Beyond that, fanotify watches the whole file system
(ksmbd/vfs/watch_filesystem.py). Where fanotify is not allowed, the client is told to list the directory again.
"""
from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final

from ksmbd import limits
from ksmbd.kernel import descriptors, inotify
from ksmbd.smb.status import (
    STATUS_DELETE_PENDING,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_NOTIFY_CLEANUP,
    NtStatusError,
)
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
_PARENT: Final = "\0"
"""Value of `below` for events of the directory that has the watched one."""
_QUEUE: Final = limits.CHANGES_KEPT.value
"""Changes that are kept between two requests."""
_MAKING: Final = 0.02
"""Seconds within which a worker that creates a file also sets its attributes and owner."""
_DIRECTORIES: Final = limits.WATCHED_DIRECTORIES.value
"""inotify watches of one watched tree."""
_DEPTH: Final = limits.WATCHED_DEPTH.value
# inotify reports every change of metadata as IN_ATTRIB: times, mode, extended attributes (EAs, streams, ACLs).
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
    """Begin a watch of an open directory, with `tree` also of all directories below. With `later`, the caller adds the
    directories below by calling `go_on`. `completion_filter` is CompletionFilter (MS-SMB2 2.2.35). Raises OSError,
    STATUS_INSUFFICIENT_RESOURCES."""
    result = LocalWatch(file.place.common.watches, file, completion_filter, tree)
    result.begin()
    while not later and result.go_on():
        pass
    return result


class LocalWatch:
    """The watch of one open directory; implements the port Watch."""

    __slots__ = (
        "_buffer", "_created", "_described", "_filter", "_mask", "_moved", "_on_fanotify", "_overflow", "_queue",
        "_removed", "_rest", "_too_many", "_tree", "_veto", "_waiters", "_watches", "file", "numbers",
    )  # fmt: skip

    def __init__(self, watches: Watches, file: LocalEntry, completion_filter: int, tree: bool) -> None:
        self._watches = watches
        self.file = file
        self._filter = completion_filter
        self._tree = tree
        self._mask = _kernel_mask(completion_filter, tree)
        self._queue: deque[tuple[int, str]] = deque()
        self._overflow = False
        self._too_many = False
        """There are more directories below than inotify may watch."""
        self._on_fanotify = False
        """fanotify watches the tree instead of inotify."""
        self._moved: dict[int, str] = {}
        """Cookie -> old name of the IN_MOVED_FROM events in this batch; IN_MOVED_TO with the same cookie completes a
        rename."""
        self._waiters: dict[Future[list[tuple[int, str]] | None], int] = {}
        """Waiting requests, in order, with their buffer sizes in bytes; a change answers the first."""
        self._veto: Patterns = file.place.options.veto
        self._buffer: int | None = None
        self._created: dict[str, float] = {}
        """New name -> monotonic time until which IN_ATTRIB counts as part of its creation. The worker that creates a
        file sets its attributes a moment later, so that the event may come in another batch."""
        self._described: set[str] = set()
        """The new names whose IN_ATTRIB came in this batch."""
        self.numbers: set[int] = set()
        """The inotify watch descriptors of this watch."""
        self._removed = False
        """A local process has removed the watched directory: no change will come."""
        self._rest: Iterator[None] | None = None
        """Adds inotify watches for the directories below, one per step; None: all are added."""

    @property
    def fd(self) -> int:
        """The descriptor of the watched directory. Reading it makes the thread act as the user."""
        return self.file.fd

    def may_list(self, names: tuple[bytes, ...]) -> bool:
        """Whether the user may list a directory below the watched one; `names` are its names on disk from there."""
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
        """Add the inotify watch of the directory itself. Raises STATUS_INSUFFICIENT_RESOURCES."""
        if not self.file.place.options.change_notify:
            return  # `change notify = no`: requests wait until they are cancelled
        try:
            self._watches.add(self.file.fd, self, "", self._mask)
        except OSError as error:
            raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, f"inotify: {error.strerror}") from error
        self._watch_parent()
        if self._tree:
            self._rest = self._add_below(self.file.fd, "", 0)

    def _watch_parent(self) -> None:
        """Hear of the removal of the watched directory: while it is open, only events of its parent tell of that. If
        the user may not read the parent, the next request finds out."""
        if not self.file.names:
            return
        try:
            parent, _ = self.file.entry()
        except (NtStatusError, OSError):
            return
        try:
            self._watches.add(parent, self, _PARENT, inotify.IN_DELETE)
        except OSError:
            return
        finally:
            self.file.place.resolver.release(parent)

    def _look_whether_removed(self) -> None:
        if self.file.names and not self._removed:
            try:
                linked = not os.readlink(descriptors.path_bytes(self.fd)).endswith(b" (deleted)")
                self._removed = not linked and not self._is_there()
            except OSError:
                return
            except NtStatusError:
                self._removed = True  # its parent is gone, too

    def _is_there(self) -> bool:
        """Whether the directory still has the name that it was opened by, which may end in ` (deleted)`."""
        directory, name = self.file.entry()
        try:
            return os.stat(name, dir_fd=directory, follow_symlinks=False).st_ino == os.fstat(self.fd).st_ino
        except FileNotFoundError:
            return False
        finally:
            self.file.place.resolver.release(directory)

    def go_on(self) -> bool:
        """See the port: watch one more directory of the tree."""
        if self._rest is None:
            return False
        self.file.place.become()  # the worker may have served another user since the last step
        try:
            next(self._rest)
        except StopIteration:
            self._rest = None
            self._use_fanotify()
            self._overflow = self._overflow or (self._too_many and not self._on_fanotify)
            return False
        return True

    def _leave_out(self) -> None:
        """Note that there are too many directories. If the watch has begun already, the client must list again."""
        self._too_many = True
        if self._rest is None:
            self._overflow = True

    def _use_fanotify(self) -> None:
        """Switch to fanotify where there are too many directories and fanotify is allowed."""
        if self._too_many and not self._on_fanotify:
            try:
                self._watches.add_filesystem(self, self._mask)
            except OSError:
                return
            self._on_fanotify = True

    def _add_below(self, directory: int, below: str, depth: int) -> Iterator[None]:
        """Add inotify watches for the directories below an open one, one per step. Symbolic links are not followed;
        directories that cannot be read or watched are left out."""
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
            return  # the path is longer than clients can open
        child = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            path = below + to_client(name) + "\\"
            try:
                self._watches.add(child, self, path, self._mask)
            except OSError as error:
                if error.errno == errno.ENOSPC:  # fs.inotify.max_user_watches
                    self._leave_out()
                raise
            yield
            self.file.place.become()
            yield from self._add_below(child, path, depth + 1)
        finally:
            os.close(child)

    def on_event(self, event: inotify.Event, below: str) -> None:
        """Queue the change that an event reports. `below` is the path from the watched directory to the event's, with a
        final backslash; '' for the watched directory itself."""
        mask = event.mask
        if not event.name:
            return
        if below == _PARENT:
            if mask & inotify.IN_DELETE and mask & inotify.IN_ISDIR:
                self._look_whether_removed()
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
            # Windows reports this for a renamed file, not for a directory.
            self._put(ACTION_MODIFIED, name)

    def _now(self) -> float:
        return self.file.place.common.clock.monotonic()

    def end_batch(self) -> None:
        """Call after all events that could be read were passed to `on_event`."""
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
        """Note that changes were lost, so that the client must list again."""
        self._queue.clear()
        self._overflow = True

    def next(self, limit: int) -> Future[list[tuple[int, str]] | None]:
        """See the port. `limit`: bytes of FILE_NOTIFY_INFORMATION (MS-FSCC 2.7.1) that the reply can hold."""
        future: Future[list[tuple[int, str]] | None] = Future()
        # The first request's buffer size limits the changes that are gathered (MS-FSA 2.1.5.11).
        self._buffer = limit if self._buffer is None else self._buffer
        self._waiters[future] = min(limit, self._buffer)
        future.on_cancel = partial(self._forget_waiter, future)
        self._look_whether_removed()
        self.deliver()
        return future

    def _forget_waiter(self, future: Future[list[tuple[int, str]] | None]) -> None:
        self._waiters.pop(future, None)

    def deliver(self) -> None:
        """Complete the first waiting request if there are changes."""
        self._moved.clear()
        if not self._waiters:
            return
        if not (self._queue or self._overflow):
            if self._removed:
                self._fail(STATUS_DELETE_PENDING)
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
        if self._removed:
            self._fail(STATUS_DELETE_PENDING)

    def _fail(self, status: int) -> None:
        """Answer all waiting requests with this status."""
        while self._waiters:
            future = next(iter(self._waiters))
            del self._waiters[future]
            future.set_error(NtStatusError(status))

    def close(self) -> None:
        """End the watch. Waiting requests fail with STATUS_NOTIFY_CLEANUP."""
        self._rest = None
        self._watches.remove(self)
        self._fail(STATUS_NOTIFY_CLEANUP)
