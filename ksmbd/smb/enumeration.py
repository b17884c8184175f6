# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a directory listing from one QUERY_DIRECTORY to the next."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ksmbd.smb.ports import DirectoryEntry


@dataclass(slots=True)
class Enumeration:
    """A directory listing in progress (Open.EnumerationLocation, MS-SMB2 3.3.1.10)."""

    pattern: str
    entries: Iterator[DirectoryEntry | None]
    """The remaining entries; it yields None where it has read many entries and none of them matched."""
    pending: DirectoryEntry | None = None
    """An entry that was read but did not fit into the last response."""
    returned_any: bool = False
