# SPDX-License-Identifier: GPL-2.0-or-later
"""The store of one process: dicts. Also the reference for other stores in the tests."""
from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any

from ksmbd.oplock.locks import EMPTY, LockSet, LockView, io_conflict
from ksmbd.oplock.record import Record
from ksmbd.oplock.requests import Decision
from ksmbd.oplock.store import Decide, moved_opens, path_key, path_prefix
from ksmbd.smb.ports import FileKey


class DictStore:
    """Records in memory. Tables of several "workers" may share it within a process (tests do)."""

    def __init__(self) -> None:
        self._records: dict[FileKey, Record] = {}
        self._locks: dict[tuple[FileKey, str], LockSet] = {}
        self._indexes: dict[tuple[bytes, bytes], tuple[Any, ...]] = {}
        self._paths: list[tuple[str, int, FileKey]] = []

    def update(self, file: FileKey, decide: Decide) -> Decision:
        """As Store.update; there is one thread, so nothing can come between."""
        record = self._records.get(file) or Record()
        decision = decide(record, self._locks_of(file))
        gone, come = moved_opens(record, decision.record)
        for entry in gone:
            del self._paths[bisect_left(self._paths, (path_key(entry.share, entry.path), entry.open_id))]
        for entry in come:
            insort(self._paths, (path_key(entry.share, entry.path), entry.open_id, file))
        if decision.record.empty:
            self._records.pop(file, None)
        else:
            self._records[file] = decision.record
        for stream, overlay in decision.locks.items():
            locks = self._locks.get((file, stream))
            if locks is None:
                locks = self._locks[file, stream] = LockSet()
            for lock in overlay.removed:
                locks.remove(lock)
            for lock in overlay.added.values():
                locks.add(lock)
            if not locks.count:
                del self._locks[file, stream]
        return decision

    def _locks_of(self, file: FileKey) -> Callable[[str], LockView]:
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

    def index_get(self, index: bytes, key: bytes) -> tuple[Any, ...] | None:
        """As Store.index_get."""
        return self._indexes.get((index, key))

    def index_put(self, index: bytes, key: bytes, value: tuple[Any, ...]) -> None:
        """As Store.index_put."""
        self._indexes[index, key] = value

    def index_remove(self, index: bytes, key: bytes) -> None:
        """As Store.index_remove."""
        self._indexes.pop((index, key), None)

    def files_below(self, share: str, path: str) -> list[FileKey]:
        """As Store.files_below."""
        prefix = path_prefix(share, path)
        index = bisect_left(self._paths, (prefix,))
        found: dict[FileKey, None] = {}
        while index < len(self._paths) and self._paths[index][0].startswith(prefix):
            if self._paths[index][0] != prefix:
                found[self._paths[index][2]] = None
            index += 1
        return list(found)

    @property
    def empty(self) -> bool:
        """Nothing is left anywhere; for tests of clean-up."""
        return not (self._records or self._locks or self._indexes or self._paths)

    def recover(self) -> None:
        """As Store.recover: nobody else has this store."""

    def close(self) -> None:
        """As Store.close: nothing to give up."""
