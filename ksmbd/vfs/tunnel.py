# SPDX-License-Identifier: GPL-2.0-or-later
"""Remembers long names for a while after a delete or rename (MS-FSA 2.1.1.2 and 2.1.5.1.1, TunnelCacheEntry).

An old program that saves a file by its short name deletes it and creates it anew, or renames another one to it. The new
file gets the long name back.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ksmbd import limits
from ksmbd.vfs.short_names import ShortNames

SECONDS: Final = 15
"""How long a name is remembered: as on Windows."""

Directory = tuple[int, int]


class Tunnel:
    """(device, inode) of a directory and a short name -> the name on disk that had it."""

    __slots__ = ("_entries", "_monotonic")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._entries: OrderedDict[tuple[Directory, str], tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, directory: Directory, disk: bytes, short_names: ShortNames) -> None:
        """The entry with this name on disk was removed from the directory."""
        made = short_names.made(disk)
        if not made:
            return
        entries, now = self._entries, self._monotonic()
        entries.pop((directory, made), None)
        entries[directory, made] = now, disk
        while len(entries) > limits.NAMES_REMEMBERED.value or now - entries[next(iter(entries))][0] > SECONDS:
            entries.popitem(last=False)

    def recall(self, directory: Directory, short: str) -> bytes | None:
        """The name on disk that had this short name in the directory until just now; None: none had."""
        found = self._entries.get((directory, short.upper()))
        if found is None or self._monotonic() - found[0] > SECONDS:
            return None
        return found[1]
