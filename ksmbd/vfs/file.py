# SPDX-License-Identifier: GPL-2.0-or-later
"""One open file or directory: its data, its metadata, what a directory lists, control codes."""
from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from ksmbd.kernel import credentials
from ksmbd.kernel.files import UTIME_OMIT, get_attribute, set_times
from ksmbd.kernel.filesystems import file_system_name
from ksmbd.kernel.read_ahead import is_cached, read_ahead
from ksmbd.kernel.stat import S_IFMT, S_IFREG, Stat, stat_fd
from ksmbd.smb.constants import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_ATTRIBUTE_TEMPORARY,
)
from ksmbd.smb.ports import DirectoryEntry, File, StreamInfo, Watch
from ksmbd.smb.security_descriptor import parse_security_descriptor
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_A_DIRECTORY,
    NtStatusError,
)
from ksmbd.smb.waiting import Future
from ksmbd.vfs import change_times, listing, names, ranges, reparse, stream_store
from ksmbd.vfs.attributes import (
    OBJECT_ID_NAME,
    SETTABLE,
    creation_time,
    read_dos,
    read_eas,
    target_of,
    write_dos,
    write_eas,
)
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.times import from_filetime
from ksmbd.vfs.write_times import WriteTime

if TYPE_CHECKING:
    pass

logger = logging.getLogger("ksmbd.vfs")

_UNCHANGED: Final = (0, UTIME_OMIT)
_LARGEST: Final = (1 << 63) - 1


class LocalFile(LocalEntry):
    """Implements the port File for files and directories; ksmbd/vfs/streams.py has the one for named streams."""

    __slots__ = ()

    # ------------------------------------------------------------------------------------------------------ data

    def _data(self) -> int:
        if self.path_only or self.is_directory or self.fd < 0:
            raise NtStatusError(
                STATUS_INVALID_DEVICE_REQUEST if self.is_directory else STATUS_ACCESS_DENIED, "no data access"
            )
        return self.fd

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes, b'' at the end of the file."""
        ranges.check_span(offset, length)
        with os_errors:
            return os.pread(self._data(), length, offset)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See the port."""
        ranges.check_span(offset, len(buffer))
        fd = self._data()
        done = 0
        size = len(buffer)
        with os_errors:
            while done < size:
                count = os.preadv(fd, [buffer[done:] if done else buffer], offset + done)
                if count == 0:
                    break
                done += count
        return done

    def end_of_file(self) -> int:
        """See the port."""
        with os_errors:
            return os.fstat(self._data()).st_size

    @property
    def file_system(self) -> str:
        """See the port."""
        return file_system_name(self.fd, self.key[0])

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        """See the port."""
        offload = self.local_volume.files.offload
        fd = self.fileno()
        volume = self.local_volume
        if offload is None or fd < 0 or (volume.in_memory and self.key[0] == volume.root_dev):
            return None
        count = min(length, os.fstat(fd).st_size - offset)
        if count <= 0 or is_cached(fd, offset, count):
            return None
        # A descriptor of its own: the open may be closed while the disk is waited for.
        return offload(partial(read_ahead, os.dup(fd), offset, count))

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        """All of `data`; the number of bytes written."""
        size = len(data)
        ranges.check_span(offset, size)
        fd = self._data()
        flags = os.RWF_DSYNC if write_through else 0
        done = 0
        if self.write_time is None or self.write_time.held is None:
            self._hold_write_time(fd)
        with os_errors:
            while done < size:
                done += os.pwritev(fd, [memoryview(data)[done:] if done else data], offset + done, flags)
        if not self._archived or self._sticky_write is not None:
            self._modified()
        return done

    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        """See the port."""
        ranges.check_span(offset, count)
        fd = self._data()
        done = 0
        if self.write_time is None or self.write_time.held is None:
            self._hold_write_time(fd)
        with os_errors:
            while done < count:
                try:
                    done += os.splice(pipe, fd, count - done, offset_dst=offset + done)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    # A file system that takes nothing from pipes
                    done += self.write(offset + done, os.read(pipe, count - done))
        if not self._archived or self._sticky_write is not None:
            self._modified()

    def _hold_write_time(self, fd: int) -> None:
        """Before a write whose time is not to be shown at once. POSIX clients are shown every write."""
        if self.posix or self._sticky_write is not None:
            return
        with os_errors:
            stat = stat_fd(fd)
        if self.write_time is None:
            self.write_time = WriteTime(stat, self.local_volume.files.clock.monotonic())
        elif self.write_time.until != -inf:
            self.write_time.hold(stat)

    def _show_write_time(self) -> None:
        """What the open has written is shown from now on."""
        if self.write_time is not None and self.write_time.held is not None:
            with os_errors:
                stat = stat_fd(self._begin())
            if self.write_time.flush(stat):
                self._set_times(_UNCHANGED, from_filetime(self.local_volume.files.clock.filetime()))

    def finish_writes(self) -> None:
        """See the port."""
        if self.write_time is not None and self.write_time.held is not None and self.fd >= 0:
            with os_errors:
                stat = stat_fd(self._begin())
            if self.write_time.end(stat):
                self._set_times(_UNCHANGED, from_filetime(self.local_volume.files.clock.filetime()))

    def close(self) -> None:
        """Idempotent."""
        if self.write_time is not None:
            try:
                self.finish_writes()
            except NtStatusError as error:
                logger.debug("%s: the time of its last write stays: %s", self.path, error)
        super().close()

    def _modified(self) -> None:
        """After a change of data: the archive bit, and times that a client set to stay."""
        fd = self._begin()
        if not self._archived:
            self._archived = True
            options = self.local_volume.options
            if options.store_dos_attributes:
                with os_errors:
                    stat = stat_fd(fd)
                    dos = read_dos(fd, self.path_only, options)
                if dos.attributes is not None and not dos.attributes & FILE_ATTRIBUTE_ARCHIVE:
                    created = creation_time(stat, dos)
                    write_dos(fd, self.path_only, options, dos.attributes | FILE_ATTRIBUTE_ARCHIVE, created)
        if self._sticky_write is not None:
            self._set_times(_UNCHANGED, self._sticky_write)

    def flush(self, full: bool = False) -> None:
        """Data to stable storage; with `full` all metadata too."""
        if self.path_only:
            return
        self._show_write_time()
        with os_errors:
            if full or self.is_directory:
                os.fsync(self.fd)
            else:
                os.fdatasync(self.fd)

    def set_end_of_file(self, size: int) -> None:
        """Truncate or extend."""
        ranges.check_span(size, 0)
        self._begin()
        with os_errors:
            os.ftruncate(self._data(), size)
        self._modified()
        self._show_write_time()

    def set_allocation(self, size: int) -> None:
        """See ranges.set_allocation."""
        ranges.check_span(size, 0)
        fd = self._begin()
        with os_errors:
            ranges.set_allocation(self._data(), size, stat_fd(fd).size)
        self._modified()
        self._show_write_time()

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]]
    ) -> None:
        """MS-FSA 2.1.5.1.2.1: streams and EAs go, attributes are replaced, ARCHIVE is set, the creation time stays."""
        fd = self._begin()
        options = self.local_volume.options
        with os_errors:
            stat = stat_fd(fd)
            dos = read_dos(fd, self.path_only, options)
            os.ftruncate(self._data(), 0)
        if options.streams:
            stream_store.remove_all(fd, self.path_only)
        old = read_eas(fd, self.path_only, options)
        if old:
            write_eas(fd, self.path_only, options, [(name, 0, b"") for name, _, _ in old])
        write_eas(fd, self.path_only, options, extended_attributes)
        new = attributes & SETTABLE | FILE_ATTRIBUTE_ARCHIVE
        write_dos(fd, self.path_only, options, new, creation_time(stat, dos))
        self._archived = True

    # ---------------------------------------------------------------------------------------------------- metadata

    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        """See the port. The change time follows the next change again, whatever was set."""
        fd = self._begin()
        options = self.local_volume.options
        self._show_write_time()
        with os_errors:
            stat = stat_fd(fd)
            dos = read_dos(fd, self.path_only, options)
        if attributes:
            if self.is_directory and attributes & FILE_ATTRIBUTE_TEMPORARY:
                raise NtStatusError(STATUS_INVALID_PARAMETER, "a temporary directory")
            if not self.is_directory and attributes & FILE_ATTRIBUTE_DIRECTORY:
                raise NtStatusError(STATUS_INVALID_PARAMETER, "a file is no directory")
        if attributes or creation > 0:
            kept = dos.attributes
            if kept is None:
                kept = FILE_ATTRIBUTE_ARCHIVE if self.kind == S_IFREG else 0
            if attributes:
                kept = attributes & SETTABLE | kept & (FILE_ATTRIBUTE_SPARSE_FILE | FILE_ATTRIBUTE_REPARSE_POINT)
                self._archived = True  # the client's word on ARCHIVE stays until the next open
            if self.is_directory:
                kept |= FILE_ATTRIBUTE_DIRECTORY
            created = creation if creation > 0 else creation_time(stat, dos)
            write_dos(fd, self.path_only, options, kept, created)
        access_time = from_filetime(access) if access > 0 else _UNCHANGED
        write_time = from_filetime(write) if write > 0 else _UNCHANGED
        if access > 0 or write > 0:
            self._set_times(access_time, write_time)
        if write > 0:
            self._sticky_write = write_time
        elif write == -1:
            self._sticky_write = (stat.mtime, stat.mtime_ns)
        elif write == -2:
            self._sticky_write = None
            self.write_time = WriteTime(stat, -inf)  # who asks for implicit updates sees them
        if access > 0:
            self._sticky_access = access_time
        elif access == -2:
            self._sticky_access = None
        if change > 0:
            with os_errors:
                change_times.remember(stat_fd(fd), change)

    def _set_times(self, access: tuple[int, int], write: tuple[int, int]) -> None:
        with os_errors:
            try:
                set_times(self.fd, access, write)
            except PermissionError:
                # Only the owner may set times; FILE_WRITE_ATTRIBUTES or a write through this handle allows it here.
                with credentials.privileged():
                    set_times(self.fd, access, write)

    def security_descriptor(self, information: int) -> bytes:
        """See the port."""
        fd = self._begin()
        with os_errors:
            return self.local_volume.access.descriptor(fd, self.path_only, stat_fd(fd)).encode(information)

    def set_security_descriptor(self, information: int, descriptor: bytes) -> None:
        """See the port."""
        fd = self._begin()
        new = parse_security_descriptor(descriptor)
        with os_errors:
            self.local_volume.access.store(fd, self.path_only, self.granted_access, information, new)

    def maximal_access(self) -> int:
        """See the port; what a read-only share takes away is left out."""
        fd = self._begin()
        volume = self.local_volume
        with os_errors:
            parent = None
            if self.names:
                try:
                    parent, _ = self.entry()
                except NtStatusError:
                    parent = None
            try:
                return volume.restrict(volume.access.maximal(fd, self.path_only, stat_fd(fd), parent))
            finally:
                if parent is not None:
                    volume.resolver.release(parent)

    def extended_attributes(self) -> list[tuple[str, int, bytes]]:
        """See the port."""
        return read_eas(self._begin(), self.path_only, self.local_volume.options)

    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        """See the port; an empty value removes."""
        write_eas(self._begin(), self.path_only, self.local_volume.options, attributes)

    def streams(self) -> list[StreamInfo]:
        """All streams, the default one ('') first; a directory has none of that."""
        fd = self._begin()
        found = []
        if not self.is_directory:
            stat = self.stat()
            found.append(StreamInfo("", stat.size, stat.blocks << 9))
        if self.local_volume.options.streams:
            found += stream_store.listed(fd, self.path_only)
        return found

    # --------------------------------------------------------------------------------------------------- directories

    def list_directory(self) -> Iterator[DirectoryEntry]:
        """See the port."""
        if not self.is_directory:
            raise NtStatusError(STATUS_NOT_A_DIRECTORY)
        self._begin()
        with os_errors:
            yield from listing.entries(self)

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        """See the port."""
        self._begin()
        if name in (".", ".."):
            return next((entry for entry in self.list_directory() if entry.name == name), None)
        try:
            names.check(name, self.posix)
        except NtStatusError:
            return None
        with os_errors:
            return listing.lookup(self, name)

    def normalized_name(self) -> str:
        """FileNormalizedNameInformation (MS-FSCC 2.4.30): the path as the disk spells it."""
        return self.path

    def watch(self, completion_filter: int, tree: bool) -> Watch:
        """See the port."""
        if not self.is_directory:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "only directories are watched")
        self._begin()
        with os_errors:
            return self.local_volume.files.watches.watch(self, completion_filter, tree)

    # ------------------------------------------------------------------------------------------------ control codes

    def reparse_point(self) -> tuple[int, bytes]:
        """See the port."""
        self._begin()
        return reparse.get(self)

    def set_reparse_point(self, tag: int, data: bytes) -> None:
        """See the port (MS-FSA 2.1.5.10.37)."""
        self._begin()
        reparse.set_(self, tag, data)

    def delete_reparse_point(self, tag: int) -> None:
        """See the port."""
        self._begin()
        reparse.delete(self, tag)

    def become_link(self, fd: int, stat: Stat) -> None:
        """The entry was replaced by a symbolic link. `key`, by which the open table knows this open, stays."""
        os.close(self.fd)
        self.fd = fd
        self.path_only = True
        self.kind = stat.mode & S_IFMT
        self.is_directory = False
        self._entry_key = (stat.dev, stat.ino)

    def mark(self, add: int, remove: int) -> None:
        """Change attributes that clients cannot set by SET_INFO."""
        options = self.local_volume.options
        with os_errors:
            stat = stat_fd(self.fd)
            dos = read_dos(self.fd, self.path_only, options)
        kept = dos.attributes
        if kept is None:
            kept = FILE_ATTRIBUTE_ARCHIVE if self.kind == S_IFREG else 0
        write_dos(self.fd, self.path_only, options, (kept | add) & ~remove, creation_time(stat, dos))

    def set_sparse(self, sparse: bool) -> None:
        """FSCTL_SET_SPARSE: the attribute; holes are the file system's business."""
        self._begin()
        if self.is_directory:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "a directory is not sparse")
        self.mark(FILE_ATTRIBUTE_SPARSE_FILE if sparse else 0, 0 if sparse else FILE_ATTRIBUTE_SPARSE_FILE)

    def _is_sparse(self, fd: int) -> bool:
        dos = read_dos(fd, self.path_only, self.local_volume.options)
        return bool((dos.attributes or 0) & FILE_ATTRIBUTE_SPARSE_FILE)

    def zero_data(self, offset: int, beyond: int) -> None:
        """FSCTL_SET_ZERO_DATA (MS-FSCC 2.3.71)."""
        if offset < 0 or beyond < offset:
            raise NtStatusError(STATUS_INVALID_PARAMETER)
        fd = self._begin()
        sparse = self._is_sparse(fd)
        with os_errors:
            ranges.zero(self._data(), offset, beyond, sparse)
        self._modified()

    def allocated_ranges(self, offset: int, length: int) -> list[tuple[int, int]]:
        """See ranges.allocated; a file that is not sparse is one range."""
        ranges.check_span(offset, length)
        fd = self._begin()
        sparse = self._is_sparse(fd)
        with os_errors:
            if sparse:
                return ranges.allocated(self._data(), offset, length)
            end = min(offset + length, os.fstat(self._data()).st_size)
        return [(offset, end - offset)] if end > offset else []

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        """See the port; bytes copied, fewer where the source ends."""
        ranges.check_span(source_offset, length)
        ranges.check_span(target_offset, length)
        self._begin()
        if source.fileno() < 0:
            data = source.read(source_offset, length)
            return self.write(target_offset, data)
        with os_errors:
            count = ranges.copy(self._data(), source.fileno(), source_offset, target_offset, length)
        self._modified()
        return count

    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None:
        """See ranges.clone."""
        ranges.check_span(source_offset, length)
        ranges.check_span(target_offset, length)
        self._begin()
        if source.fileno() < 0:
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a stream")
        with os_errors:
            ranges.clone(self._data(), source.fileno(), source_offset, target_offset, length)
        self._modified()

    def compression(self) -> int:
        """See ranges.compression."""
        return ranges.compression(self._begin())

    def set_compression(self, state: int) -> None:
        """See ranges.set_compression."""
        self._begin()
        with os_errors:
            ranges.set_compression(self.fd, state)

    def object_id(self) -> bytes:
        """FSCTL_CREATE_OR_GET_OBJECT_ID: 16 bytes that stay with the file."""
        fd = self._begin()
        target = target_of(fd, self.path_only)
        with os_errors, credentials.privileged():
            value = get_attribute(fd, OBJECT_ID_NAME.encode(), self.path_only)
            if value is None or len(value) != 16:
                value = os.urandom(16)
                try:
                    os.setxattr(target, OBJECT_ID_NAME, value)
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                        raise
                    return self.local_volume.object_id(self.key)
        return value

