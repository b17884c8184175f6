# SPDX-License-Identifier: GPL-2.0-or-later
"""The store of several workers: LMDB environments in the run directory.

An environment takes one writer at a time, so files are spread over a few by hash; the indexes over all files have their
own. Open it after the fork, once a process. Nothing here waits inside a transaction. It is lost with the machine, as
the opens in it are: nothing is synced.

Keys (numbers big-endian, so that they sort):
    records   device, inode               -> Record.encode(), or a Head where there is more than fits into one piece
    journal   device, inode, number       -> a piece of the record's journal (ksmbd.oplock.journal)
    index     index, key                  -> marshalled tuple

Each process keeps what it has decoded. Of a record with a journal it reads the pieces that are new, so what an open, a
lock or a close costs does not grow with the opens and locks that the file has. When most of a journal is about what has
ended it is written anew; that costs as much as what ended since the last time.

Whether a stream has locks at all is asked with every read and write, so the answer for most is in a table of counters
in shared memory: a counter of zero means no locks, anything else sends the question to the record. An environment's
counters are changed only by who holds its writer lock.
"""
from __future__ import annotations

import hashlib
import marshal
import mmap
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import lmdb

from ksmbd.limits import LOCKS
from ksmbd.oplock import journal
from ksmbd.oplock.environment import Environment, Full
from ksmbd.oplock.locks import EMPTY, LockSet, LockView, io_conflict
from ksmbd.oplock.record import OpenEntry, Record
from ksmbd.oplock.requests import CloseResult, Decision
from ksmbd.oplock.short import last_close
from ksmbd.oplock.store import Decide, Place, StoreError, StoreFull, grows, more_locks, path_key, path_prefix
from ksmbd.smb.ports import FileKey

ENVIRONMENTS: Final = 4
COUNTERS: Final = 1 << 14
"""Lock counters of one environment."""
KNOWN: Final = 16384
"""Decoded records that a process keeps."""
KNOWN_THINGS: Final = 100_000
"""Opens and locks of records with a journal that a process keeps decoded, as long as it has more than one such."""
REWRITE: Final = 16
"""A journal is written anew when it has told of twice as many things as there are left, and so many."""

SHARE: Final = OpenEntry._fields.index("share")
PATH: Final = OpenEntry._fields.index("path")
FILE: Final = struct.Struct(">QQ")
HEAD: Final = struct.Struct(">sQQQQ")
"""HEAD_MARK, the journal's own number, how many pieces and things it has told of, Record.serial."""
HEAD_MARK: Final = b"J"
PLACE: Final = struct.Struct(">Q")
COUNTER: Final = struct.Struct("=I")
WORD: Final = 8
JOURNALS: Final = 0
HELD: Final = 1
WORDS: Final = 2
"""Words of an environment: journals begun, locks."""


def stream_digest(stream: str) -> bytes:
    """16 bytes that stand for a stream's name where counters are chosen."""
    return hashlib.blake2b(stream.encode("utf-16-le", "surrogatepass"), digest_size=16).digest()


DEFAULT_STREAM: Final = stream_digest("")


class _Journal:
    """A record with a journal as this process has read it."""

    __slots__ = ("locks", "number", "pieces", "record", "things")

    def __init__(self, number: int, record: Record, locks: dict[str, LockSet]) -> None:
        self.number = number
        """Its own among all that its environment had."""
        self.pieces = 0
        self.things = 0
        self.record = record
        self.locks = locks


_NO_LOCKS: Final[dict[str, LockSet]] = {}
"""Of a record without a journal."""


class _Shard:
    """One environment with a part of the files."""

    def __init__(self, path: Path, fresh: bool, counters: memoryview, words: memoryview) -> None:
        self.environment = Environment(path, (b"records", b"journal"), fresh)
        self.records, self.journal = self.environment.databases
        self.counters = counters
        self.words = words


class LmdbStore:
    """The open table's store for several processes."""

    def __init__(self, directory: Path, fresh: bool = False) -> None:
        """Open the store in `directory`. `fresh`: begin with an empty one; only while nobody else has it open.

        Raises StoreError where there is no room for it, or where it is not there."""
        try:
            self._open(directory, fresh)
        except (OSError, lmdb.Error) as error:
            raise StoreError(str(error)) from error
        self._known: dict[FileKey, tuple[bytes, Record]] = {}
        """Records without a journal, and what they were decoded from."""
        self._journals: dict[FileKey, _Journal] = {}
        self._held: dict[FileKey, int] = {}
        """How many opens, locks and so on each of them has."""

    def _open(self, directory: Path, fresh: bool) -> None:
        if fresh:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if fresh else 0)
        counted = COUNTERS * COUNTER.size * ENVIRONMENTS
        whole = counted + ENVIRONMENTS * WORDS * WORD
        descriptor = os.open(directory / "counters", flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, whole)
            self._shared = mmap.mmap(descriptor, whole)
        finally:
            os.close(descriptor)
        memory = memoryview(self._shared)
        self._counters = memory[:counted].cast("I")
        self._words = memory[counted:].cast("Q")
        memory.release()
        self._shards = [
            _Shard(
                directory / f"files{number}", fresh, self._counters[number * COUNTERS : (number + 1) * COUNTERS],
                self._words[number * WORDS : (number + 1) * WORDS],
            )
            for number in range(ENVIRONMENTS)
        ]  # fmt: skip
        self._indexes = Environment(directory / "indexes", (b"index",), fresh)
        self._index = self._indexes.databases[0]

    # Which environment and which counter: Fibonacci hashing of inode and device.
    def _shard(self, file: FileKey) -> _Shard:
        return self._shards[((file[1] + file[0] * 31) * 0x9E3779B97F4A7C15 >> 61) % ENVIRONMENTS]

    @staticmethod
    def _counter(file: FileKey, stream: str) -> int:
        digest = stream_digest(stream) if stream else DEFAULT_STREAM
        return ((file[1] ^ file[0]) * 0x9E3779B1 ^ digest[0] << 5 ^ digest[1]) % COUNTERS

    # ------------------------------------------------------------------------------------------------------- changes

    def update(self, file: FileKey, decide: Decide) -> Decision:
        """As Store.update."""
        shard = self._shard(file)
        rewrite = True
        while True:
            try:
                return self._update(shard, file, decide, rewrite)
            except lmdb.MapFullError:
                if not _grown(shard.environment):
                    if not rewrite:
                        raise StoreFull("no room for more opens and locks") from None
                    rewrite = False  # which needs room for both
            except lmdb.Error as error:
                raise _failed(error) from error

    def _update(self, shard: _Shard, file: FileKey, decide: Decide, rewrite: bool) -> Decision:
        key = FILE.pack(*file)
        counted: list[tuple[int, int]] = []
        more = 0
        data = b""
        after: _Journal | None = None
        try:
            with shard.environment.begin(True) as txn:
                before = txn.get(key, db=shard.records)
                known = None
                if before is None:
                    old = Record()
                elif before[:1] == HEAD_MARK:
                    known = self._read(shard, txn, file, key, before)
                    old = known.record
                else:
                    old = self._decode(file, before)
                decision = decide(old, _locks_of(known))
                new, locks = decision.record, decision.locks
                if grows(old, decision) and not shard.environment.has_room(txn):
                    raise lmdb.MapFullError("kept for what ends things")
                if locks:
                    more = more_locks(decision)
                    if more > 0 and sum(self._words[HELD::WORDS]) + more > LOCKS.value:
                        raise StoreFull("too many locks")
                if new.empty:
                    if before is not None:
                        txn.delete(key, db=shard.records)
                        if known is not None:
                            _clear(shard, txn, key)
                else:
                    if known is None and not locks:
                        data = new.encode()
                    if data and len(data) <= journal.PIECE:
                        if data != before:
                            txn.put(key, data, db=shard.records)
                    else:
                        after, data = self._write(shard, txn, key, old, known, decision, rewrite)
                if locks:
                    # Counted before it is seen, so that nobody finds no locks where there are some.
                    counted = self._count(shard, file, known, decision)
                    shard.words[HELD] += more
        except lmdb.Error:
            if counted:
                for counter, change in counted:
                    shard.counters[counter] -= change
                shard.words[HELD] -= more
            raise
        new.opens.settle()
        if after is not None:
            journal.settle(locks, after.locks)
            self._keep_journal(file, after)
        elif data:
            self._keep(file, data, new)
        else:
            self._forget(file)
        return decision

    def _write(
        self, shard: _Shard, txn: Any, key: bytes, old: Record, known: _Journal | None, decision: Decision,
        rewrite: bool,
    ) -> tuple[_Journal | None, bytes]:  # fmt: skip
        """Store what a decision made of a record in its journal: what is known of that when it is committed, but for
        its locks; or its encoding, where it has no journal any more."""
        new = decision.record
        if known is None:
            # From now on it has a journal, which begins with what there was.
            after = _Journal(self._begin_journal(shard), new, {})
            self._append(shard, txn, key, after, journal.everything(old, _NO_LOCKS))
        else:
            after = _Journal(known.number, new, known.locks)
            after.pieces, after.things = known.pieces, known.things
        found = journal.changes(old, new)
        for stream, overlay in decision.locks.items():
            found += journal.lock_changes(stream, overlay)
        self._append(shard, txn, key, after, found)
        if rewrite and after.things > REWRITE:
            left = journal.size(new, after.locks) + more_locks(decision)
            if after.things > 2 * left + REWRITE:
                return self._rewrite(shard, txn, key, after, decision)
        head = HEAD.pack(HEAD_MARK, after.number, after.pieces, after.things, new.serial)
        txn.put(key, head, db=shard.records)
        return after, b""

    def _rewrite(
        self, shard: _Shard, txn: Any, key: bytes, after: _Journal, decision: Decision
    ) -> tuple[_Journal | None, bytes]:
        """Forget what has ended."""
        new = decision.record
        _clear(shard, txn, key)
        locks = {stream: held for stream, held in after.locks.items() if stream not in decision.locks}
        if not locks and not any(overlay.count for overlay in decision.locks.values()):
            data = new.encode()
            if len(data) <= journal.PIECE:
                txn.put(key, data, db=shard.records)
                return None, data
        after.number = self._begin_journal(shard)
        after.pieces = after.things = 0
        self._append(shard, txn, key, after, journal.everything(new, locks))
        for stream, overlay in decision.locks.items():
            self._append(shard, txn, key, after, journal.view_changes(stream, overlay, new.opens))
        txn.put(key, HEAD.pack(HEAD_MARK, after.number, after.pieces, after.things, new.serial), db=shard.records)
        return after, b""

    @staticmethod
    def _begin_journal(shard: _Shard) -> int:
        """A number that no journal of the environment had before."""
        shard.words[JOURNALS] += 1
        return int(shard.words[JOURNALS])

    @staticmethod
    def _append(shard: _Shard, txn: Any, key: bytes, after: _Journal, found: list[journal.Change]) -> None:
        if not found:
            return
        for piece in journal.pieces(found):
            txn.put(key + PLACE.pack(after.pieces), piece, db=shard.journal)
            after.pieces += 1
        for change in found:
            after.things += journal.weight(change)

    def _count(
        self, shard: _Shard, file: FileKey, known: _Journal | None, decision: Decision
    ) -> list[tuple[int, int]]:
        """Count the streams that have their first lock, or had their last: which counters that changed, and how."""
        counted: list[tuple[int, int]] = []
        for stream, overlay in decision.locks.items():
            had, has = known is not None and stream in known.locks, overlay.count > 0
            counter = self._counter(file, stream)
            change = int(has) - int(had)
            shard.counters[counter] += change
            counted.append((counter, change))
        return counted

    def begin(self, file: FileKey, record: Record) -> bool:
        """As Store.begin."""
        shard = self._shard(file)
        environment = shard.environment
        data = record.encode()
        if len(data) > journal.PIECE:
            return False  # the long way knows how to store it
        while True:
            try:
                with environment.begin(True) as txn:
                    if not environment.has_room(txn):
                        raise lmdb.MapFullError("kept for what ends things")
                    if not txn.put(FILE.pack(*file), data, overwrite=False, db=shard.records):
                        return False
                break
            except lmdb.MapFullError:
                if not _grown(environment):
                    raise StoreFull("no room for more opens") from None
            except lmdb.Error as error:
                raise _failed(error) from error
        self._keep(file, data, record)
        return True

    def end(self, file: FileKey, open_id: int) -> CloseResult | None:
        """As Store.end."""
        shard = self._shard(file)
        key = FILE.pack(*file)
        try:
            with shard.environment.begin(True) as txn:
                data = txn.get(key, db=shard.records)
                if data is None or data[:1] == HEAD_MARK:
                    return None
                closed = last_close(self._decode(file, data), open_id)
                if closed is None:
                    return None
                txn.delete(key, db=shard.records)
        except lmdb.MapFullError:
            return None  # the long way looks for room
        except lmdb.Error as error:
            raise _failed(error) from error
        self._known.pop(file, None)
        return closed

    # ------------------------------------------------------------------------------------------------------- records

    def _decode(self, file: FileKey, data: bytes) -> Record:
        """The record of these bytes, not to be changed; who reads again what it wrote or read last decodes nothing."""
        known = self._known.get(file)
        if known is not None and known[0] == data:
            return known[1]
        record = Record.decode(data)
        self._keep(file, data, record)
        return record

    def _read(self, shard: _Shard, txn: Any, file: FileKey, key: bytes, head: bytes) -> _Journal:
        """The record with this head; as much of its journal as is not known is read."""
        _, number, pieces, things, serial = HEAD.unpack(head)
        known = self._journals.get(file)
        if known is None or known.number != number:
            known = _Journal(number, Record(), {})
        if known.pieces != pieces:
            with txn.cursor(db=shard.journal) as cursor:
                found = cursor.set_key(key + PLACE.pack(known.pieces))
                while found and known.pieces < pieces:
                    journal.apply(cursor.value(), known.record, known.locks)
                    known.pieces += 1
                    found = cursor.next()
            known.record.opens.settle()
            known.things = things
            self._keep_journal(file, known)
        known.record.serial = serial
        return known

    def _keep(self, file: FileKey, data: bytes, record: Record) -> None:
        if self._journals:
            self._journals.pop(file, None)
            self._held.pop(file, None)
        if len(self._known) >= KNOWN:  # what another worker changed or ended stays in here
            self._known.clear()
        self._known[file] = (data, record)

    def _keep_journal(self, file: FileKey, known: _Journal) -> None:
        self._known.pop(file, None)
        journals = self._journals
        journals.pop(file, None)
        journals[file] = known
        self._held[file] = journal.size(known.record, known.locks)
        while len(journals) > 1 and sum(self._held.values()) > KNOWN_THINGS:
            oldest = next(iter(journals))
            del journals[oldest], self._held[oldest]

    def _forget(self, file: FileKey) -> None:
        self._known.pop(file, None)
        self._journals.pop(file, None)
        self._held.pop(file, None)

    def _peek(self, file: FileKey) -> tuple[Record, dict[str, LockSet]] | None:
        shard = self._shard(file)
        key = FILE.pack(*file)
        try:
            with shard.environment.begin() as txn:
                data = txn.get(key, db=shard.records)
                if data is None:
                    return None
                if data[:1] != HEAD_MARK:
                    return self._decode(file, data), _NO_LOCKS
                known = self._read(shard, txn, file, key, data)
                return known.record, known.locks
        except lmdb.Error as error:
            raise _failed(error) from error

    def peek(self, file: FileKey) -> Record | None:
        """As Store.peek."""
        known = self._peek(file)
        return known[0] if known is not None else None

    def locks_of(self, file: FileKey) -> Callable[[str], LockView]:
        """As Store.locks_of."""
        known = self._peek(file)
        held = known[1] if known is not None else _NO_LOCKS
        return lambda stream: held.get(stream, EMPTY)

    def files(self) -> list[FileKey]:
        """As Store.files."""
        found: list[FileKey] = []
        try:
            for shard in self._shards:
                with shard.environment.begin() as txn, txn.cursor(db=shard.records) as cursor:
                    for key in cursor.iternext(values=False):
                        device, inode = FILE.unpack(key)
                        found.append((device, inode))
        except lmdb.Error as error:
            raise _failed(error) from error
        return found

    def io_conflict(self, file: FileKey, stream: str, offset: int, length: int, write: bool, open_id: int) -> bool:
        """As Store.io_conflict."""
        if not self._shard(file).counters[self._counter(file, stream)]:
            return False
        known = self._peek(file)
        held = known[1].get(stream) if known is not None else None
        return held is not None and io_conflict(held, offset, length, write, open_id)

    def lock_count(self, file: FileKey, stream: str) -> int:
        """As Store.lock_count."""
        known = self._peek(file)
        held = known[1].get(stream) if known is not None else None
        return held.count if held is not None else 0

    # ------------------------------------------------------------------------------------------------------- indexes

    def index_get(self, index: bytes, key: bytes) -> Place | None:
        """As Store.index_get."""
        try:
            with self._indexes.begin() as txn:
                value = txn.get(index + key, db=self._index)
        except lmdb.Error as error:
            raise _failed(error) from error
        return Place._make(marshal.loads(value)) if value is not None else None  # noqa: S302 - our own bytes

    def index_put(self, index: bytes, key: bytes, place: Place) -> None:
        """As Store.index_put."""
        data = marshal.dumps(tuple(place))
        while True:
            try:
                with self._indexes.begin(True) as txn:
                    if not self._indexes.has_room(txn):
                        raise lmdb.MapFullError("kept for what ends things")
                    txn.put(index + key, data, db=self._index)
                return
            except lmdb.MapFullError:
                if not _grown(self._indexes):
                    raise StoreFull("no room for more leases and durable opens") from None
            except lmdb.Error as error:
                raise _failed(error) from error

    def index_remove(self, index: bytes, key: bytes) -> None:
        """As Store.index_remove."""
        while self.index_get(index, key) is not None:
            try:
                with self._indexes.begin(True) as txn:
                    txn.delete(index + key, db=self._index)
                return
            except lmdb.MapFullError:
                if not _grown(self._indexes):
                    raise StoreFull("no room at all") from None
            except lmdb.Error as error:
                raise _failed(error) from error

    def index_items(self, index: bytes) -> list[tuple[bytes, Place]]:
        """As Store.index_items."""
        found: list[tuple[bytes, Place]] = []
        try:
            with self._indexes.begin() as txn, txn.cursor(db=self._index) as cursor:
                there = cursor.set_range(index)
                while there and cursor.key().startswith(index):
                    place = Place._make(marshal.loads(cursor.value()))  # noqa: S302 - our own bytes
                    found.append((bytes(cursor.key()[len(index) :]), place))
                    there = cursor.next()
        except lmdb.Error as error:
            raise _failed(error) from error
        return found

    def files_below(self, share: str, path: str) -> list[FileKey]:
        """As Store.files_below. Folders are renamed seldom, files opened all the time: so it looks at all of them."""
        prefix = path_prefix(share, path)
        found: list[tuple[str, int, FileKey]] = []
        try:
            for shard in self._shards:
                for file, of, where, open_id in self._paths(shard):
                    name = path_key(of, where)
                    if name.startswith(prefix) and name != prefix:
                        found.append((name, open_id, file))
        except lmdb.Error as error:
            raise _failed(error) from error
        return list(dict.fromkeys([file for _, _, file in sorted(found)]))

    def _paths(self, shard: _Shard) -> list[tuple[FileKey, str, str, int]]:
        """File, share, path and id of all opens."""
        found: list[tuple[FileKey, str, str, int]] = []
        with shard.environment.begin() as txn, txn.cursor(db=shard.records) as cursor:
            for key, data in cursor:
                device, inode = FILE.unpack(key)
                file = (device, inode)
                if data[:1] == HEAD_MARK:
                    record = self._read(shard, txn, file, key, data).record
                    found += [(file, entry.share, entry.path, entry.open_id) for entry in record.opens.values()]
                else:
                    opens = marshal.loads(data)[0]  # noqa: S302 - our own bytes
                    found += [(file, fields[SHARE], fields[PATH], fields[0]) for fields in opens]
        return found

    # -------------------------------------------------------------------------------------------------------- upkeep

    def recover(self) -> None:
        """As Store.recover: free what a dead process had of LMDB, and count the locks again."""
        try:
            self._indexes.env.reader_check()
            for shard in self._shards:
                self._recover(shard)
        except lmdb.Error as error:
            raise _failed(error) from error

    def _recover(self, shard: _Shard) -> None:
        shard.environment.env.reader_check()
        with shard.environment.begin(True) as txn, txn.cursor(db=shard.records) as cursor:
            counts = [0] * COUNTERS
            held = 0
            for key, data in cursor:
                if data[:1] == HEAD_MARK:
                    device, inode = FILE.unpack(key)
                    file = (device, inode)
                    for stream, locks in self._read(shard, txn, file, key, data).locks.items():
                        counts[self._counter(file, stream)] += 1
                        held += locks.count
            for number, count in enumerate(counts):
                shard.counters[number] = count
            shard.words[HELD] = held

    @property
    def empty(self) -> bool:
        """Nothing is left anywhere; for tests of clean-up."""
        try:
            with self._indexes.begin() as txn:
                left = txn.stat(self._index)["entries"]
            for shard in self._shards:
                with shard.environment.begin() as txn:
                    left += sum(txn.stat(db)["entries"] for db in (shard.records, shard.journal))
        except lmdb.Error as error:
            raise _failed(error) from error
        return not left and not any(self._counters) and not any(self._words[HELD::WORDS])

    def close(self) -> None:
        """As Store.close."""
        self._indexes.close()
        for shard in self._shards:
            shard.environment.close()
            shard.counters.release()
            shard.words.release()
        self._counters.release()
        self._words.release()
        self._shared.close()


def _locks_of(known: _Journal | None) -> Callable[[str], LockView]:
    if known is None:
        return _no_locks
    locks = known.locks
    return lambda stream: locks.get(stream, EMPTY)


def _no_locks(stream: str) -> LockView:
    return EMPTY


def _clear(shard: _Shard, txn: Any, key: bytes) -> None:
    """Take out a record's journal."""
    with txn.cursor(db=shard.journal) as cursor:
        found = cursor.set_range(key)
        while found and cursor.key().startswith(key):
            found = cursor.delete()


def _grown(environment: Environment) -> bool:
    try:
        environment.grow()
    except Full:
        return False
    return True


def _failed(error: lmdb.Error) -> StoreError:
    return StoreError(f"the store of open files fails: {error}")
