# SPDX-License-Identifier: GPL-2.0-or-later
"""The room's entry: LocalFiles implements the port Files on this machine's file systems."""
from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from typing import Any

from ksmbd.kernel.credentials import Credentials
from ksmbd.smb.ports import Clock, FileKey, Identity, ShareConfig, Volume
from ksmbd.smb.status import STATUS_BAD_NETWORK_NAME, NtStatusError
from ksmbd.smb.waiting import Future
from ksmbd.vfs import gate
from ksmbd.vfs.access import Access
from ksmbd.vfs.allocation import Reservations, Unused
from ksmbd.vfs.directory_cache import DirectoryCache
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.options import ShareOptions, VfsSettings
from ksmbd.vfs.resolve import Resolver
from ksmbd.vfs.volume import LocalVolume
from ksmbd.vfs.watch import Watches


class Registry:
    """The open files of this process, so that a rename reaches all that carry the path."""

    __slots__ = ("_files",)

    def __init__(self) -> None:
        self._files: set[LocalEntry] = set()

    def add(self, file: LocalEntry) -> None:
        """`file` is open."""
        self._files.add(file)
        file.local_volume.used += 1

    def discard(self, file: LocalEntry) -> None:
        """`file` is closed."""
        if file in self._files:
            self._files.remove(file)
            file.local_volume.release()

    def __iter__(self) -> Iterator[LocalEntry]:
        return iter(self._files)

    def renamed(self, root: FileKey, key: FileKey, old: tuple[bytes, ...], new: tuple[bytes, ...]) -> None:
        """The entry `old` below `root`, the file `key`, is `new` now: it and all below it follow; not what had the name
        before it, and has none any longer."""
        depth = len(old)
        for file in self:
            if file.names[:depth] == old and file.local_volume.root_key == root and (
                len(file.names) > depth or file.entry_key == key
            ):  # fmt: skip
                file.moved(new + file.names[depth:])


class LocalFiles:
    """Makes volumes. One in a process; it sets the process's umask to 0, as shares have masks of their own."""

    __slots__ = (
        "cache", "clock", "idmap", "leases", "offload", "offload_long", "registry", "reservations", "settings",
        "unused", "watches",
    )  # fmt: skip

    def __init__(self, settings: VfsSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.offload: Callable[[Callable[[], None]], Future[None]] | None = None
        """Runs a call that waits for a disk in another thread; None: there is none (who puts the rooms together sets
        it)."""
        self.offload_long: Callable[[Callable[[], Any]], Future[Any]] | None = None
        """The same for what may take long, in threads that nobody waits for who only reads."""
        self.leases = False
        """The kernel's leases can be used, and who put the rooms together listens for their breaks."""
        self.idmap = IdMap(settings.sub_authorities)
        self.cache = DirectoryCache()
        self.registry = Registry()
        self.unused = Unused(clock)
        self.reservations: Reservations | None = None
        """Who puts the rooms together sets it."""
        self.watches = Watches()
        os.umask(0)

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> Volume:
        """See the port."""
        options = ShareOptions.of(share)
        user = _user(share, identity)
        try:
            root = gate.open_share(share.path)
        except OSError as error:
            raise NtStatusError(STATUS_BAD_NETWORK_NAME, f"{share.path}: {error.strerror}") from error
        try:
            resolver = Resolver(
                root, user, self.cache, options.follow_symlinks, options.wide_links, options.crossmnt, options.veto
            )
            token = self.idmap.token(identity, user.uid, user.gid, user.groups)
            access = Access(options, self.idmap, token, user, self.clock)
            return LocalVolume(self, share, options, resolver, access, user, read_only)
        except BaseException:
            os.close(root)
            raise

    def notify_fileno(self) -> int:
        """The descriptor that is readable when watched directories changed."""
        return self.watches.fileno()

    def on_notify_readable(self) -> None:
        """Call when `notify_fileno` is readable."""
        self.watches.on_readable()

    def close(self) -> None:
        """The process ends."""
        self.unused.close()
        if self.reservations is not None:
            self.reservations.close()
        self.watches.close()


def _user(share: ShareConfig, identity: Identity) -> Credentials:
    """Who accesses the files: root for administrators, else `force user`, `force group`, else the session's user."""
    if identity.is_admin:
        return Credentials(0, 0, ())
    uid, gid, groups = identity.uid, identity.gid, identity.groups
    if share.force_uid is not None:
        uid = share.force_uid
        try:
            account = pwd.getpwuid(uid)
            gid = account.pw_gid
            groups = tuple(os.getgrouplist(account.pw_name, gid))
        except KeyError:
            groups = ()
    if share.force_gid is not None:
        gid = share.force_gid
    return Credentials(uid, gid, tuple(dict.fromkeys((gid, *groups))))
