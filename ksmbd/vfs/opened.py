# SPDX-License-Identifier: GPL-2.0-or-later
"""What was opened, before it is an open file or stream: LocalEntry is made of this record."""
from __future__ import annotations

from ksmbd.kernel.stat import Stat
from ksmbd.smb.ports import FileKey
from ksmbd.vfs.place import Place


class Opened:
    """A descriptor, and the entry that it was opened by. `now` is not set before there is a descriptor."""

    __slots__ = ("disk_names", "entry_key", "fd", "granted", "now", "path", "path_only", "place", "posix")

    now: Stat
    """The Stat of what was opened."""

    def __init__(self, place: Place, posix: bool) -> None:
        self.place = place
        self.posix = posix
        """The client asked for POSIX semantics."""
        self.fd = -1
        self.path_only = True
        """The descriptor is O_PATH: it reads and writes nothing."""
        self.disk_names: tuple[bytes, ...] = ()
        """Names on the disk from the share's root."""
        self.path = ""
        """The same as clients see it."""
        self.granted = 0
        """The access that was granted."""
        self.entry_key: FileKey | None = None
        """(device, inode) of the symbolic link that was followed; None: there was none."""
