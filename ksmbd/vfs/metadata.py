# SPDX-License-Identifier: GPL-2.0-or-later
"""The metadata operations that opens of files and of named streams have in common: times, attributes, ACLs, EAs.

Two classes are derived from LocalMetadata: LocalFile (file.py, by way of reserving.py) and LocalStream (streams.py).
Neither inherits from the other, so that no operation on a stream can reach the file's data by mistake.
"""
from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from hashlib import sha256
from math import inf
from typing import Final

from ksmbd.kernel.files import UTIME_OMIT, set_times
from ksmbd.kernel.filesystems import file_system_name
from ksmbd.kernel.handles import handle_of
from ksmbd.kernel.stat import S_IFREG, Stat, stat_fd
from ksmbd.overriding import override
from ksmbd.smb.constants import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_ATTRIBUTE_TEMPORARY,
)
from ksmbd.smb.ports import FileKey, QuotaEntry, StreamInfo
from ksmbd.smb.sid import Sid
from ksmbd.smb.status import STATUS_INVALID_PARAMETER, NtStatusError
from ksmbd.vfs import change_times, gate, quotas, stream_store
from ksmbd.vfs.access import parse_given
from ksmbd.vfs.allocated import allocation_of
from ksmbd.vfs.attributes import (
    OBJECT_ID_NAME,
    SETTABLE,
    creation_time,
    read_dos,
    read_eas,
    write_dos,
    write_eas,
    xattr_target,
)
from ksmbd.vfs.dosattrib import DosAttributes
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.times import clamp, from_filetime
from ksmbd.vfs.write_times import WriteTime

logger = logging.getLogger("ksmbd.vfs")

UNCHANGED: Final = (0, UTIME_OMIT)
"""The value for a time that `_set_times` shall not change."""


class LocalMetadata(LocalEntry):
    """The operations of the port File that concern the file as a whole, even where one of its streams is open."""

    __slots__ = ()

    @property
    def file_system(self) -> str:
        """See the port."""
        return file_system_name(self.fd, self.key[0])

    def handle(self) -> bytes:
        """See the port."""
        return handle_of(self.fd)

    def _show_write_time(self) -> None:
        """Show the time of this open's writes from now on. Raises NtStatusError."""
        if self.write_time is not None and self.write_time.held is not None:
            with os_errors:
                stat = stat_fd(self._begin())
            if self.write_time.flush(stat):
                self._set_times(UNCHANGED, from_filetime(self.place.common.clock.filetime()))

    def finish_writes(self) -> None:
        """See the port."""
        write_time = self.write_time
        if write_time is None or write_time.held is None or self.closed:
            return
        if not write_time.is_late:
            write_time.held = None  # as `end` does without a look at the file: the kernel has set the time already
            return
        with os_errors:
            stat = stat_fd(self._begin())
        if write_time.end(stat):
            self._set_times(UNCHANGED, from_filetime(self.place.common.clock.filetime()))

    @override
    def _end_writes(self) -> None:
        """Set the time of the last write where it was held back."""
        try:
            self.finish_writes()
        except NtStatusError as error:
            logger.debug("%s: the time of its last write stays: %s", self.path, error)

    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        """See the port. A ChangeTime that is set is shown until the next change of the file."""
        fd = self._begin()
        options = self.place.options
        if attributes:
            if self.is_directory and attributes & FILE_ATTRIBUTE_TEMPORARY:
                raise NtStatusError(STATUS_INVALID_PARAMETER, "a temporary directory")
            if not self.is_directory and attributes & FILE_ATTRIBUTE_DIRECTORY:
                raise NtStatusError(STATUS_INVALID_PARAMETER, "a file is no directory")
        self._show_write_time()
        with os_errors:
            stat = stat_fd(fd)
            dos = read_dos(fd, self.path_only, options)
        access_time = from_filetime(access) if access > 0 else UNCHANGED
        write_time = from_filetime(write) if write > 0 else UNCHANGED
        if access > 0 or write > 0:
            self._set_times(access_time, write_time)
        try:
            self._set_stored(fd, stat, dos, creation, attributes)
        except NtStatusError:
            if access > 0 or write > 0:
                self._set_times((stat.atime, stat.atime_ns), (stat.mtime, stat.mtime_ns))
            raise
        if write > 0:
            self._sticky_write = write_time
        elif write == -1:
            self._sticky_write = (stat.mtime, stat.mtime_ns)
        elif write == -2:
            self._sticky_write = None
            self.write_time = WriteTime(stat, -inf)  # -2 asks for implicit updates, so they are shown at once
        if access > 0:
            self._sticky_access = access_time
        elif access == -2:
            self._sticky_access = None
        if change:
            self._sticky_change = change != -2
        # MS-FSA 2.1.5.15.2, Open.UserSetChangeTime. Data that is written moves the ChangeTime on all the same.
        if change <= 0 and self._sticky_change:
            change = change_times.shown(stat)
        if change > 0:
            with os_errors:
                change_times.remember(stat_fd(fd), change)

    def _set_stored(self, fd: int, stat: Stat, dos: DosAttributes, creation: int, attributes: int) -> None:
        options = self.place.options
        if attributes or creation > 0:
            kept = dos.attributes
            if kept is None:
                kept = FILE_ATTRIBUTE_ARCHIVE if self.kind == S_IFREG else 0
            if attributes:
                kept = attributes & SETTABLE | kept & (FILE_ATTRIBUTE_SPARSE_FILE | FILE_ATTRIBUTE_REPARSE_POINT)
            if self.is_directory:
                kept |= FILE_ATTRIBUTE_DIRECTORY
            created = creation if creation > 0 else creation_time(stat, dos)
            write_dos(fd, self.path_only, options, self.granted_access, kept, created)
            if attributes:
                self._archived = True  # writes through this open do not set ARCHIVE again

    def mark(self, add: int, remove: int) -> None:
        """Add and remove attributes that clients cannot set by SET_INFO (sparse, reparse point). Raises
        NtStatusError."""
        options = self.place.options
        with os_errors:
            stat = stat_fd(self.fd)
            dos = read_dos(self.fd, self.path_only, options)
        kept = dos.attributes
        if kept is None:
            kept = FILE_ATTRIBUTE_ARCHIVE if self.kind == S_IFREG else 0
        new = (kept | add) & ~remove
        write_dos(self.fd, self.path_only, options, self.granted_access, new, creation_time(stat, dos))

    def _set_times(self, access: tuple[int, int], write: tuple[int, int]) -> None:
        with os_errors:
            try:
                set_times(self.fd, access, write)
            except PermissionError:
                gate.write_times(self.granted_access, self.fd, access, write)

    def security_descriptor(self, information: int) -> bytes:
        """See the port."""
        fd = self._begin()
        with os_errors:
            return self.place.access.descriptor(fd, self.path_only, stat_fd(fd)).encode(information)

    def set_security_descriptor(self, information: int, descriptor: bytes) -> None:
        """See the port."""
        fd = self._begin()
        new = parse_given(descriptor)
        with os_errors:
            self.place.access.store(fd, self.path_only, self.granted_access, information, new)

    def maximal_access(self) -> int:
        """See the port. Rights that a read-only tree connect refuses are left out."""
        fd = self._begin()
        place = self.place
        with os_errors:
            parent = None
            if self.names:
                try:
                    parent, _ = self.entry()
                except NtStatusError:
                    parent = None
            try:
                return place.restrict(place.access.maximal(fd, self.path_only, stat_fd(fd), parent))
            finally:
                if parent is not None:
                    place.resolver.release(parent)

    def quota(self, sid: Sid) -> QuotaEntry:
        """See the port."""
        return quotas.of_sid(self.place, self._begin(), sid)

    def quotas(self, position: int, most: int) -> tuple[list[QuotaEntry], int]:
        """See the port."""
        return quotas.listed(self.place, self._begin(), position, most)

    def quota_position(self, sid: Sid) -> int:
        """See the port."""
        return quotas.uid_of(self.place, sid)

    def set_quotas(self, entries: Sequence[QuotaEntry]) -> None:
        """See the port."""
        quotas.set_all(self.place, self._begin(), entries)

    def extended_attributes(self) -> list[tuple[str, int, bytes]]:
        """See the port."""
        return read_eas(self._begin(), self.path_only, self.place.options)

    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        """See the port; an empty value removes the EA."""
        write_eas(self._begin(), self.path_only, self.place.options, attributes)

    def streams(self) -> list[StreamInfo]:
        """All streams, the default stream ('') first; a directory has no default stream. Raises NtStatusError."""
        fd = self._begin()
        found = []
        if not self.is_directory:
            stat = self.stat()
            found.append(StreamInfo("", clamp(stat.size), clamp(allocation_of(stat.size, stat.blocks, fd))))
        if self.place.options.streams:
            found += stream_store.listed(fd, self.path_only)
        return found

    def object_id(self, create: bool) -> bytes | None:
        """See the port. Where the user may not write the file, or the file system cannot store the id, it is computed
        from device and inode."""
        fd = self._begin()
        name = OBJECT_ID_NAME.encode()
        with os_errors:
            value = gate.read_object_id(fd, self.path_only, name)
            if value is None or len(value) != 16:
                if not create:
                    return None
                value = os.urandom(16)
                try:
                    os.setxattr(xattr_target(fd, self.path_only), name, value)
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EROFS):
                        raise
                    return _computed_object_id(self.key)
        return value


def _computed_object_id(key: FileKey) -> bytes:
    """The object id of a file that cannot store one: always the same for the same file."""
    return sha256(b"%d:%d" % key).digest()[:16]
