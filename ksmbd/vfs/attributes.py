# SPDX-License-Identifier: GPL-2.0-or-later
"""Translates a file's Stat and extended attributes into what clients see: FileInfo, DOS attributes, EAs.

The functions take an open descriptor. `path_only` says that it was opened with O_PATH; then the xattr calls go through
its name in /proc.
"""
from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from typing import Final

from ksmbd import limits
from ksmbd.kernel import descriptors
from ksmbd.kernel.files import W_OK, AttributeReader, access_at, access_fd, chmod_fd
from ksmbd.kernel.generations import generation
from ksmbd.kernel.stat import (
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    STATX_ATTR_COMPRESSED,
    STATX_BTIME,
    Stat,
    listed_fields,
    stat_fd,
)
from ksmbd.kernel.xattr import get_attribute, list_size
from ksmbd.smb.constants import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_COMPRESSED,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_NORMAL,
    FILE_ATTRIBUTE_NOT_CONTENT_INDEXED,
    FILE_ATTRIBUTE_OFFLINE,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_ATTRIBUTE_SYSTEM,
    FILE_ATTRIBUTE_TEMPORARY,
    FILETIME_UNIX_EPOCH,
)
from ksmbd.smb.full_ea import check_ea_name
from ksmbd.smb.ports import FileInfo
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_EA_TOO_LARGE,
    STATUS_EAS_NOT_SUPPORTED,
    NtStatusError,
)
from ksmbd.vfs import change_times, dosattrib, gate, mapped
from ksmbd.vfs.allocated import allocation_of
from ksmbd.vfs.dosattrib import NOTHING, DosAttributes
from ksmbd.vfs.errors import os_errors, to_status
from ksmbd.vfs.options import ShareOptions
from ksmbd.vfs.times import clamp, to_filetime

logger = logging.getLogger("ksmbd.vfs")

SETTABLE: Final = (
    FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM | FILE_ATTRIBUTE_ARCHIVE
    | FILE_ATTRIBUTE_TEMPORARY | FILE_ATTRIBUTE_OFFLINE | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED
)  # fmt: skip
"""Attributes that SET_INFO and CREATE may set (MS-FSCC 2.6)."""
STORED: Final = SETTABLE | FILE_ATTRIBUTE_SPARSE_FILE | FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT
_STORED_OF_FILES: Final = STORED & ~FILE_ATTRIBUTE_DIRECTORY
_STORED_OF_DIRECTORIES: Final = STORED & ~(FILE_ATTRIBUTE_SPARSE_FILE | FILE_ATTRIBUTE_TEMPORARY)

STREAM_PREFIX: Final = "user.DosStream."
EXTENT_PREFIX: Final = "user.DosStreamExt."
"""Of attributes that hold what one attribute of a stream has no room for."""
REPARSE_NAME: Final = "user.SmbReparse"
OBJECT_ID_NAME: Final = "user.SmbObjectId"
_PRIVATE: Final = frozenset(("user.dosattrib", "user.samba_pai", "user.dosattributes", REPARSE_NAME.lower(),
                             OBJECT_ID_NAME.lower()))  # fmt: skip
_EA_LARGEST: Final = 65535
_GOLDEN: Final = 0x9E3779B97F4A7C15
"""An odd number whose multiples have every bit depend on the lower ones."""
_SPREAD: Final = 0x9E3779B1
_SECOND: Final = 10_000_000

# MS-FSCC 2.1.2.1; KSMBD shows special files with the tags of WSL
IO_REPARSE_TAG_SYMLINK: Final = 0xA000000C
SPECIAL_TAGS: Final = {
    S_IFLNK: IO_REPARSE_TAG_SYMLINK, 0o140000: 0x80000023, 0o010000: 0x80000024, 0o020000: 0x80000025, 0o060000:
    0x80000026,
}  # fmt: skip


def xattr_target(fd: int, path_only: bool) -> int | str:
    """The first argument of os.getxattr and its like for an open file."""
    return descriptors.path(fd) if path_only else fd


# ------------------------------------------------------------------------------------------------ DOS attributes


def read_dos(fd: int, path_only: bool, options: ShareOptions) -> DosAttributes:
    """The DOS attributes and creation time stored in user.DOSATTRIB; where none are stored, the attributes that the
    permission bits keep; NOTHING where they keep none. Never raises."""
    dos = _stored_dos(fd, path_only, options)
    if dos.attributes is not None or not options.maps:
        return dos
    try:
        mode = stat_fd(fd).mode
    except OSError:
        return dos
    return DosAttributes(mapped.of_mode(mode, options, lambda: access_fd(fd, W_OK)), dos.creation_time)


def _stored_dos(fd: int, path_only: bool, options: ShareOptions) -> DosAttributes:
    if not options.store_dos_attributes:
        return NOTHING
    try:
        data = get_attribute(fd, dosattrib.NAME, path_only)
    except OSError:
        try:
            data = gate.read_dos(fd, path_only)
        except OSError:
            return NOTHING
    return NOTHING if data is None else dosattrib.decode(data)


def listed_value(directory: int, disk: bytes, reader: AttributeReader) -> bytes | None:
    """user.DOSATTRIB of an entry of a directory that the user lists; None where there is none. Raises OSError."""
    data = reader.read(disk)
    if data is None and reader.denied:
        data = gate.listed_dos(directory, disk)
    return data


def listed_dos(directory: int, disk: bytes, mode: int, data: bytes | None, options: ShareOptions) -> DosAttributes:
    """The same for an entry of a directory, with its mode and the value of user.DOSATTRIB."""
    dos = NOTHING if data is None else dosattrib.decode(data)
    if dos.attributes is not None or not options.maps:
        return dos
    return DosAttributes(mapped.of_mode(mode, options, lambda: access_at(directory, disk, W_OK)), dos.creation_time)


def write_dos(
    fd: int, path_only: bool, options: ShareOptions, granted: int, attributes: int, creation: int
) -> DosAttributes:
    """Store DOS attributes and a creation time (FILETIME) in user.DOSATTRIB. Returns what `read_dos` returns from then
    on.

    `granted`, the access of the handle, decides whether the user may do so, not the Unix mode. Raises NtStatusError."""
    if not options.store_dos_attributes:
        if not options.maps:
            return NOTHING
        try:
            return DosAttributes(_write_mode(fd, path_only, options, granted, attributes), None)
        except OSError as error:
            raise to_status(error) from error
    data = dosattrib.encode(attributes & STORED, creation)
    target = xattr_target(fd, path_only)
    name = dosattrib.NAME
    stored = DosAttributes(attributes & STORED, creation or None)
    try:
        os.setxattr(target, name, data)
    except PermissionError:
        try:
            gate.write_dos(granted, fd, path_only, data)
        except OSError as error:
            if error.errno != errno.EPERM:  # user.* on special files and links
                raise to_status(error) from error
            stored = NOTHING
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise to_status(error) from error
        stored = NOTHING
    return stored


def _write_mode(fd: int, path_only: bool, options: ShareOptions, granted: int, attributes: int) -> int:
    """Keep attributes in the permission bits; the attributes that they show then. Raises OSError, NtStatusError.

    Where attributes are to change that no bit keeps, the owner is not told, and others are refused, as by Samba."""
    before = stat_fd(fd).mode
    shown = mapped.of_mode(before, options, lambda: access_fd(fd, W_OK))
    mode = mapped.to_mode(before, attributes, options)
    if mode != before or attributes & ~shown & mapped.BITS:
        try:
            chmod_fd(fd, mode & 0o7777, path_only)
        except PermissionError:
            if not options.dos_filemode or not access_fd(fd, W_OK):
                raise
            gate.write_mode(granted, fd, path_only, mode)
    return mapped.of_mode(mode, options, lambda: access_fd(fd, W_OK))


def creation_time(stat: Stat, dos: DosAttributes) -> int:
    """The creation time (FILETIME): the stored one, else the birth time, else the older of write and change time."""
    if dos.creation_time is not None:
        return clamp(dos.creation_time)
    if stat.mask & STATX_BTIME and stat.btime:
        return to_filetime(stat.btime, stat.btime_ns)
    return min(to_filetime(stat.mtime, stat.mtime_ns), to_filetime(stat.ctime, stat.ctime_ns))


def hidden(name: str, options: ShareOptions) -> bool:
    """Whether `hide dot files` or `hide files` hides a name."""
    if options.hide_dot_files and name[:1] == "." and name not in (".", ".."):
        return True
    return options.hide.match(name)


def attributes_of(stat: Stat, dos: DosAttributes, name: str, options: ShareOptions) -> int:
    """FileAttributes (MS-FSCC 2.6), never 0."""
    kind = stat.mode & S_IFMT
    stored = dos.attributes
    if kind == S_IFREG:
        attributes = FILE_ATTRIBUTE_ARCHIVE if stored is None else stored & _STORED_OF_FILES
    else:
        attributes = 0 if stored is None else stored & STORED
        if kind == S_IFDIR:
            attributes &= ~(FILE_ATTRIBUTE_SPARSE_FILE | FILE_ATTRIBUTE_TEMPORARY)
            attributes |= FILE_ATTRIBUTE_DIRECTORY
        else:
            attributes &= ~FILE_ATTRIBUTE_DIRECTORY
            attributes |= FILE_ATTRIBUTE_REPARSE_POINT
    if stat.attributes & STATX_ATTR_COMPRESSED:
        attributes |= FILE_ATTRIBUTE_COMPRESSED
    if (name[:1] == "." or options.hide.active) and not attributes & FILE_ATTRIBUTE_HIDDEN and hidden(name, options):
        attributes |= FILE_ATTRIBUTE_HIDDEN
    return attributes or FILE_ATTRIBUTE_NORMAL


def make_info(
    stat: Stat, dos: DosAttributes, name: str, options: ShareOptions, root_dev: int, directory: int, entry: bytes = b""
) -> FileInfo:
    """FileInfo of a file called `name`, without EaSize and the tag of a stored reparse point. `root_dev` is the device
    of the share's root. The file is the entry `entry` of `directory`, or the open descriptor `directory` itself."""
    mode = stat.mode
    kind = mode & S_IFMT
    is_directory = kind == S_IFDIR
    if kind == S_IFREG:
        size, allocation, tag = stat.size, allocation_of(stat.size, stat.blocks, -1 if entry else directory), 0
    else:
        size = allocation = 0
        tag = 0 if is_directory else SPECIAL_TAGS.get(kind, 0)
    dev = stat.dev_major << 20 | stat.dev_minor
    ino = stat.ino
    # to_filetime, for times that the wire can hold
    access = stat.atime * _SECOND + stat.atime_ns // 100 + FILETIME_UNIX_EPOCH
    write = stat.mtime * _SECOND + stat.mtime_ns // 100 + FILETIME_UNIX_EPOCH
    change = stat.ctime * _SECOND + stat.ctime_ns // 100 + FILETIME_UNIX_EPOCH
    birth, birth_ns = stat.btime, stat.btime_ns
    if not stat.mask & STATX_BTIME:
        birth, birth_ns = 0, generation(directory, entry, dev)
    created = dos.creation_time
    if not created:
        if stat.btime > 0 and stat.mask & STATX_BTIME:
            created = stat.btime * _SECOND + stat.btime_ns // 100 + FILETIME_UNIX_EPOCH
        else:
            created = creation_time(stat, dos)
    if (created | access | write | change | size | allocation) >> 63:
        created, access, write, change = clamp(created), clamp(access), clamp(write), clamp(change)
        size, allocation = clamp(size), clamp(allocation)
    return FileInfo(
        created,
        access,
        write,
        (change_times.override(stat) or change) if change_times.kept else change,
        allocation,
        size,
        attributes_of(stat, dos, name, options),
        1 if is_directory else stat.nlink,
        file_id(ino, dev, root_dev, birth, birth_ns),
        dev & 0xFFFFFFFF,
        0,
        tag,
        is_directory,
        stat.uid,
        stat.gid,
        mode,
    )


def listed_info(
    directory: int, disk: bytes, name: str, stat: bytes, reader: AttributeReader | None, hides: ShareOptions | None,
    root_dev: int, maps: ShareOptions | None = None,
) -> FileInfo | None:
    """FileInfo of a directory entry, as `make_info` makes it but in one function: a listing calls this for every name.
    `disk` is the name on disk, `name` the client's, `stat` what `listed_at` returned. `reader` reads user.DOSATTRIB,
    None where the share stores none. `hides` and `maps` are the share's options; `hides` is None if they hide no names,
    `maps` if no permission bits keep attributes. Returns None where the entry is neither a regular file nor a
    directory, and where a client may have set its ChangeTime; the caller then uses stat and `make_info`. Raises
    OSError."""
    if change_times.kept and has_set_change_time(stat):
        return None
    (
        mask, flags, links, uid, gid, mode, ino, size, blocks, access, access_ns, birth, birth_ns, change, change_ns,
        write, write_ns, major, minor,
    ) = listed_fields(stat)  # fmt: skip
    kind = mode & S_IFMT
    data = listed_value(directory, disk, reader) if reader is not None else None
    if data is None:
        created = 0
        attributes = FILE_ATTRIBUTE_ARCHIVE if kind == S_IFREG else FILE_ATTRIBUTE_DIRECTORY
        if maps is not None:
            attributes = listed_dos(directory, disk, mode, None, maps).attributes or 0
    else:
        dos = dosattrib.decode(data) if maps is None else listed_dos(directory, disk, mode, data, maps)
        created = dos.creation_time or 0
        stored = dos.attributes
        if kind == S_IFREG:
            attributes = FILE_ATTRIBUTE_ARCHIVE if stored is None else stored & _STORED_OF_FILES
        else:
            attributes = FILE_ATTRIBUTE_DIRECTORY if stored is None else stored & _STORED_OF_DIRECTORIES
    is_directory = kind != S_IFREG
    if is_directory:
        if kind != S_IFDIR:
            return None
        attributes |= FILE_ATTRIBUTE_DIRECTORY
        size = blocks = 0
        links = 1
    if flags & STATX_ATTR_COMPRESSED:
        attributes |= FILE_ATTRIBUTE_COMPRESSED
    if hides is not None and not attributes & FILE_ATTRIBUTE_HIDDEN and hidden(name, hides):
        attributes |= FILE_ATTRIBUTE_HIDDEN
    # to_filetime, for times that the wire can hold
    access = access * _SECOND + access_ns // 100 + FILETIME_UNIX_EPOCH
    write = write * _SECOND + write_ns // 100 + FILETIME_UNIX_EPOCH
    change = change * _SECOND + change_ns // 100 + FILETIME_UNIX_EPOCH
    allocation = allocation_of(size, blocks)
    if (created | access | write | change | size | allocation) >> 63:
        created, access, write, change = clamp(created), clamp(access), clamp(write), clamp(change)
        size, allocation = clamp(size), clamp(allocation)
    dev = major << 20 | minor
    if not mask & STATX_BTIME:
        birth, birth_ns = 0, generation(directory, disk, dev)
    if not created:
        created = to_filetime(birth, birth_ns) if birth else min(write, change)
    return FileInfo(
        created, access, write, change, allocation, size, attributes or FILE_ATTRIBUTE_NORMAL,
        links, file_id(ino, dev, root_dev, birth, birth_ns), dev & 0xFFFFFFFF, 0, 0, is_directory, uid, gid, mode,
    )  # fmt: skip


def has_set_change_time(stat: bytes) -> bool:
    """Whether a client has set the ChangeTime of an entry, perhaps before its last change. `stat` is what `listed_at`
    returned."""
    fields = listed_fields(stat)
    return (fields[17] << 20 | fields[18], fields[6]) in change_times.kept


def file_id(ino: int, dev: int, root_dev: int, birth: int, birth_ns: int) -> int:
    """The 64-bit FileId (MS-FSCC 2.1.9), which no later file gets again: the inode number, in whose upper half 32 bits
    of the birth time are mixed, since inode numbers are used again. So the ids of files that exist together differ as
    their inode numbers do. On a file system that is mounted below the share's root, combined with the device number.

    Where the file system keeps no birth time, `birth` is 0 and `birth_ns` the generation of the inode."""
    # Seconds apart move the product far away, so that no difference of nanoseconds makes up for them.
    mixed = ino ^ (birth * _SPREAD + birth_ns & 0xFFFFFFFF) << 32
    if dev != root_dev:
        mixed ^= dev * _GOLDEN & 0xFFFFFFFFFFFFFFFF
    return mixed


# ------------------------------------------------------------------------------------------------------------ EAs


def _is_ea(name: str, options: ShareOptions) -> bool:
    if not name.startswith("user.") or name.lower() in _PRIVATE or name.startswith((STREAM_PREFIX, EXTENT_PREFIX)):
        return False
    return name.encode("utf-8", "surrogateescape") != options.acl_name


def list_names(fd: int, path_only: bool) -> list[str]:
    """The names of all extended attributes; [] where the file system has none or the user may not list them. Raises
    NtStatusError."""
    try:
        return os.listxattr(xattr_target(fd, path_only))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.ENODATA):
            return []
        raise to_status(error) from error


def read_eas(fd: int, path_only: bool, options: ShareOptions) -> list[tuple[str, int, bytes]]:
    """(name, flags, value) of all EAs (MS-FSCC 2.4.16), which are stored as user.NAME, as Samba does. An EA whose value
    is longer than its 16-bit length field allows is left out. Raises NtStatusError, such as STATUS_ACCESS_DENIED, or
    STATUS_EAS_NOT_SUPPORTED with `ea support = no`."""
    if not options.eas:
        raise NtStatusError(STATUS_EAS_NOT_SUPPORTED)
    result = []
    for name in list_names(fd, path_only):
        if _is_ea(name, options):
            with os_errors:
                value = get_attribute(fd, os.fsencode(name), path_only, 4096)
            if value is not None and len(value) <= _EA_LARGEST:
                result.append((name[5:], 0, value))
    return result


def ea_size(fd: int, path_only: bool, options: ShareOptions, has_dos: bool = False) -> int:
    """EaSize of FileEaInformation (MS-FSCC 2.4.13): the bytes of all EAs in a list; 0 where there are none or the user
    may not read them. Raises OSError.

    `has_dos`: user.DOSATTRIB is known to exist, so a list of names that is as long as that name has no other."""
    size = list_size(fd, path_only) if options.eas else 0
    if not size or (has_dos and size == len(dosattrib.NAME) + 1):
        return 0
    try:
        eas = read_eas(fd, path_only, options)
    except NtStatusError:
        return 0
    if not eas:
        return 0
    return 4 + sum(4 + 1 + len(name.encode("utf-8", "surrogateescape")) + len(value) for name, _, value in eas)


def ea_names(fd: int, path_only: bool, options: ShareOptions) -> list[str]:
    """The names of all EAs. This needs no right to read their values. Raises NtStatusError."""
    return [name[5:] for name in list_names(fd, path_only) if _is_ea(name, options)]


def check_eas(eas: Sequence[tuple[str, int, bytes]], options: ShareOptions) -> None:
    """Raise STATUS_INVALID_EA_NAME, STATUS_ACCESS_DENIED or STATUS_EA_TOO_LARGE for EAs that can never be set, and
    STATUS_EAS_NOT_SUPPORTED for all of them with `ea support = no`."""
    if eas and not options.eas:
        raise NtStatusError(STATUS_EAS_NOT_SUPPORTED)
    for name, flags, value in eas:
        full = "user." + name
        if name and not _is_ea(full, options):
            raise NtStatusError(STATUS_ACCESS_DENIED, "kept by the server")
        check_ea_name(name, flags)
        if len(value) > _EA_LARGEST or len(full.encode("utf-8", "surrogateescape")) > 255:
            raise NtStatusError(STATUS_EA_TOO_LARGE, name)


EaChanges = list[tuple[str, bytes | None]]
"""(name, old value) of the extended attributes that were changed, in order. None: there was no such attribute."""


def write_eas(fd: int, path_only: bool, options: ShareOptions, eas: Sequence[tuple[str, int, bytes]]) -> EaChanges:
    """Set EAs, and remove those with an empty value: all of them or none. Names are compared without regard to case
    (MS-FSA 2.1.5.15.5). Returns what was changed, for `put_back_eas`.

    Raises STATUS_INVALID_EA_NAME, STATUS_EA_TOO_LARGE, STATUS_EAS_NOT_SUPPORTED, STATUS_ACCESS_DENIED."""
    changes: EaChanges = []
    if not eas:
        return changes
    check_eas(eas, options)
    existing = {name.lower(): name for name in list_names(fd, path_only) if _is_ea(name, options)}
    more = {full for name, _, value in eas if value and (full := ("user." + name).lower()) not in existing}
    if more and len(existing) + len(more) > limits.EXTENDED_ATTRIBUTES.value:
        raise NtStatusError(STATUS_EA_TOO_LARGE, f"{len(existing)} and {len(more)} attributes")
    target = xattr_target(fd, path_only)
    for name, _, value in eas:
        full = existing.get(("user." + name).lower(), "user." + name)
        there = full.lower() in existing
        if not value and not there:
            continue
        try:
            before = _value(fd, path_only, full) if there else None
            if value:
                os.setxattr(target, full, value)
                existing[full.lower()] = full
            else:
                os.removexattr(target, full)
                del existing[full.lower()]
        except OSError as error:
            put_back_eas(fd, path_only, changes)
            if error.errno == errno.EOPNOTSUPP:
                raise NtStatusError(STATUS_EAS_NOT_SUPPORTED, name) from error
            if error.errno == errno.ENOSPC:
                raise NtStatusError(STATUS_EA_TOO_LARGE, name) from error
            raise to_status(error) from error
        if before is not None or not there:
            changes.append((full, before))
    return changes


def _value(fd: int, path_only: bool, full: str) -> bytes | None:
    try:
        return get_attribute(fd, os.fsencode(full), path_only, 4096)
    except PermissionError:
        return None  # the user may write the file and not read it


def put_back_eas(fd: int, path_only: bool, changes: EaChanges) -> None:
    """Undo the changes of `write_eas`, the last one first. One that cannot be undone is logged. Never raises."""
    target = xattr_target(fd, path_only)
    for full, before in reversed(changes):
        try:
            if before is None:
                os.removexattr(target, full)
            else:
                os.setxattr(target, full, before)
        except OSError as error:
            logger.warning("an extended attribute could not be put back: %s", error.strerror)
