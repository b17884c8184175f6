# SPDX-License-Identifier: GPL-2.0-or-later
"""Connection (MS-SMB2 3.3.1.7): frames in through `receive`, frames out through its Transport.

A frame is decrypted here, cut into the elements of its compound and handed to ksmbd.smb.compound; replies come back
through `reply_frame`, which signs or encrypts them. What the specification answers with the end of the connection is
ConnectionFatal, caught here and nowhere else.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.smb import dispatch, negotiate, short_way
from ksmbd.smb.compound import CompoundRun, run_single
from ksmbd.smb.connection_state import ConnectionInput, ConnectionState, next_state
from ksmbd.smb.constants import (
    CANCEL,
    DIALECT_202,
    DIALECT_210,
    DIALECT_300,
    DIALECT_311,
    FLAGS_RELATED_OPERATIONS,
    FLAGS_SIGNED,
    WRITE,
)
from ksmbd.smb.credits import CREDIT_UNIT, SequenceWindow, max_charge
from ksmbd.smb.header import (
    BLANK_HEADER,
    COMPRESSION_PROTOCOL_ID,
    HEADER_SIZE,
    HEADROOM,
    NBSS_HEADER_SIZE,
    SMB1_PROTOCOL_ID,
    SMB2_PROTOCOL_ID,
    TRANSFORM_HEADER_SIZE,
    TRANSFORM_PROTOCOL_ID,
    Header,
    write_header,
)
from ksmbd.smb.model import Channel, Server, Session
from ksmbd.smb.ports import FileSpan, Frame, Signer, Transport
from ksmbd.smb.preauth import INITIAL_HASH, preauth_update
from ksmbd.smb.request import Chain, Request
from ksmbd.smb.session_life import ExchangeTable
from ksmbd.smb.status import STATUS_SUCCESS, ConnectionFatal, NtStatusError
from ksmbd.smb.teardown import abort_all, delete_session
from ksmbd.smb.waiting import Future
from ksmbd.smb.waiting_room import WaitingRoom
from ksmbd.smb.write import HEAD as WRITE_HEAD
from ksmbd.smb.write import IncomingWrite
from ksmbd.smb.write import begin as begin_write

PREAUTH_FRAME_MAX: Final = limits.FRAME_BEFORE_LOGON.value
"""Longest frame before a session exists: a log-on token and a list of contexts are far below it."""
FRAME_OVERHEAD: Final = 0x11000
"""What a frame may hold beside the largest payload: headers, contexts, other elements of its compound."""
_TRANSFORM_SESSION: Final = Struct("<Q")
ELSEWHERE_MAX: Final = limits.REPLIES_ELSEWHERE.value
"""Bytes of one connection's replies that may be with helper threads; what is more is worked on at once, and the
client waits."""
JOINED_EACH: Final = 16 << 10
"""A reply up to this long is joined with others: the copy costs less than a buffer more to send."""
_NBSS: Final = Struct(">I")
_CLEAR_START: Final = HEADROOM - NBSS_HEADER_SIZE
_NOT_PLAIN: Final = FLAGS_SIGNED | FLAGS_RELATED_OPERATIONS


class Connection:
    """One transport connection of one client."""

    def __init__(self, server: Server, transport: Transport) -> None:
        self.server = server
        self.transport = transport
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
        self.pending: dict[int, Request] = {}
        """Requests without a final reply, by MessageId (MS-SMB2 3.3.1.7, Connection.AsyncCommandList)."""
        self.pending_async: dict[int, Request] = {}
        self.waiting = WaitingRoom()
        """What those hold."""
        self.elsewhere = 0
        """Bytes of replies that helper threads sign or encrypt now."""
        self.joined: list[bytes | bytearray | memoryview] = []
        """Small replies that leave together, before whatever else is sent."""
        self.joined_size = 0
        """Bytes of them, long ones at least."""
        self.joining = False
        """More of them may come at once."""
        self.creation_time = server.clock.monotonic()
        self.close_reason = ""
        server.connections.add(self)

    # ---------------------------------------------------------------------------------------------------- state

    @property
    def closed(self) -> bool:
        """Whether nothing is received or sent any more."""
        return self.state is ConnectionState.CLOSED

    def move(self, event: ConnectionInput) -> None:
        """Step the connection's state machine; raises ConnectionFatal where the table has no such step."""
        self.state = next_state(self.state, event)

    def agree(self, dialect: int, capabilities: int) -> None:
        """The dialect and the server's capabilities are settled."""
        self.dialect = dialect
        self.supports_multi_credit = dialect >= DIALECT_210
        self.server_capabilities = capabilities
        self.max_transact = negotiate.max_transact(self)
        self.server_security_mode = negotiate.security_mode(self.server.settings)

    def raise_frame_limit(self) -> None:
        """A session is valid: frames may now be as large as the negotiated sizes."""
        settings = self.server.settings
        most = max(settings.max_read, settings.max_write, settings.max_transact)
        self.max_frame = (CREDIT_UNIT if self.dialect == DIALECT_202 else most) + FRAME_OVERHEAD

    # ------------------------------------------------------------------------------------------------- receiving

    @property
    def write_from(self) -> int:
        """Length from which on a frame that has not come whole may be a WRITE for `begin_write`."""
        return self.server.settings.data_paths.write_from

    def receive(self, frame: memoryview | bytearray | bytes) -> None:
        """Handle one frame (without its NBSS length). Never raises for what the peer sent."""
        if self.state is ConnectionState.CLOSED:
            return
        try:
            self._receive(memoryview(frame))
        except ConnectionFatal as error:
            self.fail(str(error))

    def receive_run(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
        """Handle whole frames of view[position:end], each with its NBSS length, from the front on, as far as they go
        the short way and at most `limit`: (where the rest begins, how many). Never raises for what the peer sent."""
        try:
            return short_way.run(self, view, position, end, limit)
        except ConnectionFatal as error:
            self.fail(str(error))
            return end, 1
        finally:
            self.joining = False

    def _receive(self, frame: memoryview) -> None:
        protocol_id = bytes(frame[:4])
        if protocol_id == SMB2_PROTOCOL_ID:
            self._message(frame, None)
        elif protocol_id == TRANSFORM_PROTOCOL_ID:
            session = self._transform_session(frame)
            assert session.sealer is not None
            self._message(session.sealer.open(frame), session)
        elif protocol_id == SMB1_PROTOCOL_ID:
            if self.state is not ConnectionState.NEW:
                raise ConnectionFatal("an SMB1 message after the first")
            body = negotiate.smb1_negotiate(self, frame)
            self.window.consume(0, 1)
            self._send_single(negotiate.smb1_reply_header(), STATUS_SUCCESS, body)
        elif protocol_id == COMPRESSION_PROTOCOL_ID:
            raise ConnectionFatal("a compressed message, though compression was not negotiated")
        else:
            raise ConnectionFatal("no SMB message")

    def begin_write(self, head: memoryview, length: int) -> IncomingWrite | None:
        """`head` is what has come of a frame of `length` bytes. An IncomingWrite: a plain WRITE that is allowed, whose
        data may go straight from the socket to its file. None: the frame is to come whole, through `receive`, where
        all that is wrong with it is answered. Never raises for what the peer sent."""
        if self.state is not ConnectionState.NEGOTIATED or len(head) < WRITE_HEAD:
            return None
        try:
            header = Header(head)
            if header.command != WRITE or header.next_command or header.flags & _NOT_PLAIN:
                return None
            request = Request(self, header, memoryview(bytes(head[:WRITE_HEAD])), Chain(1))
            dispatch.admit(request)
            incoming = begin_write(request, length, len(head))
        except (NtStatusError, ConnectionFatal):
            return None
        if incoming is not None:
            try:
                self.window.consume(header.message_id, max_charge(header.credit_charge, self.supports_multi_credit))
            except ConnectionFatal as error:
                self.fail(str(error))
                return None
        return incoming

    def _transform_session(self, frame: memoryview) -> Session:
        """The session of a transform header (MS-SMB2 3.3.5.2.1.1)."""
        if self.dialect < DIALECT_300 or len(frame) < TRANSFORM_HEADER_SIZE + HEADER_SIZE:
            raise ConnectionFatal("an encrypted message that cannot be one")
        session_id = _TRANSFORM_SESSION.unpack_from(frame, 44)[0]
        session = self.sessions.get(session_id) or self.exchanges.binding_session(session_id)
        if session is None or session.sealer is None:
            raise ConnectionFatal("an encrypted message of an unknown session")
        return session

    def _message(self, buffer: memoryview, sealed_by: Session | None) -> None:
        """One message, or the first of a compound."""
        header = Header(buffer)
        command = header.command
        if header.next_command or command == CANCEL:
            self._compound(buffer, sealed_by)
            return
        if command:
            if self.state is not ConnectionState.NEGOTIATED:
                self.move(ConnectionInput.OTHER)
        self.window.consume(header.message_id, max_charge(header.credit_charge, self.supports_multi_credit))
        run_single(self, header, buffer, sealed_by)

    def _compound(self, buffer: memoryview, sealed_by: Session | None) -> None:
        """Cut a compound into its elements (MS-SMB2 3.3.5.2.7) and run them."""
        elements: list[tuple[Header, memoryview]] = []
        offset = 0
        total = len(buffer)
        while True:
            header = Header(buffer, offset)
            following = header.next_command
            if following == 0:
                elements.append((header, buffer[offset:total]))
                break
            if following % 8 or following < HEADER_SIZE or offset + following + HEADER_SIZE > total:
                raise ConnectionFatal("NextCommand is misaligned or out of bounds")
            if len(elements) == limits.COMPOUND_ELEMENTS.value - 1:
                raise ConnectionFatal("a compound of too many requests")
            elements.append((header, buffer[offset : offset + following]))
            offset += following
        for header, _ in elements:
            # Unknown dialect's first message must be NEGOTIATE; afterwards it must not come again.
            if header.command != 0:
                self.move(ConnectionInput.OTHER)
            if header.command == CANCEL:
                continue
            self.window.consume(header.message_id, max_charge(header.credit_charge, self.supports_multi_credit))
        CompoundRun(self, elements, sealed_by).start()

    # --------------------------------------------------------------------------------------------------- sending

    def _send_single(self, header: Header, status: int, body: bytes) -> None:
        frame = bytearray(HEADROOM + HEADER_SIZE)
        write_header(frame, HEADROOM, header, status, self.window.grant(0, status, header.credits, 1), 0)
        frame += body
        self.send_clear(frame)

    def send_clear(self, frame: bytearray, span: FileSpan | None = None) -> None:
        """Send the message at frame[HEADROOM:], signed already or not to be, with a file's span behind it."""
        if self.state is ConnectionState.CLOSED:
            return
        length = len(frame) - HEADROOM
        if span is not None:
            length += span.length
        _NBSS.pack_into(frame, _CLEAR_START, length)
        self._send(Frame(memoryview(frame)[_CLEAR_START:], span))

    def send_sealed(self, frame: bytearray, session: Session) -> None:
        """Encrypt the message at frame[HEADROOM:] for the session and send it."""
        if self.closed or session.sealer is None:
            return
        session.sealer.seal(frame, HEADROOM, session.session_id)
        self._send_transformed(frame)

    def _send_transformed(self, frame: bytearray) -> None:
        if self.state is not ConnectionState.CLOSED:
            _NBSS.pack_into(frame, 0, len(frame) - NBSS_HEADER_SIZE)
            self._send(Frame(frame))

    def _send(self, frame: Frame) -> None:
        data = frame.data
        if self.joining:
            if frame.span is None and len(data) <= JOINED_EACH:
                self.joined.append(data)
                self.joined_size += len(data)
                return
            self.joining = False  # much data: the transport is to see how much waits
        if self.joined:
            self.send_joined()
        self.transport.send(frame)

    def send_joined(self) -> None:
        """Send what has been joined so far."""
        joined = self.joined
        if joined:
            self.transport.send(Frame(joined[0] if len(joined) == 1 else b"".join(joined)))
            joined.clear()
            self.joined_size = 0

    def send_unsolicited(
        self, session: Session | None, command: int, body: bytes, encrypt: bool = False, sign: bool = False
    ) -> None:
        """Send a notification (OPLOCK_BREAK): MessageId all ones, no credits, no TreeId (MS-SMB2 3.3.4.6, 3.3.4.7)."""
        header = Header(BLANK_HEADER)
        header.command = command
        header.message_id = 0xFFFFFFFFFFFFFFFF
        frame = bytearray(HEADROOM + HEADER_SIZE)
        write_header(frame, HEADROOM, header, STATUS_SUCCESS, 0, 0, tree_id=0)
        frame += body
        if encrypt and session is not None and session.sealer is not None:
            self.send_sealed(frame, session)
        else:
            self.send_clear(frame)
        self.send_joined()  # who sends it asks when it is delivered

    def signer_of(self, session: Session) -> Signer | None:
        """The key that signs on this connection: the channel's, else (a binding under way) the session's."""
        channel: Channel | None = session.channels.get(self)
        if channel is not None and channel.signer is not None:
            return channel.signer
        return session.signer

    def sign_in_place(self, frame: bytearray, start: int, end: int, session: Session) -> None:
        """Set FLAGS_SIGNED on the message frame[start:end] and sign it."""
        signer = self.signer_of(session)
        if signer is None:
            return
        frame[start + 16] |= FLAGS_SIGNED
        with memoryview(frame) as whole, whole[start:end] as message:
            signer.sign(message)

    def sign_elsewhere(self, frame: bytearray, session: Session) -> bool:
        """Have the reply frame[HEADROOM:] signed by a helper thread and send it then, perhaps after later replies.
        False: it is to be signed here, because that is quick, no thread is there, or enough is with them."""
        signer = self.signer_of(session)
        if signer is None or not signer.slow or not self._may_offload(frame):
            return False
        frame[HEADROOM + 16] |= FLAGS_SIGNED
        message = memoryview(frame)[HEADROOM:]
        self._offload(frame, partial(signer.sign, message), message.release, self.send_clear)
        return True

    def seal_elsewhere(self, frame: bytearray, session: Session) -> bool:
        """The same for a reply that is to be encrypted."""
        sealer = session.sealer
        if sealer is None or not sealer.slow or not self._may_offload(frame):
            return False
        self._offload(frame, partial(sealer.seal, frame, HEADROOM, session.session_id), None, self._send_transformed)
        return True

    def _may_offload(self, frame: bytearray) -> bool:
        return self.server.offload is not None and self.elsewhere + len(frame) <= ELSEWHERE_MAX

    def _offload(
        self, frame: bytearray, work: Callable[[], None], after: Callable[[], None] | None,
        send: Callable[[bytearray], None],
    ) -> None:
        size = len(frame)

        def done(future: Future[None]) -> None:
            self.elsewhere -= size
            if after is not None:
                after()
            try:
                future.result()
            except Exception:
                self.fail("a reply that could not be signed or encrypted")
                raise
            send(frame)

        assert self.server.offload is not None
        self.elsewhere += size
        self.server.offload(work).add_callback(done)

    def hash_preauth(self, message: memoryview | bytes) -> None:
        """Fold a NEGOTIATE message into Connection.PreauthIntegrityHashValue (3.1.1)."""
        if self.dialect == DIALECT_311:
            self.preauth_hash = preauth_update(self.preauth_hash, message)

    # ---------------------------------------------------------------------------------------------------- ending

    def fail(self, reason: str) -> None:
        """The peer broke the protocol, or the server gives up on it: end this connection alone."""
        self.close_reason = self.close_reason or reason
        self.send_joined()
        transport = self.transport
        self.disconnected(reason)
        transport.close(reason)

    def disconnected(self, reason: str) -> None:
        """The transport is gone (MS-SMB2 3.3.7.1): pending requests end, sessions lose this channel or are deleted."""
        if self.closed:
            return
        self.move(ConnectionInput.END)
        self.close_reason = self.close_reason or reason
        self.server.connections.discard(self)
        ending = [
            request for request in self.pending.values()
            if not request.replayable or request.session_ is None or len(request.session_.channels) <= 1
        ]  # fmt: skip
        self.pending.clear()
        self.pending_async.clear()
        self.exchanges.clear()
        aborted = abort_all(self.server, self, ending)
        for session in list(self.sessions.values()):
            if len(session.channels) <= 1:
                session.channels.pop(self, None)  # nothing can be sent on it
                delete_session(session, keep=True, after=aborted)
            else:
                session.channels.pop(self, None)
                heir = next(iter(session.channels))
                for open_ in session.opens.values():
                    if open_.connection is self:
                        open_.connection = heir
        self.sessions.clear()
