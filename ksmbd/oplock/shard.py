# SPDX-License-Identifier: GPL-2.0-or-later
"""One of the LMDB environments of LmdbStore, with the records and journals of a part of the files.

For a record with a journal, a process reads only the new pieces, so that the cost of an open, lock or close does not
grow with the opens and locks of the file. A journal is rewritten when most of it is about opens and locks that have
ended; the cost of that is proportional to what has ended since the last time.
"""
from __future__ import annotations

import marshal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import lmdb

from ksmbd.limits import LOCKS
from ksmbd.oplock import journal
from ksmbd.oplock.decoded import NO_LOCKS, Decoded, Journaled
from ksmbd.oplock.environment import Environment, Transaction, failed
from ksmbd.oplock.fast_path import last_close
from ksmbd.oplock.locks import EMPTY, LockSet, LockView
from ksmbd.oplock.record import OpenEntry, Record
from ksmbd.oplock.requests import CloseResult, Decision
from ksmbd.oplock.shared_counters import COUNTERS, HELD, JOURNALS, SharedCounters, counter_of
from ksmbd.oplock.store import Decide, StoreFull, grows, more_locks
from ksmbd.smb.ports import FileKey

REWRITE: Final = 16
"""A journal is rewritten when the sum of its changes exceeds twice the size of the record by this number."""

SHARE: Final = OpenEntry._fields.index("share")
PATH: Final = OpenEntry._fields.index("path")
FILE: Final = struct.Struct(">QQ")
HEAD: Final = struct.Struct(">sQQQQ")
"""HEAD_MARK, the journal's number, its number of pieces, the sum of its changes (journal.weight), Record.serial."""
HEAD_MARK: Final = b"J"
_HEAD_BYTE: Final = HEAD_MARK[0]
PIECE_NUMBER: Final = struct.Struct(">Q")


class Shard:
    """One environment with a part of the files. Its methods raise StoreError, except those that say lmdb.Error."""

    def __init__(self, path: Path, fresh: bool, shared: SharedCounters, part: int, decoded: Decoded) -> None:
        """`part` is its number in the shared counters. Raises OSError and lmdb.Error, as Environment."""
        self.environment = Environment(path, (b"records", b"journal", b"index"), fresh)
        self.records, self.journal = self.environment.databases[:2]
        self.counters = shared.counters_of(part)
        self.words = shared.words_of(part)
        self._shared = shared
        self._decoded = decoded

    # ------------------------------------------------------------------------------------------------------- changes

    def update(self, file: FileKey, decide: Decide) -> Decision:
        """As Store.update."""
        rewrite = True
        while True:
            try:
                return self._update(file, decide, rewrite)
            except lmdb.MapFullError:
                if not self.environment.grown():
                    if not rewrite:
                        raise StoreFull("no room for more opens and locks") from None
                    rewrite = False  # rewriting a journal needs room for the old one and the new one
            except lmdb.Error as error:
                raise failed(error) from error

    def _update(self, file: FileKey, decide: Decide, rewrite: bool) -> Decision:
        key = FILE.pack(*file)
        counted: list[tuple[int, int]] = []
        more = 0
        try:
            with self.environment.begin(True) as txn:
                before = txn.get(key, db=self.records)
                known = None
                if before is None:
                    old = Record()
                elif before[:1] == HEAD_MARK:
                    known = self._read(txn, file, key, before)
                    old = known.record
                else:
                    old = self._decoded.record(file, before)
                decision = decide(old, _locks_of(known))
                more = self._check_room(txn, old, decision)
                kept = self._put(txn, key, before, old, known, decision, rewrite)
                if decision.locks:
                    # Counted before the commit, so that no reader sees a zero counter for a stream with locks.
                    counted = self._count(file, known, decision)
                    self.words[HELD] += more
        except lmdb.Error:
            if counted:
                for counter, change in counted:
                    self.counters[counter] -= change
                self.words[HELD] -= more
            raise
        decision.record.opens.commit()
        if isinstance(kept, Journaled):
            journal.apply_overlays(decision.locks, kept.locks)
            self._decoded.keep_journal(file, kept)
        elif kept:
            self._decoded.keep(file, kept, decision.record)
        else:
            self._decoded.forget(file)
        return decision

    def _check_room(self, txn: Transaction, old: Record, decision: Decision) -> int:
        """The change of the number of locks by a decision. Raises StoreFull where it exceeds LOCKS, and MapFullError
        where the decision adds something and only the reserved room is left."""
        if grows(old, decision) and not self.environment.has_room(txn):
            raise lmdb.MapFullError("kept for what ends things")
        if not decision.locks:
            return 0
        more = more_locks(decision)
        if more > 0 and self._shared.locks() + more > LOCKS.value:
            raise StoreFull("too many locks")
        return more

    def _put(
        self, txn: Transaction, key: bytes, before: bytes | None, old: Record, known: Journaled | None,
        decision: Decision, rewrite: bool,
    ) -> Journaled | bytes:  # fmt: skip
        """Store the record of a decision in place of `before`. Returns what the cache keeps after the commit: a
        Journaled, still without the changes of locks; or the record's encoding, b"" where no record is left."""
        new = decision.record
        if new.empty:
            if before is not None:
                txn.delete(key, db=self.records)
                if known is not None:
                    self._clear(txn, key)
            return b""
        if known is None and not decision.locks:
            data = new.encode()
            if len(data) <= journal.PIECE:
                if data != before:
                    txn.put(key, data, db=self.records)
                return data
        return self._write(txn, key, old, known, decision, rewrite)

    def _write(
        self, txn: Transaction, key: bytes, old: Record, known: Journaled | None, decision: Decision, rewrite: bool
    ) -> Journaled | bytes:
        """`_put` for a record that has a journal or gets one."""
        new = decision.record
        if known is None:
            # The record gets a journal, which begins with its contents before this decision.
            after = Journaled(self._begin_journal(), new, {})
            self._append(txn, key, after, journal.everything(old, NO_LOCKS))
        else:
            after = Journaled(known.number, new, known.locks)
            after.pieces, after.things = known.pieces, known.things
        found = journal.changes(old, new)
        for stream, overlay in decision.locks.items():
            found += journal.lock_changes(stream, overlay)
        self._append(txn, key, after, found)
        if rewrite and after.things > REWRITE:
            left = journal.size(new, after.locks) + more_locks(decision)
            if after.things > 2 * left + REWRITE:
                return self._rewrite(txn, key, after, decision)
        self._put_head(txn, key, after)
        return after

    def _rewrite(self, txn: Transaction, key: bytes, after: Journaled, decision: Decision) -> Journaled | bytes:
        """Rewrite the journal without what has ended; or remove it where a short record without locks is left."""
        new = decision.record
        self._clear(txn, key)
        locks = {stream: held for stream, held in after.locks.items() if stream not in decision.locks}
        if not locks and not any(overlay.count for overlay in decision.locks.values()):
            data = new.encode()
            if len(data) <= journal.PIECE:
                txn.put(key, data, db=self.records)
                return data
        after.number = self._begin_journal()
        after.pieces = after.things = 0
        self._append(txn, key, after, journal.everything(new, locks))
        for stream, overlay in decision.locks.items():
            self._append(txn, key, after, journal.view_changes(stream, overlay, new.opens))
        self._put_head(txn, key, after)
        return after

    def _put_head(self, txn: Transaction, key: bytes, after: Journaled) -> None:
        head = HEAD.pack(HEAD_MARK, after.number, after.pieces, after.things, after.record.serial)
        txn.put(key, head, db=self.records)

    def _begin_journal(self) -> int:
        """A new journal number, unique in the environment."""
        self.words[JOURNALS] += 1
        return int(self.words[JOURNALS])

    def _append(self, txn: Transaction, key: bytes, after: Journaled, found: list[journal.Change]) -> None:
        if not found:
            return
        for piece in journal.pieces(found):
            txn.put(key + PIECE_NUMBER.pack(after.pieces), piece, db=self.journal)
            after.pieces += 1
        for change in found:
            after.things += journal.weight(change)

    def _clear(self, txn: Transaction, key: bytes) -> None:
        """Delete a record's journal."""
        with txn.cursor(db=self.journal) as cursor:
            found = cursor.set_range(key)
            while found and cursor.key().startswith(key):
                found = cursor.delete()

    def _count(self, file: FileKey, known: Journaled | None, decision: Decision) -> list[tuple[int, int]]:
        """Update the counters of streams that get their first lock or lose their last one. Returns [(counter,
        change)]."""
        counted: list[tuple[int, int]] = []
        for stream, overlay in decision.locks.items():
            had, has = known is not None and stream in known.locks, overlay.count > 0
            counter = counter_of(file, stream)
            change = int(has) - int(had)
            self.counters[counter] += change
            counted.append((counter, change))
        return counted

    def begin(self, file: FileKey, record: Record) -> bool:
        """As Store.begin."""
        environment = self.environment
        device, inode = file
        data = record.encode()
        if len(data) > journal.PIECE:
            return False  # `update` knows how to store it
        while True:
            try:
                txn = environment.begin(True)
                try:
                    if not environment.has_room(txn):
                        raise lmdb.MapFullError("kept for what ends things")
                    added = txn.put(FILE.pack(device, inode), data, True, False, False, self.records)
                except BaseException:
                    txn.abort()
                    raise
                txn.commit()
                if not added:
                    return False
                break
            except lmdb.MapFullError:
                if not environment.grown():
                    raise StoreFull("no room for more opens") from None
            except lmdb.Error as error:
                raise failed(error) from error
        self._decoded.keep(file, data, record)
        return True

    def end(self, file: FileKey, open_id: int) -> CloseResult | None:
        """As Store.end."""
        device, inode = file
        key = FILE.pack(device, inode)
        try:
            # Without `with` and keywords, which would cost a third more
            txn = self.environment.begin(True)
            closed = None
            try:
                data = txn.get(key, None, self.records)
                if data is not None and data[0] != _HEAD_BYTE:
                    closed = last_close(self._decoded.record(file, data), open_id)
                if closed is not None:
                    txn.delete(key, b"", self.records)
            except BaseException:
                txn.abort()
                raise
            if closed is None:
                txn.abort()
                return None
            txn.commit()
        except lmdb.MapFullError:
            return None  # `update` looks for room
        except lmdb.Error as error:
            raise failed(error) from error
        self._decoded.records.pop(file, None)
        return closed

    # ------------------------------------------------------------------------------------------------------- reading

    def _read(self, txn: Transaction, file: FileKey, key: bytes, head: bytes) -> Journaled:
        """The record with this head. Reads the part of its journal that is not in the cache."""
        _, number, pieces, things, serial = HEAD.unpack(head)
        known = self._decoded.journals.get(file)
        if known is None or known.number != number:
            known = Journaled(number, Record(), {})
        if known.pieces != pieces:
            with txn.cursor(db=self.journal) as cursor:
                found = cursor.set_key(key + PIECE_NUMBER.pack(known.pieces))
                while found and known.pieces < pieces:
                    journal.apply(cursor.value(), known.record, known.locks)
                    known.pieces += 1
                    found = cursor.next()
            known.record.opens.commit()
            known.things = things
            self._decoded.keep_journal(file, known)
        known.record.serial = serial
        return known

    def peek(self, file: FileKey) -> tuple[Record, dict[str, LockSet]] | None:
        """(record, stream -> locks) as they are now, which the caller does not change; None: there is no record."""
        key = FILE.pack(*file)
        try:
            with self.environment.begin() as txn:
                data = txn.get(key, db=self.records)
                if data is None:
                    return None
                if data[:1] != HEAD_MARK:
                    return self._decoded.record(file, data), NO_LOCKS
                known = self._read(txn, file, key, data)
                return known.record, known.locks
        except lmdb.Error as error:
            raise failed(error) from error

    def files(self) -> list[FileKey]:
        """All its files with a record. Raises lmdb.Error."""
        found: list[FileKey] = []
        with self.environment.begin() as txn, txn.cursor(db=self.records) as cursor:
            for key in cursor.iternext(values=False):
                device, inode = FILE.unpack(key)
                found.append((device, inode))
        return found

    def paths(self) -> list[tuple[FileKey, str, str, int]]:
        """File, share, path and id of all opens. Raises lmdb.Error."""
        found: list[tuple[FileKey, str, str, int]] = []
        with self.environment.begin() as txn, txn.cursor(db=self.records) as cursor:
            for key, data in cursor:
                device, inode = FILE.unpack(key)
                file = (device, inode)
                if data[:1] == HEAD_MARK:
                    record = self._read(txn, file, key, data).record
                    found += [(file, entry.share, entry.path, entry.open_id) for entry in record.opens.values()]
                else:
                    opens = marshal.loads(data)[0]  # noqa: S302 - our own bytes
                    found += [(file, fields[SHARE], fields[PATH], fields[0]) for fields in opens]
        return found

    # -------------------------------------------------------------------------------------------------------- upkeep

    def recover(self) -> None:
        """As Store.recover: free what a dead process had of LMDB, and count the locks again. Raises lmdb.Error."""
        self.environment.env.reader_check()
        with self.environment.begin(True) as txn, txn.cursor(db=self.records) as cursor:
            counts = [0] * COUNTERS
            held = 0
            for key, data in cursor:
                if data[:1] == HEAD_MARK:
                    device, inode = FILE.unpack(key)
                    file = (device, inode)
                    for stream, locks in self._read(txn, file, key, data).locks.items():
                        counts[counter_of(file, stream)] += 1
                        held += locks.count
            for number, count in enumerate(counts):
                self.counters[number] = count
            self.words[HELD] = held

    def entries(self) -> int:
        """How many records, pieces of journals and entries of indexes there are. Raises lmdb.Error."""
        with self.environment.begin() as txn:
            return sum(txn.stat(db)["entries"] for db in self.environment.databases)

    def close(self) -> None:
        """Give up what it has open."""
        self.environment.close()
        self.counters.release()
        self.words.release()


def _locks_of(known: Journaled | None) -> Callable[[str], LockView]:
    if known is None:
        return _no_locks
    locks = known.locks
    return lambda stream: locks.get(stream, EMPTY)


def _no_locks(stream: str) -> LockView:
    return EMPTY
