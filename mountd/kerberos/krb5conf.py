# SPDX-License-Identifier: GPL-2.0-or-later
"""krb5.conf as one file, without `include`: what the process of Kerberos finds in its own root directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

DEFAULT: Final = "/etc/krb5.conf"
_DEPTH_MAX: Final = 8
_INCLUDED: Final = re.compile(r"[A-Za-z0-9_-]+|[^.].*\.conf")
"""The names of files in an `includedir` that are read (krb5.conf(5))."""


def flat(names: str) -> str:
    """The text of the files in `names`, separated by colons as in KRB5_CONFIG, with what they include. A file that is
    missing or cannot be read is left out, as libkrb5 does."""
    return "".join(line + "\n" for name in names.split(":") if name for line in _lines(Path(name), 0))


def _lines(path: Path, depth: int) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        place = Path(rest.strip())
        if word not in ("include", "includedir"):
            yield line
        elif depth < _DEPTH_MAX and word == "include":
            yield from _lines(place, depth + 1)
        elif depth < _DEPTH_MAX:
            for name in _names(place):
                yield from _lines(place / name, depth + 1)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _INCLUDED.fullmatch(name))
    except OSError:
        return []
