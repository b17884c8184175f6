# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists directories lazily, with one statx and one short xattr read per entry."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from ksmbd import debug
from ksmbd.kernel import descriptors
from ksmbd.kernel.files import R_OK, W_OK, AttributeReader, access_at
from ksmbd.kernel.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, listed_at, stat_at, stat_fd
from ksmbd.smb.constants import (
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_READ_ATTRIBUTES,
    FILE_READ_DATA,
    FILE_READ_EA,
    FILE_WRITE_DATA,
    READ_CONTROL,
)
from ksmbd.smb.dfs import IO_REPARSE_TAG_DFS
from ksmbd.smb.ports import DirectoryEntry, FileInfo
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import change_times, dosattrib, reparse
from ksmbd.vfs.attributes import ea_size, has_set_change_time, listed_dos, listed_info, listed_value, make_info
from ksmbd.vfs.dfs_links import targets_at
from ksmbd.vfs.dosattrib import NOTHING
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.listed import Listed, look_of
from ksmbd.vfs.names import from_scandir, to_client
from ksmbd.vfs.options import ShareOptions

logger = logging.getLogger("ksmbd.vfs")

_READ: Final = FILE_READ_DATA | FILE_READ_EA | FILE_READ_ATTRIBUTES | READ_CONTROL

_LOOKS: Final = 32
"""Number of names after which the iterator yields None, so that the worker can serve other clients."""


def entries(file: LocalEntry, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
    """Iterate over the entries of an open directory, `.` and `..` first. Left out are names that `veto files` and
    `hide unreadable` hide, and entries that the user may not stat (a directory that can be listed and not searched).

    With `matches`, only names for which it is true are yielded, and None after every _LOOKS names, so that the worker
    can serve other clients. Raises OSError.

    Each listing has its own descriptor and so its own position: two listings of one open do not disturb each other."""
    place = file.place
    options = place.options
    place.become()
    with _scan(file) as scan:
        info = file.info()
        if matches is None or matches("."):
            yield DirectoryEntry(".", info)
        if matches is None or matches(".."):
            yield DirectoryEntry("..", _parent_info(file) or info)
        if options.veto or options.hide_unreadable or options.hide_unwriteable or options.hide_special:
            yield from _checked(file, scan, matches)
        else:
            yield from _quick(file, scan, matches)


def _checked(
    file: LocalEntry, scan: Iterator[os.DirEntry[str]], matches: Callable[[str], bool] | None
) -> Iterator[DirectoryEntry | None]:
    """The entries of `scan`, where the share hides some."""
    reader = AttributeReader(file.fd, dosattrib.NAME)
    options = file.place.options
    veto = options.veto
    looked = 0
    for entry in scan:
        disk, name = from_scandir(entry.name)
        if file.posix:
            name = to_client(disk, True)
        if matches is not None:
            looked += 1
            if not looked % _LOOKS:
                yield None
            if not matches(name) and (file.posix or not options.matches_short(matches, disk)):
                continue
        if veto.match(name):
            continue
        try:
            found = _entry(file, disk, name, reader)
        except (OSError, NtStatusError) as error:
            _left_out(file, name, error)
            continue
        if found is not None:
            yield found


def _quick(
    file: LocalEntry, scan: Iterator[os.DirEntry[str]], matches: Callable[[str], bool] | None
) -> Iterator[DirectoryEntry | None]:
    """The entries of `scan`, where the share shows all. What was listed before and has not changed is not made again
    (ksmbd/vfs/listed.py)."""
    place, posix = file.place, file.posix
    options = place.options
    finder = _Finder(file)
    memory = place.common.listed
    look = None if posix else look_of(options, place.share.hide_files, place.root_dev)
    folder = None if look is None else memory.folder(file.fd, file.key, look)
    listed: dict[str, Listed] = {} if folder is None else folder.names
    settled = memory.settled_before()
    seen = 0
    for entry in scan:
        text = entry.name
        seen += 1
        known = listed.get(text)
        if known is not None:
            disk, name = known.disk, known.entry.name
        else:
            disk, name = from_scandir(text)
            if posix:
                name = to_client(disk, True)
        if matches is not None:
            if not seen % _LOOKS:
                yield None
            if not matches(name) and (posix or not options.matches_short(matches, disk)):
                continue
        try:
            # `fd` makes the thread act as the user: the worker may have served another one since the last entry.
            stat = listed_at(file.fd, disk)
            if known is not None and known.stat == stat:
                if not change_times.kept or not has_set_change_time(known.stat):
                    yield known.entry
                    continue
            found = finder.find(disk, name, stat)
        except (OSError, NtStatusError) as error:
            _left_out(file, name, error)
            continue
        if found is not None:
            if folder is not None and stat is not None and finder.quick and found.info.change_time < settled:
                memory.keep(folder, text, Listed(stat, disk, found))
            yield found
    if folder is not None:
        memory.ended(folder, seen)


class _Finder:
    """Makes the entries of one listing."""

    __slots__ = ("_file", "_hides", "_maps", "_quick_reader", "_reader", "quick")

    def __init__(self, file: LocalEntry) -> None:
        options = file.place.options
        self._file = file
        self._reader = AttributeReader(file.fd, dosattrib.NAME)
        self._quick_reader = self._reader if options.store_dos_attributes else None
        self._hides = options if options.hide_dot_files or options.hide else None
        self._maps = options if options.maps else None
        self.quick = False
        """Whether the last entry follows from its metadata and DOS attributes alone, and is the same for all users."""

    def find(self, disk: bytes, name: str, stat: bytes | None) -> DirectoryEntry | None:
        """The entry `disk`, which clients see as `name`. `stat` is what `listed_at` has returned. Raises OSError,
        NtStatusError."""
        file = self._file
        self.quick = False
        if stat is not None:
            info = listed_info(
                file.fd, disk, name, stat, self._quick_reader, self._hides, file.place.root_dev, self._maps
            )
            if info is not None:
                self.quick = not info.attributes & FILE_ATTRIBUTE_REPARSE_POINT
                return _described(file, disk, DirectoryEntry(name, info))
        return _entry(file, disk, name, self._reader)


def _scan(file: LocalEntry) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    """The names in an open directory, read through a descriptor of its own. Raises OSError."""
    # By its name in /proc: opening "." would need the right to search the directory.
    fd = os.open(descriptors.path(file.fd), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return os.scandir(fd)  # duplicates the descriptor
    finally:
        os.close(fd)


def _left_out(file: LocalEntry, name: str, error: Exception) -> None:
    """Log an entry that cannot be read (no permission, a damaged disk, an unreachable file server). The listing goes
    on."""
    if debug.mask[0] & debug.VFS:
        file.place.told(f"{file.path}: {name!r} is not listed: {error}")


def lookup(file: LocalEntry, name: str) -> DirectoryEntry | None:
    """One entry by its name, without regard to case; None where there is none. Raises OSError, NtStatusError."""
    place = file.place
    place.become()
    disk, stat = place.resolver.find(file.fd, name, file.posix)
    if stat is None:
        return None
    return _entry(file, disk, to_client(disk, file.posix), AttributeReader(file.fd, dosattrib.NAME))


def _entry(file: LocalEntry, disk: bytes, name: str, reader: AttributeReader) -> DirectoryEntry | None:
    place = file.place
    options = place.options
    place.become()  # the worker may have served another user since the last entry
    directory = file.fd
    try:
        stat = stat_at(directory, disk)
    except (FileNotFoundError, PermissionError):
        return None
    if stat.mode & S_IFMT == S_IFLNK and not file.posix:
        if options.msdfs_root and targets_at(directory, disk):
            return _dfs_link(make_info(stat, NOTHING, name, options, place.root_dev, directory, disk), name)
        target = place.resolver.follow(directory, disk)
        if target is not None:
            parent, last, followed = target
            try:
                if followed is not None:
                    data = AttributeReader(parent, dosattrib.NAME).read(last) if options.store_dos_attributes else None
                    dos = listed_dos(parent, last, followed.mode, data, options)
                    info = make_info(followed, dos, name, options, place.root_dev, parent, last)
                    return _with_short_name(file, disk, DirectoryEntry(name, info))
            finally:
                place.resolver.release(parent)
    kind = stat.mode & S_IFMT
    if options.hide_special and kind not in (S_IFREG, S_IFDIR, S_IFLNK) and not place.access.root:
        return None
    if options.hide_unreadable and not _readable(file, disk):
        return None
    if options.hide_unwriteable and kind != S_IFDIR and not _writable(file, disk):
        return None
    data = listed_value(directory, disk, reader) if options.store_dos_attributes else None
    dos = listed_dos(directory, disk, stat.mode, data, options)
    info = make_info(stat, dos, name, options, place.root_dev, directory, disk)
    return _described(file, disk, DirectoryEntry(name, info))


def _dfs_link(info: FileInfo, name: str) -> DirectoryEntry:
    """A DFS link, which clients see as a directory behind a reparse point."""
    hidden = info.attributes & FILE_ATTRIBUTE_HIDDEN
    info.attributes = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT | hidden
    info.is_directory, info.reparse_tag = True, IO_REPARSE_TAG_DFS
    info.end_of_file = info.allocation_size = 0
    return DirectoryEntry(name, info)


def _described(file: LocalEntry, disk: bytes, entry: DirectoryEntry) -> DirectoryEntry:
    """Add the tag of a stored reparse point to an entry whose attributes say that it has one, and the short name."""
    info = entry.info
    if file.place.options.short is not None:
        _with_short_name(file, disk, entry)
        info.ea_size = _ea_size(file.fd, disk, file.place.options)
    if info.attributes & FILE_ATTRIBUTE_REPARSE_POINT and not info.reparse_tag:
        reparse.describe_at(info, file.fd, disk)
    return entry


def _with_short_name(file: LocalEntry, disk: bytes, entry: DirectoryEntry) -> DirectoryEntry:
    short = file.place.options.short
    if short is not None and not file.posix:
        entry.short_name = short.listed(disk)
    return entry


def _ea_size(directory: int, name: bytes, options: ShareOptions) -> int:
    """The EaSize of an entry of an open directory; 0 where it cannot be read."""
    if not options.eas:
        return 0
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return 0
    try:
        return ea_size(fd, True, options)
    except OSError:
        return 0
    finally:
        os.close(fd)


def _readable(file: LocalEntry, disk: bytes) -> bool:
    """Whether access-based enumeration shows an entry to the user (MS-SMB2 2.2.10,
    SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM)."""
    access = file.place.access
    if not file.place.options.acl_xattr:
        return access.root or access_at(file.fd, disk, R_OK)
    return _granted(file, disk, _READ)


def _writable(file: LocalEntry, disk: bytes) -> bool:
    """Whether the user may write an entry (`hide unwriteable files`)."""
    access = file.place.access
    if access.root:
        return True
    return access_at(file.fd, disk, W_OK) and (
        not file.place.options.acl_xattr or _granted(file, disk, FILE_WRITE_DATA)
    )


def _granted(file: LocalEntry, disk: bytes, rights: int) -> bool:
    access = file.place.access
    try:
        fd = os.open(disk, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=file.fd)
    except OSError:
        return False
    try:
        return access.maximal(fd, True, stat_fd(fd), None) & rights == rights
    finally:
        os.close(fd)


def _parent_info(file: LocalEntry) -> FileInfo | None:
    """FileInfo of the parent directory. None for the share's root, and where the parent can no longer be opened by its
    names."""
    place = file.place
    if not file.names:
        return None
    try:
        parent = place.resolver.open_parent(file.names[:-1])
    except OSError:
        return None
    try:
        return make_info(stat_fd(parent), NOTHING, "..", place.options, place.root_dev, parent)
    finally:
        place.resolver.release(parent)
