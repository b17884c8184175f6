# SPDX-License-Identifier: GPL-2.0-or-later
"""Deletes the vetoed contents of a directory that a client deletes (`delete veto files = yes`, as in smb.conf(5)).

Clients cannot see and so cannot delete entries that `veto files` hides. A directory that has no other entries is
deleted with them, and a vetoed directory below it with all that it contains. A directory with an entry that clients can
see is not touched. All entries are checked before the first one is removed, with the user's rights. Symbolic links are
not followed, and other file systems are not entered.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from ksmbd import limits
from ksmbd.kernel import descriptors
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, Stat, stat_at, stat_fd
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_DIRECTORY_NOT_EMPTY, NtStatusError
from ksmbd.vfs.names import from_scandir
from ksmbd.vfs.place import Place

_DEPTH: Final = 64
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def check(place: Place, folder: int) -> None:
    """Check that an open directory, which is not empty, can be removed with its contents.

    Raises STATUS_DIRECTORY_NOT_EMPTY where clients can see an entry, or there are more than VETOED_ENTRIES;
    STATUS_ACCESS_DENIED where the user may not remove one; OSError."""
    for _ in _walk(place, folder):
        pass


def empty(place: Place, folder: int) -> None:
    """Check an open directory and remove its contents. Raises what `check` raises."""
    check(place, folder)
    for directory, name, is_directory in _walk(place, folder):
        if is_directory:
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)


def _walk(place: Place, folder: int) -> Iterator[tuple[int, bytes, bool]]:
    """(directory descriptor, name, whether it is a directory) of all entries to remove, contents before their
    directory."""
    if not place.options.delete_veto:
        raise NtStatusError(STATUS_DIRECTORY_NOT_EMPTY)
    left = [limits.VETOED_ENTRIES.value]
    yield from _below(place, folder, stat_fd(folder), left, 0)


def _below(
    place: Place, folder: int, root: Stat, left: list[int], depth: int
) -> Iterator[tuple[int, bytes, bool]]:
    try:
        fd = os.open(descriptors.path(folder), _FOLDER)
    except OSError as error:
        raise NtStatusError(STATUS_ACCESS_DENIED, "a folder that the user may not list") from error
    try:
        with os.scandir(fd) as scan:
            names = [from_scandir(entry.name) for entry, _ in zip(scan, range(left[0] + 1), strict=False)]
        left[0] -= len(names)
        if left[0] < 0 or depth > _DEPTH:
            raise NtStatusError(STATUS_DIRECTORY_NOT_EMPTY, "too much for one request")
        for _, name in names:
            if not depth and not place.options.veto.match(name):
                raise NtStatusError(STATUS_DIRECTORY_NOT_EMPTY)
        for disk, _ in names:
            stat = stat_at(fd, disk)
            if (stat.mnt_id, stat.dev) != (root.mnt_id, root.dev):
                raise NtStatusError(STATUS_DIRECTORY_NOT_EMPTY, "another file system")
            if not place.access.may_unlink(fd, stat):
                raise NtStatusError(STATUS_ACCESS_DENIED, "a vetoed entry that the user may not remove")
            is_directory = stat.mode & S_IFMT == S_IFDIR
            if is_directory:
                child = os.open(disk, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    yield from _below(place, child, stat, left, depth + 1)
                finally:
                    os.close(child)
            yield fd, disk, is_directory
    finally:
        os.close(fd)
