# SPDX-License-Identifier: GPL-2.0-or-later
"""The volume's quota file, `$Extend\\$Quota:$Q:$INDEX_ALLOCATION`. It is no file on the disk, but a handle by which the
users in `admin users` query and set the quotas of the share's file system."""
from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from ksmbd.kernel.stat import stat_fd
from ksmbd.overriding import override
from ksmbd.smb.constants import (
    FILE_ALL_ACCESS,
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_SYSTEM,
    FILE_OPEN,
    FILE_OPEN_IF,
    FILE_OPENED,
    MAXIMUM_ALLOWED,
)
from ksmbd.smb.ports import CreateIntent, CreateResult, FileInfo, QuotaEntry
from ksmbd.smb.status import STATUS_ACCESS_DENIED, NtStatusError
from ksmbd.vfs import quotas
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.place import Place
from ksmbd.vfs.snapshot_files import SnapshotFile

_ATTRIBUTES: Final = (
    FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM | FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_ARCHIVE
)
"""As Windows returns them."""
_APART: Final = 1 << 61
"""A bit that neither a device number nor a snapshot's key has."""


class QuotaFile(SnapshotFile):
    """Implements the port File. Its descriptor is that of the share's root, which it must not change: it refuses what
    a file of a snapshot refuses, except to set quotas."""

    __slots__ = ()

    @override
    def set_quotas(self, entries: Sequence[QuotaEntry]) -> None:
        """See the port."""
        quotas.set_all(self.place, self._begin(), entries)

    @override
    def info(self) -> FileInfo:
        """See the port: without times and size."""
        return FileInfo(0, 0, 0, 0, 0, 0, attributes=_ATTRIBUTES, number_of_links=1, file_id=self.key[1])


def open_quota_file(place: Place, intent: CreateIntent) -> CreateResult:
    """Open the quota file. Raises STATUS_ACCESS_DENIED for everybody but root, and for a disposition that would create
    or overwrite it."""
    if not place.access.root or intent.disposition not in (FILE_OPEN, FILE_OPEN_IF):
        raise NtStatusError(STATUS_ACCESS_DENIED, "the quota file")
    opened = Opened(place, False)
    desired = intent.desired_access
    opened.granted = FILE_ALL_ACCESS if desired & MAXIMUM_ALLOWED else desired
    opened.path = intent.name
    with os_errors:
        opened.fd = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.resolver.root)
        try:
            opened.now = stat_fd(opened.fd)
            file = QuotaFile(opened, False)
        except BaseException:
            os.close(opened.fd)
            raise
    file.key = (file.key[0] ^ _APART, file.key[1])
    file.is_directory = False
    return CreateResult(file, FILE_OPENED, opened.granted, file.info())
