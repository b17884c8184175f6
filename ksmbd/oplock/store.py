# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract of a store of the open table: atomic updates of one file's record, its locks, and indexes over all
files.

`Store` is the contract. tests/unit/oplock/test_store_contract.py holds every store to it: a new one is added to the
fixture `store` of tests/unit/oplock/conftest.py, and to ksmbd/process/opens.py, which chooses one.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from ksmbd.oplock.locks import LockView
from ksmbd.oplock.record import Record
from ksmbd.oplock.requests import CloseResult, Decision
from ksmbd.smb.ports import FileKey
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, NtStatusError

Decide = Callable[[Record, Callable[[str], LockView]], Decision]
"""decide() with all arguments bound except the record and the locks of its streams."""

LEASES: Final = b"L"
"""Index: client guid + lease key -> IndexEntry without an open. A key names one stream only (MS-SMB2 3.3.5.9.8)."""
CREATE_GUIDS: Final = b"C"
"""Index: client guid + create guid -> IndexEntry, for replays (MS-SMB2 3.3.5.9.10)."""
DURABLES: Final = b"D"
"""Index: open id, 8 bytes -> IndexEntry, for reconnects."""


class IndexEntry(NamedTuple):
    """The value of an index: an open, or a lease's stream."""

    file: FileKey
    stream: str
    open_id: int = 0
    """0: a lease, which several opens may share."""


class StoreError(NtStatusError):
    """The store has failed and changed nothing. `status` is the NTSTATUS that the client gets."""

    def __init__(self, detail: str, status: int = STATUS_INSUFFICIENT_RESOURCES) -> None:
        super().__init__(status, detail)
        self.detail = detail


class StoreFull(StoreError):
    """There is no room to add anything. Operations that end something still work."""


class Store(Protocol):
    """Stores the records. Several open tables, in several processes, may share a store. Every store guarantees:

    Atomicity: `update`, `begin` and `end` change a file's record with its locks completely or not at all, and one after
    the other, whichever process calls them. If `decide` or the store raises, nothing has changed. `decide` may be run
    more than once for one update; the last run counts. An index entry is changed separately: it is a hint, which the
    table checks against the record.

    Ownership: each open, waiter and message in a record names its worker by a WorkerTag (worker, epoch), which is
    unique among all that share the store. The store keeps the tags and never acts on them. `recover` repairs the
    store's own state after a process has died; then the open table of a surviving worker ends the dead worker's opens.

    Deadlines: kept exactly, in seconds of the tables' Clock. They must mean the same in all processes that share the
    store. Today that is CLOCK_MONOTONIC, which all processes of a machine share, and the store is emptied when the
    server starts. A store for several machines needs a clock that these share.

    FileKey: two numbers of 64 bits that a store compares, hashes and stores, and does not interpret. Today they are
    st_dev and st_ino. The kernel assigns the device number when it mounts the file system, so that another machine has
    another number for the same file. A store for several machines needs keys that are the same on all of them, such as
    the file system's UUID and the inode number; ksmbd/vfs makes the keys. The same is true of Link and of
    OpenEntry.parent.

    Errors: all methods, the constructor included, raise StoreError and no error of an underlying library. A call that
    adds records, locks or index entries raises StoreFull where there is no room."""

    def update(self, file: FileKey, decide: Decide) -> Decision:
        """Run `decide` on the file's record and store the result. Meanwhile no other caller sees or changes the
        record. Returns the decision. Raises StoreError."""
        ...

    def begin(self, file: FileKey, record: Record) -> bool:
        """Store `record`, which `first_open` made, if the file has none. Returns whether it had none. Raises
        StoreError."""
        ...

    def end(self, file: FileKey, open_id: int) -> CloseResult | None:
        """Delete the record if `last_close` has a result and the open's stream has no locks. Returns that result, else
        None. Raises StoreError."""
        ...

    def peek(self, file: FileKey) -> Record | None:
        """The current record, which the caller does not change; None where the file has none. Raises StoreError."""
        ...

    def locks_of(self, file: FileKey) -> Callable[[str], LockView]:
        """A function that returns the current byte-range locks of a stream of the file. Raises StoreError."""
        ...

    def files(self) -> list[FileKey]:
        """All files that have a record. Raises StoreError."""
        ...

    def io_conflict(self, file: FileKey, stream: str, offset: int, length: int, write: bool, open_id: int) -> bool:
        """Whether a byte-range lock forbids to read or write these bytes. Very fast for a stream without locks. Raises
        StoreError."""
        ...

    def lock_count(self, file: FileKey, stream: str) -> int:
        """The number of byte-range locks of a stream. Raises StoreError."""
        ...

    def index_get(self, index: bytes, key: bytes) -> IndexEntry | None:
        """The entry of an index for a key of at most 64 bytes; None where there is none. Raises StoreError."""
        ...

    def index_put(self, index: bytes, key: bytes, place: IndexEntry) -> None:
        """Add or replace the entry of an index for a key. Raises StoreError."""
        ...

    def index_remove(self, index: bytes, key: bytes) -> None:
        """Remove a key from an index, if it is there. Raises StoreError."""
        ...

    def index_items(self, index: bytes) -> list[tuple[bytes, IndexEntry]]:
        """All (key, entry) of an index. This is slow; it is for cleaning up after a dead worker. Raises StoreError."""
        ...

    def files_below(self, share: str, path: str) -> list[FileKey]:
        """The files that are open below a directory of a share. Raises StoreError."""
        ...

    def recover(self) -> None:
        """Repair the store's own state after a process that shared it has died. Raises StoreError."""
        ...

    @property
    def empty(self) -> bool:
        """Whether the store has no record, lock or index entry."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...


def grows(old: Record, decision: Decision) -> bool:
    """Whether a decision adds opens, waiters or locks, so that it is refused where there is no room."""
    new = decision.record
    if len(new.opens) > len(old.opens) or len(new.waiters) > len(old.waiters):
        return True
    locks = decision.locks
    return bool(locks) and any(overlay.added for overlay in locks.values())


def more_locks(decision: Decision) -> int:
    """By how many a decision changes the number of locks; negative for fewer."""
    return sum(len(overlay.added) - len(overlay.removed) for overlay in decision.locks.values())


def path_prefix(share: str, path: str) -> str:
    """The prefix of `path_key` for all paths below a directory."""
    folded = path.casefold()
    return f"{share.casefold()}\\{folded}\\" if folded else f"{share.casefold()}\\"


def path_key(share: str, path: str) -> str:
    """An open's share and path, case-folded, for comparison and sorting."""
    return f"{share.casefold()}\\{path.casefold()}"
