# SPDX-License-Identifier: GPL-2.0-or-later
"""Computes 8.3 names (MS-FSCC 2.1.5.2.1) from long names. Nothing is stored, and all workers compute the same names.

A valid 8.3 name is its own short name. Any other gets the name that Samba computes with `mangling method = hash2`, so
that a client finds its files on either server: the first character, six digits of a hash with a `~` before the last,
and the extension if that is a short one.
"""
from __future__ import annotations

from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LEGAL: Final = frozenset(_DIGITS + "!#$%&'()-@^_`{}~")
_PLAIN: Final = frozenset(_DIGITS + _DIGITS.lower() + "_-$~")
"""What a made name may have of the long one."""
_RESERVED: Final = frozenset(("CON", "PRN", "AUX", "NUL", "CLOCK$")) | {
    f"{device}{number}" for device in ("COM", "LPT") for number in range(1, 10)
}
_FNV_PRIME: Final = 0x01000193
_FNV_START: Final = 0xA6B93095
"""Hash2 is FNV-1 with a start of its own."""


def is_short_name(name: str) -> bool:
    """Whether `name` has the 8.3 form: one to eight legal characters, perhaps a dot and one to three more."""
    base, dot, extension = name.upper().partition(".")
    if not name.isascii() or not 1 <= len(base) <= 8 or (dot and not 1 <= len(extension) <= 3):
        return False
    return _LEGAL.issuperset(base) and _LEGAL.issuperset(extension) and base not in _RESERVED


def _hash(stem: str) -> int:
    """31 bits, the same for the stem in any case. Bytes of UTF-8 beyond ASCII count as signed ones."""
    value = _FNV_START
    upper = "".join(large if len(large := character.upper()) == 1 else character for character in stem)
    for byte in upper.encode("utf-8", "surrogatepass"):
        value = value * _FNV_PRIME & 0xFFFFFFFF
        value ^= byte if byte < 0x80 else byte | 0xFFFFFF00
    return value & 0x7FFFFFFF


def short_name(name: str) -> str:
    """The 8.3 name of `name`; '' for an empty name, `.` and `..`."""
    if name in ("", ".", ".."):
        return ""
    if is_short_name(name):
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or not 1 <= len(extension) <= 3 or not _PLAIN.issuperset(extension):
        stem, extension = name, ""
    first = name[0].upper() if name[0] in _PLAIN else "_"
    number = _hash(stem)
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return f"{first}{digits[:5]}~{digits[5]}" + (f".{extension.upper()}" if extension else "")
