# SPDX-License-Identifier: GPL-2.0-or-later
"""The indexes of LmdbStore, in an environment of their own: index + key -> marshalled IndexEntry."""
from __future__ import annotations

import marshal
from collections.abc import Callable
from pathlib import Path

import lmdb

from ksmbd.oplock.environment import Environment, Transaction, failed
from ksmbd.oplock.store import IndexEntry, StoreFull


class LmdbIndexes:
    """The index methods of LmdbStore; see Store."""

    def __init__(self, path: Path, fresh: bool) -> None:
        """Raises OSError and lmdb.Error, as Environment."""
        self.environment = Environment(path, (b"index",), fresh)
        self.database = self.environment.databases[0]

    def get(self, index: bytes, key: bytes) -> IndexEntry | None:
        """As Store.index_get."""
        try:
            with self.environment.begin() as txn:
                value = txn.get(index + key, db=self.database)
        except lmdb.Error as error:
            raise failed(error) from error
        return IndexEntry._make(marshal.loads(value)) if value is not None else None  # noqa: S302 - our own bytes

    def put(self, index: bytes, key: bytes, place: IndexEntry) -> None:
        """As Store.index_put."""
        data = marshal.dumps(tuple(place))

        def change(txn: Transaction) -> None:
            if not self.environment.has_room(txn):
                raise lmdb.MapFullError("kept for what ends things")
            txn.put(index + key, data, db=self.database)

        self._change(change, "no room for more leases and durable opens")

    def remove(self, index: bytes, key: bytes) -> None:
        """As Store.index_remove."""
        if self.get(index, key) is not None:
            self._change(lambda txn: txn.delete(index + key, db=self.database), "no room at all")

    def _change(self, change: Callable[[Transaction], object], full: str) -> None:
        while True:
            try:
                with self.environment.begin(True) as txn:
                    change(txn)
                return
            except lmdb.MapFullError:
                if not self.environment.grown():
                    raise StoreFull(full) from None
            except lmdb.Error as error:
                raise failed(error) from error

    def items(self, index: bytes) -> list[tuple[bytes, IndexEntry]]:
        """As Store.index_items."""
        found: list[tuple[bytes, IndexEntry]] = []
        try:
            with self.environment.begin() as txn, txn.cursor(db=self.database) as cursor:
                there = cursor.set_range(index)
                while there and cursor.key().startswith(index):
                    place = IndexEntry._make(marshal.loads(cursor.value()))  # noqa: S302 - our own bytes
                    found.append((bytes(cursor.key()[len(index) :]), place))
                    there = cursor.next()
        except lmdb.Error as error:
            raise failed(error) from error
        return found

    def entries(self) -> int:
        """The number of entries of all indexes. Raises lmdb.Error."""
        with self.environment.begin() as txn:
            return int(txn.stat(self.database)["entries"])
