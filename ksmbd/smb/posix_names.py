# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of opens with the POSIX create context: `/` separates them, all else but NUL may be in them.

Inside the server a path has `\\` between its components and no character that Windows forbids. What POSIX allows and
Windows does not is shown there by a character of the private area, as other clients see it (the table of
ksmbd/vfs/names.py): so one name on the disk has one path, whoever opened it.
"""
from __future__ import annotations

import re
from typing import Final

TO_PRIVATE: Final[dict[int, int]] = {code: 0xF000 + code for code in range(1, 0x20)} | {
    ord(character): 0xF020 + index for index, character in enumerate('"*:<>?\\|')
}
"""Characters that Windows has in no name, to those that stand for them."""
SPACE: Final = "\uf028"
DOT: Final = "\uf029"
"""These stand for a space and a dot at the end of a name."""

_FOREIGN: Final = re.compile(r'[\x01-\x1f"*:<>?\\|]|[ .](?:/|\Z)')


def to_private(component: str) -> str:
    """One component, not empty, with what Windows forbids by its character of the private area."""
    if component in (".", ".."):
        return component
    last = component[-1]
    return component[:-1].translate(TO_PRIVATE) + {" ": SPACE, ".": DOT}.get(last, last.translate(TO_PRIVATE))


_FROM_PRIVATE: Final = {value: key for key, value in TO_PRIVATE.items()} | {ord(SPACE): 0x20, ord(DOT): 0x2E}


def from_path(path: str) -> str:
    """A path of the server's as a POSIX client writes it: the inverse of `posix_path`."""
    return path.replace("\\", "/").translate(_FROM_PRIVATE)


def posix_path(name: str) -> str:
    """A name with `/` between its components as a path of the server's; a leading or trailing `/` is kept as `\\`."""
    if _FOREIGN.search(name) is None:
        return name.replace("/", "\\")
    return "\\".join([to_private(component) if component else "" for component in name.split("/")])
