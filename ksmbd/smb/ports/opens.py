# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenTable, the port of the oplock room: who may open, cache and lock what."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ksmbd.smb.ports.files import FileKey, LocalOpen
from ksmbd.smb.waiting import Future


class OpenRef(NamedTuple):
    """Names one open in the table."""

    file: FileKey
    stream: str
    open_id: int


class Replaced(NamedTuple):
    """A name that another file is to have."""

    file: FileKey
    """The file that has the name now."""
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
    handle: object
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

    on_delete_pending: Callable[[FileKey], None]
    """Set by the protocol: another worker's open left this directory to be deleted; requests that wait for changes in
    it are to hear of that."""

    def open(self, request: OpenRequest) -> Future[OpenGrant]:
        """Breaks what must break, waits for it, then checks sharing. SHARING_VIOLATION, DELETE_PENDING, ..."""
        ...

    def admit(self, ref: OpenRef, local: LocalOpen, grant: OpenGrant) -> OpenGrant | None:
        """After `open` was granted with a LocalOpen: enter the file, and have the kernel stand behind what was granted.
        What is granted then; None: a local process's lease is in the way, try again. Raises NtStatusError."""
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

    def keep(self, ref: OpenRef, handle: object) -> None:
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
    handle: object = None
    """What the owner kept with `keep` (the protocol's Open), when it lives in this process."""
