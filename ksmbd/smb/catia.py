# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the value of `catia:mappings` (vfs_catia(8))."""
from __future__ import annotations

import logging
from functools import lru_cache
from typing import Final

logger = logging.getLogger("ksmbd.smb")

_MOST: Final = 0xFFFF
"""Characters beyond cannot be mapped, as by Samba."""


@lru_cache(maxsize=64)
def pairs_of(text: str) -> tuple[tuple[int, int], ...]:
    """(character on the disk, character of clients) of a value of `catia:mappings`. What is malformed is left out, with
    a warning."""
    found = []
    for item in text.replace(",", " ").split():
        disk, colon, client = item.partition(":")
        try:
            pair = int(disk, 16), int(client, 16)
        except ValueError:
            pair = 0, 0
        if colon and all(0 < number <= _MOST and not 0xD800 <= number < 0xE000 for number in pair):
            found.append(pair)
        else:
            logger.warning("catia:mappings: %r is left out", item)
    return tuple(found)
