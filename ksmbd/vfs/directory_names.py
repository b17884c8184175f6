# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of one directory, to be found without regard to case and by their short names."""
from __future__ import annotations

from ksmbd.vfs.names import fold, to_client
from ksmbd.vfs.short_names import ShortNames


class DirectoryNames:
    """Folded names -> names on disk, and short names, once `shorten` has made them."""

    __slots__ = ("_folded", "_gone", "_left", "_others", "_short", "_short_names", "_twins")

    def __init__(self) -> None:
        self._folded: dict[str, bytes] = {}
        self._others: dict[str, set[bytes]] = {}
        """Further names that differ from one in `_folded` in case only."""
        self._short_names: ShortNames | None = None
        self._short: dict[str, bytes] = {}
        """Short names in capitals; the first that was found of those that have the same."""
        self._left: list[bytes] | None = None
        """The names that are still to be shortened, the next one last; None: none are."""
        self._gone: set[bytes] = set()
        """Names that were removed while there are some in `_left`."""
        self._twins = False
        """Some names have the same short name."""

    def __len__(self) -> int:
        """How many names are kept, of both kinds."""
        return len(self._folded) + len(self._short)

    def find(self, name: str) -> bytes | None:
        """The name on disk that equals `name` without regard to case."""
        return self._folded.get(fold(name))

    def add(self, disk: bytes, client: str) -> None:
        """Add a name on disk that clients see as `client`. No error where it is there."""
        folded = fold(client)
        known = self._folded.setdefault(folded, disk)
        if known != disk:
            self._others.setdefault(folded, set()).add(disk)
        if self._short_names is not None:
            self._gone.discard(disk)
            self._shorten(disk, self._short_names)

    def remove(self, disk: bytes) -> None:
        """Remove a name on disk. No error where it is not there."""
        folded = fold(to_client(disk))
        others = self._others.get(folded)
        if self._folded.get(folded) == disk:
            if others:
                self._folded[folded] = others.pop()
            else:
                del self._folded[folded]
        elif others is not None:
            others.discard(disk)
        if others is not None and not others:
            del self._others[folded]
        if self._short_names is not None:
            if self._left is not None:
                self._gone.add(disk)
            made = self._short_names.made(disk)
            if self._short.get(made) == disk:
                if self._twins:
                    self._short_names, self._short, self._left = None, {}, None  # the other one is found anew
                else:
                    del self._short[made]

    def find_short(self, name: str) -> bytes | None:
        """The name on disk that has this short name, in any case. `shorten` has returned False."""
        return self._short.get(name.upper())

    def shorten(self, short_names: ShortNames, most: int) -> bool:
        """Make the short names of `most` more names. Returns whether there are more."""
        if self._short_names is None or self._short_names.kind != short_names.kind:
            self._short_names, self._short, self._twins = short_names, {}, False
            self._left = [*self._folded.values(), *[disk for others in self._others.values() for disk in others]]
            self._gone.clear()
        left = self._left
        if left is None:
            return False
        for disk in left[-most:]:
            if disk not in self._gone:
                self._shorten(disk, short_names)
        del left[-most:]
        if left:
            return True
        self._left = None
        self._gone.clear()
        return False

    def _shorten(self, disk: bytes, short_names: ShortNames) -> None:
        made = short_names.made(disk)
        if made and self._short.setdefault(made, disk) != disk:
            self._twins = True
