# SPDX-License-Identifier: GPL-2.0-or-later
"""What the open table needs of a store: atomic changes of one file's record, its locks, and indexes over all files."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ksmbd.oplock.locks import LockView
from ksmbd.oplock.record import Record
from ksmbd.oplock.requests import CloseResult, Decision
from ksmbd.smb.ports import FileKey
from ksmbd.smb.status import STATUS_INSUFFICIENT_RESOURCES, NtStatusError

Decide = Callable[[Record, Callable[[str], LockView]], Decision]
"""decide() with everything bound but the record and the locks of its streams."""

LEASES = b"L"
"""Index: client guid + lease key -> (device, inode, stream). A key names one stream only (MS-SMB2 3.3.5.9.8)."""
CREATE_GUIDS = b"C"
"""Index: client guid + create guid -> (device, inode, stream, open id), for replays (MS-SMB2 3.3.5.9.10)."""
DURABLES = b"D"
"""Index: open id, 8 bytes -> (device, inode, stream), for reconnects."""


class StoreError(NtStatusError):
    """The store could not do it; nothing was changed. What a client hears of that is said here, and nowhere else."""

    def __init__(self, detail: str, status: int = STATUS_INSUFFICIENT_RESOURCES) -> None:
        super().__init__(status, detail)


class StoreFull(StoreError):
    """There is no room for more. Ending something still works."""


class Store(Protocol):
    """Keeps the records. Several tables, in several processes, may share one.

    What makes more of them raises StoreFull where there is no room. Anything may raise StoreError, and has changed
    nothing then."""

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

    def index_get(self, index: bytes, key: bytes) -> tuple[Any, ...] | None:
        """An index's value."""
        ...

    def index_put(self, index: bytes, key: bytes, value: tuple[Any, ...]) -> None:
        """Set an index's value."""
        ...

    def index_remove(self, index: bytes, key: bytes) -> None:
        """Take a key out, if it is in."""
        ...

    def index_items(self, index: bytes) -> list[tuple[bytes, tuple[Any, ...]]]:
        """Everything that is in an index: for who clears up, not for a request's way."""
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
