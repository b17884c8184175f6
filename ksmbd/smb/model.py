# SPDX-License-Identifier: GPL-2.0-or-later
"""The abstract data model of MS-SMB2 3.3.1: Server, Session, Channel, TreeConnect and Open, under its names.

Connection is in ksmbd.smb.connection; these are plain records that the command modules read and change.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ksmbd import limits
from ksmbd.smb.constants import DIALECT_210, DIALECT_311
from ksmbd.smb.data_paths import DataPaths
from ksmbd.smb.half_logons import HalfLogons
from ksmbd.smb.half_logons import Turns as LogonTurns
from ksmbd.smb.long_calls import LongCalls
from ksmbd.smb.open_admission import OpenAdmission
from ksmbd.smb.ports import (
    Clock,
    Daemon,
    DirectoryEntry,
    File,
    Files,
    Identity,
    LeaseGrant,
    OpenRef,
    OpenTable,
    Sealer,
    Security,
    ShareConfig,
    Signer,
    Volume,
    Watch,
)
from ksmbd.smb.session_admission import SessionAdmission
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.tree_admission import TreeAdmission
from ksmbd.smb.turns import Turns
from ksmbd.smb.waiting import Future

if TYPE_CHECKING:
    from ksmbd.smb.connection import Connection
    from ksmbd.smb.oplock_break import Delivery
    from ksmbd.smb.request import Request

DeliveryKey = tuple[bytes, bytes] | int
"""Of a break notification: ClientGuid and lease key, or the open's id."""


@dataclass(slots=True)
class ServerSettings:
    """What ksmbd.conf's [global] says about the protocol."""

    min_dialect: int = DIALECT_210
    max_dialect: int = DIALECT_311
    signing_required: bool = False
    encryption: str = "auto"
    """`smb3 encryption`: disabled, auto (offered) or mandatory."""
    max_read: int = 4 << 20
    max_write: int = 4 << 20
    max_transact: int = 4 << 20
    max_credits: int = 8192
    leases: bool = False
    durable_handles: bool = False
    multichannel: bool = False
    posix_extensions: bool = True
    max_sessions: int = limits.SESSIONS.value
    max_open_files: int = limits.OPENS.value
    server_name: str = "KSMBD SERVER"
    netbios_name: str = "KSMBD SERVER"
    workgroup: str = "WORKGROUP"
    worker: int = 1
    """Index of this worker; ids that must be unique among the workers carry it."""
    first_id: int = 0
    """Where the counter of ids begins: above those of persistent opens that an earlier server left."""
    server_guid: bytes = bytes(16)
    data_paths: DataPaths = field(default_factory=DataPaths)
    """`data paths`: how the data of plain READs and WRITEs goes."""
    interfaces: Callable[[str], list[NetworkInterface]] = lambda local: []
    """Asks for the addresses of FSCTL_QUERY_NETWORK_INTERFACE_INFO, for a client that came in at this one."""


@dataclass(slots=True)
class NetworkInterface:
    """One NETWORK_INTERFACE_INFO (MS-SMB2 2.2.32.5)."""

    index: int
    capability: int
    """RSS_CAPABLE 1, RDMA_CAPABLE 2."""
    link_speed: int
    """Bits per second."""
    address: str


class Server:
    """MS-SMB2 3.3.1.5, per worker: the ports and the global tables."""

    def __init__(
        self,
        settings: ServerSettings,
        security: Security,
        files: Files,
        table: OpenTable,
        daemon: Daemon,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.security = security
        self.files = files
        self.table = table
        self.daemon = daemon
        self.clock = clock
        self.start_time = clock.filetime()
        self.sessions: dict[int, Session] = {}
        """GlobalSessionTable, by SessionId."""
        self.half_logons = HalfLogons(clock)
        self.logon_turns = LogonTurns(limits.LOGONS_AT_ONCE)
        self.admission = SessionAdmission(settings.max_sessions)
        self.tree_admission = TreeAdmission()
        self.opens: dict[int, Open] = {}
        """GlobalOpenTable, by the persistent half of the FileId."""
        self.open_admission = OpenAdmission(self.opens, settings.max_open_files)
        self.connections: set[Connection] = set()
        self.offload: Callable[[Callable[[], None]], Future[None]] | None = None
        """Runs a long calculation in another thread; None: there is none (set by who puts the rooms together)."""
        self.turns = Turns(clock)
        """Whose long work goes on next."""
        self.long_calls = LongCalls()
        """Operations on files in helper threads."""
        self.deliveries: dict[DeliveryKey, Delivery] = {}
        """Break notifications that may have to go over another channel."""
        self._next_id = settings.first_id
        self._next_session = int.from_bytes(security.random(3), "little")
        self.end_elsewhere: Callable[[int, Identity], Future[None]] = lambda session_id, identity: Future.of(None)
        """Ends a previous session that lives in another worker (ksmbd.smb.previous_session)."""

    def new_id(self) -> int:
        """A 64-bit id that no other worker hands out: the worker's index, then a counter.

        Not secret (MS-SMB2 asks for uniqueness alone); never 0 nor all ones."""
        self._next_id += 1
        return (self.settings.worker & 0xFFFF) << 48 | self._next_id

    @staticmethod
    def worker_of_session(session_id: int) -> int:
        """The index of the worker that made a SessionId."""
        return session_id >> 24 & 0xFF

    def new_session_id(self) -> int:
        """A SessionId that no other worker hands out and no live session here has. It fits 32 bits: there are clients
        that keep no more of it."""
        while True:
            self._next_session = self._next_session % 0xFFFFFF + 1
            session_id = (self.settings.worker & 0xFF) << 24 | self._next_session
            if session_id not in self.sessions:
                return session_id


class Channel:
    """MS-SMB2 3.3.1.14: a session on one connection, with the channel's signing key."""

    __slots__ = ("connection", "signer")

    # No dataclass: compiled, its annotation would be looked up in a module that imports this one.
    def __init__(self, connection: Connection, signer: Signer | None = None) -> None:
        self.connection = connection
        self.signer = signer


@dataclass(slots=True, eq=False)
class Session:
    """MS-SMB2 3.3.1.8."""

    session_id: int
    server: Server
    dialect: int
    client_guid: bytes
    state: SessionState = SessionState.IN_PROGRESS
    identity: Identity | None = None
    """UserName, SecurityContext; None until authenticated."""
    signer: Signer | None = None
    """Session.SigningKey's (first channel); None where there is no key (guest, anonymous)."""
    sealer: Sealer | None = None
    full_session_key: bytes = b""
    session_key: bytes = b""
    """First 16 bytes."""
    application_key: bytes = b""
    signing_algorithm: int = 0
    cipher: int = 0
    signing_required: bool = False
    encrypt_data: bool = False
    channels: dict[Connection, Channel] = field(default_factory=dict)
    """ChannelList."""
    tree_connects: dict[int, TreeConnect] = field(default_factory=dict)
    opens: dict[int, Open] = field(default_factory=dict)
    """OpenTable, by the volatile half of the FileId."""
    admitted: tuple[str, str] | None = None
    """What SessionAdmission counts it as, once it is established."""
    creation_time: int = 0
    expires: float = 0.0
    """Monotonic seconds; 0 = never (MS-SMB2 3.3.5.2.9, ExpirationTime)."""
    next_tree_id: int = 0
    trees: int = 0
    """Tree connects, with those that mountd is being asked about."""
    pipes: int = 0
    """Pipes that it has open, or is opening."""
    ended: Future[None] | None = None
    """Of a session that is deleted: complete when nothing of it is left."""

    @property
    def user(self) -> str:
        """Whose it is in budgets; "" for all guests and anonymous callers."""
        return self.admitted[0] if self.admitted is not None else ""

    @property
    def is_guest_or_anonymous(self) -> bool:
        """Whether the session has no key of its own."""
        return self.identity is not None and (self.identity.is_guest or self.identity.is_anonymous)


@dataclass(slots=True, eq=False)
class TreeConnect:
    """MS-SMB2 3.3.1.9."""

    tree_id: int
    session: Session
    share: ShareConfig
    volume: Volume | None
    """None for IPC$."""
    maximal_access: int
    read_only: bool = False
    is_admin: bool = False
    is_guest: bool = False
    """The share's guest account works on it."""
    encrypt_data: bool = False
    creation_time: int = 0
    closed: bool = False
    user: str | None = None
    """Session.user when it was made, for whom it is counted."""

    @property
    def opens(self) -> Iterator[Open]:
        """The opens made through this tree connect."""
        return iter([open_ for open_ in self.session.opens.values() if open_.tree is self])


@dataclass(slots=True)
class Enumeration:
    """A directory listing in progress (Open.EnumerationLocation, MS-SMB2 3.3.1.10)."""

    pattern: str
    entries: Iterator[DirectoryEntry | None]
    """None: nothing to show among many."""
    pending: DirectoryEntry | None = None
    """Read from the iterator but not sent: it did not fit."""
    returned_any: bool = False
    resume_index: int = 0


@dataclass(slots=True, eq=False)
class Open:
    """MS-SMB2 3.3.1.10."""

    persistent_id: int
    volatile_id: int
    session: Session | None
    """None while disconnected (durable)."""
    tree: TreeConnect | None
    connection: Connection | None
    file: File | None
    """None for a pipe."""
    granted_access: int
    create_options: int
    share_access: int = 0
    ref: OpenRef | None = None
    create_action: int = 1
    """The CreateAction that was answered, for a replay; FILE_OPENED."""
    pipe_handle: int = 0
    """The daemon's handle, for an open on IPC$."""
    pipe_name: str = ""
    oplock_level: int = 0
    lease: LeaseGrant | None = None
    is_durable: bool = False
    is_persistent: bool = False
    is_resilient: bool = False
    durable_timeout: int = 0
    create_guid: bytes = b""
    app_instance_id: bytes = b""
    is_replay_eligible: bool = True
    """No operation has come on it yet, so a replayed CREATE may be answered with it (MS-SMB2 3.3.5.9.10)."""
    made_by: Identity | None = None
    """With whose rights a durable open's file works; None where it is not durable."""
    is_posix: bool = False
    enumeration: Enumeration | None = None
    listing: Future[None] | None = None
    """A QUERY_DIRECTORY that goes on in pieces; complete when it has ended, and it is the next one's turn."""
    watch: Watch | None = None
    current_byte_offset: int = 0
    """FilePositionInformation."""
    mode: int = 0
    """FileModeInformation."""
    next_ea: int = 0
    """Where the next FileFullEaInformation query goes on (MS-FSA 2.1.5.12.14)."""
    lock_sequences: dict[int, int] = field(default_factory=dict)
    """LockSequenceArray (MS-SMB2 3.3.5.14): index -> sequence number."""
    channel_sequence: int = 0
    pending: set[Request] = field(default_factory=set)
    """Requests that wait on this open (notify, locks); CLOSE ends them."""
    closed: bool = False
    wrote: bool = False
    """Its directory's entry has another size or time when it is closed (MS-SMB2 3.3.1.4 for directory leases)."""
    waits: dict[Future[Any], int] = field(default_factory=dict)
    """What requests on this open wait for (notify, locks), and the NTSTATUS that CLOSE ends each with."""
