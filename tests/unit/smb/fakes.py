# SPDX-License-Identifier: GPL-2.0-or-later
"""The ports of ksmbd.smb in memory: a file tree, an open table, a daemon, a clock, cryptography that does nothing.

Small and honest: each fake does what its port's docstring says for one process and one user, records the calls that
tests look at (`calls`), and raises what a test puts into `fail` (operation name -> NTSTATUS).
"""
from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.connection import ServerConnection
from ksmbd.smb.connection_state import ConnectionState
from ksmbd.smb.header import HEADER_SIZE, SYNC_HEADER, Header
from ksmbd.smb.model import Open, Server, Session, TreeConnect
from ksmbd.smb.ports import (
    AuthStep,
    BreakKind,
    BreakNotice,
    CloseOutcome,
    CreateIntent,
    CreateResult,
    DirectoryEntry,
    DurableReconnect,
    File,
    FileInfo,
    FileKey,
    Frame,
    Identity,
    LocalOpen,
    LockElement,
    LoginResponse,
    OpenGrant,
    OpenRef,
    OpenRequest,
    PurgedOpen,
    QuotaEntry,
    Reconnected,
    Replaced,
    SessionKeys,
    ShareConfig,
    StreamInfo,
    TreeConnectResult,
    VolumeInfo,
)
from ksmbd.smb.request import Body, Chain, Reply, Request
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.sid import Sid
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future, Task

NOW = 133_500_000_000_000_000


class FakeTimer:
    """One entry of FakeClock's queue."""

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due, self.call, self.cancelled = due, call, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """Time that stands still until `advance`, or goes on by `tick` each time it is looked at."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tick = 0.0
        self.timers: list[FakeTimer] = []

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now

    def filetime(self) -> int:
        return NOW + int((self.now - 1000.0) * 10_000_000)

    def call_later(self, seconds: float, call: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self.now + seconds, call)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, running what falls due in order."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if not timer.cancelled and timer.due <= end]:
            timer = min(due, key=lambda t: t.due)
            self.timers.remove(timer)
            self.now = max(self.now, timer.due)
            timer.call()
        self.now = end


# ------------------------------------------------------------------------------------------------------------ files


@dataclass(eq=False)
class Node:
    """A file or directory of FakeVolume."""

    name: str
    is_directory: bool
    inode: int
    data: bytearray = field(default_factory=bytearray)
    streams: dict[str, bytearray] = field(default_factory=dict)
    eas: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)
    """By the name upper-cased."""
    parent: Node | None = None
    attributes: int = 0
    times: list[int] = field(default_factory=lambda: [NOW + 1, NOW + 2, NOW + 3, NOW + 4])
    """Creation, last access, last write, change."""
    descriptor: bytes = b""
    reparse: tuple[int, bytes] | None = None
    sparse: bool = False
    compression: int = 0
    has_object_id: bool = False
    links: int = 1

    def info(self, stream: str = "") -> FileInfo:
        """As the file system would report it, in clusters of 4096."""
        size = 0 if self.is_directory and not stream else len(self.streams[stream] if stream else self.data)
        attributes = self.attributes | (c.FILE_ATTRIBUTE_DIRECTORY if self.is_directory else 0)
        attributes |= c.FILE_ATTRIBUTE_SPARSE_FILE if self.sparse else 0
        attributes |= c.FILE_ATTRIBUTE_REPARSE_POINT if self.reparse else 0
        creation, access, write, change = self.times
        return FileInfo(
            creation, access, write, change, -(-size // 4096) * 4096, size, attributes or c.FILE_ATTRIBUTE_NORMAL,
            self.links, self.inode, 0x1122334455667788, sum(len(n) + len(v) + 5 for n, (_, v) in self.eas.items()),
            self.reparse[0] if self.reparse else 0, self.is_directory, 1000, 1001,
            0o755 if self.is_directory else 0o644,
        )  # fmt: skip

    @property
    def path(self) -> str:
        if self.parent is None:
            return ""
        above = self.parent.path
        return f"{above}\\{self.name}" if above else self.name


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

    def close(self) -> None:
        self.closed = True


class FakeFiles:
    """One FakeVolume for every share."""

    def __init__(self, volume: FakeVolume | None = None) -> None:
        self.tree = volume or FakeVolume()

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> FakeVolume:
        return self.tree


# ------------------------------------------------------------------------------------------------------- open table


class FakeTable:
    """Grants everything; `calls` records, `fail` refuses by method name, `wait` makes a method's Future pend."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fail: dict[str, int] = {}
        self.wait: dict[str, Future[Any]] = {}
        self.opens: dict[OpenRef, OpenRequest] = {}
        self.pending_delete: set[FileKey] = set()
        self.locks: list[tuple[OpenRef, LockElement]] = []
        self.keep_on_disconnect = False
        self.outcome: CloseOutcome | None = None
        """What `close` answers, whatever the table holds."""
        self.reclaim: Callable[[DurableReconnect], Reconnected] | None = None
        """What `reconnect` gives back; without it there is nothing."""
        self.kept_elsewhere: OpenRequest | None = None
        """What `find_kept` finds, whatever can be reclaimed."""
        self.kept: dict[OpenRef, Any] = {}
        self.replays: dict[tuple[bytes, bytes], OpenRef] = {}
        self.on_break: Callable[[BreakNotice], bool] = lambda notice: False
        self.on_purge: Callable[[PurgedOpen], None] = lambda purged: None
        self.on_delete_pending: Callable[[FileKey], None] = lambda directory: None

    def _do(self, name: str, result: Any, *arguments: Any) -> Future[Any]:
        self.calls.append((name, *arguments))
        if name in self.fail:
            return Future.failed(NtStatusError(self.fail[name]))
        return self.wait.get(name) or Future.of(result)

    def open(self, request: OpenRequest) -> Future[OpenGrant]:
        if "open" not in self.fail:
            self.opens[request.ref] = request
        return self._do("open", OpenGrant(request.oplock_level if request.oplock_level != 0xFF else 0), request)

    def hold(self, open_: Open) -> None:
        """Enter an open that no CREATE has made (Bench.open)."""
        assert open_.ref is not None and open_.file is not None
        self.opens[open_.ref] = OpenRequest(
            open_.ref, b"G" * 16, session_id=1, owner="alice", share="share", path=open_.file.path,
            is_directory=open_.file.is_directory, created=False, granted_access=open_.granted_access, share_access=7,
            disposition=c.FILE_OPEN, options=0, oplock_level=0,
        )  # fmt: skip

    def admit(self, ref: OpenRef, local: LocalOpen, grant: OpenGrant) -> OpenGrant | None:
        self.calls.append(("admit", ref, local, grant))
        if "admit" in self.fail:
            raise NtStatusError(self.fail["admit"])
        return grant if local.open_data() else None

    def readmit(self, ref: OpenRef, local: LocalOpen) -> None:
        self.calls.append(("readmit", ref, local))
        if not local.open_data():
            raise NtStatusError(s.STATUS_FILE_NOT_AVAILABLE)

    def close(self, ref: OpenRef) -> CloseOutcome:
        self.calls.append(("close", ref))
        if "close" in self.fail:
            raise NtStatusError(self.fail["close"])
        if self.outcome is not None:
            return self.outcome
        self.opens.pop(ref, None)
        self.locks = [held for held in self.locks if held[0] != ref]
        last = not any(other.file == ref.file for other in self.opens)
        return CloseOutcome(last and ref.file in self.pending_delete)

    def delete_pending(self, file: FileKey) -> bool:
        return file in self.pending_delete

    def link_deleted(self, ref: OpenRef) -> bool:
        return ref.file in self.pending_delete

    def set_delete_on_close(self, ref: OpenRef, delete: bool, posix: bool = False) -> Future[None]:
        if "set_delete_on_close" not in self.fail:
            (self.pending_delete.add if delete else self.pending_delete.discard)(ref.file)
        return self._do("set_delete_on_close", None, ref, delete, *(("posix",) if posix else ()))

    def check_rename(self, ref: OpenRef, target: Replaced | None, posix: bool = False) -> Future[None]:
        return self._do("check_rename", None, ref, target, *(("posix",) if posix else ()))

    def check_replace(self, target: Replaced, posix: bool = False) -> Future[None]:
        return self._do("check_replace", None, target)

    def renamed(self, ref: OpenRef, path: str, parent: FileKey | None, name: bytes) -> None:
        self.calls.append(("renamed", ref, path, parent, name))

    def open_paths_below(self, file: FileKey) -> bool:
        return False

    def break_caching(self, ref: OpenRef, kind: BreakKind) -> Future[None]:
        return self._do("break_caching", None, ref, kind)

    def directory_changed(self, directory: FileKey, parent_lease_key: bytes, client_guid: bytes) -> None:
        self.calls.append(("directory_changed", directory, parent_lease_key, client_guid))

    def acknowledge_oplock(self, ref: OpenRef, level: int) -> int:
        self.calls.append(("acknowledge_oplock", ref, level))
        if "acknowledge_oplock" in self.fail:
            raise NtStatusError(self.fail["acknowledge_oplock"])
        return level

    def acknowledge_lease(self, client_guid: bytes, key: bytes, state: int) -> int:
        self.calls.append(("acknowledge_lease", client_guid, key, state))
        if "acknowledge_lease" in self.fail:
            raise NtStatusError(self.fail["acknowledge_lease"])
        return state

    def lock(self, ref: OpenRef, elements: Sequence[LockElement], wait: bool) -> Future[None]:
        if "lock" not in self.fail and "lock" not in self.wait:
            self.locks.extend((ref, element) for element in elements)
        return self._do("lock", None, ref, tuple(elements), wait)

    def unlock(self, ref: OpenRef, elements: Sequence[LockElement]) -> None:
        self.calls.append(("unlock", ref, tuple(elements)))
        for element in elements:
            held = [lock for lock in self.locks if lock[0] == ref and lock[1].offset == element.offset]
            if not held:
                raise NtStatusError(s.STATUS_RANGE_NOT_LOCKED)
            self.locks.remove(held[0])

    def check_io(self, ref: OpenRef, offset: int, length: int, write: bool) -> None:
        self.calls.append(("check_io", ref, offset, length, write))
        for holder, lock in self.locks:
            overlap = lock.offset < offset + length and offset < lock.offset + lock.length
            foreign = holder != ref and (write or lock.exclusive)
            if overlap and (foreign or (holder == ref and write and not lock.exclusive)):
                raise NtStatusError(s.STATUS_FILE_LOCK_CONFLICT)

    def make_resilient(self, ref: OpenRef, timeout: int) -> None:
        self.calls.append(("make_resilient", ref, timeout))

    def keep(self, ref: OpenRef, handle: Any) -> None:
        self.kept[ref] = handle

    def disconnect(self, ref: OpenRef) -> bool:
        self.calls.append(("disconnect", ref))
        return self.keep_on_disconnect

    def reconnect(self, request: DurableReconnect) -> Reconnected:
        self.calls.append(("reconnect", request))
        if self.reclaim is None:
            raise NtStatusError(s.STATUS_OBJECT_NAME_NOT_FOUND)
        return self.reclaim(request)

    def find_kept(self, request: DurableReconnect) -> OpenRequest | None:
        if self.kept_elsewhere is not None:
            return self.kept_elsewhere
        found = self.reconnect(request)
        return found.request if found.handle is None else None

    def find_replay(self, client_guid: bytes, create_guid: bytes) -> OpenRef | None:
        return self.replays.get((client_guid, create_guid))


# ----------------------------------------------------------------------------------------------------------- daemon


class FakeDaemon:
    """Mountd with accounts, shares and one echoing pipe."""

    def __init__(self) -> None:
        self.accounts: dict[str, LoginResponse] = {}
        self.shares: dict[str, ShareConfig] = {}
        self.tree_result = TreeConnectResult(writable=True)
        self.pipe_reply = b""
        """What an RPC request is answered with; empty: the request itself."""
        self.calls: list[tuple[Any, ...]] = []
        self.fail: dict[str, int] = {}
        self._unread: dict[int, bytes] = {}

    def _do(self, name: str, result: Any, *arguments: Any) -> Future[Any]:
        self.calls.append((name, *arguments))
        if name in self.fail:
            return Future.failed(NtStatusError(self.fail[name]))
        return Future.of(result)

    def login(self, account: str) -> Future[LoginResponse]:
        return self._do("login", self.accounts.get(account) or LoginResponse(account, bytes(16), 0, 0), account)

    def logout(self, account: str, failed: bool) -> None:
        self.calls.append(("logout", account, failed))

    def share_config(self, name: str) -> Future[ShareConfig | None]:
        return self._do("share_config", self.shares.get(name.upper()), name)

    def tree_connect(
        self, session_id: int, connect_id: int, account: str, is_guest: bool, share: str, peer: str
    ) -> Future[TreeConnectResult]:
        return self._do("tree_connect", self.tree_result, session_id, connect_id, account, is_guest, share, peer)

    def check_tree_connect(self, account: str, is_guest: bool, share: str, peer: str) -> Future[TreeConnectResult]:
        return self._do("check_tree_connect", self.tree_result, account, is_guest, share, peer)

    def tree_disconnect(self, session_id: int, connect_id: int) -> None:
        self.calls.append(("tree_disconnect", session_id, connect_id))

    def spnego_authen(self, blob: bytes) -> Future[tuple[LoginResponse, bytes, bytes] | None]:
        return self._do("spnego_authen", None, blob)

    def rpc_open(self, pipe: str, account: str, restricted: bool) -> Future[int]:
        if pipe not in ("srvsvc", "wkssvc", "samr", "lsarpc"):
            return Future.failed(NtStatusError(s.STATUS_OBJECT_NAME_NOT_FOUND))
        return self._do("rpc_open", 77, pipe, account, restricted)

    def rpc_write(self, handle: int, data: bytes) -> Future[None]:
        self._unread[handle] = self.pipe_reply or bytes(data)
        return self._do("rpc_write", None, handle, bytes(data))

    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        data = self._unread.get(handle, b"")
        self._unread[handle] = data[size:]
        return self._do("rpc_read", (data[:size], len(data) > size), handle, size)

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        return self._do("rpc_peek", (self._unread.get(handle, b""), False), handle)

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        self._unread[handle] = self.pipe_reply or bytes(data)
        self.calls.append(("rpc_transceive", handle, bytes(data), size))
        if "rpc_transceive" in self.fail:
            return Future.failed(NtStatusError(self.fail["rpc_transceive"]))
        answer = self._unread[handle]
        self._unread[handle] = answer[size:]
        return Future.of((answer[:size], len(answer) > size))

    def rpc_close(self, handle: int) -> None:
        self.calls.append(("rpc_close", handle))


# --------------------------------------------------------------------------------------------------------- security


class FakeSigner:
    """The "signature" is the sum of the message's other bytes."""

    slow = False

    def __init__(self, key: bytes) -> None:
        self.key = key

    def _sum(self, message: memoryview) -> bytes:
        return (sum(message[:48]) + sum(message[64:]) + sum(self.key)).to_bytes(16, "little")

    def sign(self, message: memoryview) -> None:
        message[48:64] = self._sum(message)

    def verify(self, message: memoryview) -> bool:
        return bytes(message[48:64]) == self._sum(message)


class FakeSealer:
    """A transform header without cipher: the payload stays readable."""

    slow = False

    def seal(self, frame: bytearray, start: int, session_id: int) -> None:
        size = (len(frame) - start).to_bytes(4, "little")
        frame[start - 52 : start] = b"\xfdSMB" + bytes(32) + size + b"\0\0\1\0" + session_id.to_bytes(8, "little")

    def open(self, frame: memoryview) -> memoryview:
        return frame[52:]


class FakeAuthenticator:
    """Two rounds; the second names the account."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.rounds = 0

    def step(self, token: bytes) -> Future[AuthStep]:
        self.rounds += 1
        if token in (b"bad", b"too often"):
            return Future.failed((NtStatusError if token == b"bad" else s.LogonThrottled)(s.STATUS_LOGON_FAILURE))
        return Future.of(AuthStep(b"challenge") if self.rounds == 1 else AuthStep(b"done", self.identity))


class FakeSecurity:
    """Cryptography that can be predicted."""

    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity or Identity("alice", "WORKGROUP", 1000, 1000, (), b"K" * 16)

    def negotiate_token(self) -> bytes:
        return b"NegTokenInit2"

    def authenticator(self, daemon: Any) -> FakeAuthenticator:
        return FakeAuthenticator(self.identity)

    def derive_keys(self, dialect: int, session_key: bytes, preauth_hash: bytes, cipher: int) -> SessionKeys:
        return SessionKeys(*(bytes([number]) * 16 for number in (1, 2, 3, 4)))

    def signer(self, algorithm: int, key: bytes) -> FakeSigner:
        return FakeSigner(key)

    def sealer(self, cipher: int, encryption_key: bytes, decryption_key: bytes) -> FakeSealer:
        return FakeSealer()

    def random(self, size: int) -> bytes:
        return bytes(range(size))


# -------------------------------------------------------------------------------------------------------- transport


class FakeTransport:
    """Collects what is sent, whole messages without their length. The client confirms it at once.

    `closed` is the reason once the core ended the connection."""

    def __init__(self, peer: str = "192.0.2.7", local: str = "192.0.2.1") -> None:
        self.peer, self.local = peer, local
        self.frames: list[bytes] = []
        self.size = 0
        self.closed: str | None = None

    def send(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.span is not None:
            data += frame.span.file.read(frame.span.offset, frame.span.length)
        self.size += len(data)
        self.take(data)

    def take(self, data: bytes) -> None:
        """What has left."""
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        self.frames.append(data[4:])

    def close(self, reason: str) -> None:
        self.closed = reason

    def room(self) -> Future[None] | None:
        return None

    def delivery_mark(self) -> int:
        return self.size

    def delivery_seconds(self) -> float:
        return 1.0

    def confirmed(self) -> int:
        return self.size

    def delivered(self, mark: int) -> bool:
        return mark <= self.size and self.closed is None


# -------------------------------------------------------------------------------- which fakes stand behind the ports


def file_of(open_: Open) -> FakeFile:
    """The fake behind an open's File."""
    assert isinstance(open_.file, FakeFile)
    return open_.file


def volume_of(server: Server) -> FakeVolume:
    """The fake behind a server's Files."""
    assert isinstance(server.files, FakeFiles)
    return server.files.tree


def clock_of(server: Server) -> FakeClock:
    """The fake behind a server's Clock."""
    assert isinstance(server.clock, FakeClock)
    return server.clock


def table_of(server: Server) -> FakeTable:
    """The fake behind a server's OpenTable."""
    assert isinstance(server.table, FakeTable)
    return server.table


def security_of(server: Server) -> FakeSecurity:
    """The fake behind a server's Security."""
    assert isinstance(server.security, FakeSecurity)
    return server.security


# ---------------------------------------------------------------------------------------- a session ready for commands


class Bench:
    """A server with one session, a disk share and IPC$, to call a command module's `handle` on.

    `connection` has negotiated, and nothing has come on it."""

    def __init__(self, dialect: int = c.DIALECT_311, settings: ServerSettings | None = None) -> None:
        self.clock, self.volume, self.table, self.daemon = FakeClock(), FakeVolume(), FakeTable(), FakeDaemon()
        self.security = FakeSecurity()
        settings = settings or ServerSettings(max_transact=4 << 20)
        self.server = Server(
            settings, self.security, FakeFiles(self.volume), self.table, self.daemon, self.clock
        )
        self.transport = FakeTransport("192.0.2.9", "192.0.2.7")
        """Its frames: what was sent outside of replies."""
        self.connection = connection = ServerConnection(self.server, self.transport)
        connection.state = ConnectionState.NEGOTIATED
        connection.client_guid = b"G" * 16
        connection.client_capabilities = 0x7F
        connection.client_security_mode = 1
        connection.client_dialects = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
        connection.dialect = dialect
        connection.server_capabilities = 0x44
        connection.server_security_mode = 1
        connection.supports_multi_credit = dialect != c.DIALECT_202
        connection.posix = dialect == c.DIALECT_311
        self.session = Session(1, self.server, dialect, b"G" * 16, SessionState.VALID, self.security.identity)
        share = ShareConfig("share", "/srv", oplocks=False, streams_xattr=True)
        pipes = ShareConfig("IPC$", "", is_pipe=True, oplocks=False)
        self.tree = TreeConnect(1, self.session, share, self.volume, c.FILE_ALL_ACCESS)
        self.ipc = TreeConnect(2, self.session, pipes, None, c.FILE_ALL_ACCESS)
        self.session.tree_connects = {1: self.tree, 2: self.ipc}
        self._message_id = 0

    def open(self, path: str = "", access: int = c.FILE_ALL_ACCESS, stream: str = "", options: int = 0) -> Open:
        """An Open of what is at `path`, in all tables."""
        node = self.volume.find(path)
        assert node is not None, path
        file = FakeFile(self.volume, node, access, stream)
        return self._register(self.tree, file, access, options, OpenRef(file.key, stream, self.server.new_id()))

    def open_pipe(self, name: str = "srvsvc", access: int = c.FILE_ALL_ACCESS) -> Open:
        """An Open on IPC$."""
        open_ = self._register(self.ipc, None, access, 0, None)
        open_.pipe_handle, open_.pipe_name = 77, name
        self.session.pipes += 1
        return open_

    def _register(
        self, tree: TreeConnect, file: FakeFile | None, access: int, options: int, ref: OpenRef | None
    ) -> Open:
        number = ref.open_id if ref else self.server.new_id()
        open_ = Open(number, number, self.session, tree, self.connection, file, access, options, ref=ref)
        self.session.opens[number] = self.server.opens[number] = open_
        return open_

    def request(self, command: int, body: bytes, tree: TreeConnect | None = None, charge: int = 1) -> Request:
        """A Request with `body` after a header of `command`."""
        self._message_id += 1
        tree = tree or self.tree
        raw = SYNC_HEADER.pack(
            b"\xfeSMB", HEADER_SIZE, charge, 0, command, 1, 0, 0, self._message_id, 0, tree.tree_id, 1, bytes(16)
        )
        message = memoryview(raw + body)
        request = Request(self.connection, Header(message), message, Chain(1))
        request.session_, request.tree_ = self.session, tree
        return request

    def run(self, handle: Callable[[Request], Any], request: Request) -> Reply:
        """`handle`'s Reply; a coroutine must end without waiting."""
        result = handle(request)
        if isinstance(result, Reply):
            return result
        task = started(result)
        assert task.done, "the command waits"
        return task.result()


def is_done(task: Task[Reply]) -> bool:
    """Whether it has ended by now: for a test that asks before and after (mypy takes an attribute's value to stay)."""
    return task.done


def started(result: Reply | Coroutine[Any, Any, Reply]) -> Task[Reply]:
    """The Task of a command that may wait, up to its first wait."""
    assert not isinstance(result, Reply), "the command has not waited"
    return Task(result).start()


def body_of(reply: Reply) -> bytes:
    """The reply's body as bytes."""
    return bytes(reply.body.data if isinstance(reply.body, Body) else reply.body)
