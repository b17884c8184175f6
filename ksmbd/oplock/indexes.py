# SPDX-License-Identifier: GPL-2.0-or-later
"""Maintains the indexes over all files: which file has a lease key, a CreateGuid or a durable open."""
from __future__ import annotations

from ksmbd.oplock.record import OpenEntry
from ksmbd.oplock.store import CREATE_GUIDS, DURABLES, LEASES, IndexEntry, Store
from ksmbd.smb.ports import FileKey


class OpenIndexes:
    """Adds opens to a store's indexes, and removes them."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def enter(self, file: FileKey, entry: OpenEntry, leased: bool, durable: bool) -> None:
        """Add an open that is in its record. `leased`, `durable`: which indexes it belongs to. Raises StoreError."""
        store = self._store
        if leased:
            store.index_put(LEASES, entry.client_guid + entry.lease_key, IndexEntry(file, entry.stream))
        if durable:
            store.index_put(DURABLES, entry.open_id.to_bytes(8, "big"), IndexEntry(file, entry.stream, entry.open_id))
        if entry.create_guid:
            key = entry.client_guid + entry.create_guid
            store.index_put(CREATE_GUIDS, key, IndexEntry(file, entry.stream, entry.open_id))

    def leave(
        self, file: FileKey, open_id: int, lease: tuple[bytes, bytes] | None, create_guid: bytes, client_guid: bytes,
        durable: bool = True,
    ) -> None:
        """Remove an open that has ended. `lease`: (ClientGuid, LeaseKey) of the lease that ended with it, or None.
        Raises StoreError."""
        store = self._store
        if lease is not None:
            bound = store.index_get(LEASES, lease[0] + lease[1])
            record = store.peek(file)
            if bound is not None and bound.file == file and (record is None or lease not in record.holders):
                store.index_remove(LEASES, lease[0] + lease[1])
        if durable:
            store.index_remove(DURABLES, open_id.to_bytes(8, "big"))
        if create_guid:
            self.forget_create_guid(client_guid + create_guid, open_id)

    def forget_create_guid(self, key: bytes, open_id: int) -> None:
        """Remove an open from the index of CreateGuids, so that no replay finds it. The entry of a later open with the
        same CreateGuid stays. Raises StoreError."""
        bound = self._store.index_get(CREATE_GUIDS, key)
        if bound is not None and bound.open_id == open_id:
            self._store.index_remove(CREATE_GUIDS, key)
