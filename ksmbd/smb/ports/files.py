# SPDX-License-Identifier: GPL-2.0-or-later
"""Files, the port of the vfs room: a share's Volume, its open Files and their Watches.

A LocalOpen is an open's descriptor beside those of local processes."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ksmbd.smb.ports.auth import Identity
from ksmbd.smb.ports.daemon import ShareConfig
from ksmbd.smb.waiting import Future

FileKey = tuple[int, int]
"""Identifies a file on this machine: (device, inode)."""


@dataclass(slots=True)
class FileInfo:
    """What MS-FSCC's information classes are made of."""

    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    allocation_size: int
    end_of_file: int
    attributes: int
    """FILE_ATTRIBUTE_*, never 0: NORMAL where there is no other."""
    number_of_links: int
    file_id: int
    """Stable 64-bit id (MS-FSCC 2.1.9)."""
    volume_id: int = 0
    ea_size: int = 0
    reparse_tag: int = 0
    is_directory: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0


@dataclass(slots=True)
class DirectoryEntry:
    """One entry of a listing: `info.end_of_file` and the rest as MS-FSCC 2.4 wants them."""

    name: str
    info: FileInfo
    short_name: str = ""


@dataclass(slots=True)
class StreamInfo:
    """One data stream; the default one has the name ''."""

    name: str
    size: int
    allocation_size: int


@dataclass(slots=True)
class VolumeInfo:
    """File-system information (MS-FSCC 2.5)."""

    total_units: int
    available_units: int
    caller_available_units: int
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


@dataclass(slots=True)
class CreateIntent:
    """What CREATE asks of the file system (MS-SMB2 2.2.13, MS-FSA 2.1.5.1)."""

    name: str
    """Path below the share, components joined by `\\`, '' = the share's root; no stream."""
    stream: str
    """Stream name without `:$DATA`, '' = the default data stream."""
    desired_access: int
    """Generic bits mapped, MAXIMUM_ALLOWED kept."""
    disposition: int
    options: int
    attributes: int
    share_read_only: bool = False
    allocation_size: int = 0
    security_descriptor: bytes | None = None
    extended_attributes: Sequence[tuple[str, int, bytes]] = ()
    """(name, flags, value)."""
    posix_mode: int | None = None
    """Set for an open with the POSIX create context: case-sensitive name, this mode for a new file."""
    snapshot: int = 0
    """FILETIME of a previous version (timewarp), 0 = live. A token in the name says so, too."""
    later: bool = False
    """The caller can wait: Volume.create may raise Unfinished."""


class Unfinished(Exception):
    """What was asked for takes long, and a part of it is done: `go_on` does more. Once it is False, ask again."""

    def __init__(self, go_on: Callable[[], bool]) -> None:
        super().__init__("ask again")
        self.go_on = go_on


NO_POSIX_MODE: Final = 0xFFFFFFFF
"""CreateIntent.posix_mode of a client that has none to give a new file: the share's masks say it."""

NO_LEASE, READ_LEASE, WRITE_LEASE = 0, 1, 2
"""Leases of the kernel, the stronger the higher (LocalOpen.lease)."""

UNLOCKED, READ_LOCK, WRITE_LOCK = 0, 1, 2
"""What the kernel knows of a byte (LocalOpen.lock)."""


class LocalOpen(Protocol):
    """An open's descriptor beside those of local processes: the share has `kernel oplocks` or `posix locking`, or
    a local process's lease keeps the file from being opened at once."""

    kernel_oplocks: bool
    posix_locking: bool
    writable: bool
    """Its descriptor can write, or will be able to."""

    def fileno(self) -> int:
        """The descriptor now."""
        ...

    def open_data(self, both: bool = False) -> bool:
        """Open the file's data where only the entry is open yet; with `both` for reading and writing, if the user may.
        False: a local process has a lease, which is being broken now; the caller tries again. Raises NtStatusError."""
        ...

    def join(self, other: LocalOpen) -> bool:
        """Share the other's open file, so that there is but one; False: that one cannot do what this one must."""
        ...

    def lease(self, kind: int) -> bool:
        """Take or change the kernel's lease, one of NO_LEASE, READ_LEASE, WRITE_LEASE. False: refused."""
        ...

    def lease_left(self) -> int:
        """The lease that the kernel leaves: less than what was taken while it is to be broken."""
        ...

    def lock(self, kind: int, first: int, last: int) -> bool:
        """Lock the bytes, one of UNLOCKED, READ_LOCK, WRITE_LOCK. False: a local process has a lock there."""
        ...

    def locked(self, first: int, last: int, write: bool) -> bool:
        """Whether a local process has a lock that forbids reading or writing these bytes."""
        ...


class File(Protocol):
    """One open file, directory or stream. Operations act as the user that opened it; errors are NtStatusError."""

    key: FileKey
    stream: str
    """Folded stream name, '' = default."""

    @property
    def path(self) -> str:
        """Current path below the share, with `\\`, as the disk spells it; follows renames made through this server. Of
        a stream, its file's."""
        ...

    @property
    def stream_name(self) -> str:
        """The stream's name as the disk spells it, '' = default."""
        ...

    @property
    def parent_key(self) -> FileKey | None:
        """The containing directory, for directory leases; None for the share's root."""
        ...

    @property
    def disk_name(self) -> bytes:
        """The name in that directory that it was opened by, as on disk; b"" for the share's root."""
        ...

    is_directory: bool
    granted_access: int

    @property
    def is_snapshot(self) -> bool:
        """It is in a snapshot: nothing of it changes, and its path alone does not lead back to it."""
        ...

    def fileno(self) -> int:
        """The descriptor for zero-copy I/O, or -1 (streams in extended attributes, directories)."""
        ...

    def info(self) -> FileInfo: ...
    def read(self, offset: int, length: int) -> bytes: ...
    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset`; the number of bytes read, 0 at the end of the file."""
        ...

    def end_of_file(self) -> int:
        """Bytes of data."""
        ...

    @property
    def file_system(self) -> str:
        """The kind of file system that the descriptor's file is on, such as `ext4`; '' where it is not known."""
        ...

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        """Reads the range into the page cache where it is not there yet; None: reading it waits for no disk."""
        ...

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int: ...
    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        """Write `count` bytes that are in a pipe. Only where `fileno` is one; an error may leave some in the pipe."""
        ...

    def finish_writes(self) -> None:
        """The open is about to end: `info` shows the time of its last write."""
        ...

    def flush(self, full: bool = False) -> None: ...
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
        """Truncate and replace attributes, streams and EAs as MS-FSA 2.1.5.1.2.1 says, then reserve blocks. What is
        refused leaves the file as it was."""
        ...

    def undo_create(self) -> None:
        """Remove what `Volume.create` made, when the open fails after all."""
        ...

    def close(self) -> None: ...
    def unlink(self) -> None:
        """Delete the file (or stream, or empty directory) this open stands for: of a file the name that the open came
        by, if it still is this file's. STATUS_DIRECTORY_NOT_EMPTY."""
        ...

    def unlink_file(self) -> None:
        """The same for the file, even where the open is of one of its streams."""
        ...

    def check_delete(self) -> None:
        """Raise STATUS_CANNOT_DELETE (read-only) or STATUS_DIRECTORY_NOT_EMPTY where it could not be deleted."""
        ...

    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        """Rename to `target` (path below the share; or `:stream` for a stream)."""
        ...

    def link(self, target: str, replace: bool) -> None: ...
    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        """FileBasicInformation: 0 = unchanged, -1 = no more implicit updates by this open, -2 = again."""
        ...

    def set_end_of_file(self, size: int) -> None: ...
    def set_allocation(self, size: int) -> None: ...
    def security_descriptor(self, information: int) -> bytes:
        """Self-relative SECURITY_DESCRIPTOR (MS-DTYP 2.4.6) of the parts in `information`."""
        ...

    def set_security_descriptor(self, information: int, descriptor: bytes) -> None: ...
    def maximal_access(self) -> int: ...
    def extended_attributes(self) -> list[tuple[str, int, bytes]]: ...
    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None: ...
    def streams(self) -> list[StreamInfo]: ...
    def list_directory(self, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
        """All entries with `.` and `..` first, hidden by veto / hide rules already left out; unsorted, lazy. Only those
        whose name `matches`, where that is given, and then None where there was nothing to show among many."""
        ...

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        """One entry by its exact (case-insensitive) name, so that a pattern without wildcards needs no scan."""
        ...

    def normalized_name(self) -> str: ...
    def reparse_point(self) -> tuple[int, bytes]:
        """(tag, data) or STATUS_NOT_A_REPARSE_POINT."""
        ...

    def set_reparse_point(self, tag: int, data: bytes) -> None: ...
    def delete_reparse_point(self, tag: int) -> None: ...
    def set_sparse(self, sparse: bool) -> None: ...
    def zero_data(self, offset: int, beyond: int) -> None: ...
    def allocated_ranges(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        """(offset, length) of what holds data in this range, in order: the first `most` of them."""
        ...

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int: ...
    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None: ...
    def compression(self) -> int: ...
    def set_compression(self, state: int) -> None: ...
    def object_id(self, create: bool) -> bytes | None:
        """The file's 16 bytes, made and kept with it where it has none and `create` says so; else None."""
        ...

    def volume(self) -> Volume: ...
    def previous_versions(self) -> list[int]:
        """FILETIMEs of the share's snapshots, in the order in which clients are told of them. STATUS_ACCESS_DENIED."""
        ...

    def watch(self, completion_filter: int, tree: bool, later: bool = False) -> Watch:
        """Follow the changes below this directory (MS-FSA 2.1.5.11). With `later` the caller has it `go_on`."""
        ...


class CreateResult(NamedTuple):
    """A file opened, not truncated yet."""

    file: File
    action: int
    """FILE_OPENED or FILE_CREATED. For an existing file under OVERWRITE*/SUPERSEDE the protocol calls
    `file.overwrite` once the open table has agreed."""
    granted_access: int
    info: FileInfo | None = None
    """What `file.info()` says now, but for the size of its EAs; None where it has to be asked."""
    local: LocalOpen | None = None
    """Where local processes count for this open: it goes with OpenRequest.local and then through OpenTable.admit."""
    deletable: bool = False
    """FILE_DELETE_ON_CLOSE is asked for, and `file.check_delete()` is known to refuse nothing."""


class Watch(Protocol):
    """Changes of one directory since the watch began; they queue between requests, bounded."""

    def next(self, limit: int) -> Future[list[tuple[int, str]] | None]:
        """At least one (action, name); None: too many to fit `limit` bytes (STATUS_NOTIFY_ENUM_DIR)."""
        ...

    def go_on(self) -> bool:
        """A step of what is left to be done until all of a tree is watched. False: all of it is."""
        ...

    def close(self) -> None: ...


class Volume(Protocol):
    """One share's tree for one user."""

    def create(self, intent: CreateIntent) -> CreateResult:
        """Resolve and open without truncating. Access is checked here (MS-FSA 2.1.5.1)."""
        ...

    def volume_info(self) -> VolumeInfo: ...
    def maximal_access(self) -> int:
        """Of the root, for TREE_CONNECT's reply."""
        ...

    def close(self) -> None: ...


class Files(Protocol):
    """The file system room."""

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> Volume:
        """The share as `identity` or `force user` sees it; STATUS_BAD_NETWORK_NAME without its folder."""
        ...
