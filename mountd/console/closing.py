# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --close: what its argument names, and what was closed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ksmbd.address import parse_address
from ksmbd.ipc.activity import Target

SESSION_ID_MAX = 1 << 32
"""SessionIds are below, ids of opens are above (ksmbd.smb.model.Server)."""
_NOUNS = {"sessions": "session", "tree_connects": "tree connect", "files": "file"}


def parse(what: str) -> Target:
    """What an argument names: the id of a session or a file, an address, SHARE/PATH, or a share. A word in front says
    which, where that matters: session:, file:, share:, address: or user:. Raises ValueError."""
    kind, colon, rest = what.partition(":")
    if colon and kind in ("session", "file", "share", "address", "user"):
        return _of_kind(kind, rest)
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", what):
        number = int(what, 16)
        return Target(session=f"{number:#010x}") if number < SESSION_ID_MAX else Target(file=f"{number:#x}")
    if _is_address(what):
        return Target(address=what)
    return _of_kind("file" if re.search(r"[/\\]", what) else "share", what)


def _of_kind(kind: str, rest: str) -> Target:
    if not rest:
        raise ValueError(f"{kind}: nothing is named")
    if kind in ("session", "file") and re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", rest):
        number = int(rest, 16)
        return Target(session=f"{number:#010x}") if kind == "session" else Target(file=f"{number:#x}")
    match kind:
        case "session":
            raise ValueError(f"{rest!r} is no id of a session, such as --sessions shows")
        case "file":
            share, _, path = rest.replace("\\", "/").strip("/").partition("/")
            return Target(share=share, path=path.rstrip("/"))
        case "share":
            return Target(share=rest)
        case "user":
            return Target(account=rest)
    if not _is_address(rest):
        raise ValueError(f"{rest!r} is no address")
    return Target(address=rest)


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


def told(closed: Mapping[str, int]) -> str:
    """What was closed as text: `2 sessions, 3 files`; '' for nothing."""
    parts = [
        f"{closed[kind]} {noun}{'' if closed[kind] == 1 else 's'}" for kind, noun in _NOUNS.items() if closed.get(kind)
    ]
    return ", ".join(parts)
