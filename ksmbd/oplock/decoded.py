# SPDX-License-Identifier: GPL-2.0-or-later
"""Records that a process keeps decoded, so that it decodes nothing twice: those that it wrote or read last.

A record without a journal is kept with the bytes that it was decoded from: if the store has the same bytes, nothing has
changed. Of a record with a journal (ksmbd.oplock.journal) it is kept how much of the journal was read.
"""
from __future__ import annotations

from typing import Final

from ksmbd.oplock import journal
from ksmbd.oplock.locks import LockSet
from ksmbd.oplock.record import Record
from ksmbd.smb.ports import FileKey

KNOWN: Final = 16384
"""Decoded records that a process keeps."""
KNOWN_THINGS: Final = 100_000
"""Opens and locks of records with a journal that a process keeps decoded, as long as it has more than one such."""
NO_LOCKS: Final[dict[str, LockSet]] = {}
"""Of a record without a journal."""


class Journaled:
    """A record with a journal as this process has read it."""

    __slots__ = ("locks", "number", "pieces", "record", "things")

    def __init__(self, number: int, record: Record, locks: dict[str, LockSet]) -> None:
        self.number = number
        """The journal's own, among all that its environment had."""
        self.pieces = 0
        """How many pieces of the journal are in `record` and `locks`."""
        self.things = 0
        """How many things the journal has told of (journal.weight)."""
        self.record = record
        self.locks = locks


class Decoded:
    """What one process keeps of all files."""

    def __init__(self) -> None:
        self.records: dict[FileKey, tuple[bytes, Record]] = {}
        """Records without a journal, and what they were decoded from."""
        self.journals: dict[FileKey, Journaled] = {}
        self.held: dict[FileKey, int] = {}
        """How many opens, locks and so on each of `journals` has."""

    def record(self, file: FileKey, data: bytes) -> Record:
        """The record that these bytes are. The caller does not change it."""
        known = self.records.get(file)
        if known is not None and known[0] == data:
            return known[1]
        record = Record.decode(data)
        self.keep(file, data, record)
        return record

    def keep(self, file: FileKey, data: bytes, record: Record) -> None:
        """Keep a record without a journal."""
        if self.journals:
            self.journals.pop(file, None)
            self.held.pop(file, None)
        if len(self.records) >= KNOWN:  # what another worker changed or ended stays in here
            self.records.clear()
        self.records[file] = (data, record)

    def keep_journal(self, file: FileKey, known: Journaled) -> None:
        """Keep a record with a journal; the oldest ones go where they are too large together."""
        self.records.pop(file, None)
        journals = self.journals
        journals.pop(file, None)
        journals[file] = known
        self.held[file] = journal.size(known.record, known.locks)
        while len(journals) > 1 and sum(self.held.values()) > KNOWN_THINGS:
            oldest = next(iter(journals))
            del journals[oldest], self.held[oldest]

    def forget(self, file: FileKey) -> None:
        """The file has no record any more."""
        self.records.pop(file, None)
        self.journals.pop(file, None)
        self.held.pop(file, None)
