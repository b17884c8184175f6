# SPDX-License-Identifier: GPL-2.0-or-later
"""Named streams in extended attributes, as Samba's streams_xattr keeps them.

user.DosStream.NAME:$DATA holds the data and one NUL byte behind it. A stream is as long as the file system lets an
attribute be (64 KiB less two bytes at most), so offsets and sizes are checked before anything is allocated.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ksmbd.kernel.files import get_attribute
from ksmbd.kernel.stat import Stat
from ksmbd.smb.constants import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL
from ksmbd.smb.ports import DirectoryEntry, File, FileInfo, FileKey, Watch
from ksmbd.smb.status import (
    STATUS_DISK_FULL,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_A_DIRECTORY,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs import ranges
from ksmbd.vfs.attributes import target_of
from ksmbd.vfs.errors import os_errors, to_status
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.names import fold
from ksmbd.vfs.stream_store import MAXIMUM_SIZE, allocation, attribute, check_name, find

if TYPE_CHECKING:
    from ksmbd.vfs.volume import LocalVolume


class LocalStream(LocalFile):
    """One open named stream. `base` calls go to the file it belongs to."""

    __slots__ = ("_attribute_name", "_name", "base_is_directory")

    def __init__(
        self,
        volume: LocalVolume,
        fd: int,
        path_only: bool,
        stat: Stat,
        disk_names: tuple[bytes, ...],
        path: str,
        granted: int,
        entry_key: FileKey,
        posix: bool,
        created: bool,
        name: str,
        attribute_name: bytes,
    ) -> None:
        super().__init__(volume, fd, path_only, stat, disk_names, path, granted, entry_key, posix, created)
        self.base_is_directory = self.is_directory
        self.is_directory = False
        self._name = name
        self.stream = fold(name)
        self._attribute_name = attribute_name

    @property
    def stream_name(self) -> str:
        """See the port."""
        return self._name

    def normalized_name(self) -> str:
        """FileNormalizedNameInformation (MS-FSCC 2.4.36), with the stream."""
        return f"{self.path}:{self._name}"

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
            os.setxattr(target_of(self._begin(), self.path_only), self._attribute_name, bytes(data) + b"\0")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EDQUOT):
                raise NtStatusError(STATUS_DISK_FULL, "longer than an extended attribute can be") from error
            raise to_status(error) from error

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

    def flush(self, full: bool = False) -> None:
        """Attributes are metadata: sync the file where its descriptor can."""
        super().flush(True)

    def set_end_of_file(self, size: int) -> None:
        """See the port."""
        ranges.check_span(size, 0)
        if size > MAXIMUM_SIZE:
            raise NtStatusError(STATUS_DISK_FULL, "longer than an extended attribute can be")
        content = self._load()
        if size != len(content):
            self._store(content[:size] if size < len(content) else content + bytes(size - len(content)))

    def setallocation(self, size: int) -> None:
        """A smaller size truncates."""
        ranges.check_span(size, 0)
        if size < len(self._load()):
            self.set_end_of_file(size)

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]]
    ) -> None:
        """Only the stream is emptied; the base file's attributes stay (MS-FSA 2.1.5.1.2.1 is about the default
        stream)."""
        self._store(b"")

    def check_delete(self) -> None:
        """A stream can go whatever the base file holds; a read-only base file keeps it."""
        self.is_directory, before = False, self.is_directory
        try:
            super().check_delete() if self.names else None
        finally:
            self.is_directory = before

    def unlink(self) -> None:
        """Remove the stream."""
        try:
            os.removexattr(target_of(self._begin(), self.path_only), self._attribute_name)
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
        try:
            self._store(content)
        except NtStatusError:
            self._attribute_name = old
            raise
        with os_errors:
            os.removexattr(target_of(fd, self.path_only), old)
        self._name = name
        self.stream = fold(name)

    def link(self, target: str, replace: bool) -> None:
        """A stream has no links."""
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")

    def list_directory(self) -> Iterator[DirectoryEntry]:
        """A stream is no directory."""
        raise NtStatusError(STATUS_NOT_A_DIRECTORY)

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        """A stream is no directory."""
        raise NtStatusError(STATUS_NOT_A_DIRECTORY)

    def watch(self, completion_filter: int, tree: bool) -> Watch:
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

    def allocated_ranges(self, offset: int, length: int) -> list[tuple[int, int]]:
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

    def set_compression(self, state: int) -> None:
        """No extents to compress."""
        if state:
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a stream")
