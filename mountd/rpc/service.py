# SPDX-License-Identifier: GPL-2.0-or-later
"""Defines an RPC service: an interface with a table of operations, and the call that an operation gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from mountd.rpc.facts import Facts, Level, ShareFacts
from mountd.rpc.handles import Handles
from mountd.rpc.names import Names
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.pdu import Syntax


class Win32(IntEnum):
    """Win32 error codes that operations return (MS-ERREF 2.2)."""

    SUCCESS = 0
    FILE_NOT_FOUND = 2
    ACCESS_DENIED = 5
    INVALID_HANDLE = 6
    WRITE_PROTECT = 19
    GEN_FAILURE = 31
    NOT_SUPPORTED = 50
    INVALID_PARAMETER = 87
    INSUFFICIENT_BUFFER = 122
    INVALID_NAME = 123
    INVALID_LEVEL = 124
    BUSY = 170
    MORE_DATA = 234
    NO_MORE_ITEMS = 259
    NOT_FOUND = 1168
    INVALID_SECURITY_DESCR = 1338
    NERR_UNKNOWN_DEV_DIR = 2116
    NERR_BUF_TOO_SMALL = 2123
    NERR_DUPLICATE_SHARE = 2118
    NERR_NET_NAME_NOT_FOUND = 2310
    NERR_DEVICE_NOT_SHARED = 2311
    NERR_CLIENT_NAME_NOT_FOUND = 2312
    NERR_FILE_ID_NOT_FOUND = 2314
    NERR_DFS_NO_SUCH_VOLUME = 2662
    NERR_DFS_NO_SUCH_SERVER = 2673


@dataclass(frozen=True)
class Caller:
    """The caller of a pipe: level and account, the current facts, the names that its call needs, its open handles."""

    facts: Callable[[], Facts]
    level: Level
    account: str = ""
    hidden: frozenset[str] = frozenset()
    """Keys of shares that are left out for this caller (`access based share enum`)."""
    home: ShareFacts | None = None
    """The share of the caller's own home, which nobody else is shown."""
    names: Names = field(default_factory=Names)
    handles: Handles = field(default_factory=Handles)

    @property
    def restricted(self) -> bool:
        """Anonymous or a guest, who see no more than names."""
        return self.level is Level.NAMES

    @property
    def is_admin(self) -> bool:
        """An administrator."""
        return self.level is Level.SESSIONS


Operation = Callable[[Caller, NdrReader, NdrWriter], None]
"""Reads its parameters, writes its results and the return value. WireError: malformed stub data. Unanswered: it needs
names and runs again with them; until then it changes nothing."""


@dataclass(frozen=True)
class Interface:
    """One RPC interface: `pipe` is the name of its named pipe, `operations` go by opnum."""

    pipe: str
    syntax: Syntax
    operations: Mapping[int, Operation]
