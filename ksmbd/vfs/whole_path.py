# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens an existing regular file by its whole path in one system call, which is what most CREATEs ask for.

The general way (volume.py) opens the directory, looks the entry up in it and opens that. This one leaves to it, before
anything has changed, all that is not a regular file of exactly this name, and all that the file itself does not grant.
So it refuses nothing but names that no file can have. tests/unit/vfs/test_whole_path.py compares the results of both.
"""
from __future__ import annotations

import os
from typing import Final

from ksmbd.kernel.stat import S_IFMT, S_IFREG, key_at, kind_at, stat_fd
from ksmbd.kernel.syscalls import O_PATH
from ksmbd.smb.constants import (
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_OPEN,
    FILE_OPEN_BY_FILE_ID,
    FILE_OPEN_IF,
    FILE_OPENED,
)
from ksmbd.smb.ports import CreateIntent, CreateResult
from ksmbd.smb.snapshot_tokens import MARK
from ksmbd.vfs import names
from ksmbd.vfs.attributes import make_info, read_dos
from ksmbd.vfs.errors import to_status
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.open_flags import WRITES, flags_of
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.place import Place

_new: Final = tuple.__new__
_OTHER_OPTIONS: Final = FILE_DELETE_ON_CLOSE | FILE_DIRECTORY_FILE | FILE_OPEN_BY_FILE_ID


def open_whole_path(place: Place, intent: CreateIntent) -> CreateResult | None:
    """Open the file of `intent`; None where LocalVolume.create has to. Raises NtStatusError for a forbidden name."""
    name, desired, disposition = intent.name, intent.desired_access, intent.disposition
    if (
        not place.whole_paths or (disposition != FILE_OPEN and disposition != FILE_OPEN_IF) or intent.stream
        or intent.options & _OTHER_OPTIONS or intent.share_read_only or intent.snapshot
        or intent.posix_mode is not None or (place.previous is not None and MARK in name)
    ):  # fmt: skip
        return None
    head, separator, last = name.rpartition("\\")
    if not last:
        return None
    resolver, access = place.resolver, place.access
    root, parent = resolver.root, place.root_key
    flags = flags_of(S_IFREG, desired)
    try:
        if separator:
            folder = names.folder(head, False)
            disk = names.component(last, False)
            path = folder.joined + b"/" + disk
            disk_names = (*folder.disk, disk)
            if len(path) > resolver.longest or kind_at(root, path) != S_IFREG:
                return None
            parent = key_at(root, folder.joined)
        else:
            path = names.component(last, False)
            disk_names = (path,)
            if kind_at(root, path) != S_IFREG:
                return None
        fd = resolver.open_whole(root, path, flags)
    except OSError:
        return None
    try:
        path_only = flags & O_PATH != 0
        now = stat_fd(fd)
        dos = read_dos(fd, path_only, place.options)
        attributes = dos.attributes or 0
        if (
            now.mode & S_IFMT != S_IFREG or attributes & FILE_ATTRIBUTE_REPARSE_POINT
            or (attributes & FILE_ATTRIBUTE_READONLY and desired & WRITES)
            or not access.file_grants(fd, now, desired)
        ):  # fmt: skip
            os.close(fd)
            return None
        info = make_info(now, dos, last, place.options, place.root_dev, fd)
        opened = Opened(place, False)
        opened.fd = fd
        opened.path_only = path_only
        opened.now = now
        opened.disk_names = disk_names
        opened.path = name
        opened.granted = desired
        file = LocalFile(opened, False)
        file.opened_in(parent)
        return _new(CreateResult, (file, FILE_OPENED, desired, info, None, False))
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError):
            raise to_status(error) from error
        raise
