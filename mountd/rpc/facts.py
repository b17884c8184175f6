# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts about server and shares that RPC services may reveal, as data that mountd sends to their process.

There are levels of it (`Level`), by who asks: the process is given no more than its open pipes may be told.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any


class Level(IntEnum):
    """Which facts a caller may see."""

    NAMES = 0
    """For anonymous users and guests: names and comments of shares."""
    SHARES = 1
    """For users: also paths and counts, and the names of users and groups."""
    SESSIONS = 2
    """For administrators: also how many are connected; who that is they ask (mountd/rpc/rows.py)."""


@dataclass(frozen=True)
class ShareFacts:
    """One share. `path` and `uses` from `Level.SHARES` on, '' and 0 below."""

    name: str
    comment: str
    is_ipc: bool
    browseable: bool
    served: bool
    """Whether it has a path or is IPC$, so that clients can connect."""
    max_connections: int
    path: str = ""
    uses: int = 0
    unlimited: bool = False
    """`max connections` is the maximum."""
    is_dfs_root: bool = False
    security: str = ""
    """Its security descriptor in base64, for `Level.SESSIONS`."""


def encode_share(share: ShareFacts | None) -> str:
    """A share for one pipe alone; '' for none."""
    return "" if share is None else json.dumps(asdict(share), separators=(",", ":"))


def decode_share(text: str) -> ShareFacts | None:
    """Decode the result of `encode_share`. It comes from mountd, so it is not checked."""
    return ShareFacts(**json.loads(text)) if text else None


@dataclass(frozen=True)
class Facts:
    """All facts of one level. `deadtime` is in minutes."""

    netbios_name: str = ""
    sub_authorities: tuple[int, int, int] = (0, 0, 0)
    """The a, b, c of the server's domain S-1-5-21-a-b-c."""
    workgroup: str = ""
    server_string: str = ""
    max_sessions: int = 0
    deadtime: int = 0
    ntlm: bool = True
    """Whether `ntlm auth` allows a log-on inside an association."""
    kerberos: bool = False
    """Whether there may be one with Kerberos."""
    dfs: bool = False
    """`host msdfs`."""
    shares: dict[str, ShareFacts] = field(default_factory=dict)
    """Key -> share, sorted by key."""
    accounts: int = 0
    """Number of connected users."""

    def encode(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode("ascii")


def decode(data: bytes) -> Facts:
    """Decode the result of `Facts.encode`. It comes from mountd, so it is not checked."""
    raw: dict[str, Any] = json.loads(data)
    raw["shares"] = {key: ShareFacts(**share) for key, share in raw["shares"].items()}
    raw["sub_authorities"] = tuple(raw["sub_authorities"])
    return Facts(**raw)
