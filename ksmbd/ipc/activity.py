# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions of mountd to the workers about who is connected, and the rows of the answers.

A question is an object with `ask`:

    {"ask": "list", "kinds": ["sessions", ...]}     rows of these KINDS
    {"ask": "close", "target": {...}}               close what a Target names; the answer is how many of each
    {"ask": "keys", "after": 0}                     the keys of sessions established at this FILETIME or later: KeyRow
    {"ask": "reloaded"}                             answered when the worker uses the configuration after RELOAD

A part of an answer is an object: kind -> list of rows as objects, which have the fields of the classes below. The names
of the fields are those that `ksmbd.control --json` prints (man/ksmbd.control.8). Ids are texts in hexadecimal digits
after 0x, because a reader of JSON may take numbers for floating point.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class SessionRow:
    """A session (MS-SMB2 3.3.1.8)."""

    id: str
    account: str
    """"" for an anonymous user."""
    domain: str
    guest: bool
    address: str
    """The client's address on the first channel."""
    dialect: str
    cipher: str
    """The negotiated cipher; "": none."""
    encrypted: bool
    """Whether the session, and not a share alone, is encrypted."""
    signing: str
    """The signing algorithm; "" for a session without key."""
    signing_required: bool
    channels: list[str]
    """The client's address on each channel."""
    tree_connects: int
    opens: int
    connected: float
    """When it was established, in seconds since 1970."""
    idle: float
    """Seconds since the client was last heard on any channel."""
    client_guid: str
    worker: int


@dataclass(frozen=True)
class TreeRow:
    """A tree connect (MS-SMB2 3.3.1.9)."""

    id: str
    session: str
    account: str
    address: str
    share: str
    read_only: bool
    admin: bool
    guest: bool
    encrypted: bool
    opens: int
    connected: float
    worker: int


@dataclass(frozen=True)
class FileRow:
    """An open (MS-SMB2 3.3.1.10)."""

    id: str
    session: str
    """"" while the client of a durable open is disconnected."""
    account: str
    address: str
    share: str
    path: str
    """Below the share, with `/`; "" is the share's folder. The name of a pipe."""
    stream: str
    kind: str
    """`file`, `directory` or `pipe`."""
    access: str
    """The granted access mask (MS-SMB2 2.2.13.1)."""
    share_mode: str
    """What others may do: of `RWD` (read, write, delete)."""
    oplock: str
    """`none`, `II`, `exclusive`, `batch`, or `lease`."""
    lease: str
    """The state of the lease: of `RWH` (read, write, handle caching)."""
    lease_key: str
    breaking: bool
    """A break of the oplock or lease is under way."""
    durable: str
    """"", `durable`, `persistent` or `resilient`."""
    delete_pending: bool
    locks: int
    worker: int


@dataclass(frozen=True)
class LockRow:
    """A byte-range lock (MS-SMB2 2.2.26.1)."""

    file: str
    """The id of the open."""
    session: str
    account: str
    share: str
    path: str
    offset: int
    length: int
    exclusive: bool
    worker: int


@dataclass(frozen=True)
class BudgetRow:
    """How much of a limit of docs/limits.md is used."""

    name: str
    used: int
    most: int
    unit: str
    worker: int


@dataclass(frozen=True)
class KeyRow:
    """The keys of an encrypted session (MS-SMB2 3.3.1.8), in hexadecimal digits."""

    session: str
    account: str
    session_key: str
    """Session.SessionKey."""
    encryption: str
    """Encrypts messages of the server."""
    decryption: str
    """Decrypts messages of the client."""
    worker: int


@dataclass(frozen=True)
class Target:
    """What is to be closed (NetrSessionDel and NetrFileClose of MS-SRVS 3.1.4). Exactly one of: an open by its id; the
    opens of a path on a share; all tree connects of a share; all sessions that agree with `session`, `account` and
    `address`, each where it is not empty."""

    session: str = ""
    """SessionRow.id."""
    account: str = ""
    address: str = ""
    file: str = ""
    """FileRow.id."""
    share: str = ""
    path: str | None = None
    """As FileRow.path, without regard to case; needs `share`."""

    @property
    def problem(self) -> str:
        """Why it names nothing, or ''."""
        of_sessions = bool(self.session or self.account or self.address)
        if self.path is not None and not self.share:
            return "a path without a share"
        if of_sessions + bool(self.file) + bool(self.share) != 1:
            return "not exactly one of sessions, a file and a share"
        return ""


Row = SessionRow | TreeRow | FileRow | LockRow | BudgetRow

KINDS: Final[dict[str, type[Row]]] = {
    "sessions": SessionRow,
    "tree_connects": TreeRow,
    "files": FileRow,
    "locks": LockRow,
    "budgets": BudgetRow,
}
"""What can be listed."""
