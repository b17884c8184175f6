# SPDX-License-Identifier: GPL-2.0-or-later
"""One share's tree for one user: resolves, checks, opens and creates (MS-FSA 2.1.5.1).

An open of an existing file is statx (exists, kind), open, statx (still the same inode), then the access check on the
descriptor. Data access opens the file as it will be used; everything else opens with O_PATH, which touches nothing.
Files that are neither regular nor directories are never opened but with O_PATH: a FIFO would wait, a device would act.
"""
from __future__ import annotations

import errno
import logging
import os
from typing import Final

from ksmbd import debug
from ksmbd.kernel import credentials
from ksmbd.kernel.stat import S_IFLNK, S_IFMT, Stat, key_fd, stat_at, stat_fd
from ksmbd.smb.constants import (
    FILE_ADD_FILE,
    FILE_ADD_SUBDIRECTORY,
    FILE_ALL_ACCESS,
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_TEMPORARY,
    FILE_CREATE,
    FILE_CREATED,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_NO_COMPRESSION,
    FILE_OPEN,
    FILE_OPEN_BY_FILE_ID,
    FILE_OPEN_REPARSE_POINT,
    FILE_OVERWRITE,
    MAXIMUM_ALLOWED,
)
from ksmbd.smb.ports import NO_POSIX_MODE, CreateIntent, CreateResult, VolumeInfo
from ksmbd.smb.security_descriptor import parse_security_descriptor
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs import allocation, gate, names, ranges, reparse
from ksmbd.vfs.attributes import SETTABLE, check_eas, make_info, write_dos, write_eas
from ksmbd.vfs.dosattrib import NOTHING, DosAttributes
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.errors import os_errors, to_status
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.local import local_open
from ksmbd.vfs.opening import BASE, PATH_ONLY, Opening, Raced, check_allocation, open_existing, open_stream
from ksmbd.vfs.place import Place
from ksmbd.vfs.stream_store import check_name
from ksmbd.vfs.times import to_filetime
from ksmbd.vfs.volume_info import volume_info

logger = logging.getLogger("ksmbd.vfs")

_CLIENTS_MODE: Final = 0o1777
"""What a client may ask for in the POSIX create context: set-id bits never come from one."""
_RETRIES: Final = 8
"""Times that an entry may change between the look and the open."""


class LocalVolume:
    """Implements the port Volume."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        self.place = place
        place.volume = self

    def close(self) -> None:
        """See the port."""
        self.place.close()

    def maximal_access(self) -> int:
        """See the port."""
        place = self.place
        place.become()
        root = place.resolver.root
        with os_errors:
            return place.restrict(place.access.maximal(root, True, stat_fd(root), None))

    def volume_info(self) -> VolumeInfo:
        """See the port."""
        self.place.become()
        with os_errors:
            return volume_info(self.place)

    def snapshots(self) -> list[int]:
        """None are offered."""
        return []

    # ------------------------------------------------------------------------------------------------------ create

    def create(self, intent: CreateIntent) -> CreateResult:
        """See the port."""
        cache = self.place.cache
        cache.may_defer = intent.later
        try:
            return self._traced(intent) if debug.mask[0] & debug.VFS else self._create(intent)
        finally:
            cache.end_query()

    def _traced(self, intent: CreateIntent) -> CreateResult:
        what = f"create {intent.name!r}{':' + intent.stream if intent.stream else ''} as {self.place.user}"
        try:
            result = self._create(intent)
        except NtStatusError as error:
            logger.debug("%s: %s", what, error)
            raise
        logger.debug("%s: file %s, action %d, granted %#x", what, result.file.key, result.action, result.granted_access)
        return result

    def _create(self, intent: CreateIntent) -> CreateResult:
        credentials.assume(self.place.user)
        if intent.options & FILE_OPEN_BY_FILE_ID:
            raise NtStatusError(STATUS_NOT_SUPPORTED, "open by file id")
        posix = intent.posix_mode is not None
        if intent.stream:
            check_name(intent.stream)
            if not self.place.options.streams:
                raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "no streams on this share")
        name = intent.name
        if name[-1:] == "\\" and len(name) > 1:
            name = name[:-1]
        head, separator, wanted = name.rpartition("\\")
        above: tuple[bytes, ...] = ()
        if separator:
            folder = names.folder(head, posix)
            above = folder.disk
        if name:
            wanted_disk = names.component(wanted, posix)
            if len(name) << 2 > self.place.resolver.longest:  # no character takes more than four bytes
                self.place.resolver.check_length((*above, wanted_disk))
        if intent.snapshot:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no snapshots")
        resolver = self.place.resolver
        parent = root = resolver.root
        if not name:
            return open_existing(Opening(self.place, intent, None, resolver.root_stat))
        if separator:
            parent, spelled = resolver.folder(folder, posix)
            if spelled is not folder.components:
                above = tuple([names.to_disk(component, posix) for component in spelled])
                head = "\\".join(spelled)
                if len(name) << 2 > resolver.longest:
                    resolver.check_length((*above, wanted_disk))
        try:
            for _ in range(_RETRIES):
                disk, stat = resolver.look_up(parent, wanted, wanted_disk, posix)
                last = wanted if disk == wanted_disk else names.to_client(disk)
                path = f"{head}\\{last}" if head else last
                disk_names = (*above, disk)
                try:
                    if stat is None:
                        result = self._new(intent, parent, disk, disk_names, path, posix)
                    elif stat.mode & S_IFMT != S_IFLNK or intent.options & FILE_OPEN_REPARSE_POINT:
                        opening = Opening(self.place, intent, parent, stat)
                        opening.disk, opening.disk_names, opening.path = disk, disk_names, path
                        result = open_existing(opening)
                    elif posix:
                        with os_errors:
                            raise reparse.stop_at(parent, disk)
                    else:
                        result = self._linked(intent, parent, disk, stat, disk_names, path)
                except Raced:
                    continue
                file = result.file
                if isinstance(file, LocalEntry):
                    if parent == root:
                        file.opened_in(self.place.root_key)
                    else:
                        with os_errors:
                            file.opened_in(key_fd(parent))
                return result
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "keeps changing")
        finally:
            if parent != root:
                os.close(parent)

    def _linked(
        self, intent: CreateIntent, parent: int, disk: bytes, stat: Stat, disk_names: tuple[bytes, ...], path: str
    ) -> CreateResult:
        """Open what a symbolic link leads to."""
        if intent.disposition == FILE_CREATE:
            raise NtStatusError(STATUS_OBJECT_NAME_COLLISION, "a symbolic link")
        target = self.place.resolver.follow(parent, disk)
        if target is None:
            raise NtStatusError(STATUS_ACCESS_DENIED, "a symbolic link that is not followed")
        directory, name, found = target
        try:
            if found is None:
                raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "a symbolic link to nothing")
            opening = Opening(self.place, intent, directory, found)
            opening.disk, opening.disk_names, opening.path = name, disk_names, path
            opening.entry_key = (stat.dev, stat.ino)
            return open_existing(opening)
        finally:
            self.place.resolver.release(directory)

    # ------------------------------------------------------------------------------------------------- new entries

    def _new(
        self, intent: CreateIntent, parent: int, disk: bytes, disk_names: tuple[bytes, ...], path: str, posix: bool
    ) -> CreateResult:
        disposition, options = intent.disposition, intent.options
        if disposition in (FILE_OPEN, FILE_OVERWRITE) or self.place.options.veto.match(path.rpartition("\\")[2]):
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND)
        if intent.share_read_only or self.place.read_only:
            raise NtStatusError(STATUS_ACCESS_DENIED, "read-only share")
        is_directory = bool(options & FILE_DIRECTORY_FILE) and not intent.stream
        attributes = intent.attributes
        if is_directory and attributes & FILE_ATTRIBUTE_TEMPORARY:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "a temporary directory")
        if attributes & FILE_ATTRIBUTE_READONLY and options & FILE_DELETE_ON_CLOSE:
            raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
        with os_errors:
            self.place.access.check_parent(parent, FILE_ADD_SUBDIRECTORY if is_directory else FILE_ADD_FILE)
            if intent.allocation_size and not is_directory:
                check_allocation(intent, parent)
            if intent.security_descriptor:
                self.place.access.check_creator(intent.security_descriptor, stat_fd(parent))
        check_eas(intent.extended_attributes, self.place.options)
        if intent.security_descriptor:
            parse_security_descriptor(intent.security_descriptor)
        # The entry was just found missing in the cache, so that is what it was a moment ago, too.
        token = self.place.cache.prepare(parent) if posix else self.place.cache.found_current
        try:
            fd, path_only = self._make(parent, disk, is_directory, intent.posix_mode)
        except FileExistsError as error:
            raise Raced from error
        except OSError as error:
            if error.errno in (errno.EROFS,):
                raise NtStatusError(STATUS_ACCESS_DENIED, "read-only file system") from error
            raise to_status(error) from error
        try:
            with os_errors:
                self.place.cache.added(token, parent, disk)
                stat, dos = self._furnish(intent, fd, path_only, parent, is_directory)
                now = stat_fd(fd)
            desired = intent.desired_access
            granted = FILE_ALL_ACCESS | desired & ~MAXIMUM_ALLOWED if desired & MAXIMUM_ALLOWED else desired
            key = (stat.dev, stat.ino)
            if intent.stream:
                opening = Opening(self.place, intent, parent, stat)
                opening.disk, opening.disk_names, opening.path = disk, disk_names, path
                opening.fd, opening.path_only, opening.granted = fd, False, granted
                return open_stream(opening)
            file = LocalFile(self.place, fd, path_only, stat, disk_names, path, granted, key, posix, True)
            if intent.allocation_size and not is_directory:
                file.reserves()
            local = None
            if not is_directory and (self.place.options.kernel_oplocks or self.place.options.posix_locking):
                local = local_open(file, os.O_RDWR, False)
            info = make_info(now, dos, path.rpartition("\\")[2], self.place.options, self.place.root_dev)
            return CreateResult(file, FILE_CREATED, granted, info, local)
        except BaseException:
            self._take_back(parent, disk, is_directory, fd)
            os.close(fd)
            raise

    def _make(self, parent: int, disk: bytes, is_directory: bool, posix_mode: int | None) -> tuple[int, bool]:
        """The entry itself, opened; whether with O_PATH alone. Raises OSError."""
        options = self.place.options
        if not is_directory:
            mode = 0o777 & options.create_mask | options.force_create_mode
            if posix_mode is not None and posix_mode != NO_POSIX_MODE:
                mode = posix_mode & _CLIENTS_MODE
            return os.open(disk, os.O_CREAT | os.O_EXCL | os.O_RDWR | BASE, mode, dir_fd=parent), False
        mode = 0o777 & options.directory_mask | options.force_directory_mode
        if posix_mode is not None and posix_mode != NO_POSIX_MODE:
            mode = posix_mode & _CLIENTS_MODE
        os.mkdir(disk, mode, dir_fd=parent)
        try:
            return os.open(disk, os.O_RDONLY | os.O_DIRECTORY | BASE, dir_fd=parent), False
        except PermissionError:
            return os.open(disk, PATH_ONLY | os.O_DIRECTORY, dir_fd=parent), True  # a mode without the owner's r

    def _furnish(
        self, intent: CreateIntent, fd: int, path_only: bool, parent: int, is_directory: bool
    ) -> tuple[Stat, DosAttributes]:
        """Owner, attributes, descriptor, EAs and space of a new entry; its Stat before that, its DOS attributes."""
        stat = stat_fd(fd)
        if self.place.options.inherit_owner:
            gate.inherit_owner(fd, stat_fd(parent))
            stat = stat_fd(fd)
        attributes = intent.attributes & SETTABLE
        attributes |= FILE_ATTRIBUTE_DIRECTORY if is_directory else FILE_ATTRIBUTE_ARCHIVE
        dos = NOTHING
        if intent.posix_mode is None:
            created = (stat.btime, stat.btime_ns) if stat.btime else (stat.mtime, stat.mtime_ns)
            dos = write_dos(fd, path_only, self.place.options, gate.CREATOR, attributes, to_filetime(*created))
        if self.place.options.acl_xattr or intent.security_descriptor:
            self.place.access.new_file(fd, path_only, parent, intent.security_descriptor)
        write_eas(fd, path_only, self.place.options, intent.extended_attributes)
        if intent.options & FILE_NO_COMPRESSION and not path_only:  # MS-FSA 2.1.5.1.1: not as its directory
            ranges.set_compression(fd, ranges.COMPRESSION_FORMAT_NONE)
        if intent.allocation_size and not is_directory and not intent.stream:
            allocation.reserve(fd, intent.allocation_size, stat)
        return stat, dos

    def _take_back(self, parent: int, disk: bytes, is_directory: bool, fd: int) -> None:
        try:
            there = stat_at(parent, disk)
            if (there.dev, there.ino) != key_fd(fd):
                return  # a local process moved it, and has another one there
            if is_directory:
                os.rmdir(disk, dir_fd=parent)
            else:
                os.unlink(disk, dir_fd=parent)
        except OSError:
            pass  # somebody else removed it, or put something into it
