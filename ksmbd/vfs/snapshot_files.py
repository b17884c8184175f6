# SPDX-License-Identifier: GPL-2.0-or-later
"""Files and streams of a snapshot: as the live ones, but nothing about them can be changed.

They may be opened for writing, as on Windows. Each method of the port that changes something raises
STATUS_MEDIA_WRITE_PROTECTED, and `rename` STATUS_NOT_SAME_DEVICE. Their descriptors cannot write. Their keys in the
open table differ from those of the live files, even where a snapshot is made of hard links, so that the live file can
be restored while its old version is open.

Both classes list all methods that they refuse: mypyc compiles no class that takes methods from a second base class
before those of the first. A test calls every method of the port, so that none is forgotten."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from ksmbd.overriding import override
from ksmbd.smb.ports import File, QuotaEntry
from ksmbd.smb.status import STATUS_MEDIA_WRITE_PROTECTED, STATUS_NOT_SAME_DEVICE, NtStatusError
from ksmbd.vfs import duplicate as duplicates
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.streams import LocalStream

_APART: Final = 1 << 62
"""A bit that no device number has."""


def _refuse() -> NoReturn:
    raise NtStatusError(STATUS_MEDIA_WRITE_PROTECTED, "a snapshot")


def set_apart(file: LocalEntry) -> None:
    """Give an open of a snapshot its own key in the open table."""
    device, inode = file.key
    file.key = (device ^ _APART ^ (file.place.snapshot // 10_000_000 & 0x3FFFFFFF) << 32, inode)


class SnapshotFile(LocalFile):
    """Implements the port File for files and folders of a snapshot."""

    __slots__ = ()

    @override
    def duplicate(self) -> File | None:
        """See the port."""
        made = duplicates.make(self, SnapshotFile)
        made.key = self.key
        return made

    @override
    def end_of_file(self) -> int:
        """See the port. It takes no descriptor of the data, because an open for writing alone has none."""
        return self.stat().size

    @override
    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        """Refused."""
        _refuse()

    @override
    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        """Refused."""
        _refuse()

    @override
    def set_end_of_file(self, size: int) -> None:
        """Refused."""
        _refuse()

    @override
    def set_allocation(self, size: int) -> None:
        """Refused."""
        _refuse()

    @override
    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        """Refused."""
        _refuse()

    @override
    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        """Refused, with STATUS_NOT_SAME_DEVICE."""
        raise NtStatusError(STATUS_NOT_SAME_DEVICE, "a snapshot")

    @override
    def link(self, target: str, replace: bool) -> None:
        """Refused."""
        _refuse()

    @override
    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        """Refused."""
        _refuse()

    @override
    def mark(self, add: int, remove: int) -> None:
        """Refused."""
        _refuse()

    @override
    def set_security_descriptor(self, information: int, descriptor: bytes) -> None:
        """Refused."""
        _refuse()

    @override
    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        """Refused."""
        _refuse()

    @override
    def set_quotas(self, entries: Sequence[QuotaEntry]) -> None:
        """Refused."""
        _refuse()

    @override
    def object_id(self, create: bool) -> bytes | None:
        """See the port, but an object id that the file lacks is not stored."""
        return super().object_id(False)

    @override
    def check_delete(self) -> None:
        """Refused."""
        _refuse()

    @override
    def unlink(self) -> None:
        """Refused."""
        _refuse()

    @override
    def unlink_file(self) -> None:
        """Refused."""
        _refuse()

    @override
    def set_reparse_point(self, tag: int, data: bytes) -> None:
        """Refused."""
        _refuse()

    @override
    def delete_reparse_point(self, tag: int) -> None:
        """Refused."""
        _refuse()

    @override
    def zero_data(self, offset: int, beyond: int) -> None:
        """Refused."""
        _refuse()

    @override
    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        """Refused."""
        _refuse()

    @override
    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None:
        """Refused."""
        _refuse()

    @override
    def set_sparse(self, sparse: bool) -> None:
        """Refused."""
        _refuse()

    @override
    def set_compression(self, state: int) -> None:
        """Refused."""
        _refuse()


class SnapshotStream(LocalStream):
    """Implements the port File for named streams of a snapshot."""

    __slots__ = ()

    @override
    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        """Refused."""
        _refuse()

    @override
    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        """Refused."""
        _refuse()

    @override
    def set_end_of_file(self, size: int) -> None:
        """Refused."""
        _refuse()

    @override
    def set_allocation(self, size: int) -> None:
        """Refused."""
        _refuse()

    @override
    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        """Refused."""
        _refuse()

    @override
    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        """Refused, with STATUS_NOT_SAME_DEVICE."""
        raise NtStatusError(STATUS_NOT_SAME_DEVICE, "a snapshot")

    @override
    def become_unnamed(self, replace: bool) -> File:
        """Refused."""
        _refuse()

    @override
    def link(self, target: str, replace: bool) -> None:
        """Refused."""
        _refuse()

    @override
    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        """Refused."""
        _refuse()

    @override
    def mark(self, add: int, remove: int) -> None:
        """Refused."""
        _refuse()

    @override
    def set_security_descriptor(self, information: int, descriptor: bytes) -> None:
        """Refused."""
        _refuse()

    @override
    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        """Refused."""
        _refuse()

    @override
    def set_quotas(self, entries: Sequence[QuotaEntry]) -> None:
        """Refused."""
        _refuse()

    @override
    def object_id(self, create: bool) -> bytes | None:
        """See the port, but an object id that the file lacks is not stored."""
        return super().object_id(False)

    @override
    def check_delete(self) -> None:
        """Refused."""
        _refuse()

    @override
    def unlink(self) -> None:
        """Refused."""
        _refuse()

    @override
    def unlink_file(self) -> None:
        """Refused."""
        _refuse()

    @override
    def set_reparse_point(self, tag: int, data: bytes) -> None:
        """Refused."""
        _refuse()

    @override
    def delete_reparse_point(self, tag: int) -> None:
        """Refused."""
        _refuse()

    @override
    def zero_data(self, offset: int, beyond: int) -> None:
        """Refused."""
        _refuse()

    @override
    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        """Refused."""
        _refuse()

    @override
    def set_sparse(self, sparse: bool) -> None:
        """Refused."""
        _refuse()
