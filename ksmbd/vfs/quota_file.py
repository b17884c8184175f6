# SPDX-License-Identifier: GPL-2.0-or-later
"""The volume's quota file, `$Extend\\$Quota:$Q:$INDEX_ALLOCATION`: no file on the disk, but a handle by which root,
that is who is in `admin users`, asks about the quotas of the share's file system and sets them."""
from __future__ import annotations

import os
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
from ksmbd.smb.ports import CreateIntent, CreateResult, FileInfo
from ksmbd.smb.status import STATUS_ACCESS_DENIED, NtStatusError
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.place import Place
from ksmbd.vfs.snapshot_files import SnapshotFile

_ATTRIBUTES: Final = (
    FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM | FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_ARCHIVE
)
"""As Windows tells them."""
_APART: Final = 1 << 61
"""What no device's number has, and no snapshot's key."""


class QuotaFile(SnapshotFile):
    """Implements the port File. It stands on the share's root, of which it changes nothing: it refuses what a file of
    a snapshot does."""

    __slots__ = ()

    @override
    def info(self) -> FileInfo:
        """See the port: without times and size."""
        return FileInfo(0, 0, 0, 0, 0, 0, attributes=_ATTRIBUTES, number_of_links=1, file_id=self.key[1])


def open_quota_file(place: Place, intent: CreateIntent) -> CreateResult:
    """Raises STATUS_ACCESS_DENIED for all but root, and for what would make or overwrite it."""
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
