# SPDX-License-Identifier: GPL-2.0-or-later
"""When an open shows the time of its own writes (MS-FSA 2.1.4.17 leaves the moment to the object store).

As NTFS does it: the first write of an open is shown two seconds later, what is written after that when the open ends;
a flush and whatever sets the size or the basic information show it at once. The file has its time from the kernel with
every write, and everybody else sees it: it is held back from the open that wrote alone.
"""
from __future__ import annotations

from math import inf
from typing import Final

from ksmbd.kernel.stat import Stat

DELAY: Final = 2.0
"""Seconds."""


class WriteTime:
    """Of one open that has written."""

    __slots__ = ("held", "until")

    def __init__(self, stat: Stat, now: float) -> None:
        """`stat` is from before the first write, `now` in monotonic seconds; -inf: everything is shown at once."""
        self.held: tuple[int, int] | None = (stat.mtime, stat.mtime_ns) if now != -inf else None
        """What is shown for the write time; None: the file's own, until the next write."""
        self.until = now + DELAY

    def hold(self, stat: Stat) -> None:
        """Another write is to come, after the time was shown: now the open's end shows it."""
        self.held = (stat.mtime, stat.mtime_ns)
        self.until = inf

    def shown(self, stat: Stat, now: float) -> tuple[int, int] | None:
        """What to show instead of the file's own time, None for that."""
        if self.held is None or not is_written(stat):
            return None
        if now >= self.until:
            self.held = None
        return self.held

    def flush(self, stat: Stat) -> bool:
        """Show the time from now on. Whether it has to be set, because the kernel's clock did not tick since."""
        held, self.held = self.held, None
        return held is not None and is_written(stat) and (stat.mtime, stat.mtime_ns) == held

    def end(self, stat: Stat) -> bool:
        """The open ends. Whether the file's time has to be set to now, because a write was held back for that."""
        held, self.held = self.held, None
        return held is not None and self.until == inf and is_written(stat) and (stat.mtime, stat.mtime_ns) != held


def is_written(stat: Stat) -> bool:
    """Whether the write time may be a write's: one that somebody set is another than the change time."""
    return (stat.mtime, stat.mtime_ns) == (stat.ctime, stat.ctime_ns)
