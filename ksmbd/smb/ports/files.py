# SPDX-License-Identifier: GPL-2.0-or-later
"""Files, the port implemented by ksmbd/vfs: the Volume of a share, its open Files and their Watches."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ksmbd.smb.dfs import Link
from ksmbd.smb.ports.auth import Identity
from ksmbd.smb.ports.daemon import ShareConfig
from ksmbd.smb.ports.file_records import CreateIntent, DirectoryEntry, FileInfo
from ksmbd.smb.ports.local import LocalOpen
from ksmbd.smb.sid import Sid
from ksmbd.smb.waiting import Future

FileKey = tuple[int, int]
"""Identifies a file: (device, inode)."""


@dataclass(slots=True)
class StreamInfo:
    """One data stream; the name of the default one is ''."""

    name: str
    size: int
    allocation_size: int


@dataclass(slots=True)
class VolumeInfo:
    """File-system information (MS-FSCC 2.5)."""

    total_units: int
    """That the user may use: a quota may leave him less than there are."""
    available_units: int
    """Of the file system, whoever asks."""
    caller_available_units: int
    """Of those that the user may use."""
    bytes_per_sector: int
    sectors_per_unit: int
    serial_number: int
    label: str
    file_system_name: str
    creation_time: int
    attributes: int
    """FileSystemAttributes, MS-FSCC 2.5.1."""
    maximum_component_length: int
    object_id: bytes = bytes(16)
    quota_flags: int = 0
    """FileSystemControlFlags, MS-FSCC 2.5.2."""


QUOTA_STREAM: Final = "$Q:$INDEX_ALLOCATION"
"""CreateIntent.stream of the quota file, `$Extend\\$Quota:$Q:$INDEX_ALLOCATION`. No other stream's name has a `:`."""


class QuotaEntry(NamedTuple):
    """The quota of one user (FILE_QUOTA_INFORMATION, MS-FSCC 2.4.41), in bytes."""

    sid: Sid
    used: int
    threshold: int
    """The soft limit, -1: there is none."""
    limit: int
    """-1: there is none."""


class Unfinished(Exception):
    """The operation takes long and has been done in part. The caller calls `go_on` until it returns False, then repeats
    the operation."""

    def __init__(self, go_on: Callable[[], bool]) -> None:
        super().__init__("ask again")
        self.go_on = go_on


NO_POSIX_MODE: Final = 0xFFFFFFFF
"""Value of CreateIntent.posix_mode without a mode for a new file: the masks of the share apply."""


class File(Protocol):
    """One open file, directory or stream. Operations run as the user that opened it. Errors are NtStatusError."""

    key: FileKey
    stream: str
    """The stream name in upper case; '' is the default stream."""

    @property
    def path(self) -> str:
        """The current path below the share, with `\\`, spelt as on disk. It follows renames made through this server.
        For a stream it is that of its file."""
        ...

    @property
    def stream_name(self) -> str:
        """The stream name spelt as on disk; '' is the default stream."""
        ...

    def folded(self, stream_name: str) -> str:
        """The value of `stream` for a stream of this name."""
        ...

    @property
    def parent_key(self) -> FileKey | None:
        """The key of the directory that contains it, for directory leases; None for the root of the share."""
        ...

    @property
    def disk_name(self) -> bytes:
        """The name in this directory that the file was opened by, as on disk; b"" for the root of the share."""
        ...

    is_directory: bool
    granted_access: int

    @property
    def is_snapshot(self) -> bool:
        """Whether it is in a snapshot: it never changes, and its path alone does not identify it."""
        ...

    def fileno(self) -> int:
        """The descriptor for zero-copy I/O, or -1 (streams in extended attributes, directories)."""
        ...

    def info(self) -> FileInfo:
        """The current metadata."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Read at most `length` bytes from `offset`; fewer at the end of the file."""
        ...

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Read into `buffer` from `offset`. Returns the number of bytes, 0 at the end of the file."""
        ...

    def end_of_file(self) -> int:
        """The size of the data in bytes."""
        ...

    @property
    def file_system(self) -> str:
        """The name of the file system, such as `ext4`; '' if it is unknown."""
        ...

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        """Read the range into the page cache in a helper thread. None: it is in the cache already, so reading it waits
        for no disk."""
        ...

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        """Write all of `data` at `offset` and return its length. `write_through`: return after it is on disk."""
        ...

    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        """Write `count` bytes from a pipe. Only if `fileno` is not -1. After an error some may be left in the pipe."""
        ...

    def finish_writes(self) -> None:
        """Make the time of the last write visible in `info`, because the open is about to end."""
        ...

    def flush(self, full: bool = False) -> None:
        """Write cached data and metadata to the disk. `full`: the cache of the drive, too."""
        ...

    def duplicate(self) -> File | None:
        """A copy of this open with a descriptor of its own (dup(2)), for one operation in a helper thread; `rejoin`
        ends it. None: operations on this file are quick and need none. Raises NtStatusError."""
        ...

    def rejoin(self, duplicate: File) -> None:
        """Take over the state that a duplicate has changed, and close it. The caller may do so after `close`."""
        ...

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        """Truncate the file and replace attributes, streams and EAs (MS-FSA 2.1.5.1.2.1), then allocate
        `allocation_size` bytes. If an error is raised, the file is unchanged."""
        ...

    def undo_create(self) -> None:
        """Remove what `Volume.create` has created, because the open fails."""
        ...

    def close(self) -> None:
        """Release it with its descriptors."""
        ...

    def unlink(self) -> None:
        """Delete what this open refers to: a stream, an empty directory, or of a file the name that it was opened by,
        if that is still a name of this file. Raises STATUS_DIRECTORY_NOT_EMPTY."""
        ...

    def unlink_file(self) -> None:
        """`unlink` for the file, even if the open is of one of its streams."""
        ...

    def check_delete(self) -> None:
        """Raise STATUS_CANNOT_DELETE (read-only) or STATUS_DIRECTORY_NOT_EMPTY if it cannot be deleted."""
        ...

    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        """Rename to `target` (path below the share; or `:stream` for a stream that does not become the unnamed one)."""
        ...

    def handle(self) -> bytes:
        """What finds the file again after a restart of the server, and no other file that has its inode number then;
        b"" where its file system has no such thing."""
        ...

    def lock_side(self) -> LocalOpen | None:
        """Before the first byte-range lock of an open: what shares its locks with local processes, for
        OpenTable.share_locks. None later, and where locks are not shared in this way."""
        ...

    def become_unnamed(self, replace: bool) -> File:
        """Rename a named stream to `::$DATA`, with `replace`: the file's unnamed stream, which must be empty, gets its
        data (MS-FSA 2.1.5.15.11.1). Returns the file as it is open now; the caller closes this one."""
        ...

    def link(self, target: str, replace: bool) -> None:
        """Add the name `target` (path below the share) for the same file. `replace`: it may replace another file."""
        ...

    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        """Set times and attributes (FileBasicInformation): 0 = unchanged, -1 = this open no longer updates the time
        implicitly, -2 = it does so again."""
        ...

    def set_end_of_file(self, size: int) -> None:
        """Truncate or extend the file to `size` bytes."""
        ...

    def set_allocation(self, size: int) -> None:
        """Allocate `size` bytes; less than the size of the file truncates it (MS-FSA 2.1.5.15.1)."""
        ...

    def security_descriptor(self, information: int) -> bytes:
        """Self-relative SECURITY_DESCRIPTOR (MS-DTYP 2.4.6) of the parts in `information`."""
        ...

    def set_security_descriptor(self, information: int, descriptor: bytes) -> None:
        """Set the parts in `information` from a self-relative descriptor. Raises STATUS_INVALID_SECURITY_DESCR and
        others."""
        ...

    def maximal_access(self) -> int:
        """All rights that the user has on the file."""
        ...

    def extended_attributes(self) -> list[tuple[str, int, bytes]]:
        """All extended attributes as (name, flags, value)."""
        ...

    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        """Set these extended attributes; an empty value removes one."""
        ...

    def streams(self) -> list[StreamInfo]:
        """The data streams, the default one included."""
        ...

    def list_directory(self, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
        """Iterate over the entries: `.` and `..` first, the others unsorted, without vetoed and hidden ones. Only names
        that `matches` accepts are listed; None is yielded after many entries of which none was listed."""
        ...

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        """The entry with this name, ignoring case, or None, without reading the directory."""
        ...

    def normalized_name(self) -> str:
        """The path below the share with the letter case of the disk (MS-FSCC 2.4.36)."""
        ...

    def short_name(self) -> str:
        """The 8.3 name (MS-FSCC 2.4.5), which may be the file's only one; '' where it has none."""
        ...

    def reparse_point(self) -> tuple[int, bytes]:
        """The (tag, data) of a reparse point. Raises STATUS_NOT_A_REPARSE_POINT."""
        ...

    def set_reparse_point(self, tag: int, data: bytes) -> None:
        """Make the file a reparse point; `data` is what follows the fixed header. Raises
        STATUS_IO_REPARSE_TAG_MISMATCH and others."""
        ...

    def delete_reparse_point(self, tag: int) -> None:
        """Remove the reparse point with this tag. Raises STATUS_IO_REPARSE_TAG_MISMATCH, STATUS_NOT_A_REPARSE_POINT."""
        ...

    def set_sparse(self, sparse: bool) -> None:
        """Set or clear FILE_ATTRIBUTE_SPARSE_FILE."""
        ...

    def zero_data(self, offset: int, beyond: int) -> None:
        """Zero the bytes from `offset` up to, not including, `beyond`."""
        ...

    def allocated_ranges(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        """(offset, length) of allocated ranges within this range, in order, at most `most`."""
        ...

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        """Copy bytes from `source` and return how many were copied, at most `length`, 0 at the end of the source."""
        ...

    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None:
        """Share the blocks of a range of `source`. Raises STATUS_NOT_SUPPORTED where the file system cannot."""
        ...

    def compression(self) -> int:
        """The compression state, 0 for none (MS-FSCC 2.3.18)."""
        ...

    def set_compression(self, state: int) -> None:
        """Set the compression state, as `compression` returns it."""
        ...

    def object_id(self, create: bool) -> bytes | None:
        """The object id of 16 bytes. If there is none, `create` stores a new one, else None is returned."""
        ...

    def volume(self) -> Volume:
        """The Volume that the file was opened through."""
        ...

    def volume_info(self) -> VolumeInfo:
        """The information about the file system that the file is on, which may be mounted below the share's root."""
        ...

    def quota(self, sid: Sid) -> QuotaEntry:
        """The quota of a user on the file system that the file is on; of a SID that is no user, no limits. Raises
        STATUS_NOT_SUPPORTED where there are no quotas, STATUS_ACCESS_DENIED for another user's."""
        ...

    def quotas(self, position: int, most: int) -> tuple[list[QuotaEntry], int]:
        """At most `most` quotas from a position on, 0 for the first, and the position after them; none: those were
        all. Raises what `quota` raises."""
        ...

    def quota_position(self, sid: Sid) -> int:
        """The position of a user's quota for `quotas`. Raises STATUS_NONE_MAPPED."""
        ...

    def set_quotas(self, entries: Sequence[QuotaEntry]) -> None:
        """Set threshold and limit of each. Raises STATUS_NONE_MAPPED for a SID that is no user, and what `quota`
        raises; nothing is changed then."""
        ...

    def previous_versions(self) -> list[int]:
        """FILETIMEs of the snapshots of the share, in the order of the reply. Raises STATUS_ACCESS_DENIED."""
        ...

    def watch(self, completion_filter: int, tree: bool, later: bool = False) -> Watch:
        """Watch the changes below this directory (MS-FSA 2.1.5.11). `later`: the caller completes the set-up by calling
        `go_on`."""
        ...


class CreateResult(NamedTuple):
    """An opened file, not truncated yet."""

    file: File
    action: int
    """FILE_OPENED or FILE_CREATED. If an existing file must be overwritten, the protocol calls `file.overwrite` after
    the open table has granted the open."""
    granted_access: int
    info: FileInfo | None = None
    """The current result of `file.info()`, but for the size of EAs; None if it is unknown."""
    local: LocalOpen | None = None
    """Set if the open must be coordinated with local processes: passed on as OpenRequest.local and to
    OpenTable.admit."""
    deletable: bool = False
    """FILE_DELETE_ON_CLOSE was requested, and `file.check_delete()` is known to succeed."""


class Watch(Protocol):
    """Collects changes of one directory, also between requests, up to a limit."""

    def next(self, limit: int) -> Future[list[tuple[int, str]] | None]:
        """At least one change as (action, name). None: more changes than fit into `limit` bytes
        (STATUS_NOTIFY_ENUM_DIR)."""
        ...

    def go_on(self) -> bool:
        """Do one step of setting up the watches of a tree. False: all directories are watched."""
        ...

    def close(self) -> None:
        """End the watch."""
        ...


class Volume(Protocol):
    """One share's tree for one user."""

    def create(self, intent: CreateIntent) -> CreateResult:
        """Resolve the name and open the file without truncating it. Checks access (MS-FSA 2.1.5.1). Raises
        NtStatusError or Unfinished."""
        ...

    def maximal_access(self) -> int:
        """The rights of the user on the root directory, for the reply to TREE_CONNECT."""
        ...

    def dfs_link(self, name: str) -> Link | None:
        """The first DFS link on the way to a name, of a share that is a DFS root; None: there is none."""
        ...

    def close(self) -> None:
        """Release the descriptors of the volume."""
        ...


class Files(Protocol):
    """Opens volumes."""

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> Volume:
        """The volume of a share for `identity` or `force user`. Raises STATUS_BAD_NETWORK_NAME if its directory is
        missing."""
        ...
