# SPDX-License-Identifier: GPL-2.0-or-later
"""A small hash table in shared memory: connections by address and worker, and the owner of each ClientGuid.

It has entries of 32 bytes with open addressing. Every operation holds a POSIX lock on the state file, which the kernel
releases if the process dies. The forker removes the entries of a dead worker by rewriting the table, which also repairs
a change that was interrupted. The size is fixed, since clients add entries before they log on: when it is full, nothing
more is counted or claimed.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

HEADER_SIZE: Final = 32
"""Size in bytes of the head: the number of entries in use."""
ENTRY_SIZE: Final = 32
_ENTRY: Final = struct.Struct("<16sHHII4x")
"""key, kind, worker, epoch, count; kind 0: free."""

_ADDRESS: Final = 1
_GUID: Final = 2
_CLIENT: Final = 3
_SEVERAL: Final = 0
"""Instead of the hash of a GUID: several GUIDs come from the address."""
UNPIN: Final = -1


def address_key(address: str) -> bytes:
    """An address as 16 bytes: IPv4 as mapped IPv6; other text as its first bytes."""
    for family, prefix in ((socket.AF_INET, bytes(10) + b"\xff\xff"), (socket.AF_INET6, b"")):
        try:
            return prefix + socket.inet_pton(family, address)
        except OSError:
            continue
    return address.encode()[:16].ljust(16, b"\0")


def table_size(connections: int) -> int:
    """Size in bytes for so many connections. Each has at most an address, a GUID and a client entry, and half of the
    entries stay free, so that probes are short."""
    return HEADER_SIZE + ENTRY_SIZE * (1 << max(6, (6 * connections - 1).bit_length()))


class SharedTable:
    """See the module. All workers are forked from one process, since the position of an entry depends on the hash seed
    of Python."""

    def __init__(self, memory: memoryview, lock_fd: int) -> None:
        self._memory = memory[HEADER_SIZE:]
        self._head = memory[:8].cast("Q")
        self._entries = len(self._memory) // ENTRY_SIZE
        self._limit = self._entries * 3 // 4
        self._lock_fd = lock_fd
        if self._entries & (self._entries - 1):
            raise ValueError("the number of entries must be a power of two")

    # ---------------------------------------------------------------------------------------------------- addresses

    def add_connection(self, address: str, worker: int, epoch: int, workers: int, limit: int) -> bool:
        """Count a connection of `worker`. False: all workers together have `limit` connections from `address` already
        (0: no limit), or the table is full."""
        key = address_key(address)
        with self._locked():
            if limit and sum(self._count(_ADDRESS, key, other) for other in range(1, workers + 1)) >= limit:
                return False
            return self._change(_ADDRESS, key, worker, epoch, 1) is not None

    def remove_connection(self, address: str, worker: int, epoch: int) -> None:
        """Count a connection no longer."""
        with self._locked():
            self._change(_ADDRESS, address_key(address), worker, epoch, -1)

    def connections_of(self, address: str, workers: int) -> int:
        """How many connections an address has."""
        key = address_key(address)
        with self._locked():
            return sum(self._count(_ADDRESS, key, worker) for worker in range(1, workers + 1))

    # -------------------------------------------------------------------------------------------------------- GUIDs

    def claim(self, guid: bytes, worker: int, epoch: int) -> int:
        """Claim a GUID for a connection of `worker`. Returns the owner: `worker`, with one more connection, if no other
        worker owns the GUID."""
        with self._locked():
            index, found = self._find(_GUID, guid, 0)
            if found is not None and found[2] != worker:
                return found[2]
            count = found[4] if found is not None else 0
            if found is None and self._head[0] >= self._limit:
                return worker  # full: each worker keeps its own clients
            self._head[0] += found is None
            self._write(index, guid, _GUID, worker, epoch, count + 1)
            return worker

    def release(self, guid: bytes, worker: int) -> None:
        """Release the claim of one connection of `worker`; after the last one the GUID has no owner."""
        with self._locked():
            index, found = self._find(_GUID, guid, 0)
            if found is None or found[2] != worker:
                return
            if found[4] > 1:
                self._write(index, guid, _GUID, worker, found[3], found[4] - 1)
            else:
                self._delete(index)

    def owner(self, guid: bytes) -> int:
        """The worker that owns a GUID; 0: none."""
        with self._locked():
            found = self._find(_GUID, guid, 0)[1]
            return found[2] if found is not None else 0

    # ---------------------------------------------------------------------------------------- clients by address

    def client_connected(self, address: str, guid: bytes, worker: int) -> int:
        """Count a connection with this GUID from `address`, served by `worker`. Returns what the BPF map must learn:
        the worker to pin the address to, UNPIN where several GUIDs come from it (NAT, this machine), or 0 for no
        change."""
        key = address_key(address)
        mark = int.from_bytes(guid[:4], "little") or 1
        with self._locked():
            index, found = self._find(_CLIENT, key, 0)
            if found is None:
                if self._head[0] >= self._limit:
                    return 0
                self._head[0] += 1
                self._write(index, key, _CLIENT, worker, mark, 1)
                return worker
            _, _, owner, known, count = found
            if known in (mark, _SEVERAL):
                moved = known == mark and owner != worker
                self._write(index, key, _CLIENT, worker if moved else owner, known, count + 1)
                return worker if moved else 0
            self._write(index, key, _CLIENT, owner, _SEVERAL, count + 1)
            return UNPIN

    def client_disconnected(self, address: str) -> None:
        """Count such a connection no longer; after the last one the address is forgotten."""
        with self._locked():
            index, found = self._find(_CLIENT, address_key(address), 0)
            if found is None:
                return
            key, kind, worker, mark, count = found
            if count > 1:
                self._write(index, key, kind, worker, mark, count - 1)
            else:
                self._delete(index)

    # ------------------------------------------------------------------------------------------------------ upkeep

    def forget_worker(self, worker: int) -> None:
        """Remove all entries of a dead worker by rewriting the table."""
        with self._locked():
            kept = [entry for entry in self._all() if entry[2] != worker]
            self._memory[:] = bytes(len(self._memory))
            self._head[0] = 0
            for key, kind, owner, epoch, count in kept:
                index, found = self._find(kind, key, owner if kind == _ADDRESS else 0)
                if found is None:
                    self._head[0] += 1
                    self._write(index, key, kind, owner, epoch, count)

    def __len__(self) -> int:
        with self._locked():
            return self._head[0]

    # --------------------------------------------------------------------------------------------------- the entries

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._lock_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock_fd, fcntl.LOCK_UN)

    def _read(self, index: int) -> tuple[bytes, int, int, int, int]:
        return _ENTRY.unpack_from(self._memory, index * ENTRY_SIZE)

    def _write(self, index: int, key: bytes, kind: int, worker: int, epoch: int, count: int) -> None:
        _ENTRY.pack_into(self._memory, index * ENTRY_SIZE, key, kind, worker, epoch & 0xFFFFFFFF, count)

    def _home(self, kind: int, key: bytes, worker: int) -> int:
        return hash((kind, key, worker)) & (self._entries - 1)

    def _find(self, kind: int, key: bytes, worker: int) -> tuple[int, tuple[bytes, int, int, int, int] | None]:
        """The index and the entry, or the index where it belongs and None. `worker` is part of the key for addresses
        only."""
        index = self._home(kind, key, worker)
        for _ in range(self._entries):
            entry = self._read(index)
            if entry[1] == 0:
                return index, None
            if entry[1] == kind and entry[0] == key and (kind != _ADDRESS or entry[2] == worker):
                return index, entry
            index = (index + 1) & (self._entries - 1)
        raise RuntimeError("the shared table has no free entry")  # `_limit` keeps a quarter free

    def _count(self, kind: int, key: bytes, worker: int) -> int:
        found = self._find(kind, key, worker)[1]
        return found[4] if found is not None else 0

    def _change(self, kind: int, key: bytes, worker: int, epoch: int, by: int) -> int | None:
        index, found = self._find(kind, key, worker)
        count = (found[4] if found is not None else 0) + by
        if count <= 0:
            if found is not None:
                self._delete(index)
            return 0
        if found is None and self._head[0] >= self._limit:
            return None
        self._head[0] += found is None
        self._write(index, key, kind, worker, epoch, count)
        return count

    def _delete(self, index: int) -> None:
        """Remove an entry and move later ones into the gap, so that no probe ends too early."""
        mask = self._entries - 1
        gap = index
        while True:
            index = (index + 1) & mask
            key, kind, worker, epoch, count = self._read(index)
            if kind == 0:
                break
            home = self._home(kind, key, worker if kind == _ADDRESS else 0)
            if (index - home) & mask >= (index - gap) & mask:
                self._write(gap, key, kind, worker, epoch, count)
                gap = index
        self._write(gap, bytes(16), 0, 0, 0, 0)
        self._head[0] -= 1

    def _all(self) -> Iterator[tuple[bytes, int, int, int, int]]:
        for index in range(self._entries):
            entry = self._read(index)
            if entry[1]:
                yield entry
