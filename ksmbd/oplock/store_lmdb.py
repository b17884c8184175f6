# SPDX-License-Identifier: GPL-2.0-or-later
"""The store of several workers: LMDB environments in the run directory.

An environment takes one writer at a time, so files are spread over a few by hash; the indexes over all files have their
own. Open it after the fork, once a process. Nothing here waits inside a transaction. It is lost with the machine, as
the opens in it are: nothing is synced.

Keys (numbers big-endian, so that they sort):
    records   device, inode                                             -> Record.encode()
    locks     device, inode, stream                                     -> how many locks
              device, inode, stream, length class, first, number        -> length, exclusive, open id
              device, inode, stream, 0xFF, open id, number              -> first, length, exclusive
    index     index, key                                                -> marshalled tuple

Whether a stream has locks at all is asked with every read and write, so the answer for most is in a table of counters
in shared memory: a counter of zero means no locks, anything else sends the question to LMDB. An environment's counters
are changed only by who holds its writer lock.
"""
from __future__ import annotations

import hashlib
import marshal
import mmap
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import lmdb

from ksmbd.oplock.locks import CLASSES, EMPTY, Lock, LockOverlay, LockView, io_conflict, length_class
from ksmbd.oplock.record import OpenEntry, Record
from ksmbd.oplock.requests import CloseResult, Decision
from ksmbd.oplock.short import last_close
from ksmbd.oplock.store import Decide, path_key, path_prefix
from ksmbd.smb.ports import FileKey

ENVIRONMENTS: Final = 4
MAP_SIZE: Final = 1 << 30
"""Bytes of address space for an environment; the files are sparse."""
COUNTERS: Final = 1 << 14
"""Lock counters of one environment."""
KNOWN: Final = 16384
"""Decoded records that a process keeps."""

SHARE: Final = OpenEntry._fields.index("share")
PATH: Final = OpenEntry._fields.index("path")
FILE: Final = struct.Struct(">QQ")
COUNT: Final = struct.Struct(">Q")
BY_START: Final = struct.Struct(">BQQ")
START_VALUE: Final = struct.Struct(">Q?Q")
BY_OPEN: Final = struct.Struct(">BQQ")
OPEN_VALUE: Final = struct.Struct(">QQ?")
OPEN_MARK: Final = 0xFF
COUNTER: Final = struct.Struct("=I")


def stream_digest(stream: str) -> bytes:
    """16 bytes that stand for a stream's name in keys."""
    return hashlib.blake2b(stream.encode("utf-16-le", "surrogatepass"), digest_size=16).digest()


DEFAULT_STREAM: Final = stream_digest("")


class LmdbLocks:
    """A LockView of one stream inside a transaction."""

    __slots__ = ("_db", "_prefix", "_txn")

    def __init__(self, txn: Any, db: Any, prefix: bytes) -> None:
        self._txn = txn
        self._db = db
        self._prefix = prefix

    @property
    def count(self) -> int:
        """How many locks there are."""
        value = self._txn.get(self._prefix, db=self._db)
        return COUNT.unpack(value)[0] if value is not None else 0

    def overlapping(self, first: int, last: int) -> Iterator[Lock]:
        """As LockView."""
        if last < 0 or not self.count:
            return
        prefix = self._prefix
        size = len(prefix)
        with self._txn.cursor(db=self._db) as cursor:
            for number in range(CLASSES):
                start = max(0, first - (1 << (number << 2)) + 1)
                found = cursor.set_range(prefix + BY_START.pack(number, min(start, (1 << 64) - 1), 0))
                while found:
                    key = cursor.key()
                    if key[:size] != prefix:
                        return
                    kind, begin, count = BY_START.unpack_from(key, size)
                    if kind != number or begin > last:
                        break
                    length, exclusive, open_id = START_VALUE.unpack(cursor.value())
                    if begin + length - 1 >= first:
                        yield Lock(begin, begin + length - 1, exclusive, open_id, count)
                    found = cursor.next()

    def starting(self, first: int, last: int, open_id: int) -> list[Lock]:
        """As LockView."""
        prefix = self._prefix + BY_START.pack(length_class(last - first + 1), first, 0)[:-8]
        locks = []
        with self._txn.cursor(db=self._db) as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                length, exclusive, owner = START_VALUE.unpack(cursor.value())
                if owner == open_id and first + length - 1 == last:
                    locks.append(Lock(first, last, exclusive, owner, COUNT.unpack(cursor.key()[-8:])[0]))
                found = cursor.next()
        return sorted(locks, key=lambda lock: (not lock.exclusive, lock.number))

    def of_open(self, open_id: int) -> list[Lock]:
        """As LockView."""
        prefix = self._prefix + BY_OPEN.pack(OPEN_MARK, open_id, 0)[:-8]
        locks = []
        with self._txn.cursor(db=self._db) as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                first, length, exclusive = OPEN_VALUE.unpack(cursor.value())
                number = COUNT.unpack(cursor.key()[-8:])[0]
                locks.append(Lock(first, first + length - 1, exclusive, open_id, number))
                found = cursor.next()
        return locks

    def change(self, overlay: LockOverlay) -> tuple[int, int]:
        """Store what a decision changed; the counts before and after."""
        txn, db, prefix = self._txn, self._db, self._prefix
        before = self.count
        for lock in overlay.removed:
            length = lock.last - lock.first + 1
            txn.delete(prefix + BY_START.pack(length_class(length), lock.first, lock.number), db=db)
            txn.delete(prefix + BY_OPEN.pack(OPEN_MARK, lock.open_id, lock.number), db=db)
        for lock in overlay.added.values():
            length = lock.last - lock.first + 1
            key = prefix + BY_START.pack(length_class(length), lock.first, lock.number)
            txn.put(key, START_VALUE.pack(length, lock.exclusive, lock.open_id), db=db)
            key = prefix + BY_OPEN.pack(OPEN_MARK, lock.open_id, lock.number)
            txn.put(key, OPEN_VALUE.pack(lock.first, length, lock.exclusive), db=db)
        after = before + len(overlay.added) - len(overlay.removed)
        if after:
            txn.put(prefix, COUNT.pack(after), db=db)
        elif before:
            txn.delete(prefix, db=db)
        return before, after


class _Shard:
    """One environment with a part of the files."""

    def __init__(self, path: Path, counters: memoryview) -> None:
        self.env = _environment(path)
        self.records = self.env.open_db(b"records")
        self.locks = self.env.open_db(b"locks")
        self.counters = counters


def _environment(path: Path) -> Any:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return lmdb.open(
        os.fspath(path), map_size=MAP_SIZE, sync=False, metasync=False, writemap=True, max_dbs=4, max_readers=512,
        mode=0o600,
    )  # fmt: skip


class LmdbStore:
    """The open table's store for several processes."""

    def __init__(self, directory: Path, fresh: bool = False) -> None:
        """Open the store in `directory`. `fresh`: begin with an empty one; only while nobody else has it open."""
        if fresh:
            shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = COUNTERS * COUNTER.size
        descriptor = os.open(directory / "counters", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size * ENVIRONMENTS)
            self._shared = mmap.mmap(descriptor, size * ENVIRONMENTS)
        finally:
            os.close(descriptor)
        counters = memoryview(self._shared).cast("I")
        self._shards = [
            _Shard(directory / f"files{number}", counters[number * COUNTERS : (number + 1) * COUNTERS])
            for number in range(ENVIRONMENTS)
        ]
        self._counters = counters
        self._known: dict[FileKey, tuple[bytes, Record]] = {}
        self._index_env = _environment(directory / "indexes")
        self._index = self._index_env.open_db(b"index")

    # Which environment and which counter: Fibonacci hashing of inode and device.
    def _shard(self, file: FileKey) -> _Shard:
        return self._shards[((file[1] + file[0] * 31) * 0x9E3779B97F4A7C15 >> 61) % ENVIRONMENTS]

    @staticmethod
    def _counter(file: FileKey, digest: bytes) -> int:
        return ((file[1] ^ file[0]) * 0x9E3779B1 ^ digest[0] << 5 ^ digest[1]) % COUNTERS

    def update(self, file: FileKey, decide: Decide) -> Decision:
        """As Store.update."""
        shard = self._shard(file)
        key = FILE.pack(*file)
        with shard.env.begin(write=True) as txn:
            before = txn.get(key, db=shard.records)
            record = self._decode(file, before) if before is not None else Record()
            decision = decide(record, self._locks_of(shard, txn, file, key))
            for stream, overlay in decision.locks.items():
                digest = stream_digest(stream) if stream else DEFAULT_STREAM
                had, has = LmdbLocks(txn, shard.locks, key + digest).change(overlay)
                if bool(had) != bool(has):
                    shard.counters[self._counter(file, digest)] += 1 if has else -1
            if decision.record.empty:
                if before is not None:
                    txn.delete(key, db=shard.records)
                    self._known.pop(file, None)
            else:
                after = decision.record.encode()
                if after != before:
                    txn.put(key, after, db=shard.records)
                    self._know(file, after, decision.record)
        return decision

    def begin(self, file: FileKey, record: Record) -> bool:
        """As Store.begin."""
        shard = self._shard(file)
        data = record.encode()
        with shard.env.begin(shard.records, write=True) as txn:
            if not txn.put(FILE.pack(*file), data, overwrite=False):
                return False
        self._know(file, data, record)
        return True

    def end(self, file: FileKey, open_id: int) -> CloseResult | None:
        """As Store.end."""
        shard = self._shard(file)
        key = FILE.pack(*file)
        with shard.env.begin(shard.records, write=True) as txn:
            data = txn.get(key)
            if data is None:
                return None
            record = self._decode(file, data)
            closed = last_close(record, open_id)
            if closed is None:
                return None
            entry = record.opens[open_id]
            digest = stream_digest(entry.stream) if entry.stream else DEFAULT_STREAM
            if shard.counters[self._counter(file, digest)]:
                return None
            txn.delete(key)
        self._known.pop(file, None)
        return closed

    def _decode(self, file: FileKey, data: bytes) -> Record:
        """The record of these bytes, not to be changed; who reads again what it wrote or read last decodes nothing."""
        known = self._known.get(file)
        if known is not None and known[0] == data:
            return known[1]
        record = Record.decode(data)
        self._know(file, data, record)
        return record

    def _know(self, file: FileKey, data: bytes, record: Record) -> None:
        if len(self._known) >= KNOWN:  # what another worker changed or ended stays in here
            self._known.clear()
        self._known[file] = (data, record)

    def _locks_of(self, shard: _Shard, txn: Any, file: FileKey, key: bytes) -> Callable[[str], LockView]:
        def locks(stream: str) -> LockView:
            digest = stream_digest(stream) if stream else DEFAULT_STREAM
            if not shard.counters[self._counter(file, digest)]:
                return EMPTY  # the writer lock is ours, so it stays zero
            return LmdbLocks(txn, shard.locks, key + digest)

        return locks

    def peek(self, file: FileKey) -> Record | None:
        """As Store.peek."""
        shard = self._shard(file)
        with shard.env.begin() as txn:
            data = txn.get(FILE.pack(*file), db=shard.records)
        return self._decode(file, data) if data is not None else None

    def files(self) -> list[FileKey]:
        """As Store.files."""
        found: list[FileKey] = []
        for shard in self._shards:
            with shard.env.begin() as txn, txn.cursor(db=shard.records) as cursor:
                for key in cursor.iternext(values=False):
                    device, inode = FILE.unpack(key)
                    found.append((device, inode))
        return found

    def io_conflict(self, file: FileKey, stream: str, offset: int, length: int, write: bool, open_id: int) -> bool:
        """As Store.io_conflict."""
        shard = self._shard(file)
        digest = stream_digest(stream) if stream else DEFAULT_STREAM
        if not shard.counters[self._counter(file, digest)]:
            return False
        with shard.env.begin() as txn:
            locks = LmdbLocks(txn, shard.locks, FILE.pack(*file) + digest)
            return io_conflict(locks, offset, length, write, open_id)

    def lock_count(self, file: FileKey, stream: str) -> int:
        """As Store.lock_count."""
        shard = self._shard(file)
        with shard.env.begin() as txn:
            return LmdbLocks(txn, shard.locks, FILE.pack(*file) + stream_digest(stream)).count

    def index_get(self, index: bytes, key: bytes) -> tuple[Any, ...] | None:
        """As Store.index_get."""
        with self._index_env.begin() as txn:
            value = txn.get(index + key, db=self._index)
        return tuple(marshal.loads(value)) if value is not None else None  # noqa: S302 - our own bytes

    def index_put(self, index: bytes, key: bytes, value: tuple[Any, ...]) -> None:
        """As Store.index_put."""
        with self._index_env.begin(write=True) as txn:
            txn.put(index + key, marshal.dumps(value), db=self._index)

    def index_remove(self, index: bytes, key: bytes) -> None:
        """As Store.index_remove."""
        if self.index_get(index, key) is not None:
            with self._index_env.begin(write=True) as txn:
                txn.delete(index + key, db=self._index)

    def index_items(self, index: bytes) -> list[tuple[bytes, tuple[Any, ...]]]:
        """As Store.index_items."""
        found = []
        with self._index_env.begin() as txn, txn.cursor(db=self._index) as cursor:
            there = cursor.set_range(index)
            while there and cursor.key().startswith(index):
                value = tuple(marshal.loads(cursor.value()))  # noqa: S302 - our own bytes
                found.append((bytes(cursor.key()[len(index) :]), value))
                there = cursor.next()
        return found

    def files_below(self, share: str, path: str) -> list[FileKey]:
        """As Store.files_below. Folders are renamed seldom, files opened all the time: so it looks at all of them."""
        prefix = path_prefix(share, path)
        found = []
        for shard in self._shards:
            with shard.env.begin() as txn, txn.cursor(db=shard.records) as cursor:
                for key, data in cursor:
                    for fields in marshal.loads(data)[0]:  # noqa: S302 - our own bytes
                        name = path_key(fields[SHARE], fields[PATH])
                        if name.startswith(prefix) and name != prefix:
                            device, inode = FILE.unpack(key)
                            found.append((name, fields[0], (device, inode)))
        return list(dict.fromkeys(file for _, _, file in sorted(found)))

    def recover(self) -> None:
        """As Store.recover: free what a dead process had of LMDB, and count the locks again."""
        self._index_env.reader_check()
        for shard in self._shards:
            shard.env.reader_check()
            with shard.env.begin(write=True) as txn, txn.cursor(db=shard.locks) as cursor:
                counts = [0] * COUNTERS
                for key in cursor.iternext(values=False):
                    if len(key) == FILE.size + 16:
                        device, inode = FILE.unpack_from(key)
                        counts[self._counter((device, inode), key[FILE.size :])] += 1
                for number, count in enumerate(counts):
                    shard.counters[number] = count

    @property
    def empty(self) -> bool:
        """Nothing is left anywhere; for tests of clean-up."""
        with self._index_env.begin() as txn:
            left = txn.stat(self._index)["entries"]
        for shard in self._shards:
            with shard.env.begin() as txn:
                left += sum(txn.stat(db)["entries"] for db in (shard.records, shard.locks))
        return not left and not any(self._counters)

    def close(self) -> None:
        """As Store.close."""
        self._index_env.close()
        for shard in self._shards:
            shard.env.close()
            shard.counters.release()
        self._counters.release()
        self._shared.close()
