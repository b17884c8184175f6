# SPDX-License-Identifier: GPL-2.0-or-later
"""The case of new names (`preserve case`, `short preserve case` and `default case` of smb.conf(5))."""
from __future__ import annotations

from ksmbd.vfs.names import fold
from ksmbd.vfs.short_names import is_short_name


class NewNames:
    """How one share spells the names of new files."""

    __slots__ = ("_short", "_upper", "keeps")

    def __init__(self, keep_long: bool, keep_short: bool, upper: bool) -> None:
        """`keep_long`, `keep_short`: whether names keep their case, all of them, and those of the form 8.3."""
        self.keeps = keep_long
        """Whether a rename to another case gives the file that case."""
        self._short = keep_short
        self._upper = upper

    def of(self, disk: bytes) -> bytes:
        """The name on disk of a new file that a client calls `disk`."""
        if self.keeps and (self._short or not is_short_name(disk)):
            return disk
        try:
            name = disk.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return disk
        return (fold(name) if self._upper else _lower(name)).encode("utf-8", "surrogatepass")


def _lower(name: str) -> str:
    """In small letters, each character for itself; one whose small letter is longer stays as it is."""
    lower = name.lower()
    if name.isascii():
        return lower
    return "".join([small if len(small := letter.lower()) == 1 else letter for letter in name])
