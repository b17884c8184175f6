# SPDX-License-Identifier: GPL-2.0-or-later
"""What all volumes of a process share: its clock, its caches, its open files, its watches, its helper threads."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ksmbd.smb.ports import Clock, FileKey
from ksmbd.smb.waiting import Future
from ksmbd.vfs.allocation import PendingReleases, Reservations
from ksmbd.vfs.directory_cache import DirectoryCache
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.options import VfsSettings
from ksmbd.vfs.watches import Watches


class Registered(Protocol):
    """What a rename needs to know of each open file (ksmbd/vfs/entry.py)."""

    entry_key: FileKey
    names: tuple[bytes, ...]

    @property
    def root_key(self) -> FileKey:
        """(device, inode) of the root of its share."""
        ...

    def moved(self, disk_names: tuple[bytes, ...]) -> None:
        """The file has these names now, from the root of the share."""
        ...


class Common:
    """One in a process; LocalFiles (ksmbd/vfs/files.py) makes it."""

    __slots__ = (
        "cache", "clock", "idmap", "leases", "offload", "offload_long", "registry", "reservations", "settings",
        "pending_releases", "watches",
    )  # fmt: skip

    def __init__(self, settings: VfsSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.offload: Callable[[Callable[[], None]], Future[None]] | None = None
        """Runs a call that waits for a disk in another thread. The worker sets it; None: there is no such thread."""
        self.offload_long: Callable[[Callable[[], Any]], Future[Any]] | None = None
        """As `offload`, for calls that may take long: they run in threads of their own, so that no READ waits for
        them."""
        self.leases = False
        """Whether the kernel's leases can be used, and the worker listens for their breaks."""
        self.idmap = IdMap(settings.sub_authorities)
        self.cache = DirectoryCache()
        self.registry: set[Registered] = set()
        """The open files of this process, so that a rename reaches all that carry the path."""
        self.pending_releases = PendingReleases(clock)
        self.reservations: Reservations | None = None
        """The worker sets it."""
        self.watches = Watches()
