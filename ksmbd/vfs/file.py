# SPDX-License-Identifier: GPL-2.0-or-later
"""An open file or directory: data, renames and links, directory listings, and the operations behind FSCTLs."""
from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf

from ksmbd import debug
from ksmbd.kernel.read_ahead import is_cached, read_ahead
from ksmbd.kernel.stat import S_IFREG, stat_fd
from ksmbd.smb.constants import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_WRITE_DATA,
)
from ksmbd.smb.ports import DirectoryEntry, File, LocalOpen, Watch
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_A_DIRECTORY,
    NtStatusError,
)
from ksmbd.smb.waiting import Future
from ksmbd.vfs import allocation, listing, local, moving, names, ranges, reparse_points, stream_store, watch
from ksmbd.vfs import duplicate as duplicates
from ksmbd.vfs.attributes import (
    SETTABLE,
    check_eas,
    creation_time,
    ea_names,
    put_back_eas,
    read_dos,
    write_dos,
    write_eas,
)
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.metadata import UNCHANGED
from ksmbd.vfs.reserving import ReservingFile
from ksmbd.vfs.write_times import WriteTime

logger = logging.getLogger("ksmbd.vfs")


class LocalFile(ReservingFile):
    """Implements the port File for files and directories; ksmbd/vfs/streams.py has the one for named streams."""

    __slots__ = ()

    # ------------------------------------------------------------------------------------------------------ data

    def _data(self) -> int:
        fd = self.fd
        if self.path_only or self.is_directory or fd < 0:
            raise NtStatusError(
                STATUS_INVALID_DEVICE_REQUEST if self.is_directory else STATUS_ACCESS_DENIED, "no data access"
            )
        return fd

    def read(self, offset: int, length: int) -> bytes:
        """Read at most `length` bytes; b'' at the end of the file. Raises NtStatusError."""
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

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        """See the port."""
        place = self.place
        offload = place.common.offload
        fd = self.fileno()
        if offload is None or fd < 0 or (place.in_memory and self.key[0] == place.root_dev):
            return None
        count = min(length, os.fstat(fd).st_size - offset)
        if count <= 0 or is_cached(fd, offset, count):
            return None
        # A separate descriptor, because the open may be closed while the thread waits for the disk.
        return offload(partial(read_ahead, os.dup(fd), offset, count))

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        """Write all of `data`, with `write_through` to stable storage. Returns the number of bytes written. Raises
        NtStatusError."""
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
                    # A file system that cannot splice from a pipe
                    done += self.write(offset + done, os.read(pipe, count - done))
        if not self._archived or self._sticky_write is not None:
            self._modified()

    def _hold_write_time(self, fd: int) -> None:
        """Call before a write, so that its time is shown later (write_times.py). POSIX clients see every write time at
        once."""
        if self.posix or self._sticky_write is not None:
            return
        with os_errors:
            stat = stat_fd(fd)
        if self.write_time is None:
            self.write_time = WriteTime(stat, self.place.common.clock.monotonic())
        elif self.write_time.until != -inf:
            self.write_time.hold(stat)

    def _modified(self) -> None:
        """Call after a change of data: sets FILE_ATTRIBUTE_ARCHIVE, and restores a write time that a client has
        fixed."""
        fd = self._begin()
        if not self._archived:
            self._archived = True
            options = self.place.options
            if options.store_dos_attributes:
                with os_errors:
                    stat = stat_fd(fd)
                    dos = read_dos(fd, self.path_only, options)
                if dos.attributes is not None and not dos.attributes & FILE_ATTRIBUTE_ARCHIVE:
                    created = creation_time(stat, dos)
                    new = dos.attributes | FILE_ATTRIBUTE_ARCHIVE
                    write_dos(fd, self.path_only, options, self.granted_access, new, created)
        if self._sticky_write is not None:
            self._set_times(UNCHANGED, self._sticky_write)

    def duplicate(self) -> File | None:
        """See the port."""
        return duplicates.make(self, LocalFile)

    def rejoin(self, duplicate: File) -> None:
        """See the port."""
        assert isinstance(duplicate, LocalFile)
        duplicates.rejoin(self, duplicate)

    def flush(self, full: bool = False) -> None:
        """Flush the data to stable storage, with `full` all metadata too. Raises NtStatusError."""
        if self.path_only:
            return
        self._show_write_time()
        with os_errors:
            if full or self.is_directory:
                os.fsync(self.fd)
            else:
                os.fdatasync(self.fd)

    def set_end_of_file(self, size: int) -> None:
        """Truncate or extend the file to `size` bytes (MS-FSA 2.1.5.15.4). Raises NtStatusError."""
        ranges.check_span(size, 0)
        self._begin()
        with os_errors:
            ranges.truncate(self._data(), size)
        self._modified()
        self._show_write_time()

    def set_allocation(self, size: int) -> None:
        """Set the AllocationSize: a smaller `size` (bytes) truncates the file, a larger one reserves blocks (MS-FSA
        2.1.5.15.1). Raises NtStatusError; with STATUS_DISK_FULL no block is reserved."""
        ranges.check_span(size, 0)
        self._begin()
        with os_errors:
            self._allocate(self._data(), size)
        self._modified()
        self._show_write_time()

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        """Overwrite or supersede the file (MS-FSA 2.1.5.1.2.1): remove streams and EAs, replace the attributes, set
        ARCHIVE, keep the creation time.

        The data is truncated last. A step that fails before is undone, so that a refused request changes nothing.
        Raises NtStatusError."""
        fd = self._begin()
        options, path_only = self.place.options, self.path_only
        check_eas(extended_attributes, options)
        with os_errors:
            data = self._data()
            stat = stat_fd(fd)
            dos = read_dos(fd, path_only, options)
            if allocation_size:
                ranges.check_span(allocation_size, 0)
                allocation.check(fd, allocation_size - (stat.blocks << 9))
        gone = [(name, 0, b"") for name in ea_names(fd, path_only, options)]
        changes = write_eas(fd, path_only, options, [*gone, *extended_attributes])
        # CREATE has checked FILE_WRITE_DATA, although the open may not keep it in GrantedAccess.
        granted = self.granted_access | FILE_WRITE_DATA
        created = creation_time(stat, dos)
        try:
            write_dos(fd, path_only, options, granted, attributes & SETTABLE | FILE_ATTRIBUTE_ARCHIVE, created)
            try:
                with os_errors:
                    ranges.truncate(data, 0)
            except NtStatusError:
                kept = FILE_ATTRIBUTE_ARCHIVE if dos.attributes is None else dos.attributes
                write_dos(fd, path_only, options, granted, kept, created)
                raise
        except NtStatusError:
            put_back_eas(fd, path_only, changes)
            raise
        self._archived = True
        if options.streams:
            stream_store.remove_all(fd, path_only)
        if allocation_size:
            try:
                self._allocate(data, allocation_size)
            except (OSError, NtStatusError) as error:
                # There was room a moment ago. The old data is gone, so the open succeeds without reserved blocks.
                logger.debug("%s: nothing reserved: %s", self.path, error)

    # ----------------------------------------------------------------------------------------------------- other names

    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        """See the port (MS-FSA 2.1.5.15.11)."""
        self._begin()
        if debug.mask[0] & debug.VFS:
            self.place.told(f"rename {self.path!r} to {target!r}, file {self.key}")
        if not self.names:
            raise NtStatusError(STATUS_ACCESS_DENIED, "the share's root")
        moving.rename_entry(self, target, replace, posix)

    def lock_side(self) -> LocalOpen | None:
        """See the port."""
        if self.shares_locks or self.kind != S_IFREG or self.path_only:
            return None
        self.shares_locks = True
        return local.lock_side(self)

    def become_unnamed(self, replace: bool) -> File:
        """Refuse: it is the unnamed stream."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "the unnamed stream")

    def link(self, target: str, replace: bool) -> None:
        """See the port (MS-FSA 2.1.5.15.6)."""
        self._begin()
        if debug.mask[0] & debug.VFS:
            self.place.told(f"link {self.path!r} as {target!r}, file {self.key}")
        moving.link_entry(self, target, replace)

    # --------------------------------------------------------------------------------------------------- directories

    def list_directory(self, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
        """See the port."""
        if not self.is_directory:
            raise NtStatusError(STATUS_NOT_A_DIRECTORY)
        self._begin()
        with os_errors:
            yield from listing.entries(self, matches)

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        """See the port."""
        self._begin()
        if name in (".", ".."):
            return next((entry for entry in self.list_directory() if entry is not None and entry.name == name), None)
        try:
            names.check(name, self.posix)
        except NtStatusError:
            return None
        with os_errors:
            return listing.lookup(self, name)

    def normalized_name(self) -> str:
        """The path for FileNormalizedNameInformation (MS-FSCC 2.4.36), as the disk spells it."""
        return self.path

    def watch(self, completion_filter: int, tree: bool, later: bool = False) -> Watch:
        """See the port."""
        if not self.is_directory:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "only directories are watched")
        self._begin()
        with os_errors:
            return watch.begin(self, completion_filter, tree, later)

    # ------------------------------------------------------------------------------------------------ control codes

    def reparse_point(self) -> tuple[int, bytes]:
        """See the port."""
        self._begin()
        return reparse_points.get(self)

    def set_reparse_point(self, tag: int, data: bytes) -> None:
        """See the port (MS-FSA 2.1.5.10.37)."""
        self._begin()
        reparse_points.set_(self, tag, data)

    def delete_reparse_point(self, tag: int) -> None:
        """See the port."""
        self._begin()
        reparse_points.delete(self, tag)

    def set_sparse(self, sparse: bool) -> None:
        """Set or clear FILE_ATTRIBUTE_SPARSE_FILE (FSCTL_SET_SPARSE). The data is not changed. Raises
        NtStatusError."""
        self._begin()
        if self.is_directory:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "a directory is not sparse")
        self.mark(FILE_ATTRIBUTE_SPARSE_FILE if sparse else 0, 0 if sparse else FILE_ATTRIBUTE_SPARSE_FILE)

    def _is_sparse(self, fd: int) -> bool:
        dos = read_dos(fd, self.path_only, self.place.options)
        return bool((dos.attributes or 0) & FILE_ATTRIBUTE_SPARSE_FILE)

    def zero_data(self, offset: int, beyond: int) -> None:
        """Zero the bytes from `offset` up to `beyond`, exclusive (FSCTL_SET_ZERO_DATA, MS-FSCC 2.3.71). Raises
        NtStatusError."""
        if offset < 0 or beyond < offset:
            raise NtStatusError(STATUS_INVALID_PARAMETER)
        fd = self._begin()
        sparse = self._is_sparse(fd)
        with os_errors:
            ranges.zero(self._data(), offset, beyond, sparse)
        self._modified()

    def allocated_ranges(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        """See ranges.allocated. A file without FILE_ATTRIBUTE_SPARSE_FILE is one range."""
        ranges.check_span(offset, length)
        fd = self._begin()
        sparse = self._is_sparse(fd)
        with os_errors:
            if sparse:
                return ranges.allocated(self._data(), offset, length, most)
            end = min(offset + length, os.fstat(self._data()).st_size)
        return [(offset, end - offset)] if end > offset else []

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        """See the port. Returns the bytes copied, which are fewer than `length` where the source ends."""
        ranges.check_span(source_offset, length)
        ranges.check_span(target_offset, length)
        self._begin()
        if source.fileno() < 0:
            data = source.read(source_offset, length)
            return self.write(target_offset, data)
        with os_errors:
            from_fd = source.fileno()  # before _data, so that the change is made as the user of this file
            count = ranges.copy(self._data(), from_fd, source_offset, target_offset, length)
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
            from_fd = source.fileno()
            ranges.clone(self._data(), from_fd, source_offset, target_offset, length)
        self._modified()

    def compression(self) -> int:
        """See ranges.compression."""
        return ranges.compression(self._begin())

    def set_compression(self, state: int) -> None:
        """See ranges.set_compression."""
        self._begin()
        with os_errors:
            ranges.set_compression(self.fd, state)
