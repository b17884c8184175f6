# SPDX-License-Identifier: GPL-2.0-or-later
"""An LMDB environment in the run directory whose file is allocated before it is written, so that no write gets SIGBUS.

LMDB writes through a memory map of its file. If the file system has no block for a page, the process gets SIGBUS. So
the map is never larger than what fallocate(2) has allocated. It begins small and grows in steps. A process learns by
MDB_MAP_RESIZED that another one has grown it. Whoever changes the size holds a lock on the directory, because LMDB
truncates the file to the size that it is given.

A third of the map is reserved for operations that end something: closes, unlocks, answers to waiters. Operations that
add something find the environment full before (`Full`).
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
"""Bytes of the file system that growing leaves free; on a small file system it leaves an eighth."""
LOCK_FILE: Final = 48 << 10
"""Bytes of LMDB's lock file: more than READERS readers need."""
READERS: Final = 512
PAGE: Final = 4096
RESERVED: Final = 3
"""One part in RESERVED of the map is for operations that end something."""
_FOLLOWED: Final = 100
"""How often another process may make the map larger while this one takes over the size."""
UNCHECKED: Final = 16
"""Number of transactions after which the room is checked again while it is plenty; each takes a few pages at most."""


class Full(Exception):
    """There is no room in the environment, and it cannot grow."""


class Cursor(Protocol):
    """The methods of lmdb.Cursor that are used, with keys and values as bytes (`buffers=False`). All raise
    lmdb.Error."""

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
    """The methods of lmdb.Transaction that are used. `db` is one of Environment.databases. All raise lmdb.Error."""

    def __enter__(self) -> Transaction: ...
    def __exit__(self, *error: object) -> None: ...
    def get(self, key: bytes, default: None = None, db: object = None) -> bytes | None: ...
    def put(
        self, key: bytes, value: bytes, dupdata: bool = True, overwrite: bool = True, append: bool = False,
        db: object = None,
    ) -> bool: ...  # fmt: skip
    def delete(self, key: bytes, value: bytes = b"", db: object = None) -> bool: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...
    def cursor(self, *, db: object) -> Cursor: ...
    def stat(self, db: object) -> dict[str, int]: ...


class Environment:
    """An open LMDB environment. A process opens it once, after the fork."""

    def __init__(self, path: Path, databases: tuple[bytes, ...], fresh: bool) -> None:
        """`fresh`: create it; no other process may have it open. Raises OSError where it cannot be created or does not
        exist; lmdb.Error."""
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
        """Open or create the files. Returns (descriptor of the data file, size of its map)."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if fresh else 0)
        if fresh:
            lock = os.open("lock.mdb", flags, 0o600, dir_fd=self._directory)
            try:
                os.posix_fallocate(lock, 0, LOCK_FILE)
            finally:
                os.close(lock)
            # Check that the first map fits; LMDB itself must find the file empty.
            data = os.open("data.mdb", flags, 0o600, dir_fd=self._directory)
            try:
                os.posix_fallocate(data, 0, INITIAL)
                os.ftruncate(data, 0)
            except BaseException:
                os.close(data)
                raise
            return data, INITIAL
        # Raises OSError where the lock file is missing: LMDB would create one that other processes do not use.
        os.stat("lock.mdb", dir_fd=self._directory)
        data = os.open("data.mdb", flags, dir_fd=self._directory)
        return data, max(os.fstat(data).st_size, INITIAL)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock that all processes take to change the size."""
        fcntl.flock(self._directory, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def begin(self, write: bool = False) -> Transaction:
        """Begin a transaction, for a `with` statement. Raises lmdb.Error."""
        transaction: Transaction
        for _ in range(_FOLLOWED):
            try:
                transaction = self.env.begin(None, None, write)  # keywords would cost a third more
                return transaction
            except lmdb.MapResizedError:
                self._follow()
        transaction = self.env.begin(None, None, write)
        return transaction

    def _follow(self) -> None:
        with self._alone():
            self._resize(os.fstat(self._data).st_size)

    def _resize(self, size: int) -> None:
        self.env.set_mapsize(size)
        self._size = size
        self._sure = 0

    def has_room(self, transaction: Transaction) -> bool:
        """Whether this write transaction may add something without using the room reserved for operations that end
        something."""
        if self._sure:
            self._sure -= 1
            return True
        pages = self._size // PAGE
        usable = pages - pages // RESERVED
        used = self.env.info()["last_pgno"] + 1
        if used > usable:
            # Free pages in the middle count as used above; here only used pages are counted.
            used = sum(_pages(transaction.stat(database)) for database in self.databases) + 8
            if used > usable:
                return False
        if used < usable // 2:
            self._sure = UNCHECKED
        return True

    def grow(self) -> None:
        """Grow the map by one step, or to the size that another process has grown it to. No transaction may be open.
        Raises Full."""
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
        """As `grow`, but returns whether there was room."""
        try:
            self.grow()
        except Full:
            return False
        return True

    def _allocate(self, size: int) -> None:
        """Allocate one step of the file after its first `size` bytes. Raises Full."""
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
        """Close the environment and its descriptors."""
        self.env.close()
        os.close(self._data)
        os.close(self._directory)


def _pages(stat: dict[str, int]) -> int:
    return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]


def failed(error: lmdb.Error) -> StoreError:
    """The StoreError for an error of LMDB."""
    return StoreError(f"the store of open files fails: {error}")
