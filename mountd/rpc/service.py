# SPDX-License-Identifier: GPL-2.0-or-later
"""What a service is: an interface with a table of operations, and what an operation may know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from mountd.config import Configuration
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.pdu import Syntax
from mountd.sessions import Sessions
from mountd.unixusers import UnixUsers


class Win32(IntEnum):
    """Win32 error codes that operations return (MS-ERREF 2.2)."""

    SUCCESS = 0
    ACCESS_DENIED = 5
    NOT_SUPPORTED = 50
    INVALID_PARAMETER = 87
    INVALID_LEVEL = 124
    MORE_DATA = 234
    NERR_NET_NAME_NOT_FOUND = 2310


class ServerView(Protocol):
    """The daemon, as services see it."""

    @property
    def configuration(self) -> Configuration: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def users(self) -> UnixUsers: ...


@dataclass(frozen=True)
class Caller:
    """Who calls. `restricted`: anonymous or guest, who see no more than names."""

    server: ServerView
    account: str
    restricted: bool

    @property
    def is_admin(self) -> bool:
        """Root's account, or one that IPC$ names in `admin users`."""
        if self.restricted or not self.account:
            return False
        user = self.server.users.user(self.account)
        if user is not None and user.uid == 0:
            return True
        share = self.server.configuration.share("ipc$")
        return share is not None and self.account.casefold() in (name.casefold() for name in share.admin_users)


Operation = Callable[[Caller, NdrReader, NdrWriter], None]
"""Reads its parameters, writes its results and the return value. WireError: malformed stub data."""


@dataclass(frozen=True)
class Interface:
    """One RPC interface: `pipe` is the name of its named pipe, `operations` go by opnum."""

    pipe: str
    syntax: Syntax
    operations: Mapping[int, Operation]
