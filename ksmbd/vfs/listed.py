# SPDX-License-Identifier: GPL-2.0-or-later
"""Remembers the entries of folders that were listed, so that the next listing asks the kernel for the metadata of each
alone.

An entry is valid as long as statx tells exactly what it told when the entry was made. That covers the metadata; DOS
attributes, which are an extended attribute, change the ctime. But two changes in one tick of the kernel's clock leave
the same ctime. So an entry is remembered only if its ctime was some time past when the attribute was read: every later
change leaves another ctime. This needs the clock of this machine behind ctime, so only file systems of this machine
count; and what depends on the user is never remembered.
"""
from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ksmbd import limits
from ksmbd.kernel.filesystems import file_system_name
from ksmbd.smb.ports import Clock, DirectoryEntry, FileKey
from ksmbd.vfs.options import ShareOptions

_SETTLED: Final = 20_000_000
"""2 seconds, in units of FILETIME: far more than a tick of the kernel's clock."""
_FILE_SYSTEMS: Final = frozenset(("bcachefs", "btrfs", "ext4", "tmpfs", "xfs"))
"""File systems that set ctime with each change of an extended attribute, from the clock of this machine."""
_STALE: Final = 64
"""Names that may have gone from a folder before the whole folder is forgotten, beside as many as it has."""


Look = tuple[bool, bool, tuple[str, ...], bool, int]
"""What else decides how clients see an entry: `store dos attributes`, `hide dot files`, `hide files`, whether case
counts there, and the device of the share's root."""


def look_of(options: ShareOptions, hide_files: tuple[str, ...], root_dev: int) -> Look | None:
    """The Look of a share; None where entries look different to different users, or follow from more than metadata and
    DOS attributes."""
    if options.maps or options.short is not None:
        return None
    return options.store_dos_attributes, options.hide_dot_files, hide_files, options.exact, root_dev


class Listed:
    """An entry of a folder as it was listed, with what statx told of it."""

    __slots__ = ("disk", "entry", "stat")

    def __init__(self, stat: bytes, disk: bytes, entry: DirectoryEntry) -> None:
        self.stat = stat
        self.disk = disk
        self.entry = entry


class ListedFolder:
    """The remembered entries of one folder, by their names as os.scandir tells them."""

    __slots__ = ("look", "names")

    def __init__(self, look: Look) -> None:
        self.look = look
        self.names: dict[str, Listed] = {}


class ListedFolders:
    """The remembered folders of a process."""

    __slots__ = ("_clock", "_count", "_folders")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._folders: OrderedDict[FileKey, ListedFolder] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """How many entries are remembered."""
        return self._count

    def settled_before(self) -> int:
        """The ChangeTime (FILETIME) before which an entry that is read from now on may be remembered."""
        return self._clock.filetime() - _SETTLED

    def folder(self, fd: int, key: FileKey, look: Look) -> ListedFolder | None:
        """What is remembered of an open folder with this (device, inode), which is being listed; None where nothing
        may be remembered."""
        if file_system_name(fd, key[0]) not in _FILE_SYSTEMS:
            return None
        known = self._folders.get(key)
        if known is not None and known.look != look:
            self._forget(key)
            known = None
        if known is None:
            known = self._folders[key] = ListedFolder(look)
        self._folders.move_to_end(key)
        while len(self._folders) > limits.FOLDERS_KEPT.value:
            self._forget(next(iter(self._folders)))
        return known

    def keep(self, folder: ListedFolder, name: str, listed: Listed) -> None:
        """Remember an entry. Those of the folders listed longest ago make room; a folder that has no room left beside
        it is remembered in part."""
        most = limits.LISTED_ENTRIES_KEPT.value
        if name not in folder.names:
            while self._count >= most:
                oldest = next(iter(self._folders))
                if self._folders[oldest] is folder:
                    return
                self._forget(oldest)
            self._count += 1
        folder.names[name] = listed

    def ended(self, folder: ListedFolder, seen: int) -> None:
        """A listing of a folder has come to its end, and has seen so many names: forget what is mostly names that are
        gone."""
        if len(folder.names) > 2 * seen + _STALE:
            self._count -= len(folder.names)
            folder.names.clear()

    def _forget(self, key: FileKey) -> None:
        folder = self._folders.pop(key)
        self._count -= len(folder.names)
        folder.names.clear()
