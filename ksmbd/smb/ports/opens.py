# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenTable, the port implemented by ksmbd/oplock: decides who may open, cache and lock what."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ksmbd.smb.ports.files import FileKey
from ksmbd.smb.ports.local import LocalOpen
from ksmbd.smb.waiting import Future


class OpenRef(NamedTuple):
    """Identifies one open in the table."""

    file: FileKey
    stream: str
    open_id: int


class Replaced(NamedTuple):
    """A name that will be given to another file."""

    file: FileKey
    """The file that has the name now."""
    parent: FileKey | None
    name: bytes
    """The name in the directory `parent`, as on disk."""


@dataclass(slots=True)
class LeaseRequest:
    """The lease of a create context, version 1 or 2 (MS-SMB2 2.2.13.2.8, 2.2.13.2.10)."""

    key: bytes
    state: int
    version: int
    flags: int = 0
    parent_key: bytes = b""
    epoch: int = 0


@dataclass(slots=True)
class DurableRequest:
    """A request for a durable open: DHnQ (version 1) or DH2Q (version 2), MS-SMB2 2.2.13.2.3 and 2.2.13.2.11. Version
    0 asks for no durable open and has only the AppInstanceId."""

    version: int
    create_guid: bytes = b""
    timeout: int = 0
    """Timeout in milliseconds; 0: the default of the server."""
    persistent: bool = False
    app_instance_id: bytes = b""
    app_instance_version: tuple[int, int] | None = None
    resilient: bool = False
    """Set for a reclaimed open that is resilient (MS-SMB2 3.3.5.15.9)."""
    handle: bytes = b""
    """File.handle, of a persistent open."""


SIGNED: Final = 1
ENCRYPTED: Final = 2
"""Values of OpenRequest.protection."""


@dataclass(slots=True, init=False)
class OpenRequest:
    """A request to open, on which the open table decides (MS-FSA 2.1.5.1.2, MS-SMB2 3.3.5.9)."""

    ref: OpenRef
    client_guid: bytes
    session_id: int
    owner: str
    """The owner of a durable open (ksmbd.smb.durable.owner_of); a reconnect must have the same."""
    share: str
    path: str
    """The path below the share when it was opened, for lease keys, renames of directories and reports."""
    is_directory: bool = False
    created: bool = False
    granted_access: int = 0
    share_access: int = 0
    disposition: int = 0
    options: int = 0
    oplock_level: int = 0
    lease: LeaseRequest | None = None
    durable: DurableRequest | None = None
    parent: FileKey | None = None
    """The containing directory, for directory leases."""
    persistent_state: bytes = b""
    """Bytes of the protocol that a reconnect returns; opaque to the table."""
    local: LocalOpen | None = None
    """CreateResult.local."""
    name: bytes = b""
    """File.disk_name: the name in `parent` that the file is opened by."""
    posix: bool = False
    """The open has the POSIX create context: a name that it deletes is removed when it closes, whoever else has the
    file open."""
    dialect: int = 0
    protection: int = 0
    """How the requests of the client are protected: 0, SIGNED or ENCRYPTED. A durable reconnect must have the same
    protection and dialect."""

    def __init__(  # noqa: PLR0913 - mypyc compiles no constructor that `dataclass` writes
        self, ref: OpenRef, client_guid: bytes, session_id: int, owner: str, share: str, path: str,
        is_directory: bool = False, created: bool = False, granted_access: int = 0, share_access: int = 0,
        disposition: int = 0, options: int = 0, oplock_level: int = 0, lease: LeaseRequest | None = None,
        durable: DurableRequest | None = None, parent: FileKey | None = None, persistent_state: bytes = b"",
        local: LocalOpen | None = None, name: bytes = b"", posix: bool = False, dialect: int = 0, protection: int = 0,
    ) -> None:  # fmt: skip
        self.ref = ref
        self.client_guid = client_guid
        self.session_id = session_id
        self.owner = owner
        self.share = share
        self.path = path
        self.is_directory = is_directory
        self.created = created
        self.granted_access = granted_access
        self.share_access = share_access
        self.disposition = disposition
        self.options = options
        self.oplock_level = oplock_level
        self.lease = lease
        self.durable = durable
        self.parent = parent
        self.persistent_state = persistent_state
        self.local = local
        self.name = name
        self.posix = posix
        self.dialect = dialect
        self.protection = protection


@dataclass(slots=True)
class LeaseGrant:
    """The lease in the response to CREATE."""

    key: bytes
    state: int
    version: int
    flags: int = 0
    parent_key: bytes = b""
    epoch: int = 0


@dataclass(slots=True, init=False)
class OpenGrant:
    """The open was granted and is in the table."""

    oplock_level: int
    lease: LeaseGrant | None = None
    durable: bool = False
    persistent: bool = False
    durable_timeout: int = 0
    """Milliseconds."""

    def __init__(
        self, oplock_level: int, lease: LeaseGrant | None = None, durable: bool = False, persistent: bool = False,
        durable_timeout: int = 0,
    ) -> None:  # fmt: skip
        self.oplock_level = oplock_level
        self.lease = lease
        self.durable = durable
        self.persistent = persistent
        self.durable_timeout = durable_timeout


@dataclass(slots=True, init=False)
class CloseOutcome:
    """What the protocol must do with the file after closing an open."""

    delete: bool
    """The protocol must delete now what the open referred to: its stream, or the name that it was opened by, since this
    was the last open of it."""
    whole_file: bool = False
    """With `delete`: delete the name of the file, even if the open was of one of its streams."""

    def __init__(self, delete: bool, whole_file: bool = False) -> None:
        self.delete = delete
        self.whole_file = whole_file


@dataclass(slots=True)
class LockElement:
    """One SMB2_LOCK_ELEMENT (MS-SMB2 2.2.26.1)."""

    offset: int
    length: int
    exclusive: bool


class Kept(Protocol):
    """An object that the open table keeps for its caller, whatever it is: any object is one. (mypyc can compile no
    field of a dataclass that is an `object`.)"""


@dataclass(slots=True)
class PurgedOpen:
    """An open that the table has removed by itself: its timeout expired, an application failover or a break displaced
    it, or its worker died."""

    ref: OpenRef
    share: str
    path: str
    outcome: CloseOutcome
    handle: Kept | None
    """The object passed to `keep`; None if that was in another process."""


@dataclass(slots=True)
class BreakNotice:
    """An OPLOCK_BREAK notification that must be sent (MS-SMB2 2.2.23)."""

    client_guid: bytes
    session_id: int
    open_ids: tuple[int, ...]
    """The open with the oplock, or all opens with the lease."""
    oplock_level: int
    """The new level of an oplock."""
    lease_key: bytes = b""
    current_state: int = 0
    new_state: int = 0
    epoch: int = 0
    ack_required: bool = True


class BreakKind(NamedTuple):
    """What an operation takes from the oplocks and leases of others (MS-FSA 2.1.4.12)."""

    lose_read: bool
    lose_write: bool
    lose_handle: bool


class OpenTable(Protocol):
    """The open table. Futures fail with NtStatusError; cancelling one withdraws its waiter."""

    on_break: Callable[[BreakNotice], bool]
    """Set by the protocol: sends the notification. False: the client has no channel left."""
    on_purge: Callable[[PurgedOpen], None]
    """Set by the protocol: an open was removed from the table; closes its file, and deletes it if the outcome says
    so."""

    on_delete_pending: Callable[[FileKey], None]
    """Set by the protocol: an open in another worker marked this directory for deletion; ends CHANGE_NOTIFY requests on
    it."""

    def open(self, request: OpenRequest) -> Future[OpenGrant]:
        """Break oplocks and leases, wait for that, then check sharing. Raises STATUS_SHARING_VIOLATION,
        STATUS_DELETE_PENDING, ..."""
        ...

    def admit(self, ref: OpenRef, local: LocalOpen, grant: OpenGrant) -> OpenGrant | None:
        """After `open` has granted an open with a LocalOpen: open the data, and take the kernel lease for what was
        granted. Returns what is granted then; None: a local process has a lease, the caller must try again. Raises
        NtStatusError."""
        ...

    def share_locks(self, ref: OpenRef, local: LocalOpen) -> None:
        """From now on, share the byte-range locks of an open with local processes (File.lock_side)."""
        ...

    def readmit(self, ref: OpenRef, local: LocalOpen) -> None:
        """As `admit`, after `reconnect` for an open whose file was opened again. Raises STATUS_FILE_NOT_AVAILABLE where
        it must be tried again."""
        ...

    def close(self, ref: OpenRef) -> CloseOutcome:
        """Remove the open with its locks and its oplock or its part of a lease."""
        ...

    def delete_pending(self, file: FileKey) -> bool:
        """Whether a name of the file is to be deleted; a directory has only one."""
        ...

    def link_deleted(self, ref: OpenRef) -> bool:
        """Whether the name that the open was opened by is to be deleted (Link.IsDeleted, MS-FSA 2.1.1.5)."""
        ...

    def set_delete_on_close(self, ref: OpenRef, delete: bool, posix: bool = False) -> Future[None]:
        """Set or clear deletion of the name (or stream) that was opened (FileDispositionInformation), after breaking
        handle caching of others. `posix`: the name is removed when this open closes, whoever else has the file open."""
        ...

    def check_rename(self, ref: OpenRef, target: Replaced | None, posix: bool = False) -> Future[None]:
        """Prepare a rename: break handle caching. Raises STATUS_SHARING_VIOLATION where opens of others forbid it,
        STATUS_ACCESS_DENIED where something below a directory is open, and what `check_replace` raises. `posix`: opens
        below the directory do not prevent it."""
        ...

    def check_replace(self, target: Replaced, posix: bool = False) -> Future[None]:
        """Prepare to replace a name: break handle caching of its file. Raises STATUS_ACCESS_DENIED where an open does
        not share deletion, STATUS_FILE_NOT_AVAILABLE where one waits for its client, STATUS_DELETE_PENDING where the
        name is to be deleted (not with `posix`)."""
        ...

    def renamed(self, ref: OpenRef, path: str, parent: FileKey | None, name: bytes) -> None:
        """Store that the name of this open is now `name` in `parent`, for all opens with this name and for paths below
        a directory."""
        ...

    def check_stream_rename(self, ref: OpenRef, stream: str) -> Future[None]:
        """Prepare to rename the named stream of an open to `stream` (folded; "": the unnamed one): break handle caching
        of others. Raises STATUS_ACCESS_DENIED where `stream` is open, or where this stream is to be deleted,
        STATUS_SHARING_VIOLATION where another open has this stream."""
        ...

    def stream_renamed(self, ref: OpenRef, stream: str) -> OpenRef:
        """Store that the stream of this open is now `stream`, with its locks and its oplock or lease. Returns the
        open's new key."""
        ...

    def open_paths_below(self, file: FileKey) -> bool:
        """Whether anybody has anything below this directory open."""
        ...

    def break_caching(self, ref: OpenRef, kind: BreakKind) -> Future[None]:
        """Break oplocks and leases of others (with other lease keys) before a change through `ref`."""
        ...

    def directory_changed(self, directory: FileKey, parent_lease_key: bytes, client_guid: bytes) -> None:
        """Break the directory leases, except that with the same key, because an entry was added, removed or changed."""
        ...

    def acknowledge_oplock(self, ref: OpenRef, level: int) -> int:
        """Handle an oplock break acknowledgement; returns the level that holds now. Raises
        STATUS_INVALID_OPLOCK_PROTOCOL, STATUS_INVALID_DEVICE_STATE, ..."""
        ...

    def acknowledge_lease(self, client_guid: bytes, key: bytes, state: int) -> int:
        """Handle a lease break acknowledgement (MS-SMB2 3.3.5.22.2); returns the state that holds now. Raises
        NtStatusError."""
        ...

    def lock(self, ref: OpenRef, elements: Sequence[LockElement], wait: bool) -> Future[None]:
        """Lock all ranges or none. Raises STATUS_LOCK_NOT_GRANTED; with `wait` (one range) the Future completes when it
        is granted."""
        ...

    def unlock(self, ref: OpenRef, elements: Sequence[LockElement]) -> None:
        """Unlock the ranges in order. Raises STATUS_RANGE_NOT_LOCKED at the first one that is not locked; those before
        it stay unlocked."""
        ...

    def check_io(self, ref: OpenRef, offset: int, length: int, write: bool) -> None:
        """Raise STATUS_FILE_LOCK_CONFLICT where a lock of another open forbids the I/O (MS-FSA 2.1.4.10). Quick if
        there are no locks."""
        ...

    def make_resilient(self, ref: OpenRef, timeout: int) -> None:
        """Make the open resilient: it survives a lost connection for `timeout` milliseconds, whatever it caches
        (MS-SMB2 3.3.5.15.9)."""
        ...

    def keep(self, ref: OpenRef, handle: object) -> None:
        """Store an object of the protocol with a durable open; `reconnect` and `on_purge` return it."""
        ...

    def disconnect(self, ref: OpenRef) -> bool:
        """Handle the loss of the connection. True: the open is durable and kept. False: the caller must close it."""
        ...

    def find_kept(self, request: DurableReconnect) -> OpenRequest | None:
        """The OpenRequest of the open that `reconnect` would reclaim, if its file must be opened again for that; None:
        its object is in this process. Changes nothing. Raises what `reconnect` raises."""
        ...

    def reconnect(self, request: DurableReconnect) -> Reconnected:
        """Reclaim a kept open (MS-SMB2 3.3.5.9.7, 3.3.5.9.12). Raises STATUS_OBJECT_NAME_NOT_FOUND,
        STATUS_ACCESS_DENIED or STATUS_INVALID_PARAMETER; the open then goes on waiting for its client."""
        ...

    def find_replay(self, client_guid: bytes, create_guid: bytes) -> OpenRef | None:
        """The open with this CreateGuid, if there is one (MS-SMB2 3.3.5.9.10)."""
        ...


@dataclass(slots=True)
class DurableReconnect:
    """A request to reclaim a durable open: DHnC or DH2C (MS-SMB2 2.2.13.2.4, 2.2.13.2.12)."""

    persistent_id: int
    version: int
    create_guid: bytes
    client_guid: bytes
    owner: str
    lease: LeaseRequest | None
    persistent: bool = False
    path: str = ""
    session_id: int = 0
    """The session that reclaims it, for later break notifications."""
    share: str = ""
    """The share through which it is reclaimed."""
    read_only: bool = False
    """Whether the share is read-only for the user."""
    dialect: int = 0
    protection: int = 0
    """As in OpenRequest."""


@dataclass(slots=True)
class Reconnected:
    """The result of `reconnect`."""

    request: OpenRequest
    grant: OpenGrant
    handle: Kept | None = None
    """The object passed to `keep` (the Open of the protocol), if it is in this process."""
