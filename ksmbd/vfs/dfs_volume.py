# SPDX-License-Identifier: GPL-2.0-or-later
"""The volume of a DFS root: symbolic links whose text begins with `msdfs:` are links to other servers.

A name that is one, or lies below one, is answered with STATUS_PATH_NOT_COVERED (MS-SMB2 3.3.5.9, MS-DFSC 3.1.4.1); the
client then asks for the referral.
"""
from __future__ import annotations

from ksmbd.kernel.stat import S_IFLNK, S_IFMT
from ksmbd.overriding import override
from ksmbd.smb import dfs
from ksmbd.smb.constants import FILE_OPEN_REPARSE_POINT
from ksmbd.smb.ports import CreateIntent, CreateResult
from ksmbd.smb.status import STATUS_PATH_NOT_COVERED, NtStatusError
from ksmbd.vfs.dfs_links import targets_at
from ksmbd.vfs.volume import LocalVolume


class DfsVolume(LocalVolume):
    """The volume of one tree connect to a DFS root."""

    __slots__ = ()

    @override
    def create(self, intent: CreateIntent) -> CreateResult:
        """See the port. An open of the link itself as a reparse point is referred, too."""
        if intent.options & FILE_OPEN_REPARSE_POINT:
            self._refer(intent.name)
        try:
            return LocalVolume.create(self, intent)
        except NtStatusError:
            self._refer(intent.name)
            raise

    def _refer(self, name: str) -> None:
        if self.dfs_link(name) is not None:
            raise NtStatusError(STATUS_PATH_NOT_COVERED, name)

    @override
    def dfs_link(self, name: str) -> dfs.Link | None:
        """See the port."""
        resolver = self.place.resolver
        cache = self.place.cache
        cache.may_defer = False
        parts = [part for part in name.split("\\") if part]
        try:
            for depth, part in enumerate(parts):
                parent, _ = resolver.parent(parts[:depth])
                try:
                    disk, stat = resolver.find(parent, part)
                    if stat is None:
                        return None
                    targets = targets_at(parent, disk) if stat.mode & S_IFMT == S_IFLNK else ()
                finally:
                    resolver.release(parent)
                if targets:
                    return dfs.Link(depth + 1, targets)
        except NtStatusError:
            return None
        finally:
            cache.end_query()
        return None
