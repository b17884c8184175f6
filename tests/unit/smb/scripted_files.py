# SPDX-License-Identifier: GPL-2.0-or-later
"""The port Files, scripted."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fake_clock import NOW
from playbook import Playbook
from scripted import Scripted

from ksmbd.smb import constants as c
from ksmbd.smb.dfs import Link
from ksmbd.smb.ports import (
    CreateIntent,
    CreateResult,
    DirectoryEntry,
    File,
    FileInfo,
    FileKey,
    Identity,
    LocalOpen,
    QuotaEntry,
    ShareConfig,
    StreamInfo,
    Volume,
    VolumeInfo,
    Watch,
)
from ksmbd.smb.sid import Sid
from ksmbd.smb.waiting import Future


class ScriptedFile(Scripted):
    """One open file. `opened` and `made` are answers of Volume.create."""

    def __init__(
        self, play: Playbook, name: str, key: FileKey = (1, 101), parent: FileKey | None = (1, 100),
        directory: bool = False, stream: str = "", access: int = c.FILE_ALL_ACCESS,
    ) -> None:  # fmt: skip
        super().__init__(play, name)
        self.key = key
        self.stream = stream
        self.path = name.split(":")[0]
        self.is_directory = directory
        self.granted_access = access
        self.stream_name = stream
        self.parent_key = parent
        self.is_snapshot = False
        self.disk_name = self.path.rpartition("\\")[2].encode()
        self.file_system = "tmpfs"
        self.is_closed = False

    def facts(self) -> FileInfo:
        """What it is like, for answers."""
        kind = c.FILE_ATTRIBUTE_DIRECTORY if self.is_directory else c.FILE_ATTRIBUTE_ARCHIVE
        return FileInfo(NOW, NOW, NOW, NOW, 0, 0, kind, 1, self.key[1], is_directory=self.is_directory)

    def opened(self, local: LocalOpen | None = None) -> CreateResult:
        """It was there."""
        return CreateResult(self, c.FILE_OPENED, self.granted_access, self.facts(), local)

    def made(self, local: LocalOpen | None = None) -> CreateResult:
        """It has just been made."""
        return CreateResult(self, c.FILE_CREATED, self.granted_access, self.facts(), local)

    def fileno(self) -> int:
        return -1

    def end_of_file(self) -> int:
        return 0

    def normalized_name(self) -> str:
        return self.path

    def short_name(self) -> str:
        return self._tell(self.short_name)

    def info(self) -> FileInfo:
        return self._tell(self.info)

    def read(self, offset: int, length: int) -> bytes:
        return self._tell(self.read, offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        return self._tell(self.read_into, offset, buffer)

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        return self._tell(self.prefetch, offset, length)

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        return self._tell(self.write, offset, bytes(data), write_through)

    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        self._tell(self.write_from_pipe, offset, pipe, count)

    def finish_writes(self) -> None:
        self._tell(self.finish_writes)

    def flush(self, full: bool = False) -> None:
        self._tell(self.flush, full)

    def duplicate(self) -> File | None:
        return self._tell(self.duplicate)

    def rejoin(self, duplicate: File) -> None:
        self._tell(self.rejoin, duplicate)

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        self._tell(self.overwrite, attributes, supersede, extended_attributes, allocation_size)

    def undo_create(self) -> None:
        self._tell(self.undo_create)

    def close(self) -> None:
        self.is_closed = True
        self._tell(self.close)

    def unlink(self) -> None:
        self._tell(self.unlink)

    def unlink_file(self) -> None:
        self._tell(self.unlink_file)

    def check_delete(self) -> None:
        self._tell(self.check_delete)

    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        self._tell(self.rename, target, replace, posix)

    def folded(self, stream_name: str) -> str:
        return self._tell(self.folded, stream_name)

    def handle(self) -> bytes:
        return self._tell(self.handle)

    def lock_side(self) -> LocalOpen | None:
        return None

    def become_unnamed(self, replace: bool) -> File:
        return self._tell(self.become_unnamed, replace)

    def link(self, target: str, replace: bool) -> None:
        self._tell(self.link, target, replace)

    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        self._tell(self.set_basic, creation, access, write, change, attributes)

    def set_end_of_file(self, size: int) -> None:
        self._tell(self.set_end_of_file, size)

    def set_allocation(self, size: int) -> None:
        self._tell(self.set_allocation, size)

    def security_descriptor(self, information: int) -> bytes:
        return self._tell(self.security_descriptor, information)

    def set_security_descriptor(self, information: int, descriptor: bytes) -> None:
        self._tell(self.set_security_descriptor, information, descriptor)

    def maximal_access(self) -> int:
        return self._tell(self.maximal_access)

    def extended_attributes(self) -> list[tuple[str, int, bytes]]:
        return self._tell(self.extended_attributes)

    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        self._tell(self.set_extended_attributes, attributes)

    def streams(self) -> list[StreamInfo]:
        return self._tell(self.streams)

    def list_directory(self, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
        return self._tell(self.list_directory, matches)

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        return self._tell(self.lookup_entry, name)

    def reparse_point(self) -> tuple[int, bytes]:
        return self._tell(self.reparse_point)

    def set_reparse_point(self, tag: int, data: bytes) -> None:
        self._tell(self.set_reparse_point, tag, data)

    def delete_reparse_point(self, tag: int) -> None:
        self._tell(self.delete_reparse_point, tag)

    def set_sparse(self, sparse: bool) -> None:
        self._tell(self.set_sparse, sparse)

    def zero_data(self, offset: int, beyond: int) -> None:
        self._tell(self.zero_data, offset, beyond)

    def allocated_ranges(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        return self._tell(self.allocated_ranges, offset, length, most)

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        return self._tell(self.copy_range, source, source_offset, target_offset, length)

    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None:
        self._tell(self.clone_range, source, source_offset, target_offset, length)

    def compression(self) -> int:
        return self._tell(self.compression)

    def set_compression(self, state: int) -> None:
        self._tell(self.set_compression, state)

    def object_id(self, create: bool) -> bytes | None:
        return self._tell(self.object_id, create)

    def volume(self) -> Volume:
        return self._tell(self.volume)

    def previous_versions(self) -> list[int]:
        return self._tell(self.previous_versions)

    def volume_info(self) -> VolumeInfo:
        return self._tell(self.volume_info)

    def quota(self, sid: Sid) -> QuotaEntry:
        return self._tell(self.quota, sid)

    def quotas(self, position: int, most: int) -> tuple[list[QuotaEntry], int]:
        return self._tell(self.quotas, position, most)

    def quota_position(self, sid: Sid) -> int:
        return self._tell(self.quota_position, sid)

    def set_quotas(self, entries: Sequence[QuotaEntry]) -> None:
        self._tell(self.set_quotas, entries)

    def watch(self, completion_filter: int, tree: bool, later: bool = False) -> Watch:
        return self._tell(self.watch, completion_filter, tree, later)


class ScriptedLocalOpen(Scripted):
    """An open's descriptor beside those of local processes."""

    kernel_oplocks = True
    posix_locking = False
    writable = True

    def fileno(self) -> int:
        return -1

    def open_data(self, both: bool = False) -> bool:
        return self._tell(self.open_data, both)

    def join(self, other: LocalOpen) -> bool:
        return self._tell(self.join, other)

    def lease(self, kind: int) -> bool:
        return self._tell(self.lease, kind)

    def lease_left(self) -> int:
        return self._tell(self.lease_left)

    def lock(self, kind: int, first: int, last: int) -> bool:
        return self._tell(self.lock, kind, first, last)

    def locked(self, first: int, last: int, write: bool) -> bool:
        return self._tell(self.locked, first, last, write)


class ScriptedWatch(Scripted):
    """Changes of one directory."""

    def next(self, limit: int) -> Future[list[tuple[int, str]] | None]:
        return self._tell(self.next, limit)

    def go_on(self) -> bool:
        return self._tell(self.go_on)

    def close(self) -> None:
        self._tell(self.close)


class ScriptedVolume(Scripted):
    """A share's tree."""

    def __init__(self, play: Playbook, name: str) -> None:
        super().__init__(play, name)
        self.given: list[ScriptedFile] = []
        """What `create` has opened."""

    def create(self, intent: CreateIntent) -> CreateResult:
        result = self._tell(self.create, intent)
        if isinstance(result.file, ScriptedFile):
            self.given.append(result.file)
        return result

    def maximal_access(self) -> int:
        return self._tell(self.maximal_access)

    def dfs_link(self, name: str) -> Link | None:
        return self._tell(self.dfs_link, name)

    def close(self) -> None:
        self._tell(self.close)


class ScriptedFiles(Scripted):
    """The file system room."""

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> Volume:
        return self._tell(self.volume, share, identity, read_only)
