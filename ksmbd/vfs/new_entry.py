# SPDX-License-Identifier: GPL-2.0-or-later
"""Creates and opens a new file or directory for CREATE, with its attributes and security descriptor (MS-FSA 2.1.5.1.1).

The steps work on one record, Opening, as in ksmbd/vfs/opening.py. If a step after the creation fails, the new entry is
removed.
"""
from __future__ import annotations

import os
from typing import Final

from ksmbd.kernel.files import chmod_fd
from ksmbd.kernel.stat import key_fd, stat_at, stat_fd
from ksmbd.smb.constants import (
    FILE_ADD_FILE,
    FILE_ADD_SUBDIRECTORY,
    FILE_ALL_ACCESS,
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_TEMPORARY,
    FILE_CREATED,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_NO_COMPRESSION,
    FILE_OPEN,
    FILE_OVERWRITE,
    MAXIMUM_ALLOWED,
)
from ksmbd.smb.ports import NO_POSIX_MODE, CreateResult
from ksmbd.smb.security_descriptor import parse_security_descriptor
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_INVALID_PARAMETER,
    STATUS_MEDIA_WRITE_PROTECTED,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs import allocation, gate, mapped, posix_acl, ranges
from ksmbd.vfs.attributes import SETTABLE, check_eas, make_info, write_dos, write_eas
from ksmbd.vfs.errors import os_errors, to_status
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.local import local_open
from ksmbd.vfs.open_flags import BASE, PATH_ONLY
from ksmbd.vfs.opening import Opening, Raced, check_allocation, open_stream
from ksmbd.vfs.times import to_filetime

_SET_ID: Final = 0o6000
_CLIENTS_MODE: Final = 0o1777
"""The mode bits that a client may set by the POSIX create context: no set-id bits."""


def make_entry(o: Opening, parent: int) -> CreateResult:
    """Create the entry in the open directory `parent`, and open it. Raises NtStatusError; Raced where another entry has
    the name now."""
    place, intent = o.place, o.intent
    is_directory = bool(intent.options & FILE_DIRECTORY_FILE) and not intent.stream
    _check(o, parent, is_directory)
    # The lookup just now did not find the entry, so the cache was valid then.
    token = place.cache.prepare(parent) if o.posix else place.cache.found_current
    try:
        _make(o, parent, is_directory)
    except FileExistsError as error:
        raise Raced from error
    except OSError as error:
        raise to_status(error) from error
    try:
        with os_errors:
            place.cache.added(token, parent, o.disk)
            _furnish(o, parent, is_directory)
        return _opened(o, is_directory)
    except BaseException:
        _take_back(o, parent, is_directory)
        os.close(o.fd)
        raise


def _check(o: Opening, parent: int, is_directory: bool) -> None:
    """Raise NtStatusError where the request, the share or the directory forbids the new entry."""
    place, intent = o.place, o.intent
    if intent.disposition in (FILE_OPEN, FILE_OVERWRITE) or place.options.veto.match(o.path.rpartition("\\")[2]):
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND)
    if place.snapshot:
        raise NtStatusError(STATUS_MEDIA_WRITE_PROTECTED, "a snapshot")
    if intent.share_read_only or place.read_only:
        raise NtStatusError(STATUS_ACCESS_DENIED, "read-only share")
    attributes = intent.attributes
    if is_directory and attributes & FILE_ATTRIBUTE_TEMPORARY:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a temporary directory")
    readonly = attributes & FILE_ATTRIBUTE_READONLY and not place.options.delete_readonly
    if readonly and intent.options & FILE_DELETE_ON_CLOSE:
        raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
    with os_errors:
        place.access.check_parent(parent, FILE_ADD_SUBDIRECTORY if is_directory else FILE_ADD_FILE, o.path)
        if intent.allocation_size and not is_directory:
            check_allocation(intent, parent)
        if intent.security_descriptor:
            place.access.check_creator(intent.security_descriptor, stat_fd(parent))
    check_eas(intent.extended_attributes, place.options)
    if intent.security_descriptor:
        parse_security_descriptor(intent.security_descriptor)


def _make(o: Opening, parent: int, is_directory: bool) -> None:
    """Create the file or directory, and set `fd` and `path_only`. Raises OSError."""
    asked = o.intent.posix_mode
    if asked is not None and asked != NO_POSIX_MODE:
        mode = asked & _CLIENTS_MODE
    else:
        mode = _mode(o, parent, is_directory)
    o.path_only = False
    if not is_directory:
        o.fd = os.open(o.disk, os.O_CREAT | os.O_EXCL | os.O_RDWR | BASE, mode, dir_fd=parent)
        return
    os.mkdir(o.disk, mode, dir_fd=parent)
    try:
        o.fd = os.open(o.disk, os.O_RDONLY | os.O_DIRECTORY | BASE, dir_fd=parent)
    except PermissionError:  # a mode without the owner's r
        o.fd = os.open(o.disk, PATH_ONLY | os.O_DIRECTORY, dir_fd=parent)
        o.path_only = True
    if mode & _SET_ID:  # of `force directory mode`: mkdir(2) passes over them
        chmod_fd(o.fd, stat_fd(o.fd).mode & 0o7777 | mode & _SET_ID, o.path_only)


def _mode(o: Opening, parent: int, is_directory: bool) -> int:
    """The mode that masks, forced modes and the directory give. Raises OSError."""
    options = o.place.options
    above = stat_fd(parent).mode if options.inherit_permissions else 0
    if is_directory:
        return mapped.new_directory(options, above)
    default_acl = options.inherit_acls and posix_acl.raw(parent, True, posix_acl.DEFAULT) is not None
    return mapped.new_file(options, o.intent.attributes | FILE_ATTRIBUTE_ARCHIVE, above, default_acl)


def _furnish(o: Opening, parent: int, is_directory: bool) -> None:
    """Set owner, attributes, security descriptor, EAs and allocation of the new file, and decide what is granted. Sets
    `now` to its Stat before the attributes are set. Raises OSError, NtStatusError."""
    place, intent, fd, path_only = o.place, o.intent, o.fd, o.path_only
    options = place.options
    stat = stat_fd(fd)
    if options.inherit_owner:
        gate.inherit_owner(fd, stat_fd(parent))
        stat = stat_fd(fd)
    o.now = stat
    desired = intent.desired_access
    o.granted = FILE_ALL_ACCESS | desired & ~MAXIMUM_ALLOWED if desired & MAXIMUM_ALLOWED else desired
    descriptor = None
    attributes = intent.attributes & SETTABLE
    attributes |= FILE_ATTRIBUTE_DIRECTORY if is_directory else FILE_ATTRIBUTE_ARCHIVE
    if intent.posix_mode is None:
        created = (stat.btime, stat.btime_ns) if stat.btime else (stat.mtime, stat.mtime_ns)
        o.dos = write_dos(fd, path_only, options, gate.CREATOR, attributes, to_filetime(*created))
    if options.acl_xattr or intent.security_descriptor:
        descriptor = place.access.new_file(fd, path_only, parent, intent.security_descriptor)
    write_eas(fd, path_only, options, intent.extended_attributes)
    if intent.options & FILE_NO_COMPRESSION and not path_only:  # MS-FSA 2.1.5.1.1: not as its directory
        ranges.set_compression(fd, ranges.COMPRESSION_FORMAT_NONE)
    if intent.allocation_size and not is_directory and not intent.stream:
        allocation.reserve(fd, intent.allocation_size, stat)
    place.access.audit_made(descriptor, o.path, o.granted)


def _opened(o: Opening, is_directory: bool) -> CreateResult:
    """Make the open, which owns the descriptor from now on. If the client asked for a stream, create it on the new
    file. Raises NtStatusError."""
    place, intent = o.place, o.intent
    with os_errors:
        shown = stat_fd(o.fd)
    if intent.stream:
        return open_stream(o)
    file = LocalFile(o, True)
    if intent.allocation_size and not is_directory:
        file.reserves()
    local = None
    if not is_directory and (place.options.kernel_oplocks or place.options.posix_locking):
        local = local_open(file, os.O_RDWR, False)
    info = make_info(shown, o.dos, o.path.rpartition("\\")[2], place.options, place.root_dev, file.fd)
    return CreateResult(file, FILE_CREATED, o.granted, info, local)


def _take_back(o: Opening, parent: int, is_directory: bool) -> None:
    try:
        there = stat_at(parent, o.disk)
        if (there.dev, there.ino) != key_fd(o.fd):
            return  # a local process has moved it and put another file there
        if is_directory:
            os.rmdir(o.disk, dir_fd=parent)
        else:
            os.unlink(o.disk, dir_fd=parent)
    except OSError:
        pass  # another process has removed it, or put something into it
