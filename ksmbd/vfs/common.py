# SPDX-License-Identifier: GPL-2.0-or-later
"""The state that all volumes of a process share: clock, caches, open files, watches, helper threads."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ksmbd.smb.ports import Clock, FileKey
from ksmbd.smb.waiting import Future
from ksmbd.vfs.allocation import PendingReleases, Reservations
from ksmbd.vfs.audit import AuditLog
from ksmbd.vfs.directory_cache import DirectoryCache
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.listed import ListedFolders
from ksmbd.vfs.options import VfsSettings
from ksmbd.vfs.watches import Watches


class Registered(Protocol):
    """An open file in the process's registry, as far as a rename needs it; LocalEntry (entry.py) implements it."""

    entry_key: FileKey
    names: tuple[bytes, ...]

    @property
    def root_key(self) -> FileKey:
        """(device, inode) of the root of its share."""
        ...

    def moved(self, disk_names: tuple[bytes, ...]) -> None:
        """Set the file's names on disk, from the root of the share, after a rename."""
        ...


class Common:
    """The shared state of one process; LocalFiles (files.py) is its only subclass and instance."""

    __slots__ = (
        "audit_log", "cache", "clock", "idmap", "leases", "listed", "offload", "offload_long", "registry",
        "regular", "reservations", "settings", "pending_releases", "watches",
    )  # fmt: skip

    def __init__(self, settings: VfsSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.offload: Callable[[Callable[[], None]], Future[None]] | None = None
        """Runs a call that waits for a disk in a helper thread. The worker sets it; None: there is no helper thread."""
        self.offload_long: Callable[[Callable[[], Any]], Future[Any]] | None = None
        """As `offload`, for calls that may take long. They run in separate threads, so that no READ waits for them."""
        self.leases = False
        """Whether kernel leases (F_SETLEASE) work here and the worker receives their break signals. The worker sets
        it."""
        self.idmap = IdMap(settings.sub_authorities, settings.former_users)
        self.audit_log = AuditLog(settings.audit_file, clock)
        self.listed = ListedFolders(clock)
        self.cache = DirectoryCache(monotonic=clock.monotonic)
        self.registry: set[Registered] = set()
        """The open files of this process: a rename updates the names of all that are below the path."""
        self.regular: set[bytes] = set()
        """Paths by which regular files were opened, each behind Place.regular_key (ksmbd/vfs/whole_path.py)."""
        self.pending_releases = PendingReleases(clock)
        self.reservations: Reservations | None = None
        """The record of reserved blocks that outlives this process. The worker sets it; None: there is none."""
        self.watches = Watches()
