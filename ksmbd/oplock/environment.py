# SPDX-License-Identifier: GPL-2.0-or-later
"""One LMDB environment in the run directory, that never writes where the file system has no room.

LMDB writes through a mapping of its file. Where a page of that cannot be had the process gets SIGBUS, so the map is
never larger than what fallocate(2) has given to the file. It begins small and grows in steps. Another process that
grows it is noticed by MDB_MAP_RESIZED. All that changes the size holds a lock on the directory, because LMDB truncates
the file to the size that it is told.

A third of the map is kept for what ends things: closes, unlocks, answers to who waits. What makes more of them finds
the environment full before that (`Full`).
"""
from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import lmdb

from ksmbd.oplock.store import StoreError

INITIAL: Final = 1 << 20
"""Bytes of a new environment."""
STEP: Final = 1 << 20
MAXIMUM: Final = 256 << 20
FREE: Final = 2 << 20
"""Bytes of the file system that are left to others when an environment grows; with small ones an eighth."""
LOCK_FILE: Final = 48 << 10
"""Bytes of LMDB's lock file: more than 512 readers need."""
READERS: Final = 512
PAGE: Final = 4096
RESERVED: Final = 3
"""One part in so many of the map is for what ends things."""
UNCHECKED: Final = 16
"""So many transactions with room are followed by one that looks for it again; each takes a few pages at most."""


class Full(Exception):
    """There is no room in the environment, and it cannot grow."""


class Cursor(Protocol):
    """What is used of lmdb.Cursor where keys and values come as bytes (`buffers=False`). All raise lmdb.Error."""

    def __enter__(self) -> Cursor: ...
    def __exit__(self, *error: object) -> None: ...
    def __iter__(self) -> Iterator[tuple[bytes, bytes]]: ...
    def set_range(self, key: bytes) -> bool: ...
    def set_key(self, key: bytes) -> bool: ...
    def next(self) -> bool: ...
    def iternext(self, keys: bool = True, values: bool = True) -> Iterator[bytes]: ...
    def key(self) -> bytes: ...
    def value(self) -> bytes: ...
    def delete(self) -> bool: ...


class Transaction(Protocol):
    """What is used of lmdb.Transaction, in the same way. A database is what `Environment.databases` has."""

    def __enter__(self) -> Transaction: ...
    def __exit__(self, *error: object) -> None: ...
    def get(self, key: bytes, *, db: object) -> bytes | None: ...
    def put(self, key: bytes, value: bytes, *, overwrite: bool = True, db: object) -> bool: ...
    def delete(self, key: bytes, *, db: object) -> bool: ...
    def cursor(self, *, db: object) -> Cursor: ...
    def stat(self, db: object) -> dict[str, int]: ...


class Environment:
    """See the module. Open it once a process, after the fork."""

    def __init__(self, path: Path, databases: tuple[bytes, ...], fresh: bool) -> None:
        """`fresh`: make it; only while nobody else has it open. Raises OSError where it cannot be made, or is not
        there; lmdb.Error."""
        if fresh:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self._alone():
                data, size = self._prepare(fresh)
                self._data = data
                self._size = size
                try:
                    self.env: Any = lmdb.open(
                        os.fspath(path), map_size=size, sync=False, metasync=False, writemap=True,
                        max_dbs=len(databases), max_readers=READERS, mode=0o600, create=False,
                    )  # fmt: skip
                    os.posix_fallocate(data, 0, size)
                except BaseException:
                    os.close(data)
                    raise
        except BaseException:
            os.close(self._directory)
            raise
        self._sure = 0
        self.databases = [self.env.open_db(name) for name in databases]

    def _prepare(self, fresh: bool) -> tuple[int, int]:
        """The data file, open, and the size of its map."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if fresh else 0)
        if fresh:
            lock = os.open("lock.mdb", flags, 0o600, dir_fd=self._directory)
            try:
                os.posix_fallocate(lock, 0, LOCK_FILE)
            finally:
                os.close(lock)
            # What follows must fit, but LMDB wants to find the file empty.
            data = os.open("data.mdb", flags, 0o600, dir_fd=self._directory)
            try:
                os.posix_fallocate(data, 0, INITIAL)
                os.ftruncate(data, 0)
            except BaseException:
                os.close(data)
                raise
            return data, INITIAL
        # LMDB would make a lock file that the others do not know.
        os.stat("lock.mdb", dir_fd=self._directory)
        data = os.open("data.mdb", flags, dir_fd=self._directory)
        return data, max(os.fstat(data).st_size, INITIAL)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the size meanwhile."""
        fcntl.flock(self._directory, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def begin(self, write: bool = False) -> Transaction:
        """A transaction, to be used in a `with` statement. Raises lmdb.Error."""
        transaction: Transaction
        try:
            transaction = self.env.begin(write=write)
        except lmdb.MapResizedError:
            self._follow()
            transaction = self.env.begin(write=write)
        return transaction

    def _follow(self) -> None:
        with self._alone():
            self._resize(os.fstat(self._data).st_size)

    def _resize(self, size: int) -> None:
        self.env.set_mapsize(size)
        self._size = size
        self._sure = 0

    def has_room(self, transaction: Transaction) -> bool:
        """Whether one may put more in by this write transaction, so that enough is left for what ends things."""
        if self._sure:
            self._sure -= 1
            return True
        pages = self._size // PAGE
        usable = pages - pages // RESERVED
        used = self.env.info()["last_pgno"] + 1
        if used > usable:
            # Pages that were used and are free again come after the last one only in this account.
            used = sum(_pages(transaction.stat(database)) for database in self.databases) + 8
            if used > usable:
                return False
        if used < usable // 2:
            self._sure = UNCHECKED
        return True

    def grow(self) -> None:
        """Have more room, or as much as another process has made by now. No transaction may be open. Raises Full."""
        with self._alone():
            size = os.fstat(self._data).st_size
            if size <= self._size:
                self._allocate(size)
                size += STEP
            try:
                self._resize(size)
            except lmdb.Error as error:
                raise Full from error

    def grown(self) -> bool:
        """`grow`; whether there was room."""
        try:
            self.grow()
        except Full:
            return False
        return True

    def _allocate(self, size: int) -> None:
        """Have the file system give the next step after `size` bytes."""
        place = os.fstatvfs(self._data)
        free, whole = place.f_bavail * place.f_frsize, place.f_blocks * place.f_frsize
        if size + STEP > MAXIMUM or free - STEP < min(FREE, whole >> 3):
            raise Full
        try:
            os.posix_fallocate(self._data, size, STEP)
        except OSError as error:
            os.ftruncate(self._data, size)
            raise Full from error

    def close(self) -> None:
        """Give it up."""
        self.env.close()
        os.close(self._data)
        os.close(self._directory)


def _pages(stat: dict[str, int]) -> int:
    return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]


def failed(error: lmdb.Error) -> StoreError:
    """What callers of the store hear of an error of LMDB's."""
    return StoreError(f"the store of open files fails: {error}")
