# SPDX-License-Identifier: GPL-2.0-or-later
"""One file's record in the open table: who has it open, who caches it, who waits. Plain data, and its encoding.

All entries are immutable tuples, so copying a record is copying a few dicts; `decide` works on such a copy and is
therefore pure. Byte-range locks are not in here: a file may have 100,000 of them (see locks.py).
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

WorkerTag = tuple[int, int]
"""(worker, epoch): a worker that was restarted has the same number and another epoch."""


Link = tuple[int, int, bytes]
"""One name of a file (MS-FSA 2.1.1.5, Link): its directory's device and inode, and the name there as the disk spells
it. The directory, not its path: folders are renamed, and shares may overlap."""

NO_LINK: Final[Link] = (0, 0, b"")
"""What stands for a link where none is known, of a share's root."""

RESILIENT: Final = 3
"""OpenEntry.durable of an open with Open.IsResilient (MS-SMB2 3.3.1.10): kept without any oplock or lease."""


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
    """The open's own FILE_DELETE_ON_CLOSE (MS-FSA 2.1.5.1, Open.Mode): becomes delete-pending when it is closed."""
    lease_key: bytes
    """The lease it shares, b"" = none."""
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
    """When a disconnected durable open is scavenged; monotonic seconds, 0 while connected."""
    reconnectable_state: bytes
    """What the protocol wants back on a reconnect; opaque here."""
    kernel: int = 0
    """Its place beside local processes: WATCHED, WRITER of ksmbd.oplock.local."""
    name: bytes = b""
    """The name on disk, in `parent`, that it was opened by; follows renames of that name."""
    posix: bool = False
    """It has the POSIX create context: what it deletes loses its name when this open is closed, whoever else has the
    file open."""
    unlinks: bool = False
    """It is to remove its name when it is closed: FileDispositionInformationEx with POSIX semantics."""
    dialect: int = 0
    """Of the session that made it; 0: noted by a server that did not keep it."""
    protection: int = 0
    """How its client's requests were protected: 0, or SIGNED, ENCRYPTED of ksmbd.smb.ports."""

    @property
    def link(self) -> Link:
        """The name of the file that it was opened by (MS-FSA 2.1.1.6, Open.Link)."""
        parent = self.parent
        return (parent[0], parent[1], self.name) if parent is not None else NO_LINK


class Holder(NamedTuple):
    """Who may cache a stream: a lease (MS-SMB2 3.3.1.12) or one open's oplock, in the lease's terms.

    Level II is R, exclusive RW, batch RWH. An oplock breaks to R or nothing only."""

    stream: str
    client_guid: bytes
    key: bytes
    """LeaseKey; b"" = an oplock."""
    open_id: int
    """The oplock's open; 0 for a lease."""
    state: int
    breaking: bool
    requested: int
    """Lease.BreakToLeaseState: what the holder was asked to break to."""
    required: int
    """What all who wait need it to break to; less than `requested` when a stronger need came after the notice."""
    epoch: int
    version: int
    flags: int
    parent_key: bytes
    deadline: float
    """When an unacknowledged break ends, monotonic seconds; 0 = none expected."""

    @property
    def is_lease(self) -> bool:
        """Whether it is a lease, not an oplock."""
        return bool(self.key)


class Waiter(NamedTuple):
    """An operation that waits for others to give way; retried in order whenever something gave way."""

    waiter_id: int
    worker: int
    epoch: int
    operation: str
    """Key of decide's table of operations that wait."""
    open_id: int
    """The open it acts through: closing that ends the wait."""
    arguments: tuple[Any, ...]
    """Of exact tuples, strings, bytes and numbers, so that it can be encoded."""


HolderKey = tuple[bytes, bytes] | int
"""(client guid, lease key) of a lease, the open's id of an oplock."""


class Record:
    """All the open table knows of one file, except its byte-range locks."""

    __slots__ = ("delete_pending", "deleted_links", "holders", "opens", "outbox", "serial", "waiters")

    def __init__(self) -> None:
        self.opens: OpenMap[OpenEntry] = OpenMap()
        self.holders: dict[HolderKey, Holder] = {}
        self.waiters: list[Waiter] = []
        self.delete_pending: frozenset[str] = frozenset()
        """Named streams that go with their last close (MS-FSA 2.1.1.4, Stream.IsDeleted)."""
        self.deleted_links: frozenset[Link] = frozenset()
        """Names that go when the last open that came by them is closed (MS-FSA 2.1.1.5, Link.IsDeleted)."""
        self.outbox: list[tuple[Any, ...]] = []
        """(worker, epoch, action ...): actions that another worker decided; the named worker takes them out."""
        self.serial = 0
        """Counts the decisions, so that the state directory knows which of two is later."""

    def copy(self) -> Record:
        """A record of its own; the entries are shared, they never change."""
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
        """Nothing left: the store forgets the file."""
        return not (
            self.opens or self.holders or self.waiters or self.outbox or self.delete_pending or self.deleted_links
        )

    def encode(self) -> bytes:
        """As bytes for a store. marshal, because these never cross a trust boundary: only workers of one server,
        of one build, read them (the store is emptied when the server starts)."""
        return marshal.dumps((
            [tuple(entry) for entry in self.opens.values()],
            [tuple(holder) for holder in self.holders.values()],
            [tuple(waiter) for waiter in self.waiters],
            self.delete_pending,
            self.deleted_links,
            self.outbox,
            self.serial,
        ))  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """The inverse of encode."""
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
        """The lease or oplock of one open."""
        if entry.lease_key:
            return self.holders.get((entry.client_guid, entry.lease_key))
        return self.holders.get(entry.open_id)

    def is_deleted(self, entry: OpenEntry) -> bool:
        """Whether what this open is of is to go: the name that it came by, or its named stream."""
        return entry.link in self.deleted_links or entry.stream in self.delete_pending

    def mark_deleted(self, entry: OpenEntry) -> None:
        """Let go what this open is of, with the last open of it: the name that it came by, or its named stream."""
        if entry.stream:
            self.delete_pending |= {entry.stream}
        else:
            self.deleted_links |= {entry.link}

    def waits_to_open(self, open_id: int) -> bool:
        """Whether an open that is to have this id waits for its decision."""
        return any(waiter.operation == "open" and waiter.arguments[1][0] == open_id for waiter in self.waiters)

    def opens_of(self, holder: Holder) -> list[OpenEntry]:
        """The opens that share a lease, or the one with the oplock."""
        if not holder.key:
            entry = self.opens.get(holder.open_id)
            return [entry] if entry is not None else []
        return self.opens.sharing(holder.client_guid, holder.key)


def holder_key(holder: Holder) -> HolderKey:
    """Where a record keeps this holder."""
    return (holder.client_guid, holder.key) if holder.key else holder.open_id
