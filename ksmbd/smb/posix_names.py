# SPDX-License-Identifier: GPL-2.0-or-later
"""Converts names of opens with the POSIX create context, where `/` separates components and every character but NUL is
allowed.

Inside the server a path separates components by `\\` and has no character that Windows forbids. A character that only
POSIX allows is replaced by one of the Unicode private use area, as other clients see it (ksmbd/vfs/names.py). So a name
on disk has the same path for every client.
"""
from __future__ import annotations

import re
from typing import Final

TO_PRIVATE: Final[dict[int, int]] = {code: 0xF000 + code for code in range(1, 0x20)} | {
    ord(character): 0xF020 + index for index, character in enumerate('"*:<>?\\|')
}
"""Characters that Windows forbids in names -> their replacements."""
SPACE: Final = "\uf028"
DOT: Final = "\uf029"
"""The replacements of a space and of a period at the end of a name."""

_FOREIGN: Final = re.compile(r'[\x01-\x1f"*:<>?\\|]|[ .](?:/|\Z)')


def to_private(component: str) -> str:
    """Replace what Windows forbids in one component, which is not empty."""
    if component in (".", ".."):
        return component
    last = component[-1]
    return component[:-1].translate(TO_PRIVATE) + {" ": SPACE, ".": DOT}.get(last, last.translate(TO_PRIVATE))


_FROM_PRIVATE: Final = {value: key for key, value in TO_PRIVATE.items()} | {ord(SPACE): 0x20, ord(DOT): 0x2E}


def from_path(path: str) -> str:
    """Convert a path of the server to the name that a POSIX client uses: the inverse of `posix_path`."""
    return path.replace("\\", "/").translate(_FROM_PRIVATE)


def posix_path(name: str) -> str:
    """Convert a name with `/` between its components to a path of the server. A leading or trailing `/` becomes
    `\\`."""
    if _FOREIGN.search(name) is None:
        return name.replace("/", "\\")
    return "\\".join([to_private(component) if component else "" for component in name.split("/")])
