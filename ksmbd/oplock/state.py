# SPDX-License-Identifier: GPL-2.0-or-later
"""Stores persistent opens with their leases and locks on the disk, so that they outlive the server (MS-SMB2 3.3.1.10).

The open table writes every decision on a file with persistent opens here, synced, before it is answered. A server that
starts adopts the stored opens as disconnected ones before it listens. Each lock has its own key, so that a new lock
among many writes one entry only.

Keys (numbers big-endian):
    records   device, inode                            -> marshalled (serial, opens, holders, streams, links)
    locks     device, inode, open id, lock number      -> marshalled (stream, first, length, exclusive)

`streams` and `links` are those that are marked for deletion. Earlier versions stored no links, and '' in `streams` for
the whole file; this is read as the links of all stored opens.
"""
from __future__ import annotations

import logging
import os
import struct
from pathlib import Path
from typing import Any, Final

import lmdb

from ksmbd.oplock.record import Link, Record, holder_key
from ksmbd.oplock.requests import Adopt, Decision, Open, Request, TakeLocks
from ksmbd.oplock.state_records import StoredOpens, Unreadable, decode, encode, pack, unpack
from ksmbd.oplock.store import StoreError
from ksmbd.smb.ports import FileKey
from ksmbd.smb.status import STATUS_DISK_FULL

logger = logging.getLogger("ksmbd.oplock")

MAP_SIZE: Final = 1 << 30
PAGE: Final = 4096
ROOM: Final = 512 << 10
"""Bytes of the disk that one decision may need."""
FILE: Final = struct.Struct(">QQ")
LOCK: Final = struct.Struct(">QQQQ")
StoredLock = tuple[str, int, int, bool, int, int]
"""(stream, offset, length, exclusive, open id, number)."""


def persistent_part(record: Record) -> tuple[list[Any], list[Any], list[str], list[Link]] | None:
    """The part of a record that must be stored: (opens, holders, streams, links); None where it has no persistent
    open."""
    opens = [entry for entry in record.opens.values() if entry.persistent]
    if not opens:
        return None
    holders = {holder_key(holder): holder for entry in opens if (holder := record.holder_of(entry)) is not None}
    return (
        # Deadlines and `connected` are cleared, so that a change of them alone causes no write.
        [tuple(entry._replace(connected=False, deadline=0.0)) for entry in opens],
        [tuple(holder._replace(deadline=0.0)) for holder in holders.values()],
        sorted(record.delete_pending),
        sorted(record.deleted_links.intersection(entry.link for entry in opens)),
    )


def keeps_more(record: Record, request: Request) -> bool:
    """Whether a request may add something that must be stored."""
    if isinstance(request, Open):
        return request.durable is not None and request.durable[2]
    if isinstance(request, TakeLocks):
        entry = record.opens.get(request.open_id)
        return entry is not None and entry.persistent
    return False


class StateDirectory:
    """The stored persistent opens of one server; several workers may have it open."""

    def __init__(self, directory: Path) -> None:
        """Raises StoreError."""
        try:
            self._open(directory)
        except (OSError, lmdb.Error) as error:
            raise StoreError(str(error)) from error
        self._allocated = 0

    def _open(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._env = lmdb.open(os.fspath(directory), map_size=MAP_SIZE, max_dbs=2, max_readers=512, mode=0o600)
        self._records = self._env.open_db(b"records")
        self._locks = self._env.open_db(b"locks")
        self._data = os.open(directory / "data.mdb", os.O_RDWR | os.O_CLOEXEC)

    def make_room(self) -> None:
        """Allocate disk space before a decision for which `keeps_more` is true, so that it and the later removal can be
        written. Raises StoreError with STATUS_DISK_FULL."""
        used = (self._env.info()["last_pgno"] + 1) * PAGE
        if used + ROOM > self._allocated:
            try:
                os.posix_fallocate(self._data, 0, used + 2 * ROOM)
            except OSError as error:
                raise StoreError(f"persistent opens cannot be kept: {error.strerror}", STATUS_DISK_FULL) from error
            self._allocated = used + 2 * ROOM

    def note(self, file: FileKey, decision: Decision) -> None:
        """Store a decision's changes of the file's persistent opens; returns when they are on the disk. Raises
        StoreError."""
        try:
            self._note(file, decision)
        except lmdb.Error as error:
            raise StoreError(f"persistent opens cannot be kept: {error}", STATUS_DISK_FULL) from error

    def _note(self, file: FileKey, decision: Decision) -> None:
        record = decision.record
        part = persistent_part(record)
        key = FILE.pack(*file)
        with self._env.begin() as txn:
            old = txn.get(key, db=self._records)
        if part is None and old is None:
            return
        numbers = {entry.open_id for entry in record.opens.values() if entry.persistent}
        added = [
            (stream, lock) for stream, overlay in decision.locks.items() for lock in overlay.added.values()
            if lock.open_id in numbers
        ]  # fmt: skip
        removed = [lock for overlay in decision.locks.values() for lock in overlay.removed]
        if old is not None and not added and not removed:
            if part is not None and _fields(old)[1:] == part:
                return
        with self._env.begin(write=True) as txn:
            newer = txn.get(key, db=self._records)
            # Another worker may have stored a later decision already.
            if newer is None or _fields(newer)[0] < record.serial:
                if part is None:
                    txn.delete(key, db=self._records)
                else:
                    txn.put(key, encode(record.serial, part), db=self._records)
            for lock in removed:
                txn.delete(LOCK.pack(*file, lock.open_id, lock.number), db=self._locks)
            for stream, lock in added:
                value = pack((stream, lock.first, lock.last - lock.first + 1, lock.exclusive))
                txn.put(LOCK.pack(*file, lock.open_id, lock.number), value, db=self._locks)

    def load(self) -> list[tuple[FileKey, Adopt]]:
        """All stored opens, as (file, request) for the open table of a server that starts. Raises StoreError."""
        try:
            return self._load()
        except lmdb.Error as error:
            raise StoreError(str(error)) from error

    def _load(self) -> list[tuple[FileKey, Adopt]]:
        found: list[tuple[FileKey, Adopt]] = []
        with self._env.begin() as txn, txn.cursor(db=self._records) as cursor:
            for key, value in cursor:
                try:
                    stored, locks = decode(value), locks_of(txn, self._locks, key)
                except Unreadable as error:
                    logger.warning("a file's persistent opens cannot be read (%s); they end", error)
                    continue
                device, inode = FILE.unpack(key)
                found.append(((device, inode), _adopt_of(stored, locks)))
        return found

    def close(self) -> None:
        """Close the directory."""
        os.close(self._data)
        self._env.close()


def _fields(value: bytes) -> tuple[Any, ...]:
    """The stored fields of a record; of one that cannot be read those of a record before all others."""
    try:
        return unpack(value)
    except Unreadable:
        return (-1,)


def _adopt_of(stored: StoredOpens, locks: list[StoredLock]) -> Adopt:
    return Adopt(
        stored.serial, stored.opens, stored.holders, frozenset(stored.streams), frozenset(stored.links), tuple(locks)
    )


def locks_of(
    txn: lmdb.Transaction, database: lmdb._Database, file: bytes, legacy: bool = False
) -> list[StoredLock]:
    """The stored locks of the file with this key. Raises lmdb.Error; Unreadable."""
    locks: list[StoredLock] = []
    with txn.cursor(db=database) as cursor:
        more = cursor.set_range(file)
        while more and bytes(cursor.key()).startswith(file):
            _, _, open_id, number = LOCK.unpack(cursor.key())
            locks.append(_lock_of(unpack(bytes(cursor.value()), legacy), open_id, number))
            more = cursor.next()
    return locks


def _lock_of(fields: tuple[Any, ...], open_id: int, number: int) -> StoredLock:
    try:
        stream, first, length, exclusive = fields
        if not (isinstance(stream, str) and first >= 0 and length >= 0):
            raise ValueError
    except (ValueError, TypeError) as error:
        raise Unreadable("damaged") from error
    return stream, first, length, bool(exclusive), open_id, number
