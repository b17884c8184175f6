# SPDX-License-Identifier: GPL-2.0-or-later
"""ChangeTime as a client set it (MS-FSCC 2.4.7, MS-FSA 2.1.5.15.2). No file system lets its own be set, so what was set
is kept here, bounded, and holds as long as the kernel's is the one that the setting left: any change ends it."""
from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ksmbd.kernel.stat import Stat

_FILES: Final = 4096

kept: OrderedDict[tuple[int, int], tuple[int, int, int]] = OrderedDict()
"""(device, inode) -> the kernel's change time, seconds and nanoseconds, and what stands for it (FILETIME)."""


def remember(stat: Stat, filetime: int) -> None:
    """A client set the ChangeTime of a file, whose `stat` is from after that."""
    key = (stat.dev, stat.ino)
    kept[key] = (stat.ctime, stat.ctime_ns, filetime)
    kept.move_to_end(key)
    if len(kept) > _FILES:
        kept.popitem(last=False)


def override(stat: Stat) -> int:
    """What a client set, 0 where nothing was or the file changed since."""
    if not kept:
        return 0
    found = kept.get((stat.dev, stat.ino))
    return found[2] if found is not None and found[:2] == (stat.ctime, stat.ctime_ns) else 0
