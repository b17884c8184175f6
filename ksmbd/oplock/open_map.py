# SPDX-License-Identifier: GPL-2.0-or-later
"""A map of the opens of a file by id, in which an open or close costs the same beside thousands of opens as beside few.

With up to FEW opens it is a dict. With more, a copy of the map stores only its changes, and the share modes and lease
sharers, which each new open needs, are counted.

The copies of a large map share one body. The copy that is kept commits its changes to the body; the other copies are
invalid from then on. A map that was copied must not be changed.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from ksmbd.oplock.modes import STAT_ACCESS, mode_of
from ksmbd.overriding import override

FEW: Final = 16
"""Up to this number of opens the map is a dict."""


class Opened(Protocol):
    """The fields of an open that the map reads; OpenEntry (record.py) has them."""

    @property
    def stream(self) -> str: ...
    @property
    def client_guid(self) -> bytes: ...
    @property
    def lease_key(self) -> bytes: ...
    @property
    def access(self) -> int: ...
    @property
    def share_access(self) -> int: ...


T = TypeVar("T", bound=Opened)


class Counts:
    """The counts of the opens of one stream."""

    __slots__ = ("active", "modes")

    def __init__(self) -> None:
        self.modes: dict[int, int] = {}
        """Mode (modes.py) -> number of opens."""
        self.active = 0
        """The number of opens that are no stat opens."""

    def add(self, entry: Opened, number: int) -> None:
        """Count an open; `number` is 1 to add it, -1 to remove it."""
        mode = mode_of(entry.access, entry.share_access)
        count = self.modes.get(mode, 0) + number
        if count:
            self.modes[mode] = count
        else:
            self.modes.pop(mode, None)
        if entry.access & ~STAT_ACCESS:
            self.active += number


class _Body(Generic[T]):
    """The opens of a large map, and their counts. Copies of the map share it."""

    def __init__(self, opens: dict[int, T]) -> None:
        self.opens = opens
        self.streams: dict[str, Counts] = {}
        self.leases: dict[tuple[bytes, bytes], dict[int, None]] = {}
        for open_id, entry in opens.items():
            self._count(open_id, entry)

    def _count(self, open_id: int, entry: T) -> None:
        counts = self.streams.get(entry.stream)
        if counts is None:
            counts = self.streams[entry.stream] = Counts()
        counts.add(entry, 1)
        if entry.lease_key:
            self.leases.setdefault((entry.client_guid, entry.lease_key), {})[open_id] = None

    def put(self, open_id: int, entry: T) -> None:
        """Add or replace an open."""
        self.remove_counts(open_id)
        self.opens[open_id] = entry
        self._count(open_id, entry)

    def remove(self, open_id: int) -> None:
        """Remove an open, if it is in the map."""
        self.remove_counts(open_id)
        self.opens.pop(open_id, None)

    def remove_counts(self, open_id: int) -> None:
        """Remove an open from the counts, if it is in the map."""
        old = self.opens.get(open_id)
        if old is None:
            return
        counts = self.streams[old.stream]
        counts.add(old, -1)
        if not counts.modes:
            del self.streams[old.stream]
        if old.lease_key:
            key = (old.client_guid, old.lease_key)
            sharers = self.leases[key]
            del sharers[open_id]
            if not sharers:
                del self.leases[key]


class OpenMap(Generic[T]):
    """The opens of one file by id; see the module."""

    __slots__ = ("_body", "_changed", "_few", "_size")

    def __init__(self, opens: dict[int, T] | None = None) -> None:
        self._few: dict[int, T] = {} if opens is None else opens
        self._body: _Body[T] | None = None
        # Only where there is a body: the changes from it (None: removed), and the number of opens.
        self._changed: dict[int, T | None]
        self._size: int

    # ------------------------------------------------------------------------------------------------------ as a dict

    def get(self, open_id: int) -> T | None:
        """As dict.get."""
        body = self._body
        if body is None:
            return self._few.get(open_id)
        if open_id in self._changed:
            return self._changed[open_id]
        return body.opens.get(open_id)

    def only(self, open_id: int) -> T | None:
        """The open with this id if there is no other, else None."""
        if self._body is None and len(self._few) == 1:
            return self._few.get(open_id)
        return self.get(open_id) if len(self) == 1 else None

    def __getitem__(self, open_id: int) -> T:
        entry = self.get(open_id)
        if entry is None:
            raise KeyError(open_id)
        return entry

    def __contains__(self, open_id: object) -> bool:
        if self._body is None:
            return open_id in self._few
        return isinstance(open_id, int) and self.get(open_id) is not None

    def __len__(self) -> int:
        return len(self._few) if self._body is None else self._size

    def __bool__(self) -> bool:
        return len(self) > 0

    def __setitem__(self, open_id: int, entry: T) -> None:
        if self._body is None:
            self._few[open_id] = entry
            return
        if self.get(open_id) is None:
            self._size += 1
        self._changed[open_id] = entry

    def __delitem__(self, open_id: int) -> None:
        if self._body is None:
            del self._few[open_id]
            return
        if self.get(open_id) is None:
            raise KeyError(open_id)
        self._size -= 1
        self._changed[open_id] = None

    def items(self) -> list[tuple[int, T]]:
        """A list of (id, open), oldest first."""
        body = self._body
        if body is None:
            return list(self._few.items())
        changed = self._changed
        if not changed:
            return list(body.opens.items())
        found: list[tuple[int, T]] = []
        for open_id, entry in body.opens.items():
            now = changed[open_id] if open_id in changed else entry
            if now is not None:
                found.append((open_id, now))
        for open_id, new in changed.items():
            if new is not None and open_id not in body.opens:
                found.append((open_id, new))
        return found

    def values(self) -> list[T]:
        """A list of the opens, oldest first."""
        if self._body is None:
            return list(self._few.values())
        return [entry for _, entry in self.items()]

    def __iter__(self) -> Iterator[int]:
        return iter([open_id for open_id, _ in self.items()])

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpenMap) and self.items() == other.items()

    @override
    def __hash__(self) -> int:
        raise TypeError("a map of opens changes")

    # --------------------------------------------------------------------------------------------------------- copies

    def copy(self) -> OpenMap[T]:
        """A copy that can be changed. This map must not be changed any more."""
        if self._body is None:
            if len(self._few) <= FEW:
                return OpenMap(self._few.copy())
            self._body = _Body(self._few)
            self._changed = {}
            self._size = len(self._few)
        new: OpenMap[T] = OpenMap()
        new._body = self._body
        new._changed = self._changed.copy()
        new._size = self._size
        return new

    def commit(self) -> None:
        """Keep this copy: apply its changes to the shared body. All other copies become invalid."""
        body = self._body
        if body is None or not self._changed:
            return
        for open_id, entry in self._changed.items():
            if entry is None:
                body.remove(open_id)
            else:
                body.put(open_id, entry)
        self._changed = {}
        if self._size <= FEW // 2:
            self._few = body.opens
            self._body = None

    def changes_since(self, old: OpenMap[T]) -> list[tuple[int, T | None]]:
        """The changes from `old`, the map that this one was copied from: (id, open), with None for a removed one."""
        if self._body is not None and self._body is old._body and not old._changed:
            return list(self._changed.items())
        before, now = dict(old.items()), dict(self.items())
        found: list[tuple[int, T | None]] = [
            (open_id, entry) for open_id, entry in now.items() if before.get(open_id) is not entry
        ]
        found += [(open_id, None) for open_id in before if open_id not in now]
        return found

    # ------------------------------------------------------------------------------------------ what is asked of all

    @property
    def counted(self) -> bool:
        """Whether the map is large, so that `counts` and `streams` can be called."""
        return self._body is not None

    def counts(self, stream: str) -> Counts:
        """The counts of a stream; the caller does not change them. Raises ValueError unless `counted`."""
        body = self._body
        if body is None:
            raise ValueError("nothing is counted")
        counts = body.streams.get(stream)
        if not self._changed:
            return counts if counts is not None else Counts()
        found = Counts()
        if counts is not None:
            found.modes = counts.modes.copy()
            found.active = counts.active
        for open_id, entry in self._changed.items():
            old = body.opens.get(open_id)
            if old is not None and old.stream == stream:
                found.add(old, -1)
            if entry is not None and entry.stream == stream:
                found.add(entry, 1)
        return found

    def streams(self) -> list[str]:
        """The streams with opens; streams whose last open was removed in this copy may be among them. Raises ValueError
        unless `counted`."""
        body = self._body
        if body is None:
            raise ValueError("nothing is counted")
        found = dict.fromkeys(body.streams)
        for entry in self._changed.values():
            if entry is not None:
                found[entry.stream] = None
        return list(found)

    def sharing(self, client_guid: bytes, lease_key: bytes) -> list[T]:
        """The opens that share a lease, oldest first."""
        body = self._body
        if body is None:
            return [
                entry for entry in self._few.values()
                if entry.lease_key == lease_key and entry.client_guid == client_guid
            ]  # fmt: skip
        ids = list(body.leases.get((client_guid, lease_key), ()))
        ids += [open_id for open_id in self._changed if open_id not in body.opens]
        found: list[T] = []
        for open_id in ids:
            entry = self.get(open_id)
            if entry is not None and entry.lease_key == lease_key and entry.client_guid == client_guid:
                found.append(entry)
        return found
