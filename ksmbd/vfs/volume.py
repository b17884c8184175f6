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
from ksmbd.kernel import credentials, descriptors
from ksmbd.kernel.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat, key_fd, stat_at, stat_fd
from ksmbd.kernel.syscalls import O_PATH
from ksmbd.smb.constants import (
    DELETE,
    FILE_ADD_FILE,
    FILE_ADD_SUBDIRECTORY,
    FILE_ALL_ACCESS,
    FILE_APPEND_DATA,
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SYSTEM,
    FILE_ATTRIBUTE_TEMPORARY,
    FILE_CREATE,
    FILE_CREATED,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_EXECUTE,
    FILE_LIST_DIRECTORY,
    FILE_NO_COMPRESSION,
    FILE_NON_DIRECTORY_FILE,
    FILE_OPEN,
    FILE_OPEN_BY_FILE_ID,
    FILE_OPEN_REPARSE_POINT,
    FILE_OPENED,
    FILE_OVERWRITE,
    FILE_OVERWRITE_IF,
    FILE_READ_DATA,
    FILE_SUPERSEDE,
    FILE_WRITE_DATA,
    MAXIMUM_ALLOWED,
)
from ksmbd.smb.ports import NO_POSIX_MODE, CreateIntent, CreateResult, FileKey, VolumeInfo
from ksmbd.smb.security_descriptor import parse_security_descriptor
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_DISK_FULL,
    STATUS_FILE_IS_A_DIRECTORY,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_A_DIRECTORY,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs import allocation, gate, names, ranges, reparse
from ksmbd.vfs.attributes import SETTABLE, check_eas, make_info, read_dos, write_dos, write_eas
from ksmbd.vfs.dosattrib import NOTHING, DosAttributes
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.errors import os_errors, to_status
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.local import local_open, local_stream
from ksmbd.vfs.place import Place
from ksmbd.vfs.stream_store import MAXIMUM_SIZE, attribute, check_name, find
from ksmbd.vfs.streams import LocalStream
from ksmbd.vfs.times import to_filetime
from ksmbd.vfs.volume_info import volume_info

logger = logging.getLogger("ksmbd.vfs")

_OVERWRITES: Final = (FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF)
_READS: Final = FILE_READ_DATA | FILE_EXECUTE
_WRITES: Final = FILE_WRITE_DATA | FILE_APPEND_DATA
_BASE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_PATH: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CLIENTS_MODE: Final = 0o1777
"""What a client may ask for in the POSIX create context: set-id bits never come from one."""
_RETRIES: Final = 8
"""Times that an entry may change between the look and the open."""


class _Leased(Exception):
    """Somebody has a lease on the file: its data cannot be opened yet (fcntl(2), F_SETLEASE)."""


class _Raced(Exception):
    """The entry changed between two calls; look again."""


def _needed(disposition: int) -> int:
    """The rights without which nothing is emptied, whatever DesiredAccess says (MS-FSA 2.1.5.1.2). To supersede is to
    put another file in its place."""
    return FILE_WRITE_DATA | DELETE if disposition == FILE_SUPERSEDE else FILE_WRITE_DATA


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
        cache.leaves = intent.later
        try:
            return self._traced(intent) if debug.mask[0] & debug.VFS else self._create(intent)
        finally:
            cache.asked()

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
            return self._open(intent, None, b".", resolver.root_stat, (), "", posix)
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
                        result = self._open(intent, parent, disk, stat, disk_names, path, posix)
                    elif posix:
                        with os_errors:
                            raise reparse.stop_at(parent, disk)
                    else:
                        result = self._linked(intent, parent, disk, stat, disk_names, path, posix)
                except _Raced:
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
        self, intent: CreateIntent, parent: int, disk: bytes, stat: Stat, disk_names: tuple[bytes, ...], path: str,
        posix: bool,
    ) -> CreateResult:  # fmt: skip
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
            return self._open(intent, directory, name, found, disk_names, path, posix, (stat.dev, stat.ino))
        finally:
            self.place.resolver.release(directory)

    def _open(
        self, intent: CreateIntent, parent: int | None, disk: bytes, stat: Stat, disk_names: tuple[bytes, ...],
        path: str, posix: bool, entry_key: FileKey | None = None,
    ) -> CreateResult:  # fmt: skip
        """Open what `stat` saw as the entry `disk` of `parent` (None: the share's root)."""
        kind = stat.mode & S_IFMT
        disposition, options = intent.disposition, intent.options
        base_only = not intent.stream
        if base_only and (kind != S_IFREG or disposition == FILE_CREATE or options & FILE_DIRECTORY_FILE):
            self._check_kind(kind, disposition, options)
        destroys = disposition in _OVERWRITES
        overwrites = base_only and destroys
        desired = intent.desired_access
        check = desired | _needed(disposition) if destroys else desired
        flags = self._flags(kind, check) if base_only and not desired & MAXIMUM_ALLOWED else _PATH
        later = kind == S_IFREG and self.place.options.kernel_oplocks
        try:
            fd = self._open_entry(parent, disk, _PATH if later else flags)
        except _Leased:
            later = True
            fd = self._open_entry(parent, disk, _PATH)
        try:
            now = stat_fd(fd)
            key = (now.dev, now.ino)
            if parent is not None and (now.ino != stat.ino or key[0] != stat.dev):
                raise _Raced
            path_only = later or flags & O_PATH != 0
            existing = None
            if not base_only:
                existing = find(fd, path_only, intent.stream) if kind in (S_IFREG, S_IFDIR) else None
                if existing is None:
                    destroys = disposition not in (FILE_OPEN, FILE_OVERWRITE)  # making one takes the same right
                    check = desired | FILE_WRITE_DATA if destroys else desired
            read_only = intent.share_read_only or self.place.read_only
            granted = self.place.access.grant(fd, path_only, now, parent, check, read_only)
            if destroys and not desired & MAXIMUM_ALLOWED:
                granted &= desired | ~(FILE_WRITE_DATA | DELETE)
            dos = read_dos(fd, path_only, self.place.options)
            if (dos.attributes or 0) & FILE_ATTRIBUTE_REPARSE_POINT and not options & FILE_OPEN_REPARSE_POINT:
                reparse.stop(fd, path_only, posix)
            if granted & _WRITES or destroys or options & FILE_DELETE_ON_CLOSE:
                granted = self._check_attributes(dos.attributes or 0, intent, kind, granted, destroys)
            if desired & MAXIMUM_ALLOWED and kind not in (S_IFREG, S_IFDIR):
                self._flags(kind, desired)
                granted &= ~(_READS | _WRITES)  # all that is allowed of what has no data
            elif path_only and desired & MAXIMUM_ALLOWED and base_only:
                wanted = granted | (FILE_WRITE_DATA if overwrites else 0)
                flags = self._flags(kind, wanted)
                try:
                    if not later:
                        fd, path_only = self._reopen(fd, kind, wanted)
                except _Leased:
                    later = True
            deletable = False
            if options & FILE_DELETE_ON_CLOSE and kind == S_IFREG and base_only and parent is not None:
                # What check_delete asks beside the attributes, while the directory is at hand.
                deletable = entry_key is None
                if deletable and not self.place.access.may_unlink(parent, now, granted & DELETE != 0):
                    raise NtStatusError(STATUS_ACCESS_DENIED, "the directory does not let it go")
            if not base_only:
                return self._open_stream(
                    intent, fd, path_only, now, disk_names, path, granted, entry_key or key, posix, existing
                )
            file = LocalFile(self.place, fd, path_only, now, disk_names, path, granted, entry_key or key, posix, False)
            info = None
            if kind == S_IFREG and not overwrites:
                info = make_info(now, dos, path.rpartition("\\")[2], self.place.options, self.place.root_dev)
                if info.attributes & FILE_ATTRIBUTE_REPARSE_POINT:
                    info = None  # its tag is not known
            local = local_open(file, flags, later) if later or self.place.options.posix_locking else None
            return CreateResult(file, FILE_OPENED, granted, info, local, deletable)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError):
                raise to_status(error) from error
            raise

    def _check_kind(self, kind: int, disposition: int, options: int) -> None:
        if disposition == FILE_CREATE:
            raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
        if kind == S_IFDIR:
            if options & FILE_NON_DIRECTORY_FILE:
                raise NtStatusError(STATUS_FILE_IS_A_DIRECTORY)
            if disposition in _OVERWRITES:
                raise NtStatusError(
                    STATUS_INVALID_PARAMETER if options & FILE_DIRECTORY_FILE else STATUS_OBJECT_NAME_COLLISION
                )
        elif options & FILE_DIRECTORY_FILE:
            raise NtStatusError(STATUS_NOT_A_DIRECTORY)

    def _flags(self, kind: int, access: int) -> int:
        """How the kernel opens it for this access."""
        if kind == S_IFREG:
            if access & _WRITES:
                return (os.O_RDWR if access & _READS else os.O_WRONLY) | _BASE
            return os.O_RDONLY | _BASE if access & _READS else _PATH
        if kind == S_IFDIR:
            return os.O_RDONLY | os.O_DIRECTORY | _BASE if access & FILE_LIST_DIRECTORY else _PATH
        if access & (_READS | _WRITES):
            raise NtStatusError(STATUS_ACCESS_DENIED, "a special file")
        return _PATH

    def _open_entry(self, parent: int | None, disk: bytes, flags: int) -> int:
        try:
            if parent is None:
                return os.open(b".", flags & ~os.O_NOFOLLOW, dir_fd=self.place.resolver.root)
            return os.open(disk, flags, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO) and parent is not None:
                raise _Raced from error
            if error.errno == errno.EROFS:
                raise NtStatusError(STATUS_ACCESS_DENIED, "read-only file system") from error
            if error.errno == errno.EAGAIN:
                raise _Leased from error
            raise to_status(error) from error

    def _reopen(self, fd: int, kind: int, granted: int) -> tuple[int, bool]:
        """MAXIMUM_ALLOWED was checked on an O_PATH descriptor; open the data with what came of it."""
        if kind not in (S_IFREG, S_IFDIR):
            return fd, True
        flags = self._flags(kind, granted)
        if flags & os.O_PATH:
            return fd, True
        try:
            real = os.open(descriptors.path(fd), flags & ~os.O_NOFOLLOW)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                raise _Leased from error
            raise to_status(error) from error
        os.close(fd)
        return real, False

    def _check_attributes(
        self, stored: int, intent: CreateIntent, kind: int, granted: int, destroys: bool
    ) -> int:
        """MS-FSA 2.1.5.1.2.1: what stored attributes forbid. Skipped where nothing asked for depends on them.

        `destroys`: the file or its stream is emptied, or a stream is made."""
        deletes = intent.options & FILE_DELETE_ON_CLOSE
        if kind != S_IFREG or not (granted & _WRITES or destroys or deletes):
            if deletes and kind == S_IFDIR and intent.stream == "":
                if stored & FILE_ATTRIBUTE_READONLY:
                    raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
            return granted
        if stored & FILE_ATTRIBUTE_READONLY and intent.posix_mode is None:
            if deletes:
                raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
            if destroys or intent.desired_access & _WRITES:
                raise NtStatusError(STATUS_ACCESS_DENIED, "read-only")
            granted &= ~_WRITES
        if destroys and not intent.stream:
            for bit in (FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_SYSTEM):
                if stored & bit and not intent.attributes & bit:
                    raise NtStatusError(STATUS_ACCESS_DENIED, "hidden or system file")
        return granted

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
                self._check_allocation(intent, parent)
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
            raise _Raced from error
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
                return self._open_stream(intent, fd, False, stat, disk_names, path, granted, key, posix, None)
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

    def _check_allocation(self, intent: CreateIntent, beside: int) -> None:
        """STATUS_DISK_FULL for an AllocationSize that cannot be, STATUS_INVALID_PARAMETER beyond 2^63 (MS-SMB2
        2.2.13.2.2). Raises OSError."""
        ranges.check_span(intent.allocation_size, 0)
        if not intent.stream:
            allocation.check(beside, intent.allocation_size)
        elif intent.allocation_size > MAXIMUM_SIZE:
            raise NtStatusError(STATUS_DISK_FULL, "longer than an extended attribute can be")

    def _make(self, parent: int, disk: bytes, is_directory: bool, posix_mode: int | None) -> tuple[int, bool]:
        """The entry itself, opened; whether with O_PATH alone. Raises OSError."""
        options = self.place.options
        if not is_directory:
            mode = 0o777 & options.create_mask | options.force_create_mode
            if posix_mode is not None and posix_mode != NO_POSIX_MODE:
                mode = posix_mode & _CLIENTS_MODE
            return os.open(disk, os.O_CREAT | os.O_EXCL | os.O_RDWR | _BASE, mode, dir_fd=parent), False
        mode = 0o777 & options.directory_mask | options.force_directory_mode
        if posix_mode is not None and posix_mode != NO_POSIX_MODE:
            mode = posix_mode & _CLIENTS_MODE
        os.mkdir(disk, mode, dir_fd=parent)
        try:
            return os.open(disk, os.O_RDONLY | os.O_DIRECTORY | _BASE, dir_fd=parent), False
        except PermissionError:
            return os.open(disk, _PATH | os.O_DIRECTORY, dir_fd=parent), True  # a mode without the owner's r

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

    # ----------------------------------------------------------------------------------------------------- streams

    def _open_stream(
        self, intent: CreateIntent, fd: int, path_only: bool, stat: Stat, disk_names: tuple[bytes, ...], path: str,
        granted: int, key: FileKey, posix: bool, existing: tuple[str, bytes] | None,
    ) -> CreateResult:  # fmt: skip
        """The stream of a base file that is open already. `existing`: what `find` says of it.

        A CREATE that fails later takes back the stream it made; the base file stays, as on NTFS."""
        if intent.options & FILE_DIRECTORY_FILE:
            raise NtStatusError(STATUS_NOT_A_DIRECTORY, "a stream")
        if stat.mode & S_IFMT not in (S_IFREG, S_IFDIR):
            raise NtStatusError(STATUS_ACCESS_DENIED, "a special file has no streams")
        disposition = intent.disposition
        if existing is not None and disposition == FILE_CREATE:
            raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
        if existing is None and disposition in (FILE_OPEN, FILE_OVERWRITE):
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no such stream")
        if existing is None and (intent.share_read_only or self.place.read_only):
            raise NtStatusError(STATUS_ACCESS_DENIED, "read-only share")
        name, attribute_name = existing or (intent.stream, attribute(intent.stream))
        stream = LocalStream(
            self.place, fd, path_only, stat, disk_names, path, granted, key, posix, existing is None, name,
            attribute_name,
        )
        if existing is None:
            try:
                if intent.allocation_size:
                    self._check_allocation(intent, fd)
                stream.make()
            except BaseException:
                self.place.leave(stream)
                raise
        action = FILE_CREATED if existing is None else FILE_OPENED
        local = local_stream(stream, granted & _WRITES != 0) if self.place.options.kernel_oplocks else None
        return CreateResult(stream, action, granted, None, local)
