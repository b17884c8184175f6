# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a server's sessions, tree connects and opens: who and what the ids in messages mean."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

KNOWN_MAX: Final = 100_000
"""Entries of each kind; the oldest is forgotten."""
_Key = TypeVar("_Key")


class _Names(OrderedDict[_Key, str]):
    """Ids and what they mean, bounded."""

    def tell(self, key: _Key, name: str) -> None:
        self[key] = name
        if len(self) > KNOWN_MAX:
            self.popitem(last=False)


class Known:
    """The names of one server's ids."""

    def __init__(self) -> None:
        self.users: _Names[int] = _Names()
        """SessionId -> account."""
        self.shares: _Names[tuple[int, int]] = _Names()
        """(SessionId, TreeId) -> share."""
        self.files: _Names[bytes] = _Names()
        """FileId -> path."""
        self._persistent: _Names[int] = _Names()
        """The persistent half of the FileId -> path, as the server lists its opens."""

    def take(self, rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Take what the server lists (ksmbd.ipc.activity): what was there before the trace began."""
        for row in rows.get("sessions", ()):
            self.users.tell(int(row["id"], 16), row["account"])
        for row in rows.get("tree_connects", ()):
            self.shares.tell((int(row["session"], 16), int(row["id"], 16)), row["share"])
        for row in rows.get("files", ()):
            stream = f":{row['stream']}" if row["stream"] else ""
            self._persistent.tell(int(row["id"], 16), (row["path"].replace("/", "\\") or "\\") + stream)

    def file(self, file_id: bytes) -> str:
        """The path of an open; '' where it is not known."""
        if not file_id:
            return ""
        return self.files.get(file_id) or self._persistent.get(int.from_bytes(file_id[:8], "little"), "")
