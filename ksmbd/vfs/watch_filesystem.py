# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches of trees with more directories than inotify is asked to watch: fanotify tells of the whole file system, with
the directory's file handle, and what is not below the watched directory is left out.

What a user may not list is not told either: inotify looks at that itself, here each directory is opened as the user.
"""
from __future__ import annotations

from typing import Final, Protocol

from ksmbd.kernel import fanotify, inotify
from ksmbd.vfs import gate
from ksmbd.vfs.names import to_client

_NAMES: Final = fanotify.FAN_CREATE | fanotify.FAN_DELETE | fanotify.FAN_RENAME
_CHANGES: Final = fanotify.FAN_MODIFY | fanotify.FAN_ATTRIB
_MOVES: Final = fanotify.FAN_RENAME | fanotify.FAN_DELETE
_ORDER: Final = (inotify.IN_CREATE, inotify.IN_MODIFY, inotify.IN_ATTRIB, inotify.IN_DELETE)
"""fanotify joins what happened to one name; its bits are inotify's but for renames."""


class TreeWatch(Protocol):
    """What is asked of a watch (ksmbd/vfs/watch.py)."""

    @property
    def fd(self) -> int: ...
    def may_list(self, names: tuple[bytes, ...]) -> bool: ...
    def on_event(self, event: inotify.Event, below: str) -> None: ...
    def deliver(self) -> None: ...
    def end_batch(self) -> None: ...
    def overflow(self) -> None: ...


class _Tree:
    """One watch, with what is known of the directories below it."""

    def __init__(self, watch: TreeWatch) -> None:
        self.watch = watch
        self.readable: dict[tuple[bytes, ...], bool] = {}

    def may_see(self, names: tuple[bytes, ...]) -> bool:
        """Whether the watch's user may list a directory, by its names below the watched one."""
        known = self.readable.get(names)
        if known is None:
            known = self.readable[names] = self.watch.may_list(names)
        return known


class FilesystemWatches:
    """The watches that fanotify serves; one group for all of them."""

    __slots__ = ("_cookie", "_group", "_paths", "_trees")

    def __init__(self) -> None:
        """Raises OSError where fanotify is not allowed."""
        self._group = gate.watch_group()
        self._trees: list[_Tree] = []
        self._paths: dict[bytes, bytes] = {}
        """Where directories are, by their handles."""
        self._cookie = 0

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._group.fd

    def add(self, watch: TreeWatch, mask: int) -> None:
        """Serve a watch; `mask` is inotify's. Raises OSError."""
        gate.watch_file_system(self._group, watch.fd, _NAMES | mask & _CHANGES)
        self._trees.append(_Tree(watch))

    def remove(self, watch: TreeWatch) -> None:
        """A watch ends; nothing where it is none of these."""
        left = [tree for tree in self._trees if tree.watch is not watch]
        if len(left) < len(self._trees):
            self._trees = left
            if not left:
                self._group.clear()
                self._paths.clear()

    def on_readable(self) -> None:
        """Read what is there and hand it out."""
        events = self._group.read()
        if not events:
            return
        roots = [(tree, root) for tree in self._trees if (root := self._watched(tree)) is not None]
        for event in events:
            if event.mask & fanotify.FAN_Q_OVERFLOW:
                for tree in self._trees:
                    tree.watch.overflow()
                continue
            places = [(self._path(place), place.name) if place else (b"", b"") for place in (event.place, event.new)]
            for tree, root in roots:
                self._hand_out(tree, root, event.mask, places)
                tree.watch.deliver()
            if event.mask & fanotify.FAN_ONDIR and event.mask & _MOVES:
                self._paths.clear()
                for tree in self._trees:
                    tree.readable.clear()
        for tree in self._trees:
            tree.watch.deliver()
            tree.watch.end_batch()

    def _watched(self, tree: _Tree) -> bytes | None:
        """Where a watched directory is now; None where the kernel has no name for that (beyond PATH_MAX)."""
        try:
            return gate.path_of(tree.watch.fd)
        except OSError:
            return None

    def _path(self, place: fanotify.Place) -> bytes:
        """Where a place's directory is now; b'' for one that is gone."""
        path = self._paths.get(place.directory)
        if path is None:
            path = b""
            try:
                path = gate.path_of_handle(self._trees[0].watch.fd, place.directory)
            except (OSError, IndexError):
                return b""
            self._paths[place.directory] = path
        return path

    def _hand_out(self, tree: _Tree, root: bytes, mask: int, places: list[tuple[bytes, bytes]]) -> None:
        kind = mask & inotify.IN_ISDIR
        if mask & fanotify.FAN_RENAME:
            self._cookie += 1
            for bit, place in zip((inotify.IN_MOVED_FROM, inotify.IN_MOVED_TO), places, strict=True):
                self._tell(tree, root, bit | kind, place)
        bits = [bit for bit in _ORDER if mask & bit]
        if inotify.IN_CREATE in bits and inotify.IN_DELETE in bits and gate.exists(b"/".join(places[0])):
            bits.remove(inotify.IN_DELETE)  # what had the name before is gone
            bits.insert(0, inotify.IN_DELETE)
        for bit in bits:
            self._tell(tree, root, bit | kind, places[0])

    def _tell(self, tree: _Tree, root: bytes, mask: int, place: tuple[bytes, bytes]) -> None:
        path, name = place
        if name == b".":
            path, _, name = path.rpartition(b"/")
        if not name or not (path == root or path.startswith(root.rstrip(b"/") + b"/")):
            return
        names = tuple(part for part in path[len(root) :].split(b"/") if part)
        if tree.may_see(names):
            below = "".join(to_client(part) + "\\" for part in names)
            tree.watch.on_event(inotify.Event(0, mask, self._cookie, name), below)

    def close(self) -> None:
        """End everything."""
        self._trees.clear()
        self._group.close()
