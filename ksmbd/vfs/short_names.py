# SPDX-License-Identifier: GPL-2.0-or-later
"""Computes 8.3 names (MS-FSCC 2.1.5.2.1) from names on disk. Nothing is stored, and all workers compute the same names.

A valid 8.3 name is its own short name. Any other gets the name that Samba computes with `mangling method = hash2`, so
that a client finds its files on either server: the first characters (`mangle prefix`), digits of a hash with a `~`
before the last, and the extension if that is a short one.
"""
from __future__ import annotations

import re
from typing import Final

from ksmbd.vfs.names import fold

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FORM: Final = re.compile(rb"[A-Za-z0-9!#$%&'()@^_`{}~-]{0,8}(?:\.[A-Za-z0-9!#$%&'()@^_`{}~-]{1,3})?")
_RESERVED: Final = re.compile(rb"(?:AUX|CON|COM[1-4]|LPT[1-4]|NUL|PRN)(?:\..*)?", re.IGNORECASE | re.DOTALL)
"""Names of devices, which Samba counts, with any extension."""
_EXTENSION: Final = re.compile(rb"[A-Za-z0-9_$~-]{1,3}")
"""An extension that a short name keeps."""
_NOT_PLAIN: Final = re.compile(rb"[^A-Za-z0-9_$~-]")
"""What a made name has `_` for."""
_ILLEGAL: Final = re.compile(rb'[\x00-\x1f"*/:<>?|\\]|[ .]\Z')
"""What Windows has in no name."""
_ASCII: Final = re.compile(rb"[\x00-\x7f]*")
_NEWER: Final = re.compile(
    "[\u0180\u0195\u019a-\u019e\u01bf-\u01c5\u01c8\u01cb\u01f2\u01f9\u0219-\u0252\u025c\u0261\u0265\u0266\u026a-\u026c\u0271"
    "\u027d-\u0282\u0287\u0289\u028c\u029d-\u037d\u03d0-\u03e1\u03f0-\u03fb\u0450\u045d\u048b-\u048f\u04c6\u04ca\u04ce\u04cf"
    "\u04ed\u04f7\u04fb-\u052f\u10d0-\u1d8e\u1efb-\u1eff\u214e\u2184\u2c30-\uabbf]"
)
"""Letters whose capitals the table of Samba does not have, which is Windows NT's."""
_FNV_PRIME: Final = 0x01000193
_FNV_START: Final = 0xA6B93095
"""Hash2 is FNV-1 with a start of its own."""
HASHED: Final = 6
"""Characters before the `~` of a made name: the prefix and digits of the hash."""


def is_short_name(disk: bytes) -> bool:
    """Whether a name on disk has the 8.3 form: up to eight legal characters, perhaps a dot and one to three more."""
    return bool(disk) and _FORM.fullmatch(disk) is not None and _RESERVED.fullmatch(disk) is None


def _hash(stem: bytes) -> int:
    """31 bits, the same for the stem in any case. Bytes beyond ASCII count as signed ones."""
    value = _FNV_START
    if stem.isascii():
        for byte in stem.upper():
            value = value * _FNV_PRIME & 0xFFFFFFFF ^ byte
        return value & 0x7FFFFFFF
    for byte in _upper(stem):
        value = value * _FNV_PRIME & 0xFFFFFFFF ^ (byte if byte < 0x80 else byte | 0xFFFFFF00)
    return value & 0x7FFFFFFF


def _upper(stem: bytes) -> bytes:
    """The stem in capitals; where it is not UTF-8, as far as it is ASCII, as Samba takes it."""
    try:
        text = stem.decode()
    except UnicodeDecodeError:
        ascii_part = _ASCII.match(stem)
        end = ascii_part.end() if ascii_part is not None else 0
        return stem[:end].upper() + stem[end:]
    if _NEWER.search(text) is None:
        return fold(text).encode()
    return "".join([letter if _NEWER.match(letter) else fold(letter) for letter in text]).encode()


def make(disk: bytes, prefix: int = 1) -> str:
    """The 8.3 name that a name on disk gets which has none of its own, with `prefix` characters of it."""
    stem, dot, extension = disk.rpartition(b".")
    if not dot or _EXTENSION.fullmatch(extension) is None:
        stem, extension = disk, b""
    number = _hash(stem)
    number, last = divmod(number, 36)
    digits = ""
    for _ in range(HASHED - prefix):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    head = _NOT_PLAIN.sub(b"_", disk[:prefix]).ljust(prefix, b"_").decode().upper()
    return f"{head}{digits}~{_DIGITS[last]}" + (f".{extension.decode().upper()}" if extension else "")


class ShortNames:
    """The short names of one share."""

    __slots__ = ("_all", "_form", "_shown", "kind", "prefix")

    def __init__(self, everything: bool, prefix: int = 1, shown: tuple[tuple[int, int], ...] = ()) -> None:
        """`everything`: listings have the short names of all names (`mangled names = yes`), and not only of those that
        Windows cannot have. `shown`: characters on the disk and those that clients see instead, of which short names
        are made."""
        self.kind = prefix, shown
        """What the short names of the same names depend on."""
        self._shown = {disk: chr(client) for disk, client in reversed(shown)}
        self._all = everything
        self.prefix = prefix
        self._form = re.compile(
            rf"[A-Za-z0-9_$~-]{{{prefix}}}[A-Za-z0-9]{{{HASHED - prefix}}}~[A-Za-z0-9](?:\.[A-Za-z0-9_$~-]{{1,3}})?"
        )

    def of(self, disk: bytes) -> str:
        """The short name of a name on disk, which may be itself; '' for `.` and `..`."""
        if disk in (b"", b".", b".."):
            return ""
        return self.made(disk) or disk.decode()

    def made(self, disk: bytes) -> str:
        """As `of`; '' where the name is short already."""
        if self._shown:
            disk = self._as_shown(disk)
        return "" if is_short_name(disk) else make(disk, self.prefix)

    def _as_shown(self, disk: bytes) -> bytes:
        return disk.decode("utf-8", "surrogateescape").translate(self._shown).encode("utf-8", "surrogateescape")

    def listed(self, disk: bytes) -> str:
        """What listings have as its ShortName (MS-FSCC 2.4.8); '' for none."""
        if self._all:
            return self.made(disk)
        if self._shown:
            disk = self._as_shown(disk)
        if _ILLEGAL.search(disk) is not None or _RESERVED.fullmatch(disk) is not None:
            return make(disk, self.prefix)
        return ""

    def may_be(self, name: str) -> bool:
        """Whether a client's name has the form of a made one."""
        return name[HASHED : HASHED + 1] == "~" and self._form.fullmatch(name) is not None
