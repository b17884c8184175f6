# SPDX-License-Identifier: GPL-2.0-or-later
"""The abstract data model of MS-SMB2 3.3.1: Server, Connection, Session, Channel, TreeConnect, Open and their tables.

These records are read and changed by the modules of the commands. How a connection receives and ends is in
ksmbd.smb.connection, how its replies are sent in ksmbd.smb.sending.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final

from ksmbd import limits
from ksmbd.smb.connection_state import ConnectionInput, ConnectionState, next_state
from ksmbd.smb.constants import DIALECT_311, FILE_OPENED
from ksmbd.smb.credits import SequenceWindow
from ksmbd.smb.enumeration import Enumeration
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
from ksmbd.smb.status import STATUS_INVALID_DEVICE_REQUEST, NtStatusError
from ksmbd.smb.tree_admission import TreeAdmission
from ksmbd.smb.waiting import Future

PREAUTH_FRAME_MAX: Final = limits.FRAME_BEFORE_LOGON.value  # a token and a list of contexts are far shorter

DeliveryKey = tuple[bytes, bytes] | int
"""Identifies a break notification: (ClientGuid, LeaseKey), or the id of the open that has the oplock."""


class Server:
    """Server of MS-SMB2 3.3.1.5, one in each worker: the ports and the global tables."""

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
        """The threads that sign and encrypt long messages."""
        self.scheduler = Scheduler(clock)
        """Grants time slices to long requests."""
        self.long_calls = LongCalls()
        """File operations in helper threads."""
        self.deliveries: dict[DeliveryKey, Delivery] = {}
        """Break notifications that may have to be sent again on another channel."""
        self._next_id = (settings.worker & 0xFFFF) << 48 | settings.first_id
        self._next_session = int.from_bytes(security.random(3), "little")
        self.end_remote_session: Callable[[int, Identity], Future[None]] = lambda session_id, identity: Future.of(None)
        """Ends a previous session of the user in another worker (ksmbd.smb.previous_session)."""
        self.on_session_end: Callable[[Session], None] = lambda session: None  # ksmbd.process.traced_keys

    def new_id(self) -> int:
        """A 64-bit id that is unique among all workers: the index of the worker, then a counter. It is not secret
        (MS-SMB2 demands uniqueness alone), never 0 and never all ones."""
        self._next_id += 1
        return self._next_id

    @staticmethod
    def worker_of_session(session_id: int) -> int:
        """The index of the worker that made a SessionId."""
        return session_id >> 24 & 0xFF

    def new_session_id(self) -> int:
        """A SessionId that is unique among all workers and live sessions. It fits into 32 bits, because some clients
        keep only these."""
        while True:
            self._next_session = self._next_session % 0xFFFFFF + 1
            session_id = (self.settings.worker & 0xFF) << 24 | self._next_session
            if session_id not in self.sessions:
                return session_id


class PendingRequest:
    """A request without a final reply (MS-SMB2 3.3.1.13), as far as others read or end it. ksmbd.smb.request.Request is
    the one implementation."""

    header: Header
    open: Open | None = None
    """Request.Open, once the command has found it."""
    session_: Session | None = None
    tree_: TreeConnect | None = None
    replayable: bool = False
    """A CREATE with a CreateGuid: if its connection is lost and the session has another channel, it goes on, and the
    client replays it there to get the reply (MS-SMB2 3.3.5.9.10)."""

    def cancel(self) -> None:
        """End the request with STATUS_CANCELLED, for CANCEL or because its session or tree connect ends."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the request without a reply, because its connection has ended."""
        raise NotImplementedError


class Connection:
    """Connection of MS-SMB2 3.3.1.7. ksmbd.smb.connection.ServerConnection adds receiving and ending."""

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
        """Connection.SessionTable: the sessions with a channel on this connection, and those being set up on it."""
        self.exchanges = ExchangeTable(self)
        """Connection.PreauthSessionTable: the log-ons in progress."""
        self.max_frame = PREAUTH_FRAME_MAX
        """The longest message in bytes that the transport accepts; a longer one ends the connection."""
        self.pending: dict[int, PendingRequest] = {}
        """Requests without a final reply, by MessageId (MS-SMB2 3.3.1.7, Connection.AsyncCommandList)."""
        self.pending_async: dict[int, PendingRequest] = {}
        self.pending_budget = PendingBudget()
        """Limits how many of those wait, and the bytes kept for them."""
        self.creation_time = server.clock.monotonic()
        self.close_reason = ""

    @property
    def transport(self) -> Transport:
        """The transport that carries this connection."""
        return self.sender.transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self.sender.transport = transport

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self.state is ConnectionState.CLOSED

    def move(self, event: ConnectionInput) -> None:
        """Make a transition of the connection's state. Raises ConnectionFatal where the protocol does not allow it."""
        self.state = next_state(self.state, event)

    def signer_of(self, session: Session) -> Signer | None:
        """The signing key on this connection: that of the channel, or while a binding is in progress that of the
        session. None for guests and anonymous sessions."""
        channel: Channel | None = session.channels.get(self)
        if channel is not None and channel.signer is not None:
            return channel.signer
        return session.signer

    def hash_preauth(self, message: memoryview | bytes) -> None:
        """Update Connection.PreauthIntegrityHashValue with a NEGOTIATE message (3.1.1)."""
        if self.dialect == DIALECT_311:
            self.preauth_hash = preauth_update(self.preauth_hash, message)

    def receive(self, frame: memoryview | bytearray | bytes) -> None:
        """Handle one message, without its 4-byte length. Never raises for what the peer sent."""
        raise NotImplementedError

    def receive_opened(self, message: memoryview, sealed_by: Session) -> None:
        """Handle one message that was decrypted with a key of this session. Raises ConnectionFatal."""
        raise NotImplementedError

    def fail(self, reason: str) -> None:
        """End this connection, because the peer broke the protocol or the server gives up on it."""
        raise NotImplementedError


class Channel:
    """Channel of MS-SMB2 3.3.1.14: a connection of a session, and the signing key of the channel."""

    __slots__ = ("connection", "signer")

    def __init__(self, connection: Connection, signer: Signer | None = None) -> None:
        self.connection = connection
        self.signer = signer


@dataclass(slots=True, eq=False)
class Session:
    """Session of MS-SMB2 3.3.1.8."""

    session_id: int
    server: Server
    dialect: int
    client_guid: bytes
    state: SessionState = SessionState.IN_PROGRESS
    identity: Identity | None = None
    """Session.UserName and Session.SecurityContext; None until authenticated."""
    signer: Signer | None = None
    """Signs with Session.SigningKey, the key of the first channel; None where there is no key (guest, anonymous)."""
    sealer: Sealer | None = None
    full_session_key: bytes = b""
    session_key: bytes = b""
    """Session.SessionKey: the first 16 bytes of the full key."""
    application_key: bytes = b""
    signing_algorithm: int = 0
    cipher: int = 0
    signing_required: bool = False
    encrypt_data: bool = False
    channels: dict[Connection, Channel] = field(default_factory=dict)
    """Session.ChannelList."""
    tree_connects: dict[int, TreeConnect] = field(default_factory=dict)
    opens: dict[int, Open] = field(default_factory=dict)
    """Session.OpenTable, by the volatile half of the FileId."""
    admitted: tuple[str, str] | None = None
    """The value that SessionAdmission.take returned, None until the session is established."""
    creation_time: int = 0
    expires: float = 0.0
    """Session.ExpirationTime in seconds of the monotonic clock; 0: never (MS-SMB2 3.3.5.2.9)."""
    next_tree_id: int = 0
    trees: int = 0
    """How many tree connects there are, those included that mountd is being asked about."""
    pipes: int = 0
    """How many pipes are open or being opened."""
    ended: Future[None] | None = None
    """Set when the session is deleted; complete when its opens and tree connects are closed."""

    @property
    def user(self) -> str:
        """The account name that limits count the session for; "" for all guests and anonymous users together."""
        return self.admitted[0] if self.admitted is not None else ""

    @property
    def is_guest_or_anonymous(self) -> bool:
        """Whether the session is a guest's or anonymous and so has no key."""
        return self.identity is not None and (self.identity.is_guest or self.identity.is_anonymous)


@dataclass(slots=True, eq=False)
class TreeConnect:
    """TreeConnect of MS-SMB2 3.3.1.9."""

    tree_id: int
    session: Session
    share: ShareConfig
    volume: Volume | None
    """None for IPC$."""
    maximal_access: int
    read_only: bool = False
    is_admin: bool = False
    is_guest: bool = False
    """Whether the guest account of the share works on it."""
    encrypt_data: bool = False
    creation_time: int = 0
    closed: bool = False
    user: str | None = None
    """The value of Session.user when it was made; limits count it for this user."""

    @property
    def opens(self) -> Iterator[Open]:
        """The opens made through this tree connect."""
        return iter([open_ for open_ in self.session.opens.values() if open_.tree is self])


@dataclass(slots=True, init=False, eq=False)
class Open:
    """Open of MS-SMB2 3.3.1.10."""

    persistent_id: int
    volatile_id: int
    session: Session | None
    """None while the client of a durable open is disconnected."""
    tree: TreeConnect | None
    connection: Connection | None
    file: File | None
    """None for a pipe."""
    granted_access: int
    create_options: int
    share_access: int
    ref: OpenRef | None
    create_action: int
    """The CreateAction of the reply, for a replay."""
    pipe_handle: int
    """The handle of the pipe in mountd, for an open on IPC$."""
    pipe_name: str
    oplock_level: int
    lease: LeaseGrant | None
    is_durable: bool
    is_persistent: bool
    is_resilient: bool
    durable_timeout: int
    create_guid: bytes
    app_instance_id: bytes
    is_replay_eligible: bool
    """Open.IsReplayEligible: no request has used the open yet, so a replayed CREATE may be answered with it (MS-SMB2
    3.3.5.9.10)."""
    made_by: Identity | None
    """The identity whose rights a durable open uses; None for an open that is not durable."""
    is_posix: bool
    enumeration: Enumeration | None
    listing: Future[None] | None
    """A QUERY_DIRECTORY that runs in time slices; complete when it has ended."""
    watch: Watch | None
    current_byte_offset: int
    """FilePositionInformation."""
    mode: int
    """FileModeInformation."""
    quota_position: int
    """Where the next query of quotas goes on (MS-SMB2 2.2.37.1)."""
    next_ea: int
    """Index of the EA at which the next FileFullEaInformation query continues (MS-FSA 2.1.5.12.14)."""
    lock_sequences: dict[int, int]
    """LockSequenceArray (MS-SMB2 3.3.5.14): index -> sequence number."""
    channel_sequence: int
    closed: bool
    wrote: bool
    """The open has written, so at CLOSE directory leases of others on its directory break (MS-SMB2 3.3.1.4)."""
    withdrawn_access: int
    """Rights to write that it had before its share became read-only."""
    waits: dict[Future[Any], int]
    """What requests on this open wait for (notify, locks), with the NTSTATUS that CLOSE ends each with."""

    def __init__(  # noqa: PLR0913 - mypyc compiles no constructor that `dataclass` writes
        self, persistent_id: int, volatile_id: int, session: Session | None, tree: TreeConnect | None,
        connection: Connection | None, file: File | None, granted_access: int = 0, create_options: int = 0,
        share_access: int = 0, ref: OpenRef | None = None,
    ) -> None:  # fmt: skip
        self.persistent_id = persistent_id
        self.volatile_id = volatile_id
        self.session = session
        self.tree = tree
        self.connection = connection
        self.file = file
        self.granted_access = granted_access
        self.create_options = create_options
        self.share_access = share_access
        self.ref = ref
        self.create_action = FILE_OPENED
        self.pipe_handle = self.oplock_level = self.durable_timeout = 0
        self.pipe_name = ""
        self.lease = None
        self.is_durable = self.is_persistent = self.is_resilient = self.is_posix = False
        self.create_guid = self.app_instance_id = b""
        self.is_replay_eligible = True
        self.made_by = None
        self.enumeration = None
        self.listing = None
        self.watch = None
        self.current_byte_offset = self.mode = self.quota_position = self.next_ea = self.channel_sequence = 0
        self.withdrawn_access = 0
        self.lock_sequences = {}
        self.closed = self.wrote = False
        self.waits = {}

    def copy(self) -> Open:
        """Another record with the same values."""
        new = Open(self.persistent_id, self.volatile_id, self.session, self.tree, self.connection, self.file)
        for one in fields(self):
            setattr(new, one.name, getattr(self, one.name))
        return new


def file_of(open_: Open) -> File:
    """The file of an open. Raises STATUS_INVALID_DEVICE_REQUEST for a pipe."""
    if open_.file is None:
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a pipe")
    return open_.file


def ref_of(open_: Open) -> OpenRef:
    """The key in the open table, which every open of a file has."""
    assert open_.ref is not None
    return open_.ref


@dataclass(slots=True, eq=False)
class Exchange:
    """One log-on (GSS exchange) on one connection, with its hash of MS-SMB2 3.3.1.15 (PreauthSession)."""

    session: Session
    authenticator: Authenticator
    preauth_hash: bytes
    binding: bool = False
    protected: bool = False
    """The first SESSION_SETUP was signed or encrypted, so the others must be, too."""
    busy: bool = False
    """A SESSION_SETUP waits for mountd; a further one of the session is refused meanwhile."""

    def hash_message(self, message: Buffer) -> None:
        """Update the hash with one SESSION_SETUP message (3.1.1)."""
        self.preauth_hash = preauth_update(self.preauth_hash, message)


class ExchangeTable:
    """Connection.PreauthSessionTable: the exchanges of one connection, by SessionId."""

    __slots__ = ("_connection", "_exchanges", "_logons_in_progress")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._logons_in_progress = connection.server.logons_in_progress
        self._exchanges: dict[int, Exchange] = {}

    def get(self, session_id: int) -> Exchange | None:
        """The exchange of a session, None where there is none."""
        return self._exchanges.get(session_id)

    def add(self, exchange: Exchange, drop: Callable[[], None]) -> None:
        """Add the exchange of a first SESSION_SETUP. If there are too many log-ons, the oldest is dropped. `drop` is
        called if this one must be dropped or takes too long; it removes the exchange."""
        self.remove(exchange.session.session_id)
        self._logons_in_progress.begin(exchange, self._connection, self._connection.transport.peer, drop)
        self._exchanges[exchange.session.session_id] = exchange

    def remove(self, session_id: int) -> None:
        """Remove the exchange, after success or failure."""
        exchange = self._exchanges.pop(session_id, None)
        if exchange is not None:
            self._logons_in_progress.end(exchange)

    def binding_session(self, session_id: int) -> Session | None:
        """The session that a binding in progress on this connection is for; its messages are signed and encrypted with
        the keys of that session."""
        exchange = self._exchanges.get(session_id)
        return exchange.session if exchange is not None and exchange.binding else None

    def __len__(self) -> int:
        return len(self._exchanges)

    def clear(self) -> None:
        """Remove all exchanges, because the connection has ended."""
        for session_id in list(self._exchanges):
            self.remove(session_id)


@dataclass(slots=True, eq=False)
class Delivery:
    """A break notification that may not have reached the client yet."""

    notice: BreakNotice
    since: float
    tried: dict[Connection, int] = field(default_factory=dict)
    """The channels on which it was sent, each with Transport.delivery_mark behind it."""
    confirmed: int = 0
    """The sum of Transport.confirmed of these channels at the last check."""
    timer: Timer | None = None

    def end(self) -> None:
        """Do not send it again."""
        if self.timer is not None:
            self.timer.cancel()
