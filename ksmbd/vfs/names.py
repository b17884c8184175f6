# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps names of clients (UTF-16, no `"*/:<>?\\|`) to names on disk (any bytes but `/` and NUL), checks and folds them.

Names on disk are UTF-8; unpaired surrogates are encoded as UTF-8 would (surrogatepass). A name on disk that no Windows
client could write is shown with characters of the private use area, as macOS and cifs.ko (mapposix) do. The same
mapping leads back:

    U+F001..U+F01F control characters      U+F020 "   U+F021 *   U+F022 :   U+F023 <   U+F024 >   U+F025 ?   U+F026 \\
    U+F027 |   U+F028 a space, U+F029 a dot at the end of a name   U+F080..U+F0FF one byte that is not UTF-8

The two directions are inverse to each other, except for names that have U+F001..U+F029 literally on disk: those are
shown as they are, and found by scanning the directory.
"""
from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Final, NamedTuple

from ksmbd.smb.posix_names import DOT, SPACE, TO_PRIVATE, to_private
from ksmbd.smb.status import (
    STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_PATH_SYNTAX_BAD,
    NtStatusError,
)

MAXIMUM_COMPONENT: Final = 255
"""Bytes on disk, and UTF-16 units (MS-FSCC 2.1.5.1)."""

_FORBIDDEN: Final = re.compile(r'[\x00-\x1f"*/:<>?|\\]')
_PRIVATE: Final = re.compile("[\uf001-\uf029\uf080-\uf0ff]")
_UNSEEN: Final = re.compile(r'[\x01-\x1f"*:<>?\\|]|[ .]\Z')
_PLAIN_COMPONENT: Final = r"[A-Za-z0-9_][A-Za-z0-9_ .-]{0,62}"
_PLAIN: Final = re.compile(rf"{_PLAIN_COMPONENT}(?:\\{_PLAIN_COMPONENT})*")
"""Common paths, whose components need no further check."""
_PLAIN_CLIENT: Final = re.compile(r"[A-Za-z0-9_. -]*[A-Za-z0-9_-]")
"""Common names on disk, which clients see unchanged."""
_PLAIN_ONE: Final = re.compile(_PLAIN_COMPONENT)
_PAIRS: Final = re.compile(r"[\ud800-\udbff][\udc00-\udfff]|[\uf080-\uf0ff]")

_TO_DISK: Final = {value: key for key, value in TO_PRIVATE.items()}


def _upcase_table() -> dict[int, int]:
    # Windows folds one UTF-16 unit to one unit. The characters in `kept` are unchanged in the table of NTFS, while
    # Python's upper(), which is Unicode's, maps them to letters of other scripts or to ASCII.
    kept = {0x00B5, 0x0131, 0x017F, 0x1E9B, 0x1FBE}
    table = {}
    for code in range(0x80, 0x10000):
        upper = chr(code).upper()
        if len(upper) == 1 and ord(upper) != code and ord(upper) < 0x10000 and code not in kept:
            table[code] = ord(upper)
    return table


_UPCASE: Final = _upcase_table()


def fold(name: str) -> str:
    """The case-folded form of a name: names that differ only in case have the same form."""
    upper = name.upper()
    if name.isascii():
        return upper
    return "".join([chr(_UPCASE.get(code, code - 32 if 97 <= code <= 122 else code)) for code in map(ord, name)])


def to_disk(name: str, posix: bool = False) -> bytes:
    """The name on disk of a client's path component, which `check` has accepted. `posix` makes no difference today:
    cifs.ko sends characters that Windows forbids by the private use area (mapposix) on POSIX opens, too."""
    if name.isascii():
        return name.encode()
    if _PRIVATE.search(name):
        return _map_to_disk(name)
    return name.encode("utf-8", "surrogatepass")


def _map_to_disk(name: str) -> bytes:
    last = name[-1]
    mapped = name[:-1].translate(_TO_DISK) + {SPACE: " ", DOT: "."}.get(last, last.translate(_TO_DISK))
    if mapped in (".", ".."):
        mapped = name[:-1].translate(_TO_DISK) + last
    parts = []
    for character in mapped:
        if "\uf080" <= character <= "\uf0ff":
            parts.append(bytes((ord(character) - 0xF000,)))
        else:
            parts.append(character.encode("utf-8", "surrogatepass"))
    return b"".join(parts)


def to_client(name: bytes, posix: bool = False) -> str:
    """The name that clients see for a name on disk. Never raises; `to_disk` maps it back."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = _decode(name)
    else:
        if not text.isascii() and _PAIRS.search(text):
            text = _PAIRS.sub(_escape, text)
    if not posix and _UNSEEN.search(text) and text not in (".", ".."):
        return to_private(text)
    return text


def _escape(match: re.Match[str]) -> str:
    return "".join(chr(0xF000 + byte) for byte in match.group().encode("utf-8", "surrogatepass"))


def _decode(name: bytes) -> str:
    """Decode bytes that are not valid UTF-8: surrogates are decoded, every other invalid byte is escaped."""
    parts = []
    while name:
        try:
            parts.append(name.decode("utf-8", "surrogatepass"))
            break
        except UnicodeDecodeError as error:
            parts.append(name[: error.start].decode("utf-8", "surrogatepass"))
            parts.append("\0" + chr(0xF000 + name[error.start]))  # \0, which no name holds, marks an escape made here
            name = name[error.start + 1 :]
    text = "".join(parts)
    # Surrogate pairs and U+F080..U+F0FF are escaped too: to_disk never writes them so.
    return re.sub("\0(.)|" + _PAIRS.pattern, lambda found: found.group(1) or _escape(found), text)


def from_scandir(name: str) -> tuple[bytes, str]:
    """(name on disk, name for clients) of a name that os.scandir or os.listdir returned for a descriptor."""
    if _PLAIN_CLIENT.fullmatch(name):
        return name.encode(), name
    if name.isascii():
        if _UNSEEN.search(name) is None or name in (".", ".."):
            return name.encode(), name
        return name.encode(), to_private(name)
    disk = os.fsencode(name)
    return disk, to_client(disk)


def check(name: str, posix: bool = False) -> None:
    """Check a path component that a client sent (MS-FSCC 2.1.5). Raises STATUS_OBJECT_NAME_INVALID;
    STATUS_OBJECT_PATH_SYNTAX_BAD for `..`."""
    if name == "..":
        raise NtStatusError(STATUS_OBJECT_PATH_SYNTAX_BAD, "..")
    if not name or name == ".":
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "empty or '.'")
    if posix:
        if "/" in name or "\0" in name:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "/")
    elif _FORBIDDEN.search(name):
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "character not allowed")
    if len(name) > 63:  # a shorter name is never longer than 255 bytes in UTF-8
        if len(to_disk(name, posix)) > MAXIMUM_COMPONENT:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "longer than 255 bytes")
    if not name.isascii() and not posix and _PRIVATE.search(name):
        disk = to_disk(name)
        if b"/" in disk or b"\0" in disk or disk in (b".", b"..") or to_client(disk) != name:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "escape that stands for another name")


def split(path: str, posix: bool = False) -> list[str]:
    """The components of a path below the share, each checked; [] is the root. Raises what `check` raises."""
    if not path:
        return []
    if _PLAIN.fullmatch(path):
        return path.split("\\")
    if path[-1] == "\\" and len(path) > 1:
        path = path[:-1]
    components = path.split("\\")
    for component in components:
        check(component, posix)
    return components


class Folder(NamedTuple):
    """The directory part of a path below the share."""

    components: tuple[str, ...]
    disk: tuple[bytes, ...]
    """The names on disk of the components."""
    joined: bytes
    """The names on disk, joined by `/`."""


@lru_cache(maxsize=2048)
def folder(path: str, posix: bool) -> Folder:
    """Split and check a directory's path, which is not empty. The result is cached, because opens use the same
    directories again and again. Raises what `check` raises."""
    components = tuple(path.split("\\"))
    disk = tuple([component(name, posix) for name in components])
    return Folder(components, disk, b"/".join(disk))


def component(name: str, posix: bool) -> bytes:
    """Check one component and return its name on disk. Raises what `check` raises."""
    if _PLAIN_ONE.fullmatch(name) is None:
        check(name, posix)
        return to_disk(name, posix)
    return name.encode()


class Patterns:
    """A list of name patterns with `*` and `?` (`veto files`, `hide files`), compared without regard to case
    unless they are `exact`."""

    __slots__ = ("_exact", "_expression", "active")

    def __init__(self, patterns: tuple[str, ...], exact: bool = False) -> None:
        alternatives = [
            "".join({"*": ".*", "?": "."}.get(character) or re.escape(character) for character in pattern)
            for pattern in (patterns if exact else tuple(map(fold, patterns)))
            if pattern
        ]
        self._exact = exact
        self._expression = re.compile("|".join(alternatives), re.DOTALL) if alternatives else None
        self.active = bool(alternatives)
        """Whether there are any patterns: the same as bool(self), without a call."""

    def __bool__(self) -> bool:
        return self._expression is not None

    def match(self, name: str) -> bool:
        """Whether one of the patterns matches `name`."""
        expression = self._expression
        return expression is not None and expression.fullmatch(name if self._exact else fold(name)) is not None
