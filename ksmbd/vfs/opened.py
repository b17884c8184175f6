# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of a descriptor that was opened, from which an open file or stream (LocalEntry) is made."""
from __future__ import annotations

from ksmbd.kernel.stat import Stat
from ksmbd.smb.ports import FileKey
from ksmbd.vfs.place import Place


class Opened:
    """A descriptor, and the directory entry that it was opened by. `now` is unset until there is a descriptor."""

    __slots__ = ("disk_names", "entry_key", "fd", "granted", "now", "path", "path_only", "place", "posix")

    now: Stat
    """The Stat of the descriptor."""

    def __init__(self, place: Place, posix: bool) -> None:
        self.place = place
        self.posix = posix
        """The open has the POSIX create context."""
        self.fd = -1
        self.path_only = True
        """The descriptor is O_PATH: it cannot read or write data."""
        self.disk_names: tuple[bytes, ...] = ()
        """Names on the disk from the share's root."""
        self.path = ""
        """The path as clients see it."""
        self.granted = 0
        """The access mask that was granted (MS-FSA, GrantedAccess)."""
        self.entry_key: FileKey | None = None
        """(device, inode) of the symbolic link that was followed; None: there was none."""
