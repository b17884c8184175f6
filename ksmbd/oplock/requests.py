# SPDX-License-Identifier: GPL-2.0-or-later
"""The requests, results and actions of decide(), as plain data."""
from __future__ import annotations

from typing import Final, NamedTuple

from ksmbd.oplock.locks import Lock, LockOverlay
from ksmbd.oplock.record import Holder, HolderKey, Link, OpenEntry, Record, WorkerTag


class Refused(Exception):
    """The operation fails with this NTSTATUS."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class LeaseContext(NamedTuple):
    """A lease create context, of a request or of its response (MS-SMB2 2.2.13.2.8, 2.2.13.2.10)."""

    key: bytes
    state: int
    version: int
    flags: int
    parent_key: bytes
    epoch: int


class Open(NamedTuple):
    """A new open (MS-FSA 2.1.5.1.2)."""

    waiter_id: int
    entry: OpenEntry
    disposition: int
    created: bool
    oplock_level: int
    lease: LeaseContext | None
    durable: tuple[int, int, bool] | None
    """(version, milliseconds, persistent)."""


class Close(NamedTuple):
    """The open ends."""

    open_id: int


class SetDelete(NamedTuple):
    """FileDispositionInformation (MS-FSA 2.1.5.15.3)."""

    waiter_id: int
    open_id: int
    delete: bool
    posix: bool = False
    """With POSIX semantics: the name is deleted when this open is closed, not at the last close."""


class Rename(NamedTuple):
    """The file of this open is about to be renamed (MS-FSA 2.1.5.15.12)."""

    waiter_id: int
    open_id: int


class MoveWithFolder(NamedTuple):
    """A directory above the file is about to be renamed: cached handles must be closed, and open ones forbid it."""

    waiter_id: int


class Replace(NamedTuple):
    """Another file is about to replace this name of the file: cached handles must be closed, and open ones must share
    deletion."""

    waiter_id: int
    link: Link
    posix: bool


class Moved(NamedTuple):
    """The file was renamed: the name that this open was opened by has changed, for all opens by that name."""

    open_id: int
    path: str
    parent: tuple[int, int] | None
    name: bytes


class RenameStream(NamedTuple):
    """The named stream of this open is about to be renamed (MS-FSA 2.1.5.15.11.1)."""

    waiter_id: int
    open_id: int
    stream: str
    """The new name, folded; "": it becomes the unnamed stream."""


class StreamMoved(NamedTuple):
    """The stream of this open, which nobody else has open, was renamed."""

    open_id: int
    stream: str


class Rebase(NamedTuple):
    """A directory above the file was renamed: paths below `old` are below `new` now."""

    share: str
    old: str
    new: str


class Break(NamedTuple):
    """An operation of this open breaks the caching of others (MS-FSA 2.1.4.12)."""

    waiter_id: int
    open_id: int
    lose: int
    """The caching to break: bits R, W, H."""


class DirectoryChanged(NamedTuple):
    """An entry of this directory has changed (MS-FSA 2.1.4.12 with ParentLeaseKey, MS-SMB2 3.3.1.4)."""

    client_guid: bytes
    parent_key: bytes


class Acknowledge(NamedTuple):
    """An OPLOCK_BREAK acknowledgment (MS-SMB2 3.3.5.22)."""

    holder: HolderKey
    state: int


class Unreachable(NamedTuple):
    """The break notification could not be sent: the holder's client has no channel (MS-SMB2 3.3.4.6, 3.3.4.7)."""

    holder: HolderKey


class TakeLocks(NamedTuple):
    """LOCK (MS-FSA 2.1.5.8)."""

    waiter_id: int
    open_id: int
    elements: tuple[tuple[int, int, bool], ...]
    """(offset, length, exclusive)."""
    wait: bool
    """Whether the request may wait for the lock."""
    number: int
    """The number of the first new lock, unique in the store; the others follow."""


class DropLocks(NamedTuple):
    """Unlock (MS-FSA 2.1.5.9)."""

    open_id: int
    elements: tuple[tuple[int, int], ...]
    """(offset, length)."""


class LocalProcess(NamedTuple):
    """A local process opens the file: break the holder of this open to `left` (`kernel oplocks`)."""

    open_id: int
    left: int


class LimitGrant(NamedTuple):
    """The kernel granted a weaker lease than the caching of this new open needs: limit the caching to `left`."""

    open_id: int
    left: int
    known: int
    """The caching that the client already knows of, through other opens of the lease."""


class LocksOf(NamedTuple):
    """Read the byte-range locks of an open, so that a new descriptor can take them from the kernel."""

    open_id: int


class Forget(NamedTuple):
    """The waiting operation was cancelled."""

    waiter_id: int


class MakeResilient(NamedTuple):
    """The open outlives its connection, whatever it caches (MS-SMB2 3.3.5.15.9)."""

    open_id: int
    timeout: int
    """Milliseconds."""


class Disconnect(NamedTuple):
    """The open's connection is gone (MS-SMB2 3.3.7.1)."""

    open_id: int


class Reconnect(NamedTuple):
    """A durable open is reclaimed (MS-SMB2 3.3.5.9.7, 3.3.5.9.12)."""

    open_id: int
    version: int
    create_guid: bytes
    client_guid: bytes
    owner: str
    lease_key: bytes
    lease_version: int
    persistent: bool
    path: str
    session_id: int
    share: str
    read_only: bool
    dialect: int
    protection: int


class Expire(NamedTuple):
    """A deadline has passed."""


class WorkerDied(NamedTuple):
    """This worker has died, so its opens must be removed."""

    worker: int
    epoch: int


class Adopt(NamedTuple):
    """Add the persistent opens of a previous server, from the state directory."""

    serial: int
    opens: tuple[OpenEntry, ...]
    holders: tuple[Holder, ...]
    delete_pending: frozenset[str]
    deleted_links: frozenset[Link]
    locks: tuple[tuple[str, int, int, bool, int, int], ...]
    """(stream, offset, length, exclusive, open id, number)."""


class TakeOutbox(NamedTuple):
    """Take the actions for the asking worker out of the outbox."""


WaitingRequest = Open | Break | SetDelete | Rename | RenameStream | MoveWithFolder | Replace | TakeLocks
"""The requests that may have to wait; each has a waiter_id."""

Request = (
    WaitingRequest | Close | Acknowledge | Unreachable | DirectoryChanged | DropLocks | Forget | Moved | Rebase
    | Disconnect | MakeResilient | Reconnect | Expire | LocalProcess | LimitGrant | LocksOf | Adopt | WorkerDied
    | StreamMoved | TakeOutbox
)  # fmt: skip
"""All requests."""


class OpenResult(NamedTuple):
    """The answer to Open."""

    oplock_level: int
    lease: LeaseContext | None
    durable: int
    persistent: bool
    timeout: int


class CloseResult(NamedTuple):
    """The answer to Close."""

    delete: bool
    """The caller must delete the named stream, or with `whole_file` the name that the open was opened by."""
    whole_file: bool
    lease: tuple[bytes, bytes] | None
    create_guid: bytes
    client_guid: bytes
    durable: bool


class ReconnectResult(NamedTuple):
    """The answer to Reconnect."""

    entry: OpenEntry
    granted: OpenResult


class LimitGrantResult(NamedTuple):
    """The answer to LimitGrant."""

    state: int
    """R, W and H that remain."""
    breaking: bool
    """A break to less than `state` is in progress."""


Result = bool | int | OpenResult | CloseResult | ReconnectResult | LimitGrantResult | list[Lock]
"""The results of requests: Open has OpenResult, Close CloseResult, Reconnect ReconnectResult, LimitGrant
LimitGrantResult, LocksOf the locks in order, Acknowledge the state that the holder has now, Forget and Disconnect
whether they applied. All others have True or None."""

Encoded = bool | tuple[object, ...]
"""The Result of an operation that had to wait, with plain tuples for named ones, so that marshal can encode it."""


class Notify(NamedTuple):
    """Action: send a break notification."""

    holder: HolderKey
    client_guid: bytes
    session_id: int
    open_ids: tuple[int, ...]
    oplock_level: int
    lease_key: bytes
    current: int
    new: int
    epoch: int
    acknowledge: bool


class Done(NamedTuple):
    """Action: a waiter's operation succeeded."""

    waiter_id: int
    result: Encoded


class Failed(NamedTuple):
    """Action: a waiter's operation failed."""

    waiter_id: int
    status: int


class Purged(NamedTuple):
    """Action: close the file of an open that the table has removed by itself (its durable timeout has passed, a
    failover or break displaced it, its worker died)."""

    open_id: int
    stream: str
    share: str
    path: str
    delete: bool
    whole_file: bool
    lease: tuple[bytes, bytes] | None
    """(ClientGuid, LeaseKey) of the lease that ended with it."""
    create_guid: bytes
    client_guid: bytes


class Reclaimed(NamedTuple):
    """Action: the open was reclaimed through another worker; this worker closes its descriptor."""

    open_id: int
    stream: str
    share: str
    path: str


class DeletePending(NamedTuple):
    """Action: the directory is marked for deletion, and this worker has opens of it: complete their CHANGE_NOTIFY
    requests."""


class Overdue(NamedTuple):
    """Action: the time of a disconnected open of this worker is over, because another open wants its file: expire it
    now."""


Action = Notify | Done | Failed | Purged | Reclaimed | DeletePending | Overdue
"""What a worker must carry out."""

ACTIONS: Final[tuple[type[Action], ...]] = (Notify, Done, Failed, Purged, Reclaimed, DeletePending, Overdue)


class Decision(NamedTuple):
    """The result of decide(), for the store to keep and for the worker to carry out."""

    record: Record
    result: Result | None
    """The request's result; None for an operation that waits."""
    status: int
    """Not 0: the operation failed with this NTSTATUS."""
    actions: list[Action]
    """The actions of the worker that asked."""
    doorbells: set[WorkerTag]
    """The workers that have new actions in the record's outbox."""
    locks: dict[str, LockOverlay]
    """Stream -> the changes of its byte-range locks."""
    deadline: float
    """Expire must run at this time (monotonic seconds) at the latest; 0: this decision has set no deadline."""
