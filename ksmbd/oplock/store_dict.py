# SPDX-License-Identifier: GPL-2.0-or-later
"""The store for a single worker, in dicts. The tests use it as the reference for other stores."""
from __future__ import annotations

from collections.abc import Callable

from ksmbd.limits import LOCKS
from ksmbd.oplock.fast_path import last_close
from ksmbd.oplock.locks import EMPTY, LockSet, LockView, io_conflict
from ksmbd.oplock.record import Record
from ksmbd.oplock.requests import CloseResult, Decision
from ksmbd.oplock.store import Decide, IndexEntry, StoreFull, more_locks, path_key, path_prefix
from ksmbd.smb.ports import FileKey


class DictStore:
    """A Store in the memory of one process. In tests, several open tables of that process share it."""

    def __init__(self) -> None:
        self._records: dict[FileKey, Record] = {}
        self._locks: dict[tuple[FileKey, str], LockSet] = {}
        self._indexes: dict[tuple[bytes, bytes], IndexEntry] = {}
        self._held = 0
        """The number of locks of all files."""

    def update(self, file: FileKey, decide: Decide) -> Decision:
        """As Store.update; it is atomic because there is only one thread."""
        record = self._records.get(file) or Record()
        decision = decide(record, self.locks_of(file))
        if decision.locks:
            more = more_locks(decision)
            if more > 0 and self._held + more > LOCKS.value:
                raise StoreFull("locks")
            self._held += more
            for stream, overlay in decision.locks.items():
                locks = self._locks.get((file, stream))
                if locks is None:
                    locks = self._locks[file, stream] = LockSet()
                locks.apply(overlay)
                if not locks.count:
                    del self._locks[file, stream]
        if decision.record.empty:
            self._records.pop(file, None)
        else:
            decision.record.opens.commit()
            self._records[file] = decision.record
        return decision

    def begin(self, file: FileKey, record: Record) -> bool:
        """As Store.begin."""
        return self._records.setdefault(file, record) is record

    def end(self, file: FileKey, open_id: int) -> CloseResult | None:
        """As Store.end."""
        record = self._records.get(file)
        if record is None:
            return None
        closed = last_close(record, open_id)
        if closed is None or (self._locks and (file, record.opens[open_id].stream) in self._locks):
            return None
        del self._records[file]
        return closed

    def locks_of(self, file: FileKey) -> Callable[[str], LockView]:
        """As Store.locks_of."""
        return lambda stream: self._locks.get((file, stream), EMPTY)

    def peek(self, file: FileKey) -> Record | None:
        """As Store.peek."""
        return self._records.get(file)

    def files(self) -> list[FileKey]:
        """As Store.files."""
        return list(self._records)

    def io_conflict(self, file: FileKey, stream: str, offset: int, length: int, write: bool, open_id: int) -> bool:
        """As Store.io_conflict."""
        locks = self._locks.get((file, stream))
        return locks is not None and io_conflict(locks, offset, length, write, open_id)

    def lock_count(self, file: FileKey, stream: str) -> int:
        """As Store.lock_count."""
        return self._locks.get((file, stream), EMPTY).count

    def index_get(self, index: bytes, key: bytes) -> IndexEntry | None:
        """As Store.index_get."""
        return self._indexes.get((index, key))

    def index_put(self, index: bytes, key: bytes, place: IndexEntry) -> None:
        """As Store.index_put."""
        self._indexes[index, key] = place

    def index_remove(self, index: bytes, key: bytes) -> None:
        """As Store.index_remove."""
        self._indexes.pop((index, key), None)

    def index_items(self, index: bytes) -> list[tuple[bytes, IndexEntry]]:
        """As Store.index_items."""
        return [(key, place) for (of, key), place in self._indexes.items() if of == index]

    def files_below(self, share: str, path: str) -> list[FileKey]:
        """As Store.files_below. It looks at all opens: directories are renamed seldom, files opened all the time."""
        prefix = path_prefix(share, path)
        found = []
        for file, record in self._records.items():
            for entry in record.opens.values():
                key = path_key(entry.share, entry.path)
                if key.startswith(prefix) and key != prefix:
                    found.append((key, entry.open_id, file))
        return list(dict.fromkeys(file for _, _, file in sorted(found)))

    @property
    def empty(self) -> bool:
        """As Store.empty, for tests of clean-up."""
        return not (self._records or self._locks or self._indexes)

    def recover(self) -> None:
        """As Store.recover; there is nothing to do, because no other process has this store."""

    def close(self) -> None:
        """As Store.close; there is nothing to do."""
