# SPDX-License-Identifier: GPL-2.0-or-later
"""Implements the port Volume for one share and user: resolves paths, opens and creates files (MS-FSA 2.1.5.1).

An open of an existing file is: statx (it exists; its type), open, statx (it is still the same inode), then the access
check on the descriptor. For data access the file is opened with the flags it needs, otherwise with O_PATH. Special
files are opened with O_PATH only, because opening a FIFO may block, and opening a device may have effects.
"""
from __future__ import annotations

import logging
import os
from typing import Final

from ksmbd import debug
from ksmbd.kernel import credentials
from ksmbd.kernel.stat import S_IFLNK, S_IFMT, Stat, key_fd, stat_fd
from ksmbd.smb.constants import FILE_CREATE, FILE_OPEN_BY_FILE_ID, FILE_OPEN_REPARSE_POINT
from ksmbd.smb.dfs import Link
from ksmbd.smb.ports import QUOTA_STREAM, CreateIntent, CreateResult
from ksmbd.smb.snapshot_tokens import MARK
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs import names, reparse
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.new_entry import make_entry
from ksmbd.vfs.opening import Opening, Raced, open_existing
from ksmbd.vfs.place import Place
from ksmbd.vfs.quota_file import open_quota_file
from ksmbd.vfs.stream_store import check_name
from ksmbd.vfs.whole_path import open_whole_path

logger = logging.getLogger("ksmbd.vfs")

_RETRIES: Final = 8
"""How often an open is tried again because the entry changed between lookup and open."""


class LocalVolume:
    """The volume of one tree connect."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        self.place = place
        place.volume = self

    def close(self) -> None:
        """See the port."""
        self.place.close()

    def maximal_access(self) -> int:
        """See the port."""
        place = self.place
        place.become()
        root = place.resolver.root
        with os_errors:
            return place.restrict(place.access.maximal(root, True, stat_fd(root), None))

    def dfs_link(self, name: str) -> Link | None:
        """See the port: what is no DFS root has no links (ksmbd/vfs/dfs_volume.py)."""
        return None

    # ------------------------------------------------------------------------------------------------------ create

    def create(self, intent: CreateIntent) -> CreateResult:
        """See the port."""
        return self._traced(intent) if debug.mask[0] & debug.VFS else self._create(intent)

    def _traced(self, intent: CreateIntent) -> CreateResult:
        what = f"create {intent.name!r}{':' + intent.stream if intent.stream else ''} as {self.place.user}"
        try:
            result = self._create(intent)
        except NtStatusError as error:
            self.place.told(f"{what}: {error}")
            raise
        granted = f"file {result.file.key}, action {result.action}, granted {result.granted_access:#x}"
        self.place.told(f"{what}: {granted}")
        return result

    def _create(self, intent: CreateIntent) -> CreateResult:
        place = self.place
        cache = place.cache
        result = open_whole_path(place, intent)
        if result is not None:
            cache.end_query()
            return result
        previous = place.previous
        cache.may_defer = intent.later
        try:
            if previous is not None and (intent.snapshot or MARK in intent.name):
                result = previous.create(intent)
                if result is not None:
                    return result
            return self.create_here(intent)
        finally:
            cache.end_query()

    def create_here(self, intent: CreateIntent) -> CreateResult:
        """Resolve the directory of the path, and open or create the entry in it. A token is a name like any other."""
        place, resolver = self.place, self.place.resolver
        credentials.assume(place.user)
        if intent.options & FILE_OPEN_BY_FILE_ID:
            raise NtStatusError(STATUS_NOT_SUPPORTED, "open by file id")
        posix = intent.posix_mode is not None
        if intent.stream:
            if intent.stream == QUOTA_STREAM:
                return open_quota_file(place, intent)
            self._check_stream(intent.stream)
        name = intent.name
        if name[-1:] == "\\" and len(name) > 1:
            name = name[:-1]
        head, separator, wanted = name.rpartition("\\")
        above: tuple[bytes, ...] = ()
        if separator:
            folder = names.folder(head, posix)
            above = folder.disk
        if name:
            disk = names.component(wanted, posix)
            if len(name) << 2 > resolver.longest:  # no character takes more than four bytes
                resolver.check_length((*above, disk))
        if intent.snapshot:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no snapshots")
        if not name:
            return open_existing(Opening(place, intent, None), resolver.root_stat)
        root = resolver.root
        if not separator:
            return self._create_in(root, "", above, wanted, disk, intent)
        parent, spelled = resolver.folder(folder, posix)
        try:
            if spelled is not folder.components:
                above = tuple([names.to_disk(component, posix) for component in spelled])
                head = "\\".join(spelled)
                if len(name) << 2 > resolver.longest:
                    resolver.check_length((*above, disk))
            return self._create_in(parent, head, above, wanted, disk, intent)
        finally:
            if parent != root:
                os.close(parent)

    def _check_stream(self, name: str) -> None:
        """Refuse a name that no stream may have, and any stream where the share has none."""
        check_name(name)
        if not self.place.options.streams:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "no streams on this share")

    def _create_in(
        self, parent: int, head: str, above: tuple[bytes, ...], wanted: str, wanted_disk: bytes, intent: CreateIntent
    ) -> CreateResult:
        """Open or create the entry `wanted` (on disk `wanted_disk`) in the open directory `parent`. `head` is the
        directory's path as clients see it, `above` its names on disk."""
        place, resolver = self.place, self.place.resolver
        posix = intent.posix_mode is not None
        for _ in range(_RETRIES):
            disk, stat = resolver.look_up(parent, wanted, wanted_disk, posix)
            if stat is None and place.options.new_names is not None and not posix:
                disk = place.options.new_names.of(disk)
                if disk != wanted_disk:
                    disk, stat = resolver.look_up(parent, names.to_client(disk), disk, False)
            last = wanted if disk == wanted_disk else names.to_client(disk)
            opening = Opening(place, intent, parent)
            opening.disk = disk
            opening.disk_names = (*above, disk)
            opening.path = f"{head}\\{last}" if head else last
            try:
                if stat is None:
                    result = make_entry(opening, parent)
                elif stat.mode & S_IFMT != S_IFLNK or intent.options & FILE_OPEN_REPARSE_POINT:
                    result = open_existing(opening, stat)
                elif posix:
                    with os_errors:
                        raise reparse.stop_at(parent, disk)
                else:
                    result = self._linked(opening, parent, stat)
            except Raced:
                continue
            file = result.file
            if isinstance(file, LocalEntry):
                if parent == resolver.root:
                    file.opened_in(place.root_key)
                else:
                    with os_errors:
                        file.opened_in(key_fd(parent))
            return result
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "keeps changing")

    def _linked(self, opening: Opening, parent: int, link: Stat) -> CreateResult:
        """Open the target of a symbolic link in the open directory `parent`. The open keeps the link's name."""
        if opening.intent.disposition == FILE_CREATE:
            raise NtStatusError(STATUS_OBJECT_NAME_COLLISION, "a symbolic link")
        target = self.place.resolver.follow(parent, opening.disk)
        if target is None:
            raise NtStatusError(STATUS_ACCESS_DENIED, "a symbolic link that is not followed")
        directory, name, found = target
        try:
            if found is None:
                raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "a symbolic link to nothing")
            opening.parent, opening.disk = directory, name
            opening.entry_key = (link.dev, link.ino)
            return open_existing(opening, found)
        finally:
            self.place.resolver.release(directory)
