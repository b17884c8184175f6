# SPDX-License-Identifier: GPL-2.0-or-later
"""Replaces the %-variables of smb.conf(5).

Those of the server (%h, %L, %N, %D, %v, %w, %$(NAME)) are known when the file is read. The others are those of a
session and are replaced at each TREE_CONNECT. What a client has chosen must not lead out of the folder that the
administrator wrote: in a path, such a value is neither empty nor contains a slash, and no part of the path becomes `.`
or `..`.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Final

from mountd.commandline import package_version

_VARIABLE: Final = re.compile(r"%(?:\$\(([^)]*)\)|([A-Za-z]))")
SERVER: Final = frozenset("hLNDvw")
"""Letters of the variables that are the same for all sessions."""
SESSION: Final = frozenset("SPugUGHmMRdaIJijTt")
"""Letters of those that depend on the session, or on the time."""
TRUSTED: Final = frozenset("HPTt") | SERVER
"""Letters whose values come from the server's own databases and may have slashes."""
VALUE_MAX: Final = 255
"""Bytes of a client's value at most: a longer one could not be the name of a folder."""
_COLONS: Final = str.maketrans(".:", "__")


class Unsafe(ValueError):
    """A client's value would change the meaning of what the administrator wrote. The message is for the log."""


def of_server(netbios_name: str) -> dict[str, str]:
    """Letter -> value, for the variables of the server."""
    return {
        "h": socket.gethostname(), "L": netbios_name, "N": netbios_name, "D": netbios_name.upper(),
        "v": package_version(), "w": "\\",
    }  # fmt: skip


def of_time() -> dict[str, str]:
    """Letter -> value, for the local time now."""
    now = time.localtime()
    return {"T": time.strftime("%Y/%m/%d %H:%M:%S", now), "t": time.strftime("%Y%m%d_%H%M%S", now)}


def underscored(address: str) -> str:
    """An address as %J and %j have it."""
    return address.translate(_COLONS)


def letters(text: str) -> frozenset[str]:
    """The variables of the session in a text."""
    return frozenset(match[2] for match in _VARIABLE.finditer(text) if match[2]) & SESSION


def named(text: str, among: Iterable[str]) -> list[str]:
    """The variables in a text that are among these letters, as written in the file."""
    return [match[0] for match in _VARIABLE.finditer(text) if match[2] and match[2] in among]


def pieces(text: str) -> list[str]:
    """What is before, between and after the variables of a text."""
    return _VARIABLE.sub("\0", text).split("\0")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace the variables that have a value, and %$(NAME) by the environment; others stay as they are."""

    def value(match: re.Match[str]) -> str:
        if match[1] is not None:
            return os.environ.get(match[1], match[0])
        return values.get(match[2], match[0])

    return _VARIABLE.sub(value, text) if "%" in text else text


def expand_path(text: str, values: Mapping[str, str]) -> str:
    """Replace the variables of a path. Raises Unsafe."""
    for letter in letters(text) - TRUSTED:
        _check(text, letter, values.get(letter, ""))
    for part in text.split("/"):
        if "%" in part and not {".", ".."}.isdisjoint(expand(part, values).split("/")):
            raise Unsafe(f"`{text}` would be {expand(text, values)!r}")
    return expand(text, values)


def expand_member(text: str, values: Mapping[str, str]) -> str:
    """Replace the variables of an item of a list of users. Raises Unsafe where a user's name would become that of a
    group."""
    item = expand(text, values)
    if text[:1] == "%" and item[:1] in ("@", "+", "&"):
        raise Unsafe(f"`{text}` would be the group {item!r}")
    return item


def expand_pattern(text: str, values: Mapping[str, str]) -> str:
    """Replace the variables of a pattern for names. Raises Unsafe where a client's value has characters of patterns."""
    for letter in letters(text) - TRUSTED:
        if set("/*?") & set(values.get(letter, "")):
            raise Unsafe(f"`{text}`: %{letter} is {values[letter]!r}")
    return expand(text, values)


def _check(text: str, letter: str, value: str) -> None:
    size = len(value.encode(errors="surrogateescape"))
    if not value or size > VALUE_MAX or "/" in value or any(ord(character) < 0x20 for character in value):
        raise Unsafe(f"`{text}`: %{letter} is {value[:VALUE_MAX]!r}, which cannot be a part of a path")
