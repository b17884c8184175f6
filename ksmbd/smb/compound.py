# SPDX-License-Identifier: GPL-2.0-or-later
"""A frame's elements one after the other, and their replies in one frame (MS-SMB2 3.3.5.2.7, 3.3.4.1.3).

An element that must wait stops the run; it goes on when that element's Task ends. Only a frame's last element may
answer STATUS_PENDING (what came before it is then sent at once); one in the middle waits without an interim reply.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ksmbd.smb import dispatch
from ksmbd.smb.constants import (
    CANCEL,
    CHANGE_NOTIFY,
    DIALECT_311,
    FLAGS_ASYNC_COMMAND,
    FLAGS_RELATED_OPERATIONS,
    FLAGS_REPLAY_OPERATION,
    FLAGS_SIGNED,
    NEGOTIATE,
    SESSION_SETUP,
)
from ksmbd.smb.header import HEADER_SIZE, HEADROOM, SIGNATURE_OFFSET, Header, error_body, write_header
from ksmbd.smb.model import Session
from ksmbd.smb.ports import FileSpan
from ksmbd.smb.request import Body, Chain, Reply, Request
from ksmbd.smb.status import (
    STATUS_INTERNAL_ERROR,
    STATUS_INVALID_PARAMETER,
    STATUS_PENDING,
    STATUS_SUCCESS,
    ConnectionFatal,
)
from ksmbd.smb.waiting import Task

if TYPE_CHECKING:
    from ksmbd.smb.connection import Connection

_ECHOED_FLAGS: Final = FLAGS_RELATED_OPERATIONS | 0x70 | FLAGS_REPLAY_OPERATION


class CompoundRun:
    """One frame being handled."""

    __slots__ = ("connection", "elements", "sealed_by", "chain", "index", "frame", "last_start", "request", "sign_last",
                 "span", "single")  # fmt: skip

    def __init__(
        self, connection: Connection, elements: list[tuple[Header, memoryview]], sealed_by: Session | None
    ) -> None:
        self.connection = connection
        self.elements = elements
        self.sealed_by = sealed_by
        self.chain = Chain(len(elements))
        self.index = 0
        self.frame: bytearray | None = None
        self.last_start = HEADROOM
        self.sign_last: Session | None = None
        self.span: FileSpan | None = None
        self.request: Request | None = None
        self.single = len(elements) == 1

    def start(self) -> None:
        """Run elements until one waits or none is left; then send."""
        connection = self.connection
        while self.index < len(self.elements):
            header, message = self.elements[self.index]
            self.index += 1
            if header.command == CANCEL:
                cancel(connection, header)
                continue
            if self.index > 1 and not header.flags & FLAGS_RELATED_OPERATIONS:
                count = self.chain.count
                self.chain = Chain(count)
            request = Request(connection, header, message, self.chain)
            request.sealed = self.sealed_by is not None
            self.request = request
            if header.flags & FLAGS_RELATED_OPERATIONS and (self.index == 1 or self.chain.broken):
                # Nothing before it that it could be related to (3.3.5.2.7.2)
                self.chain.broken = True
                outcome: Reply | Task[Reply] = Reply(error_body(), STATUS_INVALID_PARAMETER)
            else:
                outcome = dispatch.execute(request, self.sealed_by)
            if isinstance(outcome, Task):
                if not outcome.done:
                    if header.command != CHANGE_NOTIFY or self.index == len(self.elements):
                        self._wait(request, outcome)
                        return
                    # It could wait for ever, and what follows with it: refused as Windows does
                    outcome.cancel()
                    outcome = Reply(error_body(), STATUS_INTERNAL_ERROR)
                else:
                    outcome = dispatch.outcome(request, outcome)
            if connection.closed:
                return
            self._add(request, outcome)
        self._flush()

    # --------------------------------------------------------------------------------------------------- waiting

    def _wait(self, request: Request, task: Task[Reply]) -> None:
        connection = self.connection
        connection.pending[request.header.message_id] = request
        request.task = task
        request.on_done = self._resume
        # A message may be a slice of a receive buffer that is used again: what waits keeps its own bytes.
        self.elements[self.index :] = [
            (header, memoryview(bytes(message))) for header, message in self.elements[self.index :]
        ]
        if self.index == len(self.elements):
            request.allow_interim(self._interim)

    def _resume(self, request: Request, task: Task[Any]) -> None:
        connection = self.connection
        connection.pending.pop(request.header.message_id, None)
        if request.async_id:
            connection.pending_async.pop(request.async_id, None)
        if connection.closed:
            dispatch.outcome(request, task)
            return
        reply = dispatch.outcome(request, task)
        if connection.closed:
            return
        try:
            self._add(request, reply)
            self.start()
        except ConnectionFatal as error:
            connection.fail(str(error))

    def _interim(self, request: Request) -> None:
        """Send what is ready, then STATUS_PENDING with an AsyncId (MS-SMB2 3.3.4.2). It carries the credits; it is
        never signed, because its nonce would be the final reply's (AES-GMAC)."""
        connection = self.connection
        if connection.closed:
            return
        self._flush()
        request.async_id = connection.server.new_id()
        connection.pending_async[request.async_id] = request
        header = request.header
        frame = bytearray(HEADROOM + HEADER_SIZE)
        granted = connection.window.grant(header.command, STATUS_SUCCESS, header.credits, max(header.credit_charge, 1))
        write_header(
            frame, HEADROOM, header, STATUS_PENDING, granted, header.flags & _ECHOED_FLAGS & ~FLAGS_RELATED_OPERATIONS,
            async_id=request.async_id,
        )  # fmt: skip
        frame += error_body()
        if request.sealed and request.session_ is not None:
            connection.send_sealed(frame, request.session_)
        else:
            connection.send_clear(frame)

    # --------------------------------------------------------------------------------------------------- replies

    def _add(self, request: Request, reply: Reply) -> None:
        """Put one reply behind those that are there; sign the one before, now that its padding is known."""
        connection = self.connection
        header = request.header
        body = reply.body
        if self.frame is None:
            if isinstance(body, Body):
                self.frame = body.frame
                body.data.release()
            else:
                self.frame = bytearray(HEADROOM + HEADER_SIZE)
                self.frame += body
            start = HEADROOM
        else:
            frame = self.frame
            frame += bytes(-(len(frame) - HEADROOM) % 8)
            start = len(frame)
            frame[self.last_start + 20 : self.last_start + 24] = (start - self.last_start).to_bytes(4, "little")
            self._sign_last(start)
            frame += bytes(HEADER_SIZE)
            frame += body.data if isinstance(body, Body) else body
        self.span = reply.span
        chain = self.chain
        chain.status = reply.status
        granted = 0
        if not request.async_id:
            charge = max(header.credit_charge, 1) if connection.supports_multi_credit else 1
            granted = connection.window.grant(header.command, reply.status, header.credits, charge)
        flags = header.flags & _ECHOED_FLAGS & ~FLAGS_ASYNC_COMMAND
        if not (self.index > 1 and header.flags & FLAGS_RELATED_OPERATIONS):
            flags &= ~FLAGS_RELATED_OPERATIONS
        session_id, tree_id = request.reply_ids()
        write_header(
            self.frame, start, header, reply.status, granted, flags,
            async_id=request.async_id, session_id=session_id, tree_id=tree_id,
        )  # fmt: skip
        self.last_start = start
        self.sign_last = self._signing_session(request)
        if self.sign_last is None and header.flags & FLAGS_SIGNED and not request.sealed:
            # An error from before there was a key to sign with. Windows echoes flag and signature, and there are clients
            # that take a reply without the flag for a forgery.
            self.frame[start + 16] |= FLAGS_SIGNED
            self.frame[start + SIGNATURE_OFFSET : start + HEADER_SIZE] = header.signature
        self._after(request, reply)

    def _signing_session(self, request: Request) -> Session | None:
        """Whose key signs this reply, if it is to be signed (MS-SMB2 3.3.4.1.1): an encrypted one never is."""
        session = request.session_
        if session is None or request.sealed or request.header.command == NEGOTIATE:
            return None
        if self.connection.signer_of(session) is None:
            return None
        if request.header.command == SESSION_SETUP:
            return session if request.sign_reply else None
        return session if request.header.flags & FLAGS_SIGNED or session.signing_required else None

    def _sign_last(self, end: int) -> None:
        if self.sign_last is not None and self.frame is not None:
            self.connection.sign_in_place(self.frame, self.last_start, end, self.sign_last)
        self.sign_last = None

    def _after(self, request: Request, reply: Reply) -> None:
        """Once a reply's bytes are final: the preauth hash of NEGOTIATE and SESSION_SETUP."""
        command = request.header.command
        connection = self.connection
        if command > SESSION_SETUP or self.frame is None or connection.dialect != DIALECT_311:
            return
        if command == SESSION_SETUP and reply.status == STATUS_SUCCESS:
            return
        with memoryview(self.frame)[self.last_start :] as message:
            if command == NEGOTIATE:
                connection.hash_preauth(request.message)
                connection.hash_preauth(message)
            elif request.exchange is not None:
                if self.sign_last is not None:
                    self._sign_last(len(self.frame))
                request.exchange.hash_message(message)

    def _flush(self) -> None:
        frame, self.frame = self.frame, None
        if frame is None:
            return
        connection = self.connection
        if not self.single and self.span is None:
            # 3.3.4.1.3: in a compound the last element is padded as the others are, before it is signed
            frame += bytes(-(len(frame) - HEADROOM) % 8)
        if self.sealed_by is not None:
            connection.send_sealed(frame, self.sealed_by)
        else:
            if self.sign_last is not None:
                connection.sign_in_place(frame, self.last_start, len(frame), self.sign_last)
            connection.send_clear(frame, self.span)
        self.sign_last = None
        self.span = None
        self.last_start = HEADROOM


def cancel(connection: Connection, header: Header) -> None:
    """CANCEL (MS-SMB2 3.3.5.16): no reply; the request it names ends with STATUS_CANCELLED."""
    if header.flags & FLAGS_ASYNC_COMMAND:
        request = connection.pending_async.get(header.async_id)
    else:
        request = connection.pending.get(header.message_id)
    if request is not None:
        request.cancel()
