# SPDX-License-Identifier: GPL-2.0-or-later
"""@GMT tokens: how a snapshot's time is written in names and in SRV_SNAPSHOT_ARRAY (MS-SMB2 2.2.32.2)."""
from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1601, 1, 1)  # UTC, like every FILETIME
_TOKEN: Final = re.compile(
    r"(?:\A|(?<=\\))@GMT-([0-9]{4})\.([0-9]{2})\.([0-9]{2})-([0-9]{2})\.([0-9]{2})\.([0-9]{2})(?:\\|\Z)"
)
MARK: Final = "@GMT-"
"""The beginning of every token."""


def gmt_token(filetime: int) -> str:
    """`@GMT-YYYY.MM.DD-HH.MM.SS` of a FILETIME."""
    moment = _EPOCH + timedelta(microseconds=filetime // 10)
    return moment.strftime("@GMT-%Y.%m.%d-%H.%M.%S")


def take_token(path: str) -> tuple[str, int] | None:
    """Take the first component that is a token out of a path: the path without it, and the FILETIME of the token; None
    where no component is a token. The components of `path` are joined by `\\`."""
    found = _TOKEN.search(path)
    if found is None:
        return None
    try:
        moment = datetime(*map(int, found.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None
    rest = path[: found.start()] + path[found.end() :]
    return rest.removesuffix("\\"), (moment - _EPOCH) // timedelta(microseconds=1) * 10
