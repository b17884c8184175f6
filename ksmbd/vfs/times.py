# SPDX-License-Identifier: GPL-2.0-or-later
"""Converts FILETIME (MS-DTYP 2.3.3) to and from Unix seconds and nanoseconds, in integers."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.constants import FILETIME_UNIX_EPOCH

LARGEST: Final = 0x7FFFFFFFFFFFFFFF
"""The largest FILETIME (MS-FSCC 2.1.1), in the year 30828, and the largest size on the wire."""
_SECOND: Final = 10_000_000


def to_filetime(seconds: int, nanoseconds: int) -> int:
    """The FILETIME (units of 100 ns since 1601, rounded down) of a Unix time. A time before 1601 gives 0, one after
    30828 LARGEST."""
    return clamp(seconds * _SECOND + nanoseconds // 100 + FILETIME_UNIX_EPOCH)


def clamp(value: int) -> int:
    """A time or size of the file system, limited to what the wire can hold: 0 to LARGEST."""
    return min(max(value, 0), LARGEST)


def from_filetime(filetime: int) -> tuple[int, int]:
    """(seconds, nanoseconds) since 1970 of a FILETIME; the seconds may be negative, the nanoseconds never are."""
    seconds, rest = divmod(filetime - FILETIME_UNIX_EPOCH, _SECOND)
    return seconds, rest * 100
