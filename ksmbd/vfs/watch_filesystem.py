# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches trees with more directories than WATCHED_DIRECTORIES by fanotify, which reports all changes on a file system.

An event names a directory by its file handle. Events outside the watched directory are left out, and so are events in
directories that the user may not list: inotify checks that itself, here each directory is opened as the user.
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
"""The order in which merged events of one name are reported. The FAN_* bits equal the IN_* bits, except for renames."""


class TreeWatch(Protocol):
    """What FilesystemWatches needs of a watch; LocalWatch (watch.py) implements it."""

    @property
    def fd(self) -> int: ...
    def may_list(self, names: tuple[bytes, ...]) -> bool: ...
    def on_event(self, event: inotify.Event, below: str) -> None: ...
    def deliver(self) -> None: ...
    def end_batch(self) -> None: ...
    def overflow(self) -> None: ...


class _Tree:
    """One watched tree, with a cache of which directories below it the user may list."""

    def __init__(self, watch: TreeWatch) -> None:
        self.watch = watch
        self.readable: dict[tuple[bytes, ...], bool] = {}

    def may_see(self, names: tuple[bytes, ...]) -> bool:
        """Whether the watch's user may list a directory; `names` are its names on disk below the watched one."""
        known = self.readable.get(names)
        if known is None:
            known = self.readable[names] = self.watch.may_list(names)
        return known


class FilesystemWatches:
    """The trees that are watched by fanotify, with one fanotify group for all of them."""

    __slots__ = ("_cookie", "_group", "_paths", "_trees")

    def __init__(self) -> None:
        """Raises OSError where fanotify is not allowed."""
        self._group = gate.watch_group()
        self._trees: list[_Tree] = []
        self._paths: dict[bytes, bytes] = {}
        """File handle -> current path of a directory."""
        self._cookie = 0

    def fileno(self) -> int:
        """The descriptor that is readable when there are events."""
        return self._group.fd

    def add(self, watch: TreeWatch, mask: int) -> None:
        """Add a watch; `mask` has IN_* bits. Raises OSError."""
        gate.watch_file_system(self._group, watch.fd, _NAMES | mask & _CHANGES)
        self._trees.append(_Tree(watch))

    def remove(self, watch: TreeWatch) -> None:
        """Remove a watch. One that is not in here is no error."""
        left = [tree for tree in self._trees if tree.watch is not watch]
        if len(left) < len(self._trees):
            self._trees = left
            if not left:
                self._group.clear()
                self._paths.clear()

    def on_readable(self) -> None:
        """Read the pending events and pass them to the watches."""
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
        """The current path of a watched directory; None where it is longer than PATH_MAX."""
        try:
            return gate.path_of(tree.watch.fd)
        except OSError:
            return None

    def _path(self, place: fanotify.Place) -> bytes:
        """The current path of an event's directory; b'' for one that is gone."""
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
            bits.remove(inotify.IN_DELETE)  # the name exists, so the deletion came before the creation
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
        """Close the fanotify group."""
        self._trees.clear()
        self._group.close()
