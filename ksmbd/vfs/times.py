# SPDX-License-Identifier: GPL-2.0-or-later
"""FILETIME (MS-DTYP 2.3.3) from and to Unix seconds and nanoseconds, in integers."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.constants import FILETIME_UNIX_EPOCH

_SECOND: Final = 10_000_000


def to_filetime(seconds: int, nanoseconds: int) -> int:
    """100 ns steps since 1601, rounded down; times before 1601 are 0."""
    value = seconds * _SECOND + nanoseconds // 100 + FILETIME_UNIX_EPOCH
    return value if value > 0 else 0


def from_filetime(filetime: int) -> tuple[int, int]:
    """(seconds, nanoseconds) since 1970; seconds may be negative, nanoseconds never."""
    seconds, rest = divmod(filetime - FILETIME_UNIX_EPOCH, _SECOND)
    return seconds, rest * 100
