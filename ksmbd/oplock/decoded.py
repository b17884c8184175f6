# SPDX-License-Identifier: GPL-2.0-or-later
"""Caches the records that a process has decoded or written, so that it does not decode them again.

A record without a journal is cached with the bytes that it was decoded from: if the store has the same bytes, the
record is unchanged. For a record with a journal (ksmbd.oplock.journal) the cache knows how much of the journal was
read.
"""
from __future__ import annotations

from typing import Final

from ksmbd.oplock import journal
from ksmbd.oplock.locks import LockSet
from ksmbd.oplock.record import Record
from ksmbd.smb.ports import FileKey

KNOWN: Final = 16384
"""Records without a journal that a process caches."""
KNOWN_THINGS: Final = 100_000
"""Opens and locks in cached records with a journal; one such record is always kept."""
NO_LOCKS: Final[dict[str, LockSet]] = {}
"""The locks of a record without a journal."""


class Journaled:
    """A record with a journal as this process has read it."""

    __slots__ = ("locks", "number", "pieces", "record", "things")

    def __init__(self, number: int, record: Record, locks: dict[str, LockSet]) -> None:
        self.number = number
        """The journal's number, unique in its environment."""
        self.pieces = 0
        """How many pieces of the journal are in `record` and `locks`."""
        self.things = 0
        """The sum of journal.weight of all changes in the journal."""
        self.record = record
        self.locks = locks


class Decoded:
    """The cached records of one process."""

    def __init__(self) -> None:
        self.records: dict[FileKey, tuple[bytes, Record]] = {}
        """Records without a journal, with the bytes that they were decoded from."""
        self.journals: dict[FileKey, Journaled] = {}
        """Records with a journal, the least recently used first."""
        self.held: dict[FileKey, int] = {}
        """The journal.size of each record in `journals`."""

    def record(self, file: FileKey, data: bytes) -> Record:
        """The record that is encoded as `data`. The caller does not change it."""
        known = self.records.get(file)
        if known is not None and known[0] == data:
            return known[1]
        record = Record.decode(data)
        self.keep(file, data, record)
        return record

    def keep(self, file: FileKey, data: bytes, record: Record) -> None:
        """Cache a record without a journal."""
        if self.journals:
            self.journals.pop(file, None)
            self.held.pop(file, None)
        if len(self.records) >= KNOWN:  # records that other workers have changed or deleted are still in here
            self.records.clear()
        self.records[file] = (data, record)

    def keep_journal(self, file: FileKey, known: Journaled) -> None:
        """Cache a record with a journal. The least recently used ones are dropped beyond KNOWN_THINGS."""
        self.records.pop(file, None)
        journals = self.journals
        journals.pop(file, None)
        journals[file] = known
        self.held[file] = journal.size(known.record, known.locks)
        while len(journals) > 1 and sum(self.held.values()) > KNOWN_THINGS:
            oldest = next(iter(journals))
            del journals[oldest], self.held[oldest]

    def forget(self, file: FileKey) -> None:
        """Drop the record of a file that has none any more."""
        self.records.pop(file, None)
        self.journals.pop(file, None)
        self.held.pop(file, None)
