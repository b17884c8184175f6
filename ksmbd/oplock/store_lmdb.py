# SPDX-License-Identifier: GPL-2.0-or-later
"""The store for several workers: LMDB environments in the run directory.

An environment takes one writer at a time, so files are spread over several by hash (ksmbd.oplock.shard), and the
entries of the indexes over all files by theirs (ksmbd.oplock.lmdb_indexes). A transaction is about one environment. The
more workers there are, the more environments (`environments_for`; docs/store.md has the figures). A process opens the
store once, after the fork. No transaction waits for anything. Nothing is synced to
disk: the store is lost when the machine stops, as the opens in it are.

Keys (numbers big-endian, so that they sort):
    records   device, inode               -> Record.encode(), or a Head where there is more than fits into one piece
    journal   device, inode, number       -> a piece of the record's journal (ksmbd.oplock.journal)
    index     index, key                  -> marshalled tuple

Each process caches decoded records (ksmbd.oplock.decoded). Counters in shared memory tell whether a stream has locks
(ksmbd.oplock.shared_counters).
"""
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import lmdb

from ksmbd.oplock.decoded import NO_LOCKS, Decoded
from ksmbd.oplock.environment import failed
from ksmbd.oplock.lmdb_indexes import LmdbIndexes
from ksmbd.oplock.locks import EMPTY, LockView, io_conflict
from ksmbd.oplock.record import Record
from ksmbd.oplock.requests import CloseResult, Decision
from ksmbd.oplock.shard import Shard
from ksmbd.oplock.shared_counters import SharedCounters, counter_of
from ksmbd.oplock.store import Decide, IndexEntry, StoreError, path_key, path_prefix
from ksmbd.smb.ports import FileKey

ENVIRONMENTS: Final = 4
"""Environments of a store for few workers."""
ENVIRONMENTS_MAX: Final = 64
"""Each takes 1 MiB of the run directory and some memory of each worker."""
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1


def environments_for(workers: int) -> int:
    """The number of environments with which a worker seldom waits for another one's writer lock: two for each."""
    return max(ENVIRONMENTS, min(1 << (2 * workers - 1).bit_length(), ENVIRONMENTS_MAX))


class LmdbStore:
    """The open table's store for several processes."""

    def __init__(self, directory: Path, fresh: bool = False, environments: int = ENVIRONMENTS) -> None:
        """Open the store in `directory`. `fresh`: create an empty one, of so many environments; no other process may
        have it open.

        Raises StoreError where there is no room for it, or where it does not exist."""
        self._decoded = Decoded()
        try:
            self._open(directory, fresh, environments)
        except (OSError, lmdb.Error) as error:
            raise StoreError(str(error)) from error

    def _open(self, directory: Path, fresh: bool, environments: int) -> None:
        if fresh:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._counters = SharedCounters(directory / "counters", environments if fresh else 0)
        self._count = self._counters.parts
        self._shards = [
            Shard(directory / f"files{number}", fresh, self._counters, number, self._decoded)
            for number in range(self._count)
        ]
        self._indexes = LmdbIndexes([shard.environment for shard in self._shards])

    def _shard(self, file: FileKey) -> Shard:
        # Fibonacci hashing of inode and device.
        return self._shards[((file[1] + file[0] * 31) * _GOLDEN & _MASK) * self._count >> 64]

    # ------------------------------------------------------------------------------------------------------- changes

    def update(self, file: FileKey, decide: Decide) -> Decision:
        """As Store.update."""
        return self._shard(file).update(file, decide)

    def begin(self, file: FileKey, record: Record) -> bool:
        """As Store.begin."""
        return self._shard(file).begin(file, record)

    def end(self, file: FileKey, open_id: int) -> CloseResult | None:
        """As Store.end."""
        return self._shard(file).end(file, open_id)

    # ------------------------------------------------------------------------------------------------------- records

    def peek(self, file: FileKey) -> Record | None:
        """As Store.peek."""
        known = self._shard(file).peek(file)
        return known[0] if known is not None else None

    def locks_of(self, file: FileKey) -> Callable[[str], LockView]:
        """As Store.locks_of."""
        known = self._shard(file).peek(file)
        held = known[1] if known is not None else NO_LOCKS
        return lambda stream: held.get(stream, EMPTY)

    def files(self) -> list[FileKey]:
        """As Store.files."""
        found: list[FileKey] = []
        try:
            for shard in self._shards:
                found += shard.files()
        except lmdb.Error as error:
            raise failed(error) from error
        return found

    def io_conflict(self, file: FileKey, stream: str, offset: int, length: int, write: bool, open_id: int) -> bool:
        """As Store.io_conflict."""
        shard = self._shard(file)
        if not shard.counters[counter_of(file, stream)]:
            return False
        known = shard.peek(file)
        held = known[1].get(stream) if known is not None else None
        return held is not None and io_conflict(held, offset, length, write, open_id)

    def lock_count(self, file: FileKey, stream: str) -> int:
        """As Store.lock_count."""
        known = self._shard(file).peek(file)
        held = known[1].get(stream) if known is not None else None
        return held.count if held is not None else 0

    def files_below(self, share: str, path: str) -> list[FileKey]:
        """As Store.files_below. It looks at all opens: directories are renamed seldom, files opened all the time."""
        prefix = path_prefix(share, path)
        found: list[tuple[str, int, FileKey]] = []
        try:
            for shard in self._shards:
                for file, of, where, open_id in shard.paths():
                    name = path_key(of, where)
                    if name.startswith(prefix) and name != prefix:
                        found.append((name, open_id, file))
        except lmdb.Error as error:
            raise failed(error) from error
        return list(dict.fromkeys([file for _, _, file in sorted(found)]))

    # ------------------------------------------------------------------------------------------------------- indexes

    def index_get(self, index: bytes, key: bytes) -> IndexEntry | None:
        """As Store.index_get."""
        return self._indexes.get(index, key)

    def index_put(self, index: bytes, key: bytes, place: IndexEntry) -> None:
        """As Store.index_put."""
        self._indexes.put(index, key, place)

    def index_remove(self, index: bytes, key: bytes) -> None:
        """As Store.index_remove."""
        self._indexes.remove(index, key)

    def index_items(self, index: bytes) -> list[tuple[bytes, IndexEntry]]:
        """As Store.index_items."""
        return self._indexes.items(index)

    # -------------------------------------------------------------------------------------------------------- upkeep

    def recover(self) -> None:
        """As Store.recover: free what a dead process had of LMDB, and count the locks again."""
        try:
            for shard in self._shards:
                shard.recover()
        except lmdb.Error as error:
            raise failed(error) from error

    @property
    def empty(self) -> bool:
        """As Store.empty, for tests of clean-up."""
        try:
            left = sum([shard.entries() for shard in self._shards])
        except lmdb.Error as error:
            raise failed(error) from error
        return not left and self._counters.zero

    def close(self) -> None:
        """As Store.close."""
        for shard in self._shards:
            shard.close()
        self._counters.close()
