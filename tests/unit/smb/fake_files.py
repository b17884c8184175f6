# SPDX-License-Identifier: GPL-2.0-or-later
"""The port Files in memory: a tree of files. `calls` records what a test looks at, and `fail` holds what is to fail."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fake_clock import NOW
from fake_node import Node

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
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
    VolumeInfo,
)
from ksmbd.smb.sid import Sid
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future


class FakeFile:
    """An open Node. `calls` lists the changing operations; `fail` makes an operation raise."""

    def __init__(
        self, volume: FakeVolume, node: Node, granted_access: int = c.FILE_ALL_ACCESS, stream: str = ""
    ) -> None:
        self.node = node
        self._volume = volume
        self.key: FileKey = (1, node.inode)
        self.stream = stream
        self.is_directory = node.is_directory and not stream
        self.granted_access = granted_access
        self.calls: list[tuple[Any, ...]] = []
        self.fail: dict[str, int] = dict(volume.fail_files)
        self.closed = False
        self.descriptor = -1
        self.side: LocalOpen | None = None

    def _do(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name in self.fail:
            raise NtStatusError(self.fail[name])

    @property
    def path(self) -> str:
        return self.node.path

    @property
    def stream_name(self) -> str:
        return self.stream

    def folded(self, stream_name: str) -> str:
        return stream_name

    @property
    def disk_name(self) -> bytes:
        return self.path.rpartition("\\")[2].encode()

    @property
    def parent_key(self) -> FileKey | None:
        return (1, self.node.parent.inode) if self.node.parent is not None else None

    @property
    def _data(self) -> bytearray:
        return self.node.streams[self.stream] if self.stream else self.node.data

    def fileno(self) -> int:
        return self.descriptor

    def finish_writes(self) -> None:
        self._do("finish_writes")

    def info(self) -> FileInfo:
        if "info" in self.fail:
            raise NtStatusError(self.fail["info"])
        return self.node.info(self.stream)

    def end_of_file(self) -> int:
        return len(self._data)

    @property
    def file_system(self) -> str:
        return "tmpfs"

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        return None

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._data[offset : offset + length])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        data = self.read(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        self._do("write", offset, bytes(data), write_through)
        target = self._data
        if len(target) < offset:
            target.extend(bytes(offset - len(target)))
        target[offset : offset + len(data)] = data
        return len(data)

    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        while count:
            data = os.read(pipe, count)
            assert data, "the pipe has ended"
            offset += self.write(offset, data)
            count -= len(data)

    def flush(self, full: bool = False) -> None:
        self._do("flush", full)

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        self._do("overwrite", attributes, supersede, tuple(extended_attributes))
        self._data.clear()

    def undo_create(self) -> None:
        self._do("undo_create")
        self._remove()

    def close(self) -> None:
        self.closed = True

    def unlink(self) -> None:
        self._do("unlink")
        self.check_delete()
        self._remove()

    def unlink_file(self) -> None:
        self._do("unlink_file")
        assert self.node.parent is not None
        del self.node.parent.children[self.node.name.upper()]

    def _remove(self) -> None:
        if self.stream:
            del self.node.streams[self.stream]
        elif self.node.parent is not None:
            del self.node.parent.children[self.node.name.upper()]

    def check_delete(self) -> None:
        if "check_delete" in self.fail:
            raise NtStatusError(self.fail["check_delete"])
        if self.is_directory and self.node.children:
            raise NtStatusError(s.STATUS_DIRECTORY_NOT_EMPTY)
        if self.node.attributes & c.FILE_ATTRIBUTE_READONLY:
            raise NtStatusError(s.STATUS_CANNOT_DELETE)

    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        self._do("rename", target, replace, posix)
        if target.startswith(":"):
            return
        parent, name = self._volume.resolve_parent(target)
        existing = parent.children.get(name.upper())
        if existing is not None and existing is not self.node and not replace:
            raise NtStatusError(s.STATUS_OBJECT_NAME_COLLISION)
        self._remove()
        self.node.name, self.node.parent = name, parent
        parent.children[name.upper()] = self.node

    def handle(self) -> bytes:
        return b""

    def lock_side(self) -> LocalOpen | None:
        side, self.side = self.side, None
        return side

    def become_unnamed(self, replace: bool) -> FakeFile:
        self._do("become_unnamed", replace)
        self.node.data = self.node.streams.pop(self.stream)
        return FakeFile(self._volume, self.node, self.granted_access)

    def link(self, target: str, replace: bool) -> None:
        self._do("link", target, replace)

    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        self._do("set_basic", creation, access, write, change, attributes)
        for index, value in enumerate((creation, access, write, change)):
            if value > 0:
                self.node.times[index] = value
        if attributes:
            self.node.attributes = attributes & ~(c.FILE_ATTRIBUTE_NORMAL | c.FILE_ATTRIBUTE_DIRECTORY)

    def set_end_of_file(self, size: int) -> None:
        self._do("set_end_of_file", size)
        data = self._data
        if size < len(data):
            del data[size:]
        else:
            data.extend(bytes(size - len(data)))

    def set_allocation(self, size: int) -> None:
        self._do("set_allocation", size)

    def security_descriptor(self, information: int) -> bytes:
        self._do("security_descriptor", information)
        return self.node.descriptor

    def set_security_descriptor(self, information: int, descriptor: bytes) -> None:
        self._do("set_security_descriptor", information, descriptor)
        self.node.descriptor = descriptor

    def maximal_access(self) -> int:
        return c.FILE_ALL_ACCESS

    def extended_attributes(self) -> list[tuple[str, int, bytes]]:
        return [(name, flags, value) for name, (flags, value) in self.node.eas.items()]

    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        self._do("set_extended_attributes", tuple(attributes))
        for name, flags, value in attributes:
            self.node.eas.pop(name, None)
            if value:
                self.node.eas[name] = (flags, value)

    def streams(self) -> list[StreamInfo]:
        every = [] if self.node.is_directory else [("", self.node.data)]
        every += list(self.node.streams.items())
        return [StreamInfo(name, len(data), -(-len(data) // 4096) * 4096) for name, data in every]

    def _has_quotas(self) -> dict[int, QuotaEntry]:
        if self._volume.quotas is None:
            raise NtStatusError(s.STATUS_NOT_SUPPORTED)
        return self._volume.quotas

    def quota(self, sid: Sid) -> QuotaEntry:
        return self._has_quotas().get(sid.rid, QuotaEntry(sid, 0, -1, -1))

    def quotas(self, position: int, most: int) -> tuple[list[QuotaEntry], int]:
        left = [rid for rid in sorted(self._has_quotas()) if rid >= position][:most]
        return [self._has_quotas()[rid] for rid in left], left[-1] + 1 if left else position

    def quota_position(self, sid: Sid) -> int:
        return sid.rid

    def set_quotas(self, entries: Sequence[QuotaEntry]) -> None:
        self._has_quotas().update({entry.sid.rid: entry for entry in entries})

    def duplicate(self) -> File | None:
        return None

    def rejoin(self, duplicate: Any) -> None:
        raise AssertionError("there is no duplicate")

    def list_directory(self, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
        self._do("list_directory")
        every = [DirectoryEntry(".", self.node.info()), DirectoryEntry("..", (self.node.parent or self.node).info())]
        every += [DirectoryEntry(child.name, child.info()) for child in self.node.children.values()]
        for entry in every:
            if matches is None or matches(entry.name):
                yield entry
            else:
                yield None

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        self._do("lookup_entry", name)
        child = self.node.children.get(name.upper())
        return None if child is None else DirectoryEntry(child.name, child.info())

    def normalized_name(self) -> str:
        return self.path + (f":{self.stream}" if self.stream else "")

    def short_name(self) -> str:
        return "ALONGN~1.TXT" if " " in self.path else self.path

    def reparse_point(self) -> tuple[int, bytes]:
        if self.node.reparse is None:
            raise NtStatusError(s.STATUS_NOT_A_REPARSE_POINT)
        return self.node.reparse

    def set_reparse_point(self, tag: int, data: bytes) -> None:
        self._do("set_reparse_point", tag, data)
        self.node.reparse = (tag, data)

    def delete_reparse_point(self, tag: int) -> None:
        self._do("delete_reparse_point", tag)
        self.node.reparse = None

    def set_sparse(self, sparse: bool) -> None:
        self._do("set_sparse", sparse)
        self.node.sparse = sparse

    def zero_data(self, offset: int, beyond: int) -> None:
        self._do("zero_data", offset, beyond)
        end = min(beyond, len(self._data))
        if offset < end:
            self._data[offset:end] = bytes(end - offset)

    def allocated_ranges(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        """Runs of clusters that hold something other than zeros."""
        ranges: list[tuple[int, int]] = []
        end = min(offset + length, len(self._data))
        for start in range(offset - offset % 4096, end, 4096):
            if self.node.sparse and not any(self._data[start : start + 4096]):
                continue
            low, high = max(start, offset), min(start + 4096, end)
            if ranges and sum(ranges[-1]) == low:
                ranges[-1] = (ranges[-1][0], high - ranges[-1][0])
            else:
                ranges.append((low, high - low))
        return ranges[:most]

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        self._do("copy_range", source_offset, target_offset, length)
        return self.write(target_offset, source.read(source_offset, length))

    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None:
        self._do("clone_range", source_offset, target_offset, length)
        self.write(target_offset, source.read(source_offset, length))

    def compression(self) -> int:
        return self.node.compression

    def set_compression(self, state: int) -> None:
        self._do("set_compression", state)
        self.node.compression = state

    def object_id(self, create: bool) -> bytes | None:
        if create:
            self.node.has_object_id = True
        return self.node.inode.to_bytes(16, "little") if self.node.has_object_id else None

    def volume(self) -> FakeVolume:
        return self._volume

    def volume_info(self) -> VolumeInfo:
        return self._volume.volume_info()

    @property
    def is_snapshot(self) -> bool:
        return self._volume.is_snapshot

    def previous_versions(self) -> list[int]:
        return self._volume.previous_versions

    def watch(self, completion_filter: int, tree: bool, later: bool = False) -> FakeWatch:
        self._do("watch", completion_filter, tree)
        return FakeWatch()


class FakeWatch:
    """Changes that a test puts in with `change`."""

    def __init__(self) -> None:
        self.queue: list[tuple[int, str]] = []
        self.waiter: Future[list[tuple[int, str]] | None] | None = None
        self.closed = False
        self.steps = 0
        """Directories that are still to be watched."""

    def go_on(self) -> bool:
        self.steps -= 1
        return self.steps >= 0

    def change(self, action: int, name: str) -> None:
        """Something happened in the directory."""
        if self.waiter is not None:
            waiter, self.waiter = self.waiter, None
            waiter.set_result([(action, name)])
        else:
            self.queue.append((action, name))

    def next(self, limit: int) -> Future[list[tuple[int, str]] | None]:
        if self.queue:
            changes, self.queue = self.queue, []
            return Future.of(changes if sum(12 + 2 * len(n) for _, n in changes) <= limit else None)
        self.waiter = Future()
        return self.waiter

    def close(self) -> None:
        self.closed = True


class FakeVolume:
    """A tree of Nodes. `add` makes files and the directories above them."""

    def __init__(self) -> None:
        self._inode = 100
        self.root = self._node("", True)
        self.closed = False
        self.previous_versions: list[int] = []
        self.is_snapshot = False
        self.quotas: dict[int, QuotaEntry] | None = None
        """By RID; None: there are none."""
        self.opened: list[FakeFile] = []
        self.fail_files: dict[str, int] = {}
        """FakeFile.fail of those that are opened from now on."""

    def _node(self, name: str, is_directory: bool) -> Node:
        self._inode += 1
        return Node(name, is_directory, self._inode)

    def resolve_parent(self, path: str) -> tuple[Node, str]:
        """The directory of `path` and its last component; STATUS_OBJECT_PATH_NOT_FOUND."""
        node, parts = self.root, path.split("\\")
        for part in parts[:-1]:
            child = node.children.get(part.upper())
            if child is None or not child.is_directory:
                raise NtStatusError(s.STATUS_OBJECT_PATH_NOT_FOUND)
            node = child
        return node, parts[-1]

    def add(self, path: str, data: bytes | None = b"") -> Node:
        """A file with `data`, or a directory for None."""
        parent, name = self.resolve_parent(path)
        node = self._node(name, data is None)
        node.data.extend(data or b"")
        node.parent = parent
        parent.children[name.upper()] = node
        return node

    def find(self, path: str) -> Node | None:
        """The node at `path`, '' = the root."""
        if not path:
            return self.root
        parent, name = self.resolve_parent(path)
        return parent.children.get(name.upper())

    def create(self, intent: CreateIntent) -> CreateResult:
        node = self.find(intent.name)
        access = intent.desired_access
        if access & c.MAXIMUM_ALLOWED:
            access = access & ~c.MAXIMUM_ALLOWED | c.FILE_ALL_ACCESS
        action = c.FILE_OPENED
        if node is None:
            if intent.disposition in (c.FILE_OPEN, c.FILE_OVERWRITE):
                raise NtStatusError(s.STATUS_OBJECT_NAME_NOT_FOUND)
            node = self.add(intent.name, None if intent.options & c.FILE_DIRECTORY_FILE else b"")
            action = c.FILE_CREATED
        elif intent.disposition == c.FILE_CREATE and not intent.stream:
            raise NtStatusError(s.STATUS_OBJECT_NAME_COLLISION)
        elif intent.options & c.FILE_DIRECTORY_FILE and not node.is_directory:
            raise NtStatusError(s.STATUS_NOT_A_DIRECTORY)
        elif intent.options & c.FILE_NON_DIRECTORY_FILE and node.is_directory:
            raise NtStatusError(s.STATUS_FILE_IS_A_DIRECTORY)
        if intent.stream and intent.stream not in node.streams:
            if intent.disposition in (c.FILE_OPEN, c.FILE_OVERWRITE):
                raise NtStatusError(s.STATUS_OBJECT_NAME_NOT_FOUND)
            node.streams[intent.stream] = bytearray()
            action = c.FILE_CREATED
        file = FakeFile(self, node, access, intent.stream)
        self.opened.append(file)
        return CreateResult(file, action, access)

    def volume_info(self) -> VolumeInfo:
        return VolumeInfo(
            1000, 600, 500, 512, 8, 0xCAFEBABE, "Etikett", "NTFS", NOW, 0x0000004F, 255, bytes(range(16)),
        )  # fmt: skip

    def maximal_access(self) -> int:
        return c.FILE_ALL_ACCESS

    def dfs_link(self, name: str) -> Link | None:
        return None

    def close(self) -> None:
        self.closed = True


class FakeFiles:
    """One FakeVolume for every share."""

    def __init__(self, volume: FakeVolume | None = None) -> None:
        self.tree = volume or FakeVolume()

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> FakeVolume:
        return self.tree
