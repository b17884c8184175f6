# SPDX-License-Identifier: GPL-2.0-or-later
"""Remembers ChangeTimes that clients have set (MS-FSCC 2.4.7, MS-FSA 2.1.5.15.2).

Linux file systems do not let ctime be set. So the ChangeTime that a client set is kept in memory, for a bounded number
of files, and is shown until the kernel's ctime moves on with the next change of the file.
"""
from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ksmbd.kernel.stat import Stat
from ksmbd.vfs.times import to_filetime

_FILES: Final = 4096

kept: OrderedDict[tuple[int, int], tuple[int, int, int]] = OrderedDict()
"""(device, inode) -> (ctime seconds, ctime nanoseconds, the ChangeTime to show instead, as FILETIME)."""


def remember(stat: Stat, filetime: int) -> None:
    """Show `filetime` as the ChangeTime of a file until its ctime differs from that of `stat`."""
    key = (stat.dev, stat.ino)
    kept[key] = (stat.ctime, stat.ctime_ns, filetime)
    kept.move_to_end(key)
    if len(kept) > _FILES:
        kept.popitem(last=False)


def shown(stat: Stat) -> int:
    """The ChangeTime (FILETIME) of a file: what a client has set, else the ctime."""
    return override(stat) or to_filetime(stat.ctime, stat.ctime_ns)


def override(stat: Stat) -> int:
    """The ChangeTime (FILETIME) that a client has set; 0 where none is set or the file has changed since."""
    if not kept:
        return 0
    found = kept.get((stat.dev, stat.ino))
    return found[2] if found is not None and found[:2] == (stat.ctime, stat.ctime_ns) else 0
