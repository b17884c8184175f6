# SPDX-License-Identifier: GPL-2.0-or-later
"""What the protocol needs of the other rooms: Clock, Security (auth), Files (vfs), OpenTable (oplock), Daemon (ipc).

`ksmbd/smb` imports nothing above it; the rooms implement these ports, `ksmbd/process/worker.py` puts them together.
All calls come from one thread. What may take long returns a Future (ksmbd.smb.waiting), completed in that same thread.
Failure towards the client is `NtStatusError`.

Conventions: times are FILETIME integers (100 ns since 1601, MS-DTYP 2.3.3), 0 = not given; sizes, offsets are bytes;
names are `str` decoded from UTF-16 (unpaired surrogates kept), without leading backslash, components joined by `\\`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from ksmbd.smb.waiting import Future

# --------------------------------------------------------------------------------------------------------- clock


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def filetime(self) -> int:
        """Now as FILETIME."""
        ...

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run `call` in the core's thread after `seconds`."""
        ...


# ------------------------------------------------------------------------------------------- auth: who, keys, frames


@dataclass(slots=True)
class Identity:
    """Who a session is: the SMB account and the Unix user whose rights its file operations have."""

    account: str
    domain: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    session_key: bytes = b""
    """Session.SessionKey's source, 16 bytes (or a Kerberos key); empty for anonymous and guest."""
    is_guest: bool = False
    is_anonymous: bool = False
    is_admin: bool = False
    expires: float = 0.0
    """Monotonic seconds at which the credentials end (Kerberos); 0: never."""


@dataclass(slots=True)
class AuthStep:
    """One answer of an Authenticator: the token for the client, and the identity once complete."""

    token: bytes
    identity: Identity | None = None
    """None: STATUS_MORE_PROCESSING_REQUIRED."""


class Authenticator(Protocol):
    """One GSS exchange (SPNEGO, raw NTLMSSP)."""

    def step(self, token: bytes) -> Future[AuthStep]:
        """Feed the client's token. Fails with NtStatusError (LOGON_FAILURE, INVALID_PARAMETER, ...)."""
        ...


@dataclass(slots=True)
class SessionKeys:
    """MS-SMB2 3.3.5.5.3: what is derived from Session.SessionKey (full keys; 16 bytes, or 32 for AES-256)."""

    signing: bytes
    application: bytes
    encryption: bytes
    """Server to client."""
    decryption: bytes
    """Client to server."""


class Signer(Protocol):
    """Signs and verifies with one key and algorithm (MS-SMB2 3.1.4.1). Keeps its cipher object."""

    slow: bool
    """It takes about a millisecond a MiB, and lets other threads work meanwhile."""

    def sign(self, message: memoryview) -> None:
        """Write the signature of a whole message (header first, SIGNED flag set already) into bytes 48..64."""
        ...

    def verify(self, message: memoryview) -> bool:
        """Whether bytes 48..64 sign the message; constant time. The message is left as it was."""
        ...


class Sealer(Protocol):
    """Encrypts and decrypts for one session (MS-SMB2 3.1.4.3, 3.3.5.2.1.1). Nonces never repeat."""

    slow: bool
    """As Signer.slow."""

    def seal(self, frame: bytearray, start: int, session_id: int) -> None:
        """Encrypt frame[start:] in place and write the transform header into frame[start-52:start]."""
        ...

    def open(self, frame: memoryview) -> memoryview:
        """The message in a transform frame (header first); decrypts in place where `frame` is writable.

        Raises ConnectionFatal where the tag does not fit."""
        ...


class Security(Protocol):
    """Makes what the core needs of cryptography."""

    def negotiate_token(self) -> bytes:
        """The NegTokenInit2 of the NEGOTIATE response (MS-SPNG 2.2.1)."""
        ...

    def authenticator(self, daemon: Daemon) -> Authenticator:
        """A new exchange; accounts come from `daemon`."""
        ...

    def derive_keys(self, dialect: int, session_key: bytes, preauth_hash: bytes, cipher: int) -> SessionKeys:
        """MS-SMB2 3.1.4.2; for 2.x the signing key is the session key itself."""
        ...

    def signer(self, algorithm: int, key: bytes) -> Signer:
        """`algorithm` is SIGNING_HMAC_SHA256, SIGNING_AES_CMAC or SIGNING_AES_GMAC."""
        ...

    def sealer(self, cipher: int, encryption_key: bytes, decryption_key: bytes) -> Sealer:
        """`cipher` is one of MS-SMB2 2.2.3.1.2; the keys as in SessionKeys."""
        ...

    def random(self, size: int) -> bytes:
        """Unpredictable bytes."""
        ...


# ------------------------------------------------------------------------------------------------- ipc: the daemon


@dataclass(slots=True)
class LoginResponse:
    """What mountd says of an account (LOGIN_RESPONSE and LOGIN_RESPONSE_EXT)."""

    status: int
    """KSMBD_USER_FLAG bits: OK 1, BAD_PASSWORD 2, BAD_UID 4, BAD_USER 8, GUEST_ACCOUNT 16, DELAY_SESSION 32."""
    account: str
    nt_hash: bytes
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(slots=True)
class ShareConfig:
    """One share as mountd describes it (SHARE_CONFIG_RESPONSE and our own attributes)."""

    name: str
    path: str
    flags: int
    """KSMBD_SHARE_FLAG bits, see ksmbd.ipc.messages."""
    create_mask: int = 0o744
    directory_mask: int = 0o755
    force_create_mode: int = 0
    force_directory_mode: int = 0
    force_uid: int | None = None
    force_gid: int | None = None
    veto_files: tuple[str, ...] = ()
    comment: str = ""
    is_pipe: bool = False
    encrypt: bool = False
    """`smb3 encryption = mandatory` on the share: TREE_CONNECT answers SHAREFLAG_ENCRYPT_DATA."""
    options: dict[str, str] = field(default_factory=dict)
    """Further share parameters by their name in ksmbd.conf: `change notify`, `kernel oplocks`, ..."""


@dataclass(slots=True)
class TreeConnectResult:
    """Mountd's answer to TREE_CONNECT."""

    status: int
    """KSMBD_TREE_CONN_STATUS: 0 OK, 1 NOMEM, 2 NO_SHARE, 3 NO_USER, 4 INVALID_USER, 5 HOST_DENIED, 6 CONN_EXIST,
    7 TOO_MANY_CONNS, 8 TOO_MANY_SESSIONS, 9 ERROR."""
    flags: int
    """KSMBD_TREE_CONN_FLAG bits: GUEST 1, READ_ONLY 2, WRITABLE 4, ADMIN 8, UPDATE 16."""


class Daemon(Protocol):
    """Mountd, over netlink. Every Future fails with NtStatusError(STATUS_IO_TIMEOUT) after `ipc timeout`."""

    def login(self, account: str) -> Future[LoginResponse]: ...
    def logout(self, account: str, account_flags: int) -> None: ...
    def share_config(self, name: str) -> Future[ShareConfig | None]: ...
    def tree_connect(
        self, session_id: int, connect_id: int, account: str, account_flags: int, share: str, peer: str
    ) -> Future[TreeConnectResult]: ...
    def tree_disconnect(self, session_id: int, connect_id: int) -> None: ...
    def spnego_authen(self, blob: bytes) -> Future[tuple[LoginResponse, bytes, bytes] | None]:
        """Kerberos in mountd: (account, session key, AP-REP token), or None where refused."""
        ...

    def rpc_open(self, pipe: str, account: str, restricted: bool) -> Future[int]:
        """Open `srvsvc`, `wkssvc`, `samr`, `lsarpc`; the pipe's handle. STATUS_OBJECT_NAME_NOT_FOUND for others."""
        ...

    def rpc_write(self, handle: int, data: bytes) -> Future[None]: ...
    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        """At most `size` bytes of the answer, and whether more is there (STATUS_BUFFER_OVERFLOW)."""
        ...

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        """What a read would get of the next message, which stays (FSCTL_PIPE_PEEK), and whether there is more of it."""
        ...

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        """Write and read in one (FSCTL_PIPE_TRANSCEIVE)."""
        ...

    def rpc_close(self, handle: int) -> None: ...


# --------------------------------------------------------------------------------------------------- vfs: the files


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
    """FILETIME of a previous version (timewarp), 0 = live."""
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
    somebody's lease keeps the file from being opened at once."""

    kernel_oplocks: bool
    posix_locking: bool
    writable: bool
    """Its descriptor can write, or will be able to."""

    def fileno(self) -> int:
        """The descriptor now."""
        ...

    def enter(self, both: bool = False) -> bool:
        """Open the file's data, where that is still to be done; for reading and writing with `both`, if the user may.
        False: somebody has a lease, who has been told now. Try again. Raises NtStatusError."""
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
    path: str
    """Current path below the share, with `\\`, as the disk spells it; follows renames made through this server. Of a
    stream, its file's."""

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
    def twin(self) -> File | None:
        """The same open with a descriptor of its own, for one operation in a helper thread; `rejoin` ends it. None:
        there is no such thing, the operation is quick."""
        ...

    def rejoin(self, twin: File) -> None:
        """The operation of a twin has ended: what it changed is this one's. Also after `close`."""
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

    def snapshots(self) -> list[int]: ...
    def close(self) -> None: ...


class Files(Protocol):
    """The file system room."""

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> Volume:
        """The share as `identity` or `force user` sees it; STATUS_BAD_NETWORK_NAME without its folder."""
        ...


# ------------------------------------------------------------------------------------- oplock: who may open and cache


class OpenRef(NamedTuple):
    """Names one open in the table."""

    file: FileKey
    stream: str
    open_id: int


class Replaced(NamedTuple):
    """A name that another file is to have."""

    file: FileKey
    """Whose it is now."""
    parent: FileKey | None
    name: bytes
    """In `parent`, as on disk."""


@dataclass(slots=True)
class LeaseRequest:
    """A lease create context, v1 or v2 (MS-SMB2 2.2.13.2.8, 2.2.13.2.10)."""

    key: bytes
    state: int
    version: int
    flags: int = 0
    parent_key: bytes = b""
    epoch: int = 0


@dataclass(slots=True)
class DurableRequest:
    """DHnQ (version 1) or DH2Q (version 2), MS-SMB2 2.2.13.2.3 and 2.2.13.2.11."""

    version: int
    create_guid: bytes = b""
    timeout: int = 0
    """Milliseconds; 0 = the server's default."""
    persistent: bool = False
    app_instance_id: bytes = b""
    app_instance_version: tuple[int, int] | None = None
    resilient: bool = False
    """Of an open that is reclaimed: it is resilient (MS-SMB2 3.3.5.15.9)."""


SIGNED: Final = 1
ENCRYPTED: Final = 2
"""OpenRequest.protection."""


@dataclass(slots=True)
class OpenRequest:
    """What the open table decides on (MS-FSA 2.1.5.1.2, MS-SMB2 3.3.5.9)."""

    ref: OpenRef
    client_guid: bytes
    session_id: int
    owner: str
    """The account, against which a durable reconnect is checked."""
    share: str
    path: str
    """Path below the share at the time of the open, for lease keys, renames of folders, and reports."""
    is_directory: bool
    created: bool
    granted_access: int
    share_access: int
    disposition: int
    options: int
    oplock_level: int
    lease: LeaseRequest | None = None
    durable: DurableRequest | None = None
    parent: FileKey | None = None
    """The containing directory, for directory leases."""
    persistent_state: bytes = b""
    """What the protocol wants back on a reconnect (opaque)."""
    local: LocalOpen | None = None
    """See CreateResult."""
    name: bytes = b""
    """File.disk_name: the name in `parent` that the open comes by."""
    posix: bool = False
    """It has the POSIX create context: what it deletes goes when it is closed, whoever else has the file open."""
    dialect: int = 0
    protection: int = 0
    """SIGNED or ENCRYPTED: how the client's requests are protected. With the dialect it is what a durable reconnect
    has to have, too."""


@dataclass(slots=True)
class LeaseGrant:
    """What a lease create context answers."""

    key: bytes
    state: int
    version: int
    flags: int = 0
    parent_key: bytes = b""
    epoch: int = 0


@dataclass(slots=True)
class OpenGrant:
    """The open is in the table."""

    oplock_level: int
    lease: LeaseGrant | None = None
    durable: bool = False
    persistent: bool = False
    durable_timeout: int = 0
    """Milliseconds."""


@dataclass(slots=True)
class CloseOutcome:
    """What closing an open means for the file."""

    delete: bool
    """The protocol shall delete now what the open was of: its stream, or the name that it came by, where this was the
    last open of that."""
    whole_file: bool = False
    """With `delete`: the name goes, even where the open was of one of the file's streams."""


@dataclass(slots=True)
class LockElement:
    """One SMB2_LOCK_ELEMENT (MS-SMB2 2.2.26.1)."""

    offset: int
    length: int
    exclusive: bool


@dataclass(slots=True)
class PurgedOpen:
    """An open that the table ended by itself: scavenged, displaced by a failover or a break, or its worker died."""

    ref: OpenRef
    share: str
    path: str
    outcome: CloseOutcome
    handle: Any
    """What was kept with `keep`, None where it was not in this process."""


@dataclass(slots=True)
class BreakNotice:
    """An OPLOCK_BREAK notification to send (MS-SMB2 2.2.23), made by the table."""

    client_guid: bytes
    session_id: int
    open_ids: tuple[int, ...]
    """The opens concerned, one for an oplock; those of the lease otherwise."""
    oplock_level: int
    """New level, for an oplock."""
    lease_key: bytes = b""
    current_state: int = 0
    new_state: int = 0
    epoch: int = 0
    ack_required: bool = True


class BreakKind(NamedTuple):
    """What an operation takes away from the caches of others (MS-FSA 2.1.4.12)."""

    lose_read: bool
    lose_write: bool
    lose_handle: bool


class OpenTable(Protocol):
    """The open table. Futures fail with NtStatusError; cancel() on one withdraws the waiter."""

    on_break: Callable[[BreakNotice], bool]
    """Set by the protocol: sends the notice; False where no channel of that client is left."""
    on_purge: Callable[[PurgedOpen], None]
    """Set by the protocol: the open is gone from the table; close its file, and unlink it where the outcome says so."""

    on_doomed: Callable[[FileKey], None]
    """Set by the protocol: another worker's open left this directory to be deleted; who waits for changes in it is to
    hear of that."""

    def open(self, request: OpenRequest) -> Future[OpenGrant]:
        """Breaks what must break, waits for it, then checks sharing. SHARING_VIOLATION, DELETE_PENDING, ..."""
        ...

    def admit(self, ref: OpenRef, local: LocalOpen, grant: OpenGrant) -> OpenGrant | None:
        """After `open` was granted with a LocalOpen: enter the file, and have the kernel stand behind what was granted.
        What is granted then; None: somebody's lease is in the way, try again. Raises NtStatusError."""
        ...

    def readmit(self, ref: OpenRef, local: LocalOpen) -> None:
        """The same after `reconnect`, for an open whose file was opened again. STATUS_FILE_NOT_AVAILABLE: not yet."""
        ...

    def close(self, ref: OpenRef) -> CloseOutcome:
        """Remove the open with its locks, oplock or lease share."""
        ...

    def delete_pending(self, file: FileKey) -> bool:
        """Whether a name of the file is to be deleted; a directory has but one."""
        ...

    def link_deleted(self, ref: OpenRef) -> bool:
        """Whether the name that the open came by is to be deleted (MS-FSA 2.1.1.5, Link.IsDeleted)."""
        ...

    def set_delete_on_close(self, ref: OpenRef, delete: bool, posix: bool = False) -> Future[None]:
        """FileDispositionInformation, of the name that the open came by, or of its stream; breaks handle caching of
        others first. `posix`: the name goes with this open, whoever else has the file open."""
        ...

    def check_rename(self, ref: OpenRef, target: Replaced | None, posix: bool = False) -> Future[None]:
        """Break handle leases; SHARING_VIOLATION where others' opens forbid it, ACCESS_DENIED where something below a
        folder is open, and what check_replace refuses. `posix`: what is below the folder moves with it."""
        ...

    def check_replace(self, target: Replaced, posix: bool = False) -> Future[None]:
        """Break handle leases of a file whose name another one is to have. ACCESS_DENIED where an open does not share
        deletion, FILE_NOT_AVAILABLE where one waits for its client, DELETE_PENDING where the name is to be deleted
        (not with POSIX semantics)."""
        ...

    def renamed(self, ref: OpenRef, path: str, parent: FileKey | None, name: bytes) -> None:
        """The name that the open came by is `name` in `parent` now: that of all opens that came by it. What is open
        below a folder follows."""
        ...

    def open_paths_below(self, file: FileKey) -> bool:
        """Whether something below this directory is open (by anybody)."""
        ...

    def break_caching(self, ref: OpenRef, kind: BreakKind) -> Future[None]:
        """Before a change through `ref`: break what others (other lease keys) cache."""
        ...

    def directory_changed(self, directory: FileKey, parent_lease_key: bytes, client_guid: bytes) -> None:
        """An entry was made, removed or changed: break directory leases but the one with the same key."""
        ...

    def acknowledge_oplock(self, ref: OpenRef, level: int) -> int:
        """OPLOCK_BREAK Acknowledgment; the level that holds now. INVALID_OPLOCK_PROTOCOL, INVALID_DEVICE_STATE, ..."""
        ...

    def acknowledge_lease(self, client_guid: bytes, key: bytes, state: int) -> int:
        """Lease Break Acknowledgment (MS-SMB2 3.3.5.22.2); the state that holds now."""
        ...

    def lock(self, ref: OpenRef, elements: Sequence[LockElement], wait: bool) -> Future[None]:
        """All or nothing; LOCK_NOT_GRANTED, or pending until granted with `wait` (one element)."""
        ...

    def unlock(self, ref: OpenRef, elements: Sequence[LockElement]) -> None:
        """In order; RANGE_NOT_LOCKED ends it, those before stay unlocked."""
        ...

    def check_io(self, ref: OpenRef, offset: int, length: int, write: bool) -> None:
        """STATUS_FILE_LOCK_CONFLICT where a lock of another open forbids it (MS-FSA 2.1.4.10). Quick without locks."""
        ...

    def make_resilient(self, ref: OpenRef, timeout: int) -> None:
        """Keep the open over a lost connection for `timeout` milliseconds, whatever it caches (MS-SMB2 3.3.5.15.9)."""
        ...

    def keep(self, ref: OpenRef, handle: Any) -> None:
        """Keep something of the protocol's with a durable open; `reconnect` and `on_purge` give it back."""
        ...

    def disconnect(self, ref: OpenRef) -> bool:
        """The connection is gone: True, the open is durable and kept; False, the caller closes it."""
        ...

    def find_kept(self, request: DurableReconnect) -> OpenRequest | None:
        """What `reconnect` would reclaim, where its file has to be opened again for that; None: what was kept with it
        is in this process. Raises what `reconnect` raises. Nothing changes."""
        ...

    def reconnect(self, request: DurableReconnect) -> Reconnected:
        """Reclaim a kept open; OBJECT_NAME_NOT_FOUND, ACCESS_DENIED, INVALID_PARAMETER, and the open goes on waiting
        for its client (MS-SMB2 3.3.5.9.7, 3.3.5.9.12)."""
        ...

    def find_replay(self, client_guid: bytes, create_guid: bytes) -> OpenRef | None:
        """A live open with this CreateGuid (MS-SMB2 3.3.5.9.10)."""
        ...


@dataclass(slots=True)
class DurableReconnect:
    """DHnC or DH2C (MS-SMB2 2.2.13.2.4, 2.2.13.2.12)."""

    persistent_id: int
    version: int
    create_guid: bytes
    client_guid: bytes
    owner: str
    lease: LeaseRequest | None
    persistent: bool = False
    path: str = ""
    session_id: int = 0
    """The session that reclaims it, for later break notices."""
    share: str = ""
    """Through which it is reclaimed."""
    read_only: bool = False
    """The user may not write there."""
    dialect: int = 0
    protection: int = 0
    """As in OpenRequest."""


@dataclass(slots=True)
class Reconnected:
    """A reclaimed open."""

    request: OpenRequest
    grant: OpenGrant
    handle: Any = None
    """What the owner kept with `keep` (the protocol's Open), when it lives in this process."""


# ------------------------------------------------------------------------------------------------------- outgoing


@dataclass(slots=True)
class FileSpan:
    """A part of a file that follows a frame's bytes, sent from the page cache (zero copy)."""

    file: File
    offset: int
    length: int
    splice: bool = False
    """Through a pipe, not with sendfile."""


class Frame(NamedTuple):
    """One frame to send: the bytes (NBSS length included), then the span, if any."""

    data: memoryview | bytearray | bytes
    span: FileSpan | None = None


class Transport(Protocol):
    """The connection's other side (conn). The core appends frames; conn sends all that is ready in one call."""

    def send(self, frame: Frame) -> None: ...
    def close(self, reason: str) -> None:
        """End the connection once what was sent before is out."""
        ...

    def room(self) -> Future[None] | None:
        """None: the client has read what was sent to it, but for some MiB. Else complete once it has, for one reply:
        who waited asks again."""
        ...

    def delivery_mark(self) -> int:
        """The place in the stream behind all that was sent so far, for `delivered`."""
        ...

    def delivery_seconds(self) -> float:
        """The time in which a reachable client confirms what is sent now."""
        ...

    def confirmed(self) -> int:
        """How much of the stream the client's machine has confirmed: grows while the client is there."""
        ...

    def delivered(self, mark: int) -> bool:
        """Whether the client's machine confirmed all bytes before `mark`; False too once the connection is closed."""
        ...

    @property
    def peer(self) -> str:
        """The client's address, as text."""
        ...

    @property
    def local(self) -> str:
        """The server's address, as text."""
        ...
