# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens an existing regular file by its whole path in one system call, which is what most CREATEs ask for.

The general way (volume.py) opens the directory, looks the entry up in it and opens that. This one leaves to it, before
anything has changed, all that is not a regular file of exactly this name, and all that the file itself does not grant.
So it refuses nothing but names that no file can have. tests/unit/vfs/test_whole_path.py compares the results of both.

A special file must not be opened for data, because that may wait or have effects, so a look at its type comes first. A
path that named a regular file the last time is opened without: where a local process has put something else there, that
is seen on the descriptor before anything else happens. (No open waits; `O_NONBLOCK` sees to it.)
"""
from __future__ import annotations

import os
from typing import Final

from ksmbd import limits
from ksmbd.kernel.stat import S_IFMT, S_IFREG, Stat, key_at, kind_at, stat_fd
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
from ksmbd.smb.ports import CreateIntent, CreateResult, FileKey
from ksmbd.smb.snapshot_tokens import MARK
from ksmbd.vfs import names
from ksmbd.vfs.attributes import make_info, read_dos
from ksmbd.vfs.errors import to_status
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.open_flags import WRITES, flags_of
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.place import Place

_new: Final = tuple.__new__
_KNOWN: Final = limits.REGULAR_FILES_KNOWN.value
_KNOWN_LENGTH: Final = 255
"""Bytes of the longest path that is remembered."""
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
    resolver = place.resolver
    root, parent = resolver.root, place.root_key
    flags = flags_of(S_IFREG, desired)
    path_only = flags & O_PATH != 0
    regular, known = place.regular, b""
    try:
        if separator:
            folder = names.folder(head, False)
            disk = names.component(last, False)
            path = folder.joined + b"/" + disk
            disk_names = (*folder.disk, disk)
            if len(path) > resolver.longest:
                return None
        else:
            path = names.component(last, False)
            disk_names = (path,)
        known = place.regular_key + path
        if known not in regular and not path_only and kind_at(root, path) != S_IFREG:
            return None
        if separator:
            parent = key_at(root, folder.joined)
        fd = resolver.open_whole(root, path, flags)
    except OSError:
        regular.discard(known)
        return None
    try:
        now = stat_fd(fd)
        if now.mode & S_IFMT != S_IFREG:
            regular.discard(known)
            os.close(fd)
            return None
        if not path_only and known not in regular and len(path) <= _KNOWN_LENGTH:
            if len(regular) >= _KNOWN:
                regular.clear()
            regular.add(known)
        result = _granted(place, intent, fd, now, path_only, disk_names, parent)
        if result is None:
            os.close(fd)
        return result
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError):
            raise to_status(error) from error
        raise


def _granted(
    place: Place, intent: CreateIntent, fd: int, now: Stat, path_only: bool, disk_names: tuple[bytes, ...],
    parent: FileKey,
) -> CreateResult | None:  # fmt: skip
    """The result, where the file itself grants all; `parent` is the directory that has it. Raises OSError."""
    name, desired, options = intent.name, intent.desired_access, place.options
    dos = read_dos(fd, path_only, options)
    attributes = dos.attributes or 0
    if (
        attributes & FILE_ATTRIBUTE_REPARSE_POINT or (attributes & FILE_ATTRIBUTE_READONLY and desired & WRITES)
        or not place.access.file_grants(fd, now, desired)
    ):  # fmt: skip
        return None
    info = make_info(now, dos, name.rpartition("\\")[2], options, place.root_dev, fd)
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
