# SPDX-License-Identifier: GPL-2.0-or-later
"""The indexes of LmdbStore: index + key -> marshalled IndexEntry.

An entry is in one of the store's environments, by a hash of its key, in a database of its own; it has nothing to do
with the files of that environment.
"""
from __future__ import annotations

import marshal
from collections.abc import Callable
from zlib import crc32

import lmdb

from ksmbd.oplock.environment import Environment, Transaction, failed
from ksmbd.oplock.store import IndexEntry, StoreFull


class LmdbIndexes:
    """The index methods of LmdbStore; see Store."""

    def __init__(self, environments: list[Environment]) -> None:
        """The last database of each environment is for the indexes."""
        self._environments = environments

    def _environment(self, key: bytes) -> Environment:
        return self._environments[crc32(key) % len(self._environments)]

    def get(self, index: bytes, key: bytes) -> IndexEntry | None:
        """As Store.index_get."""
        environment = self._environment(key)
        try:
            with environment.begin() as txn:
                value = txn.get(index + key, db=environment.databases[-1])
        except lmdb.Error as error:
            raise failed(error) from error
        return IndexEntry._make(marshal.loads(value)) if value is not None else None  # noqa: S302 - our own bytes

    def put(self, index: bytes, key: bytes, place: IndexEntry) -> None:
        """As Store.index_put."""
        data = marshal.dumps(tuple(place))
        environment = self._environment(key)

        def change(txn: Transaction) -> None:
            if not environment.has_room(txn):
                raise lmdb.MapFullError("kept for what ends things")
            txn.put(index + key, data, db=environment.databases[-1])

        self._change(environment, change, "no room for more leases and durable opens")

    def remove(self, index: bytes, key: bytes) -> None:
        """As Store.index_remove."""
        if self.get(index, key) is not None:
            environment = self._environment(key)
            database = environment.databases[-1]
            self._change(environment, lambda txn: txn.delete(index + key, db=database), "no room at all")

    def _change(self, environment: Environment, change: Callable[[Transaction], object], full: str) -> None:
        while True:
            try:
                with environment.begin(True) as txn:
                    change(txn)
                return
            except lmdb.MapFullError:
                if not environment.grown():
                    raise StoreFull(full) from None
            except lmdb.Error as error:
                raise failed(error) from error

    def items(self, index: bytes) -> list[tuple[bytes, IndexEntry]]:
        """As Store.index_items."""
        found: list[tuple[bytes, IndexEntry]] = []
        try:
            for environment in self._environments:
                with environment.begin() as txn, txn.cursor(db=environment.databases[-1]) as cursor:
                    there = cursor.set_range(index)
                    while there and cursor.key().startswith(index):
                        place = IndexEntry._make(marshal.loads(cursor.value()))  # noqa: S302 - our own bytes
                        found.append((bytes(cursor.key()[len(index) :]), place))
                        there = cursor.next()
        except lmdb.Error as error:
            raise failed(error) from error
        return sorted(found)
