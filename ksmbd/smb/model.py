# SPDX-License-Identifier: GPL-2.0-or-later
"""The abstract data model of MS-SMB2 3.3.1 under its names: Server, Connection, Session, Channel, TreeConnect, Open.

These are records that the command modules read and change. How a connection receives and ends is in
ksmbd.smb.connection, how its replies leave in ksmbd.smb.sending.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ksmbd import limits
from ksmbd.smb.connection_state import ConnectionInput, ConnectionState, next_state
from ksmbd.smb.constants import DIALECT_311
from ksmbd.smb.credits import SequenceWindow
from ksmbd.smb.header import Header
from ksmbd.smb.helper_threads import HelperThreads
from ksmbd.smb.logons_in_progress import LogonQueue, LogonsInProgress
from ksmbd.smb.long_calls import LongCalls
from ksmbd.smb.open_admission import OpenAdmission
from ksmbd.smb.pending_budget import PendingBudget
from ksmbd.smb.ports import (
    Authenticator,
    BreakNotice,
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
    Timer,
    Transport,
    Volume,
    Watch,
)
from ksmbd.smb.preauth import INITIAL_HASH, preauth_update
from ksmbd.smb.reader import Buffer
from ksmbd.smb.scheduler import Scheduler
from ksmbd.smb.sending import Sender
from ksmbd.smb.session_admission import SessionAdmission
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.tree_admission import TreeAdmission
from ksmbd.smb.waiting import Future

PREAUTH_FRAME_MAX: Final = limits.FRAME_BEFORE_LOGON.value
"""Longest frame before a session exists: a log-on token and a list of contexts are far below it."""

DeliveryKey = tuple[bytes, bytes] | int
"""Of a break notification: ClientGuid and lease key, or the open's id."""


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
        self.sessions: dict[int, Session] = {}
        """GlobalSessionTable, by SessionId."""
        self.logons_in_progress = LogonsInProgress(clock)
        self.logon_queue = LogonQueue(limits.LOGONS_AT_ONCE)
        self.admission = SessionAdmission(settings.max_sessions)
        self.tree_admission = TreeAdmission()
        self.opens: dict[int, Open] = {}
        """GlobalOpenTable, by the persistent half of the FileId."""
        self.open_admission = OpenAdmission(self.opens, settings.max_open_files)
        self.connections: set[Connection] = set()
        self.helper_threads = HelperThreads()
        """For long calculations."""
        self.scheduler = Scheduler(clock)
        """Long work in pieces, and which client's goes on next."""
        self.long_calls = LongCalls()
        """Operations on files in helper threads."""
        self.deliveries: dict[DeliveryKey, Delivery] = {}
        """Break notifications that may have to go over another channel."""
        self._next_id = settings.first_id
        self._next_session = int.from_bytes(security.random(3), "little")
        self.end_remote_session: Callable[[int, Identity], Future[None]] = lambda session_id, identity: Future.of(None)
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


class PendingRequest:
    """MS-SMB2 3.3.1.13: what others read and end of a request that has no final reply yet."""

    header: Header
    open: Open | None = None
    """Request.Open: set when the command has found it."""
    session_: Session | None = None
    tree_: TreeConnect | None = None
    replayable: bool = False
    """A CREATE with a CreateGuid: it goes on without its connection while its session has another channel, where the
    client replays it and gets the answer (MS-SMB2 3.3.5.9.10)."""

    def cancel(self) -> None:
        """CANCEL, or the end of the session or tree connect: the request is answered with STATUS_CANCELLED."""
        raise NotImplementedError

    def abort(self) -> None:
        """The connection is gone: the request ends and nothing is answered."""
        raise NotImplementedError


class Connection:
    """MS-SMB2 3.3.1.7: what is known of one transport connection of one client. How it receives and ends is in
    ksmbd.smb.connection."""

    def __init__(self, server: Server, transport: Transport) -> None:
        self.server = server
        self.sender = Sender(transport, server.helper_threads, self.fail)
        self.state = ConnectionState.NEW
        self.dialect = 0
        self.supports_multi_credit = False
        """Connection.SupportsMultiCredit."""
        self.max_transact = server.settings.max_transact
        """Connection.MaxTransactSize."""
        self.client_guid = bytes(16)
        self.client_capabilities = 0
        self.client_security_mode = 0
        self.client_dialects: tuple[int, ...] = ()
        self.server_capabilities = 0
        self.server_security_mode = 0
        self.signing_algorithm = 0
        self.cipher = 0
        self.posix = False
        self.preauth_hash = INITIAL_HASH
        self.window = SequenceWindow(server.settings.max_credits)
        self.sessions: dict[int, Session] = {}
        """SessionTable: sessions with a channel here, and those being set up here."""
        self.exchanges = ExchangeTable(self)
        """Log-on exchanges under way, with their preauth hashes."""
        self.max_frame = PREAUTH_FRAME_MAX
        """Longest frame that conn may receive; a longer one ends the connection."""
        self.pending: dict[int, PendingRequest] = {}
        """Requests without a final reply, by MessageId (MS-SMB2 3.3.1.7, Connection.AsyncCommandList)."""
        self.pending_async: dict[int, PendingRequest] = {}
        self.pending_budget = PendingBudget()
        """What those hold."""
        self.creation_time = server.clock.monotonic()
        self.close_reason = ""

    @property
    def transport(self) -> Transport:
        """The other side of the connection's sender."""
        return self.sender.transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self.sender.transport = transport

    @property
    def closed(self) -> bool:
        """Whether nothing is received or sent any more."""
        return self.state is ConnectionState.CLOSED

    def move(self, event: ConnectionInput) -> None:
        """Step the connection's state machine; raises ConnectionFatal where the table has no such step."""
        self.state = next_state(self.state, event)

    def signer_of(self, session: Session) -> Signer | None:
        """The key that signs on this connection: the channel's, else (a binding under way) the session's."""
        channel: Channel | None = session.channels.get(self)
        if channel is not None and channel.signer is not None:
            return channel.signer
        return session.signer

    def hash_preauth(self, message: memoryview | bytes) -> None:
        """Fold a NEGOTIATE message into Connection.PreauthIntegrityHashValue (3.1.1)."""
        if self.dialect == DIALECT_311:
            self.preauth_hash = preauth_update(self.preauth_hash, message)

    def receive(self, frame: memoryview | bytearray | bytes) -> None:
        """Handle one frame (without its NBSS length). Never raises for what the peer sent."""
        raise NotImplementedError

    def fail(self, reason: str) -> None:
        """The peer broke the protocol, or the server gives up on it: end this connection alone."""
        raise NotImplementedError


class Channel:
    """MS-SMB2 3.3.1.14: a session on one connection, with the channel's signing key."""

    __slots__ = ("connection", "signer")

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
        """The account that budgets count it for; "" for all guests and anonymous callers."""
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
    """The identity whose rights a durable open's file works with; None where it is not durable."""
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
    closed: bool = False
    wrote: bool = False
    """Its directory's entry has another size or time when it is closed (MS-SMB2 3.3.1.4 for directory leases)."""
    waits: dict[Future[Any], int] = field(default_factory=dict)
    """What requests on this open wait for (notify, locks), and the NTSTATUS that CLOSE ends each with."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One GSS exchange on one connection, with its PreauthSession hash (MS-SMB2 3.3.1.15)."""

    session: Session
    authenticator: Authenticator
    preauth_hash: bytes
    binding: bool = False
    protected: bool = False
    """Its first round was signed or sealed, and so are the others."""
    busy: bool = False
    """A round waits for mountd: a further SESSION_SETUP of the session meanwhile is refused."""

    def hash_message(self, message: Buffer) -> None:
        """Take one SESSION_SETUP message into the hash (3.1.1)."""
        self.preauth_hash = preauth_update(self.preauth_hash, message)


class ExchangeTable:
    """Connection.PreauthSessionTable: the exchanges of one connection, by SessionId."""

    __slots__ = ("_connection", "_exchanges", "_logons_in_progress")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._logons_in_progress = connection.server.logons_in_progress
        self._exchanges: dict[int, Exchange] = {}

    def get(self, session_id: int) -> Exchange | None:
        """The exchange of a session on this connection."""
        return self._exchanges.get(session_id)

    def add(self, exchange: Exchange, drop: Callable[[], None]) -> None:
        """A first round has come. Another exchange, the oldest half done, may have to go for it; `drop` is called where
        this one has to, or has waited for too long, and removes it."""
        self.remove(exchange.session.session_id)
        self._logons_in_progress.begin(exchange, self._connection, self._connection.transport.peer, drop)
        self._exchanges[exchange.session.session_id] = exchange

    def remove(self, session_id: int) -> None:
        """The exchange is over, well or not."""
        exchange = self._exchanges.pop(session_id, None)
        if exchange is not None:
            self._logons_in_progress.end(exchange)

    def binding_session(self, session_id: int) -> Session | None:
        """The session to which a binding is under way here, whose key its messages are signed and sealed with."""
        exchange = self._exchanges.get(session_id)
        return exchange.session if exchange is not None and exchange.binding else None

    def __len__(self) -> int:
        return len(self._exchanges)

    def clear(self) -> None:
        """The connection is gone."""
        for session_id in list(self._exchanges):
            self.remove(session_id)


@dataclass(slots=True, eq=False)
class Delivery:
    """A notification that a client may not have got yet."""

    notice: BreakNotice
    since: float
    tried: dict[Connection, int] = field(default_factory=dict)
    """The channels that it was sent on, with the mark behind it in each one's stream."""
    confirmed: int = 0
    """What all of those had confirmed when this was last looked at."""
    timer: Timer | None = None

    def end(self) -> None:
        """No further tries."""
        if self.timer is not None:
            self.timer.cancel()
