# SPDX-License-Identifier: GPL-2.0-or-later
"""Receives the messages of one connection, and ends it (MS-SMB2 3.3.5.2, 3.3.7.1).

A message is decrypted here, split into the requests of its compound and passed to ksmbd.smb.compound. Replies leave
through the connection's Sender (ksmbd.smb.sending). Where the specification demands that the connection ends, a module
raises ConnectionFatal, which is caught here.
"""
from __future__ import annotations

from typing import Final

from ksmbd import limits
from ksmbd.overriding import override
from ksmbd.smb import dispatch, fast_path, negotiate
from ksmbd.smb.compound import CompoundRun, run_single
from ksmbd.smb.connection_state import ConnectionInput, ConnectionState
from ksmbd.smb.constants import (
    CANCEL,
    FLAGS_RELATED_OPERATIONS,
    FLAGS_SIGNED,
    WRITE,
)
from ksmbd.smb.credits import max_charge
from ksmbd.smb.header import (
    COMPRESSION_PROTOCOL_ID,
    HEADER_SIZE,
    HEADROOM,
    SMB1_PROTOCOL_ID,
    SMB2_PROTOCOL_ID,
    TRANSFORM_PROTOCOL_ID,
    Header,
    write_header,
)
from ksmbd.smb.model import Connection, Server, Session
from ksmbd.smb.ports import Transport
from ksmbd.smb.request import Chain, Request
from ksmbd.smb.status import STATUS_SUCCESS, ConnectionFatal, NtStatusError
from ksmbd.smb.teardown import abort_all, delete_session
from ksmbd.smb.write import HEAD as WRITE_HEAD
from ksmbd.smb.write import IncomingWrite
from ksmbd.smb.write import begin as begin_write

_NOT_PLAIN: Final = FLAGS_SIGNED | FLAGS_RELATED_OPERATIONS


class ServerConnection(Connection):
    """A Connection that can receive and end. The transport calls it (ksmbd.conn.contract.Core)."""

    def __init__(self, server: Server, transport: Transport) -> None:
        super().__init__(server, transport)
        server.connections.add(self)

    # ------------------------------------------------------------------------------------------------- receiving

    @property
    def offloaded_bytes(self) -> int:
        """Bytes of replies that helper threads are signing or encrypting now."""
        return self.sender.offloaded_bytes

    @property
    def write_from(self) -> int:
        """Length in bytes from which a message that is not complete is offered to `begin_write`."""
        return self.server.settings.data_paths.write_from

    @override
    def receive(self, frame: memoryview | bytearray | bytes) -> None:
        """Handle one message, without its 4-byte length. Never raises for what the peer sent."""
        if self.state is ConnectionState.CLOSED:
            return
        try:
            self._receive(memoryview(frame))
        except ConnectionFatal as error:
            self.fail(str(error))

    def receive_batch(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
        """Handle complete messages of view[position:end], each behind its 4-byte length, in order and as far as the
        fast path takes them, at most `limit`. Returns (position of the rest, number handled). Never raises for what the
        peer sent."""
        try:
            return fast_path.run(self, view, position, end, limit)
        except ConnectionFatal as error:
            self.fail(str(error))
            return end, 1
        except BaseException:
            self.sender.end_batch()
            raise

    def _receive(self, frame: memoryview) -> None:
        protocol_id = bytes(frame[:4])
        if protocol_id == SMB2_PROTOCOL_ID:
            self._message(frame, None)
        elif protocol_id == TRANSFORM_PROTOCOL_ID:
            session = fast_path.transform_session(self, frame)
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
        """Begin a WRITE whose data goes directly from the socket to its file. `head` holds the bytes received so far of
        a message of `length` bytes. Returns an IncomingWrite for an unsigned, unencrypted, single WRITE that passes all
        checks, else None: then the transport receives the whole message for `receive`, which answers whatever is wrong.
        Never raises for what the peer sent."""
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

    @override
    def receive_opened(self, message: memoryview, sealed_by: Session) -> None:
        """Handle one message that was decrypted with a key of this session. Raises ConnectionFatal."""
        self._message(message, sealed_by)

    def _message(self, buffer: memoryview, sealed_by: Session | None) -> None:
        """Handle one decrypted or clear message, a single request or a compound. Raises ConnectionFatal."""
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
        """Split a compound into its requests (MS-SMB2 3.3.5.2.7) and run them. Raises ConnectionFatal."""
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
            # The first request must be a NEGOTIATE, and no later one may be.
            if header.command != 0:
                self.move(ConnectionInput.OTHER)
            if header.command == CANCEL:
                continue
            self.window.consume(header.message_id, max_charge(header.credit_charge, self.supports_multi_credit))
        CompoundRun(self, elements, sealed_by).start()

    def _send_single(self, header: Header, status: int, body: bytes) -> None:
        frame = bytearray(HEADROOM + HEADER_SIZE)
        write_header(frame, HEADROOM, header, status, self.window.grant(0, status, header.credits, 1), 0)
        frame += body
        self.sender.send_clear(frame)

    # ---------------------------------------------------------------------------------------------------- ending

    @override
    def fail(self, reason: str) -> None:
        """End this connection, because the peer broke the protocol or the server gives up on it."""
        self.close_reason = self.close_reason or reason
        self.sender.flush()
        transport = self.transport
        self.disconnected(reason)
        transport.close(reason)

    def disconnected(self, reason: str) -> None:
        """The transport has ended (MS-SMB2 3.3.7.1): end pending requests, remove this channel from its sessions, and
        delete sessions that have no other channel."""
        if self.closed:
            return
        self.move(ConnectionInput.END)
        self.sender.close()
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
