# SPDX-License-Identifier: GPL-2.0-or-later
"""The place of open files: the share, as the user of one tree connect sees it.

A volume makes its place and gives it to each open (ksmbd/vfs/entry.py). Listings, watches, renames and links take from
it what they need of the share, and so need not know the volume."""
from __future__ import annotations

from ksmbd.kernel import credentials
from ksmbd.kernel.credentials import Credentials
from ksmbd.kernel.filesystems import RAMFS_MAGIC, TMPFS_MAGIC, file_system_type
from ksmbd.smb.ports import FileKey, ShareConfig, Volume
from ksmbd.vfs.access import WRITE_RIGHTS, Access
from ksmbd.vfs.common import Common, Registered
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.options import ShareOptions
from ksmbd.vfs.resolve import Resolver


class Place:
    """The share's root is `resolver.root`, which is only to be had as the user."""

    __slots__ = (
        "_closed", "access", "cache", "common", "in_memory", "options", "read_only", "resolver", "root_dev",
        "root_key", "share", "used", "user", "volume",
    )  # fmt: skip

    volume: Volume
    """The port's side of it: what a client's tree connect holds. LocalVolume sets it."""

    def __init__(
        self,
        common: Common,
        share: ShareConfig,
        options: ShareOptions,
        resolver: Resolver,
        access: Access,
        user: Credentials,
        read_only: bool,
    ) -> None:
        self.common = common
        self.share = share
        self.options = options
        self.resolver = resolver
        self.access = access
        self.cache = common.cache
        self.user = user
        """Whose rights all operations have."""
        self.read_only = read_only
        """Whether the tree connect refuses writes."""
        self.used = 0
        """How many files are open."""
        self._closed = False
        stat = resolver.root_stat
        self.root_dev = stat.dev
        self.root_key: FileKey = (stat.dev, stat.ino)
        with os_errors:
            self.in_memory = file_system_type(resolver.root) in (TMPFS_MAGIC, RAMFS_MAGIC)
        """Its files are nowhere but in the page cache (those of file systems mounted below it may be)."""

    def become(self) -> None:
        """Let this thread act as the user."""
        credentials.assume(self.user)

    def restrict(self, granted: int) -> int:
        """`granted` without what a read-only tree refuses."""
        return granted & ~WRITE_RIGHTS if self.read_only else granted

    def enter(self, file: Registered) -> None:
        """`file` is open."""
        self.common.registry.add(file)
        self.used += 1

    def leave(self, file: Registered) -> None:
        """`file` is closed, or its open has failed. The last one closes the root, where the tree is disconnected."""
        registry = self.common.registry
        if file in registry:
            registry.remove(file)
            self.used -= 1
            if self._closed:
                self._close_root()

    def close(self) -> None:
        """The tree is disconnected. Files may outlive it (durable opens): the root is closed with the last of them."""
        self._closed = True
        self._close_root()

    def _close_root(self) -> None:
        if not self.used:
            self.resolver.close()
