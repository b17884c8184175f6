# SPDX-License-Identifier: GPL-2.0-or-later
"""Files and streams of a snapshot: as the live ones, but nothing about them can be changed.

They may be opened for writing, as on Windows; what would change them is STATUS_MEDIA_WRITE_PROTECTED, to rename them
STATUS_NOT_SAME_DEVICE. Their descriptors cannot write. In the open table they are not the live file, even where a
snapshot is made of hard links, so that one can be restored while the other is open."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from ksmbd.overriding import override
from ksmbd.smb.ports import File
from ksmbd.smb.status import STATUS_MEDIA_WRITE_PROTECTED, STATUS_NOT_SAME_DEVICE, NtStatusError
from ksmbd.vfs import duplicate as duplicates
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.streams import LocalStream

_APART: Final = 1 << 62
"""What no device's number has."""


def _refuse() -> NoReturn:
    raise NtStatusError(STATUS_MEDIA_WRITE_PROTECTED, "a snapshot")


def set_apart(file: LocalEntry) -> None:
    """Give an open of a snapshot its key in the open table."""
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
        """See the port; also where the data is not open because it was asked for to be written alone."""
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
        """Refused, with another status."""
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
    def object_id(self, create: bool) -> bytes | None:
        """None is made."""
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
        """Refused, with another status."""
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
    def object_id(self, create: bool) -> bytes | None:
        """None is made."""
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
