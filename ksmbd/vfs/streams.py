# SPDX-License-Identifier: GPL-2.0-or-later
"""An open named stream: its data is in extended attributes, in the layout of Samba's streams_xattr.

A stream can be as long as the file system lets its attributes be (stream_pieces.py), 1 MiB at most, so offsets and
sizes are checked before anything is allocated.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from ksmbd.kernel import descriptors
from ksmbd.kernel.files import W_OK, access_fd
from ksmbd.kernel.stat import stat_fd
from ksmbd.overriding import override
from ksmbd.smb.constants import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY
from ksmbd.smb.ports import DirectoryEntry, File, FileInfo, LocalOpen, Watch
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_FILE_SYSTEM_LIMITATION,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_A_DIRECTORY,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.smb.waiting import Future
from ksmbd.vfs import ranges, reparse_points, stream_pieces
from ksmbd.vfs.attributes import attributes_of, read_dos
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.metadata import LocalMetadata
from ksmbd.vfs.names import fold
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.stream_store import allocation, attribute, check_name, find
from ksmbd.vfs.unnamed import check_unnamed, open_with


class LocalStream(LocalMetadata):
    """An open named stream. Operations on its file are inherited from LocalMetadata; all operations on data are defined
    here. tests/unit/vfs/test_streams.py lists both kinds."""

    __slots__ = ("_attribute_name", "_name")

    def __init__(self, opened: Opened, created: bool, name: str, attribute_name: bytes) -> None:
        """`opened` is the base file's record; `created`: this open has created the stream. `name` is the stream's
        name, `attribute_name` the extended attribute that holds it."""
        super().__init__(opened, created)
        self.is_directory = False  # a stream of a directory is no directory
        self._name = name
        self.stream = fold(name)
        self._attribute_name = attribute_name

    @property
    @override
    def stream_name(self) -> str:
        """See the port."""
        return self._name

    def normalized_name(self) -> str:
        """The path for FileNormalizedNameInformation (MS-FSCC 2.4.36), with the stream's name."""
        return f"{self.path}:{self._name}"

    @override
    def fileno(self) -> int:
        """-1: the data is in an extended attribute."""
        return -1

    def end_of_file(self) -> int:
        """See the port."""
        with os_errors:
            size = stream_pieces.size(self._begin(), self.path_only, self._attribute_name)
        if size is None:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "the stream is gone")
        return size

    def make(self) -> None:
        """Create the stream, empty. Raises NtStatusError."""
        self._store(None, b"")

    def _pieces(self, end: int = -1) -> stream_pieces.Pieces:
        with os_errors:
            pieces = stream_pieces.load(self._begin(), self.path_only, self._attribute_name, end)
        if pieces is None:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "the stream is gone")
        return pieces

    def _load(self) -> bytearray:
        return bytearray().join(self._pieces())

    def _store(self, old: stream_pieces.Pieces | None, data: bytes | bytearray) -> None:
        most = self.place.options.stream_xattrs
        stream_pieces.store(self._begin(), self.path_only, self._attribute_name, old, data, most)

    def _maximum_size(self) -> int:
        return stream_pieces.maximum_size(self.place.options.stream_xattrs)

    @override
    def info(self) -> FileInfo:
        """The information of the base file, with the stream's sizes."""
        info = super().info()
        size = self.end_of_file()
        info.end_of_file = size
        info.allocation_size = allocation(size)
        info.is_directory = False
        info.attributes = info.attributes & ~FILE_ATTRIBUTE_DIRECTORY or FILE_ATTRIBUTE_NORMAL
        return info

    def read(self, offset: int, length: int) -> bytes:
        """See the port."""
        ranges.check_span(offset, length)
        return b"".join(self._pieces(offset + length))[offset : offset + length]

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See the port."""
        data = self.read(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        """See the port. Raises STATUS_FILE_SYSTEM_LIMITATION for data beyond what extended attributes hold."""
        ranges.check_span(offset, len(data))
        end = offset + len(data)
        if end > self._maximum_size():
            raise NtStatusError(STATUS_FILE_SYSTEM_LIMITATION, "longer than extended attributes can be")
        old = self._pieces()
        if len(data):
            content = bytearray().join(old)
            if len(content) < end:
                content.extend(bytes(end - len(content)))
            content[offset:end] = data
            self._store(old, content)
        return len(data)

    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        """See the port. The data is copied through memory, because splice(2) cannot write an attribute."""
        done = 0
        with os_errors:
            while done < count:
                data = os.read(pipe, count - done)
                if not data:
                    raise NtStatusError(STATUS_INVALID_PARAMETER, "the pipe has less")
                done += self.write(offset + done, data)

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        """None: an attribute is short, so reading it ahead gains nothing."""
        return None

    def duplicate(self) -> File | None:
        """None: operations on an attribute are quick."""
        return None

    def rejoin(self, duplicate: File) -> None:
        """Not called: a stream has no duplicates."""

    def flush(self, full: bool = False) -> None:
        """See the port. Syncs the whole file, because an attribute is metadata; through a new descriptor, because the
        stream's own is O_PATH."""
        fd = self._begin()
        try:
            real = os.open(descriptors.path(fd), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # the user may not read the file; the kernel writes the attribute back in its own time
        try:
            with os_errors:
                os.fsync(real)
        finally:
            os.close(real)

    def set_end_of_file(self, size: int) -> None:
        """See the port."""
        self._check_size(size)
        old = self._pieces()
        content = b"".join(old)
        if size != len(content):
            self._store(old, content[:size] if size < len(content) else content + bytes(size - len(content)))

    def set_allocation(self, size: int) -> None:
        """Set the AllocationSize: a smaller one truncates the stream (MS-FSA 2.1.5.15.1), a larger one reserves
        nothing."""
        ranges.check_span(size, 0)
        old = self._pieces()
        content = b"".join(old)
        if size < len(content):
            self._store(old, content[:size])

    def _check_size(self, size: int) -> None:
        ranges.check_span(size, 0)
        if size > self._maximum_size():
            raise NtStatusError(STATUS_FILE_SYSTEM_LIMITATION, "longer than extended attributes can be")

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        """Truncate the stream. The base file's attributes stay, because MS-FSA 2.1.5.1.2.1 changes them for the default
        stream only."""
        ranges.check_span(allocation_size, 0)
        with os_errors:
            there = stream_pieces.clear(self._begin(), self.path_only, self._attribute_name)
        if not there:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "the stream is gone")

    @override
    def extended_attributes(self) -> list[tuple[str, int, bytes]]:
        """See `set_extended_attributes`."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream has no extended attributes")

    @override
    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        """They are the file's, and as on NTFS an open of the file or directory itself sets them."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream has no extended attributes")

    @override
    def check_delete(self) -> None:
        """See the port. Only a read-only file and missing write permission keep a stream from being deleted (MS-FSA
        2.1.5.15.3)."""
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
        """Remove the stream. One that was removed already is no error."""
        with os_errors:
            stream_pieces.remove(self._begin(), self.path_only, self._attribute_name)

    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        """Rename the stream to `target`, which is `:name` or `:name:$DATA` (MS-FSA 2.1.5.15.11). It stays with its
        file."""
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
        replaced = None if existing is None or existing[1] == old else self._pieces()
        try:
            self._store(replaced, content)
        except NtStatusError:
            self._attribute_name = old
            raise
        try:
            with os_errors:
                stream_pieces.remove(fd, self.path_only, old)
        except NtStatusError:
            if replaced is None:
                self.unlink()
            else:
                self._store(self._pieces(), b"".join(replaced))
            self._attribute_name = old
            raise
        self._name = name
        self.stream = fold(name)

    def lock_side(self) -> LocalOpen | None:
        """None: local processes lock no attributes."""
        return None

    def become_unnamed(self, replace: bool) -> File:
        """See the port. It is a copy, because an attribute cannot become a file's data."""
        check_unnamed(self, replace)
        file = open_with(self, b"".join(self._pieces()))
        try:
            self.unlink()
        except NtStatusError:
            file.set_end_of_file(0)
            file.close()
            raise
        return file

    def link(self, target: str, replace: bool) -> None:
        """Refuse: a stream has no links."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def list_directory(self, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
        """Refuse: a stream is no directory."""
        raise NtStatusError(STATUS_NOT_A_DIRECTORY)

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        """Refuse: a stream is no directory."""
        raise NtStatusError(STATUS_NOT_A_DIRECTORY)

    def reparse_point(self) -> tuple[int, bytes]:
        """The reparse point of the file, whose tag `info` shows."""
        self._begin()
        return reparse_points.get(self)

    def set_reparse_point(self, tag: int, data: bytes) -> None:
        """Refuse: a reparse point is set through an open of the file or directory itself (MS-FSCC 2.3.81)."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def delete_reparse_point(self, tag: int) -> None:
        """Refuse, as `set_reparse_point`."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def watch(self, completion_filter: int, tree: bool, later: bool = False) -> Watch:
        """Refuse: a stream is no directory."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def set_sparse(self, sparse: bool) -> None:
        """Accept and ignore: an attribute has no holes."""

    def zero_data(self, offset: int, beyond: int) -> None:
        """See the port."""
        if offset < 0 or beyond < offset:
            raise NtStatusError(STATUS_INVALID_PARAMETER)
        old = self._pieces()
        content = bytearray().join(old)
        end = min(beyond, len(content))
        if offset < end:
            content[offset:end] = bytes(end - offset)
            self._store(old, content)

    def allocated_ranges(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        """See the port: all of the stream is allocated."""
        ranges.check_span(offset, length)
        end = min(offset + length, self.end_of_file())
        return [(offset, end - offset)] if end > offset else []

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        """See the port. Copies through memory, bounded by the size that a stream can have."""
        ranges.check_span(source_offset, length)
        if target_offset + length > self._maximum_size():
            raise NtStatusError(STATUS_FILE_SYSTEM_LIMITATION)
        return self.write(target_offset, source.read(source_offset, length))

    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None:
        """Refuse: an attribute has no extents to share."""
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a stream")

    def compression(self) -> int:
        """COMPRESSION_FORMAT_NONE: an attribute has no extents to compress."""
        return ranges.COMPRESSION_FORMAT_NONE

    def set_compression(self, state: int) -> None:
        """Accept COMPRESSION_FORMAT_NONE only."""
        if state:
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a stream")
