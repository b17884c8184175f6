# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of one file in the open table: its opens, its oplocks and leases, its waiters; and their encoding.

All entries are immutable tuples, so that a copy of a record copies only a few dicts; `decide` works on a copy and is
therefore pure. Byte-range locks are stored separately (locks.py), because a file may have 100,000 of them.
"""
from __future__ import annotations

import marshal
from typing import Any, Final, NamedTuple

from ksmbd.oplock.open_map import OpenMap
from ksmbd.smb.constants import LEASE_HANDLE_CACHING, LEASE_READ_CACHING, LEASE_WRITE_CACHING

R: Final = LEASE_READ_CACHING
H: Final = LEASE_HANDLE_CACHING
W: Final = LEASE_WRITE_CACHING
RH: Final = R | H
RW: Final = R | W
RWH: Final = R | W | H

_OF_ONE: Final = 2
"""The last version of marshal's format that does not look for objects that occur twice: for one open, in which none
does, it takes half the time."""

WorkerTag = tuple[int, int]
"""(worker, epoch): a restarted worker has the same number and another epoch."""


Link = tuple[int, int, bytes]
"""One name of a file (MS-FSA 2.1.1.5, Link): device and inode of its directory, and the name on disk. It has the
directory and not its path, because directories are renamed and shares may overlap."""

NO_LINK: Final[Link] = (0, 0, b"")
"""The Link of a share's root, whose directory is not known."""

RESILIENT: Final = 3
"""The value of OpenEntry.durable for an open with Open.IsResilient (MS-SMB2 3.3.1.10), which is kept without an oplock
or lease."""


class OpenEntry(NamedTuple):
    """One open of the file or of one of its streams (MS-SMB2 3.3.1.10, MS-FSA 2.1.1.6)."""

    open_id: int
    stream: str
    worker: int
    epoch: int
    client_guid: bytes
    session_id: int
    owner: str
    share: str
    path: str
    is_directory: bool
    access: int
    share_access: int
    options: int
    parent: tuple[int, int] | None
    delete_on_close: bool
    """The open has FILE_DELETE_ON_CLOSE (MS-FSA 2.1.5.1, Open.Mode): its close marks the file for deletion."""
    lease_key: bytes
    """LeaseKey of its lease; b"": it has none."""
    durable: int
    """0, or the version of the durable request that was granted (MS-SMB2 3.3.1.10, Open.IsDurable), or RESILIENT."""
    persistent: bool
    create_guid: bytes
    app_instance_id: bytes
    app_instance_version: tuple[int, int] | None
    timeout: int
    """Open.DurableOpenTimeout, milliseconds."""
    connected: bool
    deadline: float
    """When a disconnected durable open is closed by the server; monotonic seconds, 0 while connected."""
    reconnectable_state: bytes
    """Opaque data that the protocol needs on a reconnect."""
    kernel: int = 0
    """Flags of ksmbd.oplock.local: WATCHED, WRITER."""
    name: bytes = b""
    """The name on disk, in `parent`, that it was opened by; follows renames of that name."""
    posix: bool = False
    """It has the POSIX create context: a file that it deletes loses its name when this open is closed, even if other
    opens exist."""
    unlinks: bool = False
    """Its close removes its name: FileDispositionInformationEx with POSIX semantics."""
    dialect: int = 0
    """The dialect of its connection; 0: stored by a server that did not record it."""
    protection: int = 0
    """How its client's requests were protected: 0, or SIGNED, ENCRYPTED of ksmbd.smb.ports."""
    handle: bytes = b""
    """The file handle, of a persistent open: it tells after a restart whether the file still exists."""

    @property
    def link(self) -> Link:
        """The Link that it was opened by (MS-FSA 2.1.1.6, Open.Link)."""
        parent = self.parent
        return (parent[0], parent[1], self.name) if parent is not None else NO_LINK


class Holder(NamedTuple):
    """The holder of caching on a stream: a lease (MS-SMB2 3.3.1.12), or the oplock of one open, expressed as a lease
    state.

    Level II is R, exclusive is RW, batch is RWH. An oplock breaks to R or none only."""

    stream: str
    client_guid: bytes
    key: bytes
    """LeaseKey; b"": it is an oplock."""
    open_id: int
    """The open of an oplock; 0 for a lease."""
    state: int
    breaking: bool
    requested: int
    """Lease.BreakToLeaseState: what the holder was asked to break to."""
    required: int
    """The state that it must break to in the end; less than `requested` where a stronger conflict came after the
    notification."""
    epoch: int
    version: int
    flags: int
    parent_key: bytes
    deadline: float
    """When a break without acknowledgment expires, in monotonic seconds; 0: none is expected."""

    @property
    def is_lease(self) -> bool:
        """Whether it is a lease and not an oplock."""
        return bool(self.key)


class Waiter(NamedTuple):
    """An operation that waits for others, such as an acknowledgment or a lock. decide.py tries it again."""

    waiter_id: int
    worker: int
    epoch: int
    operation: str
    """The operation's name in decide.OPERATIONS."""
    open_id: int
    """The open it acts through: closing that open ends the wait."""
    arguments: tuple[Any, ...]
    """The request, of plain tuples, strings, bytes and numbers, so that marshal can encode it."""


HolderKey = tuple[bytes, bytes] | int
"""(ClientGuid, LeaseKey) of a lease; the open id of an oplock."""


class Record:
    """All that the open table stores about one file, except its byte-range locks."""

    __slots__ = ("delete_pending", "deleted_links", "holders", "opens", "outbox", "serial", "waiters")

    def __init__(self, opens: dict[int, OpenEntry] | None = None) -> None:
        self.opens: OpenMap[OpenEntry] = OpenMap(opens)
        self.holders: dict[HolderKey, Holder] = {}
        self.waiters: list[Waiter] = []
        self.delete_pending: frozenset[str] = frozenset()
        """Named streams that are deleted at their last close (MS-FSA 2.1.1.4, Stream.IsDeleted)."""
        self.deleted_links: frozenset[Link] = frozenset()
        """Names that are deleted when the last open by that name is closed (MS-FSA 2.1.1.5, Link.IsDeleted)."""
        self.outbox: list[tuple[Any, ...]] = []
        """(worker, epoch, action's name, its fields ...): actions for other workers, which take them out."""
        self.serial = 0
        """The number of decisions, so that the state directory can tell which of two is later."""

    def copy(self) -> Record:
        """A copy that can be changed; the immutable entries are shared."""
        new = Record()
        new.opens = self.opens.copy()
        new.holders = self.holders.copy()
        new.waiters = self.waiters.copy()
        new.delete_pending = self.delete_pending
        new.deleted_links = self.deleted_links
        new.outbox = self.outbox.copy()
        new.serial = self.serial + 1
        return new

    @property
    def empty(self) -> bool:
        """Whether nothing is left, so that the store can delete the record."""
        return not (
            self.opens or self.holders or self.waiters or self.outbox or self.delete_pending or self.deleted_links
        )

    def encode(self) -> bytes:
        """Encode the record for a store. marshal is safe here because the bytes never cross a trust boundary: only
        workers of one server, of one build, read them, and the store is emptied when the server starts."""
        return marshal.dumps((
            [tuple(entry) for entry in self.opens.values()],
            [tuple(holder) for holder in self.holders.values()],
            [tuple(waiter) for waiter in self.waiters],
            self.delete_pending,
            self.deleted_links,
            self.outbox,
            self.serial,
        ), _OF_ONE if len(self.opens) == 1 else marshal.version)  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Decode what `encode` returned."""
        opens, holders, waiters, streams, links, outbox, serial = marshal.loads(data)  # noqa: S302 - our own bytes
        record = cls()
        record.opens = OpenMap({fields[0]: OpenEntry._make(fields) for fields in opens})
        record.holders = {holder_key(holder): holder for holder in map(Holder._make, holders)}
        record.waiters = [Waiter._make(fields) for fields in waiters]
        record.delete_pending = streams
        record.deleted_links = links
        record.outbox = outbox
        record.serial = serial
        return record

    def holder_of(self, entry: OpenEntry) -> Holder | None:
        """The lease or oplock of an open; None where it has none."""
        if entry.lease_key:
            return self.holders.get((entry.client_guid, entry.lease_key))
        return self.holders.get(entry.open_id)

    def is_deleted(self, entry: OpenEntry) -> bool:
        """Whether the name that an open was opened by, or its named stream, is marked for deletion."""
        return entry.link in self.deleted_links or entry.stream in self.delete_pending

    def mark_deleted(self, entry: OpenEntry) -> None:
        """Mark the name that an open was opened by, or its named stream, for deletion at the last close."""
        if entry.stream:
            self.delete_pending |= {entry.stream}
        else:
            self.deleted_links |= {entry.link}

    def waits_to_open(self, open_id: int) -> bool:
        """Whether the open with this id is still a waiter."""
        return any(waiter.operation == "open" and waiter.arguments[1][0] == open_id for waiter in self.waiters)

    def opens_of(self, holder: Holder) -> list[OpenEntry]:
        """The opens that share a lease, or the one open of an oplock."""
        if not holder.key:
            entry = self.opens.get(holder.open_id)
            return [entry] if entry is not None else []
        return self.opens.sharing(holder.client_guid, holder.key)


def holder_key(holder: Holder) -> HolderKey:
    """The key of a holder in Record.holders."""
    return (holder.client_guid, holder.key) if holder.key else holder.open_id
