# SPDX-License-Identifier: GPL-2.0-or-later
"""Translates errno to NTSTATUS by one table, and turns OSError into NtStatusError."""
from __future__ import annotations

import errno
from types import TracebackType
from typing import Final

from ksmbd.smb import status as s
from ksmbd.smb.status import NtStatusError

NTSTATUS: Final[dict[int, int]] = {
    errno.EPERM: s.STATUS_ACCESS_DENIED,
    errno.EACCES: s.STATUS_ACCESS_DENIED,
    errno.ENOENT: s.STATUS_OBJECT_NAME_NOT_FOUND,
    errno.ESTALE: s.STATUS_OBJECT_NAME_NOT_FOUND,
    errno.ENOTDIR: s.STATUS_NOT_A_DIRECTORY,
    errno.EISDIR: s.STATUS_FILE_IS_A_DIRECTORY,
    errno.EEXIST: s.STATUS_OBJECT_NAME_COLLISION,
    errno.ENOTEMPTY: s.STATUS_DIRECTORY_NOT_EMPTY,
    errno.ENAMETOOLONG: s.STATUS_OBJECT_NAME_INVALID,
    errno.EILSEQ: s.STATUS_OBJECT_NAME_INVALID,
    errno.ELOOP: s.STATUS_ACCESS_DENIED,
    errno.EXDEV: s.STATUS_NOT_SAME_DEVICE,
    errno.ENOSPC: s.STATUS_DISK_FULL,
    errno.EDQUOT: s.STATUS_DISK_FULL,
    errno.EFBIG: s.STATUS_DISK_FULL,
    errno.E2BIG: s.STATUS_EA_TOO_LARGE,
    errno.ERANGE: s.STATUS_EA_TOO_LARGE,
    errno.EROFS: s.STATUS_MEDIA_WRITE_PROTECTED,
    errno.EMLINK: s.STATUS_TOO_MANY_LINKS,
    errno.EMFILE: s.STATUS_TOO_MANY_OPENED_FILES,
    errno.ENFILE: s.STATUS_TOO_MANY_OPENED_FILES,
    errno.ENOMEM: s.STATUS_INSUFFICIENT_RESOURCES,
    errno.ENOBUFS: s.STATUS_INSUFFICIENT_RESOURCES,
    errno.EBUSY: s.STATUS_SHARING_VIOLATION,
    errno.ETXTBSY: s.STATUS_SHARING_VIOLATION,
    errno.EAGAIN: s.STATUS_SHARING_VIOLATION,
    errno.EINVAL: s.STATUS_INVALID_PARAMETER,
    errno.EBADF: s.STATUS_INVALID_HANDLE,
    errno.ENXIO: s.STATUS_INVALID_DEVICE_REQUEST,
    errno.ENODEV: s.STATUS_INVALID_DEVICE_REQUEST,
    errno.EOPNOTSUPP: s.STATUS_NOT_SUPPORTED,
    errno.ENOSYS: s.STATUS_NOT_SUPPORTED,
    errno.ENOTTY: s.STATUS_INVALID_DEVICE_REQUEST,
    errno.ENODATA: s.STATUS_NOT_FOUND,
    errno.EIO: s.STATUS_UNEXPECTED_IO_ERROR,
    errno.EUCLEAN: s.STATUS_FILE_CORRUPT_ERROR,
    errno.ETIMEDOUT: s.STATUS_IO_TIMEOUT,
}


def to_status(error: OSError) -> NtStatusError:
    """The NtStatusError for an OSError; STATUS_UNSUCCESSFUL for an errno that is not in the table."""
    return NtStatusError(NTSTATUS.get(error.errno or 0, s.STATUS_UNSUCCESSFUL), error.strerror or "")


class _Guard:
    """The context manager `with os_errors:`, which turns OSError into NtStatusError. It has no state, so one object
    serves all."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise to_status(error) from error


os_errors: Final = _Guard()
