# SPDX-License-Identifier: GPL-2.0-or-later
"""What RPC services may tell: the server, its shares and its sessions, as data that the daemon hands to their process.

There are levels of it (`Level`), by who asks: the process is given no more than its open pipes may be told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any


class Level(IntEnum):
    """How much a caller may be told."""

    NAMES = 0
    """Anonymous callers and guests: the names and comments of shares."""
    SHARES = 1
    """Users: paths and counts too."""
    SESSIONS = 2
    """Administrators: who is connected, too."""


@dataclass(frozen=True)
class ShareFacts:
    """One share. `path` and `uses` from `Level.SHARES` on, '' and 0 below."""

    name: str
    comment: str
    is_ipc: bool
    browseable: bool
    served: bool
    """It has a path, or is IPC$."""
    max_connections: int
    path: str = ""
    uses: int = 0


@dataclass(frozen=True)
class SessionFacts:
    """One session. Times in seconds since the epoch."""

    account: str
    peer: str
    guest: bool
    started: float
    active: float
    opens: int
    trees: tuple[tuple[int, str], ...] = ()
    """Connect id and the share's key."""


@dataclass(frozen=True)
class Facts:
    """All of it, at one level. `deadtime` in minutes."""

    netbios_name: str = ""
    workgroup: str = ""
    server_string: str = ""
    max_sessions: int = 0
    deadtime: int = 0
    shares: dict[str, ShareFacts] = field(default_factory=dict)
    """By key, in its order."""
    sessions: tuple[SessionFacts, ...] = ()
    """Oldest first."""
    accounts: int = 0
    """Users that are connected."""

    def encode(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode("ascii")


def decode(data: bytes) -> Facts:
    """What `Facts.encode` gave. It comes from the daemon, and is not checked."""
    raw: dict[str, Any] = json.loads(data)
    raw["shares"] = {key: ShareFacts(**share) for key, share in raw["shares"].items()}
    raw["sessions"] = tuple(_session(session) for session in raw["sessions"])
    return Facts(**raw)


def _session(raw: dict[str, Any]) -> SessionFacts:
    trees: Iterable[tuple[int, str]] = ((number, share) for number, share in raw.pop("trees"))
    return SessionFacts(**raw, trees=tuple(trees))
