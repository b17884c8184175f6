# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a named stream the unnamed one of its file: the rename to `::$DATA` (MS-FSA 2.1.5.15.11.1)."""
from __future__ import annotations

import os
from contextlib import suppress

from ksmbd.kernel import descriptors
from ksmbd.kernel.stat import S_IFREG, stat_fd
from ksmbd.kernel.syscalls import O_PATH
from ksmbd.smb.constants import FILE_ATTRIBUTE_READONLY
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_COLLISION,
    NtStatusError,
)
from ksmbd.vfs.attributes import read_dos
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.open_flags import WRITES, flags_of
from ksmbd.vfs.opened import Opened


def check_unnamed(stream: LocalEntry, replace: bool) -> None:
    """Check that a stream may become the unnamed one of its file, which exists always. A directory has none.

    Raises STATUS_OBJECT_NAME_COLLISION without `replace`; STATUS_NOT_SUPPORTED where the file's data is shared with
    local processes through leases or locks of the kernel, which a named stream has none of."""
    options = stream.place.options
    if stream.kind != S_IFREG:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a directory has no unnamed stream")
    if not replace:
        raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
    if options.kernel_oplocks or options.posix_locking:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "kernel oplocks or posix locking")
    fd = stream.fd
    with os_errors:
        attributes = read_dos(fd, stream.path_only, options).attributes or 0
    if attributes & FILE_ATTRIBUTE_READONLY and not stream.posix:
        raise NtStatusError(STATUS_ACCESS_DENIED, "read-only")


def open_with(stream: LocalEntry, content: bytes) -> LocalFile:
    """Open the file as `stream` is open, and give it the data `content`, which is on the disk then: the caller is about
    to remove the stream. Raises STATUS_INVALID_PARAMETER unless the file is empty, as NTFS replaces empty streams
    alone; NtStatusError. Then the file is empty."""
    file = _open(stream, flags_of(S_IFREG, WRITES))
    try:
        with os_errors:
            if stat_fd(file.fd).size:
                raise NtStatusError(STATUS_INVALID_PARAMETER, "the unnamed stream has data")
        try:
            file.write(0, content)
            file.flush(True)
            flags = flags_of(S_IFREG, stream.granted_access)
            if flags != flags_of(S_IFREG, WRITES):
                file.replace_fd(_reopen(stream, flags))
                file.path_only = flags & O_PATH != 0
        except NtStatusError:
            with suppress(NtStatusError):
                file.set_end_of_file(0)
            raise
    except NtStatusError:
        file.close()
        raise
    return file


def _open(stream: LocalEntry, flags: int) -> LocalFile:
    opened = Opened(stream.place, stream.posix)
    opened.fd = _reopen(stream, flags)
    opened.path_only = False
    opened.disk_names, opened.path, opened.granted = stream.names, stream.path, stream.granted_access
    try:
        with os_errors:
            opened.now = stat_fd(opened.fd)
    except NtStatusError:
        os.close(opened.fd)
        raise
    if stream.entry_key != stream.key:
        opened.entry_key = stream.entry_key
    return LocalFile(opened, False)


def _reopen(stream: LocalEntry, flags: int) -> int:
    with os_errors:
        return os.open(descriptors.path(stream.fd), flags & ~os.O_NOFOLLOW)
