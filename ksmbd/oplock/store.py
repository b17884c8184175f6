# SPDX-License-Identifier: GPL-2.0-or-later
"""What the open table needs of a store: atomic changes of one file's record, its locks, and indexes over all files.

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
"""decide() with everything bound but the record and the locks of its streams."""

LEASES: Final = b"L"
"""Index: client guid + lease key -> IndexEntry without an open. A key names one stream only (MS-SMB2 3.3.5.9.8)."""
CREATE_GUIDS: Final = b"C"
"""Index: client guid + create guid -> IndexEntry, for replays (MS-SMB2 3.3.5.9.10)."""
DURABLES: Final = b"D"
"""Index: open id, 8 bytes -> IndexEntry, for reconnects."""


class IndexEntry(NamedTuple):
    """What an index leads to."""

    file: FileKey
    stream: str
    open_id: int = 0
    """0: a lease, which several opens may share."""


class StoreError(NtStatusError):
    """The store could not do it; nothing was changed. What a client hears of that is said here, and nowhere else."""

    def __init__(self, detail: str, status: int = STATUS_INSUFFICIENT_RESOURCES) -> None:
        super().__init__(status, detail)
        self.detail = detail


class StoreFull(StoreError):
    """There is no room for more. Ending something still works."""


class Store(Protocol):
    """Keeps the records. Several tables, in several processes, may share one. What every store promises:

    Atomic: `update`, `begin` and `end` change a file's record with its locks as a whole or not at all, and one after
    the other, whoever calls them. Where `decide` or the store raises, all is as it was. `decide` may be run more than
    once for one update; the last run counts. An index entry is changed alone: it is a hint, which the table checks
    against the record.

    Ownership: each open, waiter and message in a record names its worker by a WorkerTag (worker, epoch), unique among
    all that share the store. The store keeps the tags and never acts on them. `recover` puts right what a dead process
    had of the store itself; the table then ends the dead worker's opens, in one of the workers that live.

    Deadlines: kept exactly, in the seconds of the Clock that the tables have. They must mean the same in all processes
    that share the store. Today that is CLOCK_MONOTONIC, one for all processes of a machine, and the store is emptied
    before a boot could change it. A store of several machines has to come with a clock that these share.

    FileKey: two numbers of 64 bits that a store compares, hashes and stores, and reads nothing from. Today they are
    st_dev and st_ino. The kernel of one machine chose the device number when it mounted the file system, so another
    node has another number for the same file. A store of several machines must be given keys that are the same on all
    of them, such as the file system's identifier and the inode number; the vfs room makes the keys. The same is true
    of Link and of OpenEntry.parent.

    Errors: StoreError, and no error of what the store is made of, from its constructor on. What makes more of the
    records, the locks or the indexes raises StoreFull where there is no room."""

    def update(self, file: FileKey, decide: Decide) -> Decision:
        """Run `decide` on the file's record and keep what it made of it; nobody else sees or changes it meanwhile."""
        ...

    def begin(self, file: FileKey, record: Record) -> bool:
        """Keep `record`, which `first_open` made, if the file has none; whether it had none."""
        ...

    def end(self, file: FileKey, open_id: int) -> CloseResult | None:
        """Forget the record if `last_close` answers and the open's stream has no locks; its answer, else None."""
        ...

    def peek(self, file: FileKey) -> Record | None:
        """The record as it is, not to be changed."""
        ...

    def locks_of(self, file: FileKey) -> Callable[[str], LockView]:
        """The byte-range locks of a file's streams as they are."""
        ...

    def files(self) -> list[FileKey]:
        """All files with a record."""
        ...

    def io_conflict(self, file: FileKey, stream: str, offset: int, length: int, write: bool, open_id: int) -> bool:
        """Whether a byte-range lock forbids it. Next to nothing for a stream without locks."""
        ...

    def lock_count(self, file: FileKey, stream: str) -> int:
        """How many byte-range locks a stream has."""
        ...

    def index_get(self, index: bytes, key: bytes) -> IndexEntry | None:
        """What an index has for a key of at most 64 bytes."""
        ...

    def index_put(self, index: bytes, key: bytes, place: IndexEntry) -> None:
        """Have an index lead to this, whatever it had for the key."""
        ...

    def index_remove(self, index: bytes, key: bytes) -> None:
        """Take a key out, if it is in."""
        ...

    def index_items(self, index: bytes) -> list[tuple[bytes, IndexEntry]]:
        """Everything that is in an index. Too slow for requests: for clearing up after a dead worker."""
        ...

    def files_below(self, share: str, path: str) -> list[FileKey]:
        """The files open below a directory."""
        ...

    def recover(self) -> None:
        """A process that shared the store died: put right what it may have left behind."""
        ...

    @property
    def empty(self) -> bool:
        """Nothing is left anywhere."""
        ...

    def close(self) -> None:
        """Give up what the store has open."""
        ...


def grows(old: Record, decision: Decision) -> bool:
    """Whether a decision makes more of what is kept for clients: such a one is refused where there is no room."""
    new = decision.record
    if len(new.opens) > len(old.opens) or len(new.waiters) > len(old.waiters):
        return True
    locks = decision.locks
    return bool(locks) and any(overlay.added for overlay in locks.values())


def more_locks(decision: Decision) -> int:
    """How many locks there are more after a decision; negative: less."""
    return sum(len(overlay.added) - len(overlay.removed) for overlay in decision.locks.values())


def path_prefix(share: str, path: str) -> str:
    """How an index sorts what is below a directory: case folded, as names are compared."""
    folded = path.casefold()
    return f"{share.casefold()}\\{folded}\\" if folded else f"{share.casefold()}\\"


def path_key(share: str, path: str) -> str:
    """How an index sorts an open's own path."""
    return f"{share.casefold()}\\{path.casefold()}"
