# SPDX-License-Identifier: GPL-2.0-or-later
"""Implements the port Files (ksmbd/smb/ports/files.py) on the file systems of this machine: LocalFiles."""
from __future__ import annotations

import logging
import os
import pwd

from ksmbd.kernel.credentials import Credentials
from ksmbd.smb.ports import Clock, Identity, ShareConfig, Volume
from ksmbd.smb.status import STATUS_BAD_NETWORK_NAME, NtStatusError
from ksmbd.vfs import gate
from ksmbd.vfs.access import Access
from ksmbd.vfs.audit import Audit
from ksmbd.vfs.common import Common
from ksmbd.vfs.dfs_volume import DfsVolume
from ksmbd.vfs.options import ShareOptions, VfsSettings
from ksmbd.vfs.place import Place
from ksmbd.vfs.resolve import Resolver
from ksmbd.vfs.snapshots import SnapshotLists, Snapshots, rules_of
from ksmbd.vfs.volume import LocalVolume

logger = logging.getLogger("ksmbd.vfs")


class LocalFiles(Common):
    """Opens volumes for tree connects. There is one in a process. It sets the process's umask to 0, because shares
    have their own masks."""

    __slots__ = ("_snapshots",)

    def __init__(self, settings: VfsSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._snapshots = SnapshotLists(clock)
        os.umask(0)

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> Volume:
        """See the port."""
        options = ShareOptions.of(share, self.settings)
        user = _user(share, identity)
        try:
            root = gate.open_share(share.path)
        except OSError as error:
            raise NtStatusError(STATUS_BAD_NETWORK_NAME, f"{share.path}: {error.strerror}") from error
        try:
            resolver = Resolver(root, user, self.cache, options)
            token = self.idmap.token(identity, user.uid, user.gid, user.groups)
            audit = Audit(self.audit_log, share.name, identity, token) if options.acl_xattr else None
            access = Access(options, self.idmap, token, user, self.clock, audit)
            place = Place(self, share, options, resolver, access, user, read_only)
            place.address = identity.address
            place.previous = self._previous(place)
            return DfsVolume(place) if share.msdfs_root else LocalVolume(place)
        except BaseException:
            os.close(root)
            raise

    def _previous(self, place: Place) -> Snapshots | None:
        """The share's snapshots; without, and a warning, where its parameters cannot be."""
        share = place.share
        if not share.snapshot_path:
            return None
        try:
            rules = rules_of(share)
        except (ValueError, OSError) as error:
            logger.warning("[%s]: no snapshots: %s", share.name, error)
            return None
        return None if rules is None else Snapshots(place, rules, self._snapshots)

    def notify_fileno(self) -> int:
        """The descriptor that becomes readable when a watched directory has changed."""
        return self.watches.fileno()

    def on_notify_readable(self) -> None:
        """Process the changes; the event loop calls it when `notify_fileno` is readable."""
        self.watches.on_readable()

    def close(self) -> None:
        """Free what the process has reserved and watched, because it ends."""
        self.pending_releases.close()
        if self.reservations is not None:
            self.reservations.close()
        self.watches.close()
        self.cache.close()
        self.audit_log.close()


def _user(share: ShareConfig, identity: Identity) -> Credentials:
    """The Unix user that accesses the files: the session's, or that of `force user` and `force group`. `admin users`
    have root's uid in its place, and the groups stay, so that what they make is not root's group's."""
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
    return Credentials(0 if identity.is_admin else uid, gid, tuple(dict.fromkeys((gid, *groups))))
