# SPDX-License-Identifier: GPL-2.0-or-later
"""Decides when an open shows the LastWriteTime of its own writes (MS-FSA 2.1.4.17 leaves that to the object store).

As on NTFS, the time of an open's first write is shown two seconds later, and the time of later writes when the open
ends. A flush, and setting the size or the basic information, shows it at once. The kernel updates the file's mtime with
every write, and other opens see that; only the open that wrote still shows the old time.
"""
from __future__ import annotations

from math import inf
from typing import Final

from ksmbd.kernel.stat import Stat

DELAY: Final = 2.0
"""Seconds after which the time of the first write is shown."""


class WriteTime:
    """The write time that one open shows, once it has written."""

    __slots__ = ("held", "until")

    def __init__(self, stat: Stat, now: float) -> None:
        """`stat` is from before the first write; `now` is in monotonic seconds, -inf to show every write at once."""
        self.held: tuple[int, int] | None = (stat.mtime, stat.mtime_ns) if now != -inf else None
        """The time (seconds, nanoseconds) that is shown; None: the file's mtime is shown, until the next write."""
        self.until = now + DELAY

    def hold(self, stat: Stat) -> None:
        """Hold the time back again before a further write; the end of the open will show it."""
        self.held = (stat.mtime, stat.mtime_ns)
        self.until = inf

    @property
    def is_late(self) -> bool:
        """Whether the time of a later write is held back, so that `end` has to look at the file."""
        return self.until == inf

    def shown(self, stat: Stat, now: float) -> tuple[int, int] | None:
        """The time to show instead of the file's mtime; None: show the mtime. `now` is in monotonic seconds."""
        if self.held is None or not is_written(stat):
            return None
        if now >= self.until:
            self.held = None
        return self.held

    def flush(self, stat: Stat) -> bool:
        """Show the file's mtime from now on. Returns whether the caller must set it to now, because the kernel's
        coarse clock has not advanced since the held time."""
        held, self.held = self.held, None
        return held is not None and is_written(stat) and (stat.mtime, stat.mtime_ns) == held

    def end(self, stat: Stat) -> bool:
        """End the open. Returns whether the caller must set the file's mtime to now, because a later write was held
        back."""
        held, self.held = self.held, None
        return held is not None and self.is_late and is_written(stat) and (stat.mtime, stat.mtime_ns) != held


def is_written(stat: Stat) -> bool:
    """Whether the mtime may come from a write: a time that was set by utimensat(2) differs from the ctime."""
    return (stat.mtime, stat.mtime_ns) == (stat.ctime, stat.ctime_ns)
