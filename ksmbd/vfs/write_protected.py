# SPDX-License-Identifier: GPL-2.0-or-later
"""What a refusal says on a file system that is mounted read-only: STATUS_MEDIA_WRITE_PROTECTED (MS-FSA 2.1.5.1.2)."""
from __future__ import annotations

import os

from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_MEDIA_WRITE_PROTECTED, NtStatusError


def is_protected(fd: int) -> bool:
    """Whether the open file's file system is mounted read-only. Raises OSError."""
    return os.fstatvfs(fd).f_flag & os.ST_RDONLY != 0


def kept_by(directory: int | None) -> NtStatusError:
    """The refusal to remove an entry of the open directory, whose permissions forbid it; None: the entry is the share's
    root. Raises OSError."""
    if directory is not None and is_protected(directory):
        return NtStatusError(STATUS_MEDIA_WRITE_PROTECTED, "read-only file system")
    return NtStatusError(STATUS_ACCESS_DENIED, "the directory does not let it go")
