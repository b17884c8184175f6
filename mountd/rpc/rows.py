# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is connected and what is open, as the RPC services tell it to administrators.

mountd sends the rows when an operation asks for them (mountd/rpc/names.py). They are parts of the rows of
ksmbd.ipc.activity, under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

FILES_OF_PIPES: Final = "pipe"
"""FileInfo.kind of a named pipe."""


class SessionInfo(NamedTuple):
    """A session. `connected` is in seconds since 1970, `idle` in seconds."""

    id: str
    account: str
    address: str
    guest: bool
    connected: float
    idle: float
    opens: int


class TreeInfo(NamedTuple):
    """A tree connect. `id` is unique in its session only."""

    id: str
    session: str
    account: str
    address: str
    share: str
    opens: int
    connected: float


class FileInfo(NamedTuple):
    """An open. `access` is the granted access mask in hexadecimal digits after 0x."""

    id: str
    account: str
    address: str
    share: str
    path: str
    stream: str
    kind: str
    access: str
    locks: int


RowInfo = SessionInfo | TreeInfo | FileInfo
ROW_KINDS: Final[Mapping[str, type[SessionInfo] | type[TreeInfo] | type[FileInfo]]] = {
    "sessions": SessionInfo, "tree_connects": TreeInfo, "files": FileInfo,
}  # fmt: skip


def row_of(kind: str, row: Mapping[str, Any]) -> RowInfo:
    """The part of a row of ksmbd.ipc.activity. Raises KeyError where a field is missing."""
    chosen = ROW_KINDS[kind]
    return chosen(*(row[field] for field in chosen._fields))


def file_number(identifier: str) -> int:
    """The number by which MS-SRVS names an open (fi3_id), from its id of 64 bits: 31 bits, because clients read and
    print it as a signed one."""
    value = int(identifier, 16)
    return (value ^ value >> 32) & 0x7FFFFFFF


def tree_number(tree: TreeInfo) -> int:
    """The number by which MS-SRVS names a tree connect (coni1_id)."""
    return (int(tree.session, 16) << 16 ^ int(tree.id, 16)) & 0x7FFFFFFF
