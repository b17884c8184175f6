# SPDX-License-Identifier: GPL-2.0-or-later
"""Computes 8.3 names (MS-FSCC 2.1.5.2.1) from long names. Nothing is stored, and all workers compute the same names.

A valid 8.3 name is its own short name. Any other gets its first legal character, six characters of a hash with a `~`
before the last as in Windows, and up to three characters of its extension.
"""
from __future__ import annotations

from typing import Final
from zlib import crc32

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LEGAL: Final = frozenset(_DIGITS + "!#$%&'()-@^_`{}~")
_RESERVED: Final = frozenset(("CON", "PRN", "AUX", "NUL", "CLOCK$")) | {
    f"{device}{number}" for device in ("COM", "LPT") for number in range(1, 10)
}


def is_short_name(name: str) -> bool:
    """Whether `name` has the 8.3 form: one to eight legal characters, perhaps a dot and one to three more."""
    base, dot, extension = name.upper().partition(".")
    if not 1 <= len(base) <= 8 or (dot and not 1 <= len(extension) <= 3):
        return False
    return _LEGAL.issuperset(base) and _LEGAL.issuperset(extension) and base not in _RESERVED


def short_name(name: str) -> str:
    """The 8.3 name of `name`; '' for an empty name, `.` and `..`."""
    if name in ("", ".", ".."):
        return ""
    if is_short_name(name):
        return name
    upper = name.upper()
    stem, dot, extension = upper.rpartition(".")
    if not dot or not stem:
        stem, extension = upper, ""
    first = next((character for character in stem if character in _LEGAL and character != "~"), "_")
    number = crc32(upper.encode("utf-16-le", "surrogatepass"))
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    tail = "".join(character for character in extension if character in _LEGAL)[:3]
    return f"{first}{digits[:5]}~{digits[5]}" + (f".{tail}" if tail else "")
