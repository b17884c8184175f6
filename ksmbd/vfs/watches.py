# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares one inotify instance among all watches of directories of a process (ksmbd/vfs/watch.py).

The worker registers `Watches.fileno()` in its event loop and calls `on_readable()`.
"""
from __future__ import annotations

import select
from typing import Protocol

from ksmbd.kernel import inotify
from ksmbd.kernel.inotify import Inotify
from ksmbd.vfs.watch_filesystem import FilesystemWatches, TreeWatch


class ServedWatch(TreeWatch, Protocol):
    """A watch that uses inotify, with an inotify watch for each directory."""

    numbers: set[int]
    """The inotify watch descriptors that belong to it."""


class Watches:
    """All watches of this process."""

    __slots__ = ("_by_number", "_filesystems", "_inotify", "_ready")

    def __init__(self) -> None:
        self._inotify: Inotify | None = None
        """Made with the first watch: a user has few (fs.inotify.max_user_instances), and a server serves without."""
        self._filesystems: FilesystemWatches | None = None
        self._ready = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._by_number: dict[int, list[tuple[ServedWatch, str]]] = {}
        """inotify watch descriptor -> [(watch, path of the directory below the watched one)]."""

    def fileno(self) -> int:
        """The descriptor that is readable when there are events."""
        return self._ready.fileno()

    def add(self, directory: int, watch: ServedWatch, below: str, mask: int) -> None:
        """Add an inotify watch of `directory` for `watch`. `below` is its path below the watched one, `mask` has IN_*
        bits. Raises OSError."""
        if self._inotify is None:
            self._inotify = Inotify()
            self._ready.register(self._inotify.fd, select.EPOLLIN)
        number = self._inotify.add(directory, mask | inotify.IN_MASK_ADD)
        served = self._by_number.setdefault(number, [])
        if all(known is not watch for known, _ in served):
            served.append((watch, below))
            watch.numbers.add(number)

    def add_filesystem(self, watch: ServedWatch, mask: int) -> None:
        """Watch the whole file system by fanotify for `watch`, instead of each directory by inotify. Raises OSError
        where fanotify is not allowed."""
        if self._filesystems is None:
            self._filesystems = FilesystemWatches()
            self._ready.register(self._filesystems.fileno(), select.EPOLLIN)
        self._filesystems.add(watch, mask)
        self._remove_directories(watch)

    def remove(self, watch: ServedWatch) -> None:
        """Remove all kernel watches of `watch`, which ends."""
        if self._filesystems is not None:
            self._filesystems.remove(watch)
        self._remove_directories(watch)

    def _remove_directories(self, watch: ServedWatch) -> None:
        for number in watch.numbers:
            served = [pair for pair in self._by_number.get(number, []) if pair[0] is not watch]
            if served:
                self._by_number[number] = served
            else:
                self._by_number.pop(number, None)
                if self._inotify is not None:
                    self._inotify.remove(number)
        watch.numbers.clear()

    def on_readable(self) -> None:
        """Read the pending events, pass them to the watches and complete waiting requests."""
        touched: dict[int, ServedWatch] = {}
        for event in self._inotify.read() if self._inotify is not None else ():
            if event.mask & inotify.IN_Q_OVERFLOW:
                for served in self._by_number.values():
                    for watch, _ in served:
                        watch.overflow()
                        touched[id(watch)] = watch
                continue
            if event.mask & inotify.IN_IGNORED:
                for watch, _ in self._by_number.pop(event.watch, []):
                    watch.numbers.discard(event.watch)
                continue
            for watch, below in list(self._by_number.get(event.watch, ())):
                watch.on_event(event, below)
                touched[id(watch)] = watch
                if not event.mask & inotify.IN_MOVED_FROM:  # IN_MOVED_TO may follow
                    watch.deliver()
        for watch in touched.values():
            watch.deliver()
            watch.end_batch()
        if self._filesystems is not None:
            self._filesystems.on_readable()

    def close(self) -> None:
        """Close inotify and fanotify."""
        self._by_number.clear()
        self._ready.close()
        if self._inotify is not None:
            self._inotify.close()
        if self._filesystems is not None:
            self._filesystems.close()
