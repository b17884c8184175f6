# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the files of the stored persistent opens anew, from the records that can be read.

This happens before a server opens them: a damaged page or list of free pages that no record shows would be met later,
while clients are served. What cannot be read is kept in a file beside, for whoever looks into it. LMDB reads through a
map, so a damaged or truncated file can end the process that reads it: the caller does this in a child process, whose
memory is limited (state_records.py).
"""
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import lmdb

from ksmbd.oplock.record import OpenEntry
from ksmbd.oplock.state import FILE, MAP_SIZE, locks_of
from ksmbd.oplock.state_records import Unreadable, decode, encode, pack
from ksmbd.smb.ports import FileKey

UNREADABLE: Final = "unreadable"
"""The name of the file of records that could not be read: a line of JSON each."""
UNREADABLE_MAX: Final = 1 << 20
"""Bytes of that file at most; what would exceed it is dropped."""


class Rebuilt(NamedTuple):
    """What became of the stored records, each of one file."""

    kept: int
    unreadable: int
    why: str
    """Why the first of them could not be read."""
    gone: int
    """Records of files that exist no longer, which end."""


def rebuild(directory: Path, is_gone: Callable[[FileKey, bytes], bool]) -> Rebuilt:
    """Make the files in `directory` anew. `is_gone(key, handle)` tells whether a file with this handle exists no
    longer. No other process has the directory open. Raises OSError, lmdb.Error; may end the process by a signal."""
    good: list[tuple[bytes, bytes]] = []
    locks: list[tuple[bytes, bytes]] = []
    bad: list[tuple[bytes, bytes, str]] = []
    gone = 0
    for key, value, held, why in _read(directory):
        if why:
            bad.append((key, value, why))
            continue
        stored = decode(value, legacy=True)
        device, inode = FILE.unpack(key)
        if _is_gone((device, inode), stored.opens, is_gone):
            gone += 1
            continue
        part = (
            [tuple(entry) for entry in stored.opens], [tuple(holder) for holder in stored.holders],
            list(stored.streams), list(stored.links),
        )  # fmt: skip
        good.append((key, encode(stored.serial, part)))
        locks += held
    if bad:
        _keep(directory / UNREADABLE, bad)
    _write(directory, good, locks)
    return Rebuilt(len(good), len(bad), bad[0][2] if bad else "", gone)


def _is_gone(file: FileKey, opens: tuple[OpenEntry, ...], is_gone: Callable[[FileKey, bytes], bool]) -> bool:
    return any(entry.handle and is_gone(file, entry.handle) for entry in opens)


def _read(directory: Path) -> list[tuple[bytes, bytes, list[tuple[bytes, bytes]], str]]:
    """(key, value, locks of the file as keys and values, why it cannot be read or '') of all records."""
    found: list[tuple[bytes, bytes, list[tuple[bytes, bytes]], str]] = []
    with lmdb.open(
        os.fspath(directory), map_size=MAP_SIZE, max_dbs=2, readonly=True, lock=False, create=False
    ) as env:
        try:
            records, locks = env.open_db(b"records", create=False), env.open_db(b"locks", create=False)
        except lmdb.NotFoundError:
            return []  # the server ended before it stored anything
        with env.begin() as txn, txn.cursor(db=records) as cursor:
            for key, value in cursor:
                held: list[tuple[bytes, bytes]] = []
                why = ""
                try:
                    if len(key) != FILE.size:
                        raise Unreadable("damaged")
                    decode(value, legacy=True)
                    for stream, first, length, exclusive, open_id, number in locks_of(txn, locks, key, legacy=True):
                        lock = key + open_id.to_bytes(8, "big") + number.to_bytes(8, "big")
                        held.append((lock, pack((stream, first, length, exclusive))))
                except Unreadable as error:
                    why = str(error)
                found.append((key, value, held, why))
    return found


def _keep(path: Path, bad: list[tuple[bytes, bytes, str]]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with open(fd, "ab") as file:
        for key, value, why in bad:
            line = json.dumps({"why": why, "key": key.hex(), "value": value.hex()}).encode() + b"\n"
            if file.tell() + len(line) > UNREADABLE_MAX:
                break
            file.write(line)


def _write(directory: Path, records: list[tuple[bytes, bytes]], locks: list[tuple[bytes, bytes]]) -> None:
    """Put new files in the place of the old ones, in one step."""
    new = directory / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    with lmdb.open(os.fspath(new), map_size=MAP_SIZE, max_dbs=2, mode=0o600) as env:
        databases = env.open_db(b"records"), env.open_db(b"locks")
        with env.begin(write=True) as txn:
            for database, pairs in zip(databases, (records, locks), strict=True):
                for key, value in pairs:
                    txn.put(key, value, db=database)
    os.replace(new / "data.mdb", directory / "data.mdb")
    (directory / "lock.mdb").unlink(missing_ok=True)
    shutil.rmtree(new)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
