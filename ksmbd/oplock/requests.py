# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be asked of one file's record, and what a decision answers. Plain data."""
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
    """With POSIX semantics: the name goes with this open, not with the last one."""


class Rename(NamedTuple):
    """The file of this open gets another name (MS-FSA 2.1.5.15.12)."""

    waiter_id: int
    open_id: int


class MoveWithFolder(NamedTuple):
    """The file is about to move with its folder: handles that are only cached must be closed, others forbid it."""

    waiter_id: int


class Replace(NamedTuple):
    """Another file is about to have this name of the file: handles that are only cached must be closed, and those that
    are not, share deletion."""

    waiter_id: int
    link: Link
    posix: bool


class Moved(NamedTuple):
    """The name that an open came by is another one now, for all opens that came by it."""

    open_id: int
    path: str
    parent: tuple[int, int] | None
    name: bytes


class Rebase(NamedTuple):
    """A folder above the file has another path."""

    share: str
    old: str
    new: str


class Break(NamedTuple):
    """An operation of this open takes caching from others (MS-FSA 2.1.4.12)."""

    waiter_id: int
    open_id: int
    lose: int
    """Bits of the lease state."""


class DirectoryChanged(NamedTuple):
    """An entry of this directory changed (MS-FSA 2.1.4.12 with the parent's lease key, MS-SMB2 3.3.1.4)."""

    client_guid: bytes
    parent_key: bytes


class Acknowledge(NamedTuple):
    """An OPLOCK_BREAK acknowledgment (MS-SMB2 3.3.5.22)."""

    holder: HolderKey
    state: int


class Unreachable(NamedTuple):
    """The client of this holder cannot be told of a break (MS-SMB2 3.3.4.6, 3.3.4.7)."""

    holder: HolderKey


class TakeLocks(NamedTuple):
    """LOCK (MS-FSA 2.1.5.8). `number`: the first number for the new locks, unique in the store."""

    waiter_id: int
    open_id: int
    elements: tuple[tuple[int, int, bool], ...]
    """(offset, length, exclusive)."""
    wait: bool
    number: int


class DropLocks(NamedTuple):
    """Unlock (MS-FSA 2.1.5.9)."""

    open_id: int
    elements: tuple[tuple[int, int], ...]


class LocalProcess(NamedTuple):
    """A local process opens the file: the holder of this open keeps no more than `left` (`kernel oplocks`)."""

    open_id: int
    left: int


class LimitGrant(NamedTuple):
    """The kernel gave a weaker lease than the caching of this new open needs: it is limited to `left`. The answer: the
    state that is left, and whether it is being broken."""

    open_id: int
    left: int
    known: int
    """What the client has heard of already, through other opens of the lease."""


class LocksOf(NamedTuple):
    """The byte-range locks that an open has, for a descriptor that is to have them too."""

    open_id: int


class Forget(NamedTuple):
    """The operation was cancelled."""

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
    """A deadline has come."""


class WorkerDied(NamedTuple):
    """All opens of this worker are gone with it."""

    worker: int
    epoch: int


class Adopt(NamedTuple):
    """Persistent opens of a server that ended, from the disk."""

    serial: int
    opens: tuple[OpenEntry, ...]
    holders: tuple[Holder, ...]
    delete_pending: frozenset[str]
    deleted_links: frozenset[Link]
    locks: tuple[tuple[str, int, int, bool, int, int], ...]
    """(stream, offset, length, exclusive, open id, number)."""


class TakeOutbox(NamedTuple):
    """Hand over what is in the outbox for the worker that asks."""


WaitingRequest = Open | Break | SetDelete | Rename | MoveWithFolder | Replace | TakeLocks
"""Operations that may have to wait; each has a waiter_id."""

Request = (
    WaitingRequest | Close | Acknowledge | Unreachable | DirectoryChanged | DropLocks | Forget | Moved | Rebase
    | Disconnect | MakeResilient | Reconnect | Expire | LocalProcess | LimitGrant | LocksOf | Adopt | WorkerDied
    | TakeOutbox
)  # fmt: skip
"""All that may be asked of a record."""


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
    """Something is to be deleted: the named stream, or with `whole_file` the name that the open came by."""
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
    """The holder is asked to give up more than that."""


Result = bool | int | OpenResult | CloseResult | ReconnectResult | LimitGrantResult | list[Lock]
"""What requests are answered: Open with OpenResult, Close with CloseResult, Reconnect with ReconnectResult, LimitGrant
with LimitGrantResult, LocksOf with its locks in order, Acknowledge with the state that holds now, Forget and Disconnect
with whether they found what they are about; all others with True, or with None where nothing is to be said."""

Encoded = bool | tuple[object, ...]
"""The Result of an operation that had to wait, with exact tuples for named ones, so that marshal encodes it."""


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
    """Action: the table closed an open by itself (scavenged, displaced, its worker died)."""

    open_id: int
    stream: str
    share: str
    path: str
    delete: bool
    whole_file: bool
    lease: tuple[bytes, bytes] | None
    """(client guid, key) of the lease that ended with it."""
    create_guid: bytes
    client_guid: bytes


class Reclaimed(NamedTuple):
    """Action: the open was reclaimed through another worker; this worker gives up its descriptor."""

    open_id: int
    stream: str
    share: str
    path: str


class DeletePending(NamedTuple):
    """Action: the directory is deleted with its last open, and this worker has one of its opens: their CHANGE_NOTIFY
    requests end."""


Action = Notify | Done | Failed | Purged | Reclaimed | DeletePending
"""What a worker is to carry out."""

ACTIONS: Final[tuple[type[Action], ...]] = (Notify, Done, Failed, Purged, Reclaimed, DeletePending)


class Decision(NamedTuple):
    """What a request made of a record."""

    record: Record
    result: Result | None
    """None: it waits (where the operation can)."""
    status: int
    """Not 0: the operation failed with this NTSTATUS."""
    actions: list[Action]
    """For the worker that asked."""
    doorbells: set[WorkerTag]
    """Workers that have something in the record's outbox now."""
    locks: dict[str, LockOverlay]
    """Changes of the streams' locks."""
    deadline: float
    """When Expire has something to do at the latest, as far as this decision set it; 0 = unchanged."""
