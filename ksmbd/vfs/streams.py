# SPDX-License-Identifier: GPL-2.0-or-later
"""Named streams in extended attributes, as Samba's streams_xattr keeps them.

user.DosStream.NAME:$DATA holds the data and one NUL byte behind it. A stream is as long as the file system lets an
attribute be (64 KiB less two bytes at most), so offsets and sizes are checked before anything is allocated.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence

from ksmbd.kernel import descriptors
from ksmbd.kernel.files import W_OK, access_fd, get_attribute
from ksmbd.kernel.stat import stat_fd
from ksmbd.overriding import override
from ksmbd.smb.constants import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY
from ksmbd.smb.ports import DirectoryEntry, File, FileInfo, Watch
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_DISK_FULL,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_A_DIRECTORY,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.smb.waiting import Future
from ksmbd.vfs import ranges, reparse_points
from ksmbd.vfs.attributes import attributes_of, read_dos, xattr_target
from ksmbd.vfs.errors import os_errors, to_status
from ksmbd.vfs.metadata import LocalMetadata
from ksmbd.vfs.names import fold
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.stream_store import MAXIMUM_SIZE, allocation, attribute, check_name, find


class LocalStream(LocalMetadata):
    """One open named stream. What concerns its file is in LocalMetadata; all else is decided here, none of it by the
    class of files: tests/unit/vfs/test_streams.py has the list."""

    __slots__ = ("_attribute_name", "_name")

    def __init__(self, opened: Opened, created: bool, name: str, attribute_name: bytes) -> None:
        """`opened` is its base file; `created`: the open made the stream."""
        super().__init__(opened, created)
        self.is_directory = False  # the stream of one is none
        self._name = name
        self.stream = fold(name)
        self._attribute_name = attribute_name

    @property
    @override
    def stream_name(self) -> str:
        """See the port."""
        return self._name

    def normalized_name(self) -> str:
        """FileNormalizedNameInformation (MS-FSCC 2.4.36), with the stream."""
        return f"{self.path}:{self._name}"

    @override
    def fileno(self) -> int:
        """-1: the data is in an extended attribute."""
        return -1

    def end_of_file(self) -> int:
        """See the port."""
        return len(self._load())

    def make(self) -> None:
        """Create it, empty."""
        self._store(b"")

    def _load(self) -> bytearray:
        with os_errors:
            value = get_attribute(self._begin(), self._attribute_name, self.path_only, 65536)
        if value is None:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "the stream is gone")
        return bytearray(value[:-1])

    def _store(self, data: bytes | bytearray) -> None:
        try:
            os.setxattr(xattr_target(self._begin(), self.path_only), self._attribute_name, bytes(data) + b"\0")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EDQUOT):
                raise NtStatusError(STATUS_DISK_FULL, "longer than an extended attribute can be") from error
            raise to_status(error) from error

    @override
    def info(self) -> FileInfo:
        """The base file's, with the stream's sizes."""
        info = super().info()
        size = len(self._load())
        info.end_of_file = size
        info.allocation_size = allocation(size)
        info.is_directory = False
        info.attributes = info.attributes & ~FILE_ATTRIBUTE_DIRECTORY or FILE_ATTRIBUTE_NORMAL
        return info

    def read(self, offset: int, length: int) -> bytes:
        """See the port."""
        ranges.check_span(offset, length)
        return bytes(self._load()[offset : offset + length])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See the port."""
        data = self.read(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        """See the port; STATUS_DISK_FULL beyond what an attribute holds."""
        ranges.check_span(offset, len(data))
        end = offset + len(data)
        if end > MAXIMUM_SIZE:
            raise NtStatusError(STATUS_DISK_FULL, "longer than an extended attribute can be")
        content = self._load()
        if len(data):
            if len(content) < end:
                content.extend(bytes(end - len(content)))
            content[offset:end] = data
            self._store(content)
        return len(data)

    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        """See the port. No pipe leads into an attribute: by way of memory."""
        done = 0
        with os_errors:
            while done < count:
                data = os.read(pipe, count - done)
                if not data:
                    raise NtStatusError(STATUS_INVALID_PARAMETER, "the pipe has less")
                done += self.write(offset + done, data)

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        """See the port: an attribute is short."""
        return None

    def duplicate(self) -> File | None:
        """None: an attribute is small."""
        return None

    def rejoin(self, duplicate: File) -> None:
        """There is none."""

    def flush(self, full: bool = False) -> None:
        """Attributes are metadata: the file is synced with them. Its own descriptor was opened for no access."""
        fd = self._begin()
        try:
            real = os.open(descriptors.path(fd), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # who may not read the file cannot have it synced; the kernel writes it in its own time
        try:
            with os_errors:
                os.fsync(real)
        finally:
            os.close(real)

    def set_end_of_file(self, size: int) -> None:
        """See the port."""
        self._check_size(size)
        content = self._load()
        if size != len(content):
            self._store(content[:size] if size < len(content) else content + bytes(size - len(content)))

    def set_allocation(self, size: int) -> None:
        """A smaller size truncates (MS-FSA 2.1.5.15.1). A larger one reserves nothing, as attributes have no room of
        their own; STATUS_DISK_FULL for what the stream could never be."""
        self._check_size(size)
        content = self._load()
        if size < len(content):
            self._store(content[:size])

    def _check_size(self, size: int) -> None:
        ranges.check_span(size, 0)
        if size > MAXIMUM_SIZE:
            raise NtStatusError(STATUS_DISK_FULL, "longer than an extended attribute can be")

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        """Only the stream is emptied; the base file's attributes stay (MS-FSA 2.1.5.1.2.1 is about the default
        stream)."""
        self._check_size(allocation_size)
        self._store(b"")

    @override
    def check_delete(self) -> None:
        """A stream can go whatever the file holds and wherever it is; a read-only file keeps it (MS-FSA 2.1.5.15.3)."""
        fd = self._begin()
        with os_errors:
            options = self.place.options
            attributes = attributes_of(stat_fd(fd), read_dos(fd, self.path_only, options), self.name, options)
            if attributes & FILE_ATTRIBUTE_READONLY and not self.posix:
                raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
            if not self.place.access.root and not access_fd(fd, W_OK):
                raise NtStatusError(STATUS_ACCESS_DENIED, "the file may not be written")

    @override
    def unlink(self) -> None:
        """Remove the stream."""
        try:
            os.removexattr(xattr_target(self._begin(), self.path_only), self._attribute_name)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise to_status(error) from error

    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        """To `:name` or `:name:$DATA` (MS-FSA 2.1.5.15.11: a stream stays with its file)."""
        if not target.startswith(":"):
            raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream is renamed to a stream")
        name, separator, kind = target[1:].partition(":")
        if separator and kind.upper() != "$DATA":
            raise NtStatusError(STATUS_INVALID_PARAMETER, kind)
        check_name(name)
        fd = self._begin()
        existing = find(fd, self.path_only, name)
        target_name = attribute(name)
        if target_name == self._attribute_name:
            return
        if existing is not None and existing[1] != self._attribute_name:
            if not replace:
                raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
            target_name = existing[1]
        old, content = self._attribute_name, self._load()
        self._attribute_name = target_name
        replaced = None if existing is None or existing[1] == old else self._load()
        try:
            self._store(content)
        except NtStatusError:
            self._attribute_name = old
            raise
        try:
            os.removexattr(xattr_target(fd, self.path_only), old)
        except OSError as error:
            if replaced is None:
                self.unlink()
            else:
                self._store(replaced)
            self._attribute_name = old
            raise to_status(error) from error
        self._name = name
        self.stream = fold(name)

    def link(self, target: str, replace: bool) -> None:
        """A stream has no links."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def list_directory(self, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
        """A stream is no directory."""
        raise NtStatusError(STATUS_NOT_A_DIRECTORY)

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        """A stream is no directory."""
        raise NtStatusError(STATUS_NOT_A_DIRECTORY)

    def reparse_point(self) -> tuple[int, bytes]:
        """The file's, as `info` shows its tag."""
        self._begin()
        return reparse_points.get(self)

    def set_reparse_point(self, tag: int, data: bytes) -> None:
        """A reparse point is set by an open of the file or directory itself (MS-FSCC 2.3.81)."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def delete_reparse_point(self, tag: int) -> None:
        """As `set_reparse_point`."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def watch(self, completion_filter: int, tree: bool, later: bool = False) -> Watch:
        """A stream is no directory."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def set_sparse(self, sparse: bool) -> None:
        """Streams in attributes have no holes; accepted, as they cost nothing."""

    def zero_data(self, offset: int, beyond: int) -> None:
        """See the port."""
        if offset < 0 or beyond < offset:
            raise NtStatusError(STATUS_INVALID_PARAMETER)
        content = self._load()
        end = min(beyond, len(content))
        if offset < end:
            content[offset:end] = bytes(end - offset)
            self._store(content)

    def allocated_ranges(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        """All of it."""
        ranges.check_span(offset, length)
        end = min(offset + length, len(self._load()))
        return [(offset, end - offset)] if end > offset else []

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        """Through memory; the attribute's limit bounds it."""
        ranges.check_span(source_offset, length)
        if target_offset + length > MAXIMUM_SIZE:
            raise NtStatusError(STATUS_DISK_FULL)
        return self.write(target_offset, source.read(source_offset, length))

    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None:
        """No extents to share."""
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a stream")

    def compression(self) -> int:
        """No extents to compress: COMPRESSION_FORMAT_NONE."""
        return ranges.COMPRESSION_FORMAT_NONE

    def set_compression(self, state: int) -> None:
        """None it is; no other."""
        if state:
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a stream")
