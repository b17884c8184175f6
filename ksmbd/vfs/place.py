# SPDX-License-Identifier: GPL-2.0-or-later
"""The context of the open files of one tree connect: the share, the user, the path resolver and the access checks.

A volume makes its Place and gives it to each open (ksmbd/vfs/entry.py). Listings, watches, renames and links read the
share's state from it, so that they need not import the volume.
"""
from __future__ import annotations

from struct import Struct
from typing import Final, Protocol

from ksmbd import debug, log
from ksmbd.kernel import credentials
from ksmbd.kernel.credentials import Credentials
from ksmbd.kernel.filesystems import ELSEWHERE, RAMFS_MAGIC, TMPFS_MAGIC, file_system_type
from ksmbd.smb.ports import CreateIntent, CreateResult, FileKey, ShareConfig, Volume
from ksmbd.vfs.access import WRITE_RIGHTS, Access
from ksmbd.vfs.common import Common, Registered
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.options import ShareOptions
from ksmbd.vfs.resolve import Resolver

_ROOT: Final = Struct("=QQ")


class Previous(Protocol):
    """A share's snapshots, for one user (ksmbd/vfs/snapshots.py)."""

    def times(self, path: str) -> list[int]:
        """FILETIMEs of the snapshots of a file. Raises STATUS_ACCESS_DENIED where the user may not list them."""
        ...

    def create(self, intent: CreateIntent) -> CreateResult | None:
        """Open the file that the intent, or a token in its name, asks for in a snapshot; None where it asks for a live
        file. Raises what LocalVolume.create raises, and STATUS_OBJECT_NAME_NOT_FOUND where there is no such snapshot
        (MS-SMB2 3.3.5.9.4)."""
        ...

    def close(self) -> None:
        """End the tree connect."""
        ...


class Place:
    """The share as the user of one tree connect sees it. `resolver.root` is the descriptor of the share's root."""

    __slots__ = (
        "_closed", "access", "address", "cache", "common", "in_memory", "options", "previous", "read_only", "regular",
        "regular_key", "resolver", "root_dev", "root_key", "share", "shares_locks", "snapshot", "used", "user",
        "volume", "whole_paths",
    )  # fmt: skip

    volume: Volume
    """The Volume that the tree connect holds. LocalVolume sets it."""

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
        self.address = ""
        """The client's, for debug lines."""
        self.cache = common.cache
        self.user = user
        """The Unix user that all operations act as."""
        self.read_only = read_only
        """Whether the tree connect refuses writes."""
        self.whole_paths = resolver.whole_paths and not (
            read_only or options.acl_xattr or options.kernel_oplocks or options.posix_locking
        )
        """Whether files may be opened by their whole path (ksmbd/vfs/whole_path.py): nothing about the share asks for
        more than the Unix permissions."""
        self.regular = common.regular
        self.snapshot = 0
        """The FILETIME of the snapshot that the files belong to; 0 for live files."""
        self.previous: Previous | None = None
        """The share's snapshots; None where the share offers none."""
        self.used = 0
        """How many files are open."""
        self._closed = False
        stat = resolver.root_stat
        self.root_dev = stat.dev
        self.root_key: FileKey = (stat.dev, stat.ino)
        self.regular_key = _ROOT.pack(stat.dev, stat.ino)
        """What a path of this share begins with in `regular`."""
        with os_errors:
            kind = file_system_type(resolver.root)
        self.in_memory = kind in (TMPFS_MAGIC, RAMFS_MAGIC)
        """The root is on tmpfs or ramfs, so that reading its files never waits for a disk."""
        self.shares_locks = options.share_locks and kind not in ELSEWHERE
        """Byte-range locks of an open are shared with local processes from its first one on. A lock of a file system on
        another machine, or of a process, would wait for it."""

    def told(self, text: str) -> None:
        """Log a debug line, with the share and the client."""
        log.debug(debug.VFS, f"{text}, on [{self.share.name}] from {self.address or 'nobody'}", self.address)

    def become(self) -> None:
        """Make the calling thread act as the user."""
        credentials.assume(self.user)

    def restrict(self, granted: int) -> int:
        """`granted` without the rights that a read-only tree connect refuses."""
        return granted & ~WRITE_RIGHTS if self.read_only else granted

    def enter(self, file: Registered) -> None:
        """Register an open file."""
        self.common.registry.add(file)
        self.used += 1

    def leave(self, file: Registered) -> None:
        """Remove a file that is closed, or whose open has failed. After `close`, the last one closes the root."""
        registry = self.common.registry
        if file in registry:
            registry.remove(file)
            self.used -= 1
            if self._closed:
                self._close_root()

    def close(self) -> None:
        """End the tree connect. Durable opens may outlive it: the root is closed with the last file."""
        self._closed = True
        if self.previous is not None and not self.snapshot:
            self.previous.close()
        self._close_root()

    def _close_root(self) -> None:
        if not self.used:
            self.resolver.close()
