# SPDX-License-Identifier: GPL-2.0-or-later
"""FILETIME (MS-DTYP 2.3.3) from and to Unix seconds and nanoseconds, in integers."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.constants import FILETIME_UNIX_EPOCH

LARGEST: Final = 0x7FFFFFFFFFFFFFFF
"""The last FILETIME (MS-FSCC 2.1.1), of the year 30828; sizes on the wire end here, too."""
_SECOND: Final = 10_000_000


def to_filetime(seconds: int, nanoseconds: int) -> int:
    """100 ns steps since 1601, rounded down; times before 1601 are 0, those after 30828 LARGEST."""
    return clamp(seconds * _SECOND + nanoseconds // 100 + FILETIME_UNIX_EPOCH)


def clamp(value: int) -> int:
    """What the wire has for a time or a size of the file system: nothing below 0, nothing above LARGEST."""
    return min(max(value, 0), LARGEST)


def from_filetime(filetime: int) -> tuple[int, int]:
    """(seconds, nanoseconds) since 1970; seconds may be negative, nanoseconds never."""
    seconds, rest = divmod(filetime - FILETIME_UNIX_EPOCH, _SECOND)
    return seconds, rest * 100
