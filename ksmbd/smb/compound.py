# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the requests of one message, in order, and sends their replies in one message (MS-SMB2 3.3.5.2.7, 3.3.4.1.3).

A request that must wait stops the run, which continues when the Task of that request ends. A long compound also gives
up its time slice between two requests, so that other clients are served. Only the last request of a message may be
answered with STATUS_PENDING; the replies before it are then sent at once. A request in the middle waits without an
interim response.
"""
from __future__ import annotations

from typing import Any, Final

from ksmbd import limits
from ksmbd.smb import dispatch
from ksmbd.smb.connection_state import ConnectionState
from ksmbd.smb.constants import (
    CANCEL,
    CHANGE_NOTIFY,
    FLAGS_ASYNC_COMMAND,
    FLAGS_PRIORITY_MASK,
    FLAGS_RELATED_OPERATIONS,
    FLAGS_SIGNED,
    SESSION_SETUP,
)
from ksmbd.smb.header import HEADER_SIZE, HEADROOM, Header, error_body, write_header
from ksmbd.smb.model import Connection, Session
from ksmbd.smb.ports import FileSpan
from ksmbd.smb.reply import hash_preauth, hashes_preauth, signing_session, start_frame, write_reply_header
from ksmbd.smb.request import Body, Chain, Reply, Request
from ksmbd.smb.sending import sign_in_place
from ksmbd.smb.status import (
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INTERNAL_ERROR,
    STATUS_INVALID_PARAMETER,
    STATUS_PENDING,
    ConnectionFatal,
)
from ksmbd.smb.waiting import Future, Task

OFFLOAD_FROM: Final = 128 << 10
"""Size in bytes from which a helper thread computes a slow signature or encryption. Handing it over and back takes some
20 us; the computation takes 120 us (AES-CMAC, 128 KiB)."""
REPLIES_MAX: Final = limits.COMPOUND_REPLIES.value
"""Bytes of replies after which no further request of a compound is carried out. One more reply of the largest size
still fits the 24-bit length of the transport packet (MS-SMB2 2.1)."""


def _refuse(task: Task[Reply]) -> Reply:
    """Cancel a request that would have to wait although no more may wait. Returns its reply:
    STATUS_INSUFFICIENT_RESOURCES, or its own where cancelling completed it."""
    task.cancel()
    if task.done and task.error is None:
        return task.result()  # cancelling completed it
    return Reply(error_body(), STATUS_INSUFFICIENT_RESOURCES)


class CompoundRun:
    """One received message, a single request or a compound, while it is handled."""

    __slots__ = ("connection", "elements", "sealed_by", "chain", "index", "frame", "last_start", "request", "sign_last",
                 "span", "single", "kept")  # fmt: skip

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
        self.kept = 0
        """Bytes counted in PendingBudget for the requests of this message that are not handled yet; they are copies by
        then."""

    def start(self) -> None:
        """Run requests until one waits, the time slice is over or none is left. Then send the replies. Raises
        ConnectionFatal."""
        connection = self.connection
        time_slice = connection.server.scheduler.time_slice(connection)
        while self.index < len(self.elements):
            if not self.single and self.index and time_slice.is_over() and self._keep_elements(0):
                self._pause()
                return
            header, message = self.elements[self.index]
            self.index += 1
            if header.command == CANCEL:
                cancel(connection, header, message, self.sealed_by)
                continue
            chain = self.chain
            if header.flags & FLAGS_RELATED_OPERATIONS:
                if self.index == 1:
                    chain.broken = True  # the first request cannot be related (3.3.5.2.7.2)
                else:
                    header.session_id, header.tree_id = chain.session_id, chain.tree_id
            elif self.index > 1:
                chain = self.chain = Chain(chain.count)
            request = Request(connection, header, message, chain)
            request.sealed = self.sealed_by is not None
            self.request = request
            if self.frame is not None and len(self.frame) > REPLIES_MAX:
                outcome: Reply | Task[Reply] = Reply(error_body(), STATUS_INSUFFICIENT_RESOURCES)
            elif chain.broken:
                outcome = Reply(error_body(), STATUS_INVALID_PARAMETER)
            else:
                outcome = dispatch.execute(request, self.sealed_by)
            if isinstance(outcome, Task):
                reply = self._reply_of(request, outcome)
                if reply is None:
                    return
                outcome = reply
            if connection.closed:
                self._let_go()
                return
            self._add(request, outcome)
        self._flush()
        self._let_go()

    def _reply_of(self, request: Request, task: Task[Reply]) -> Reply | None:
        """The reply to a request that may have to wait; None: it waits, and so does what follows it."""
        if task.done:
            return dispatch.outcome(request, task)
        if request.header.command == CHANGE_NOTIFY and self.index < len(self.elements):
            # It may wait for ever, and so would the requests behind it: Windows refuses it, too
            task.cancel()
            return Reply(error_body(), STATUS_INTERNAL_ERROR)
        return None if self._wait(request, task) else _refuse(task)

    # --------------------------------------------------------------------------------------------------- waiting

    def _pause(self) -> None:
        """Run the rest in the client's next time slice."""
        connection = self.connection
        connection.server.scheduler.next_turn(connection).add_callback(self._go_on)

    def _go_on(self, _: Future[None]) -> None:
        connection = self.connection
        if connection.closed:
            self._let_go()
            return
        try:
            self.start()
        except ConnectionFatal as error:
            self._let_go()
            connection.fail(str(error))

    def park(self, request: Request, task: Task[Reply]) -> Reply | None:
        """Wait for the single request of a message, which `run_single` has begun. Returns None, or the reply that
        refuses it where too many requests wait."""
        self.index = 1
        self.chain = request.chain
        return None if self._wait(request, task) else _refuse(task)

    def _wait(self, request: Request, task: Task[Reply]) -> bool:
        """Register the request as pending until `task` ends. False: too much waits on this connection."""
        connection = self.connection
        if not self._keep_elements(1 if request.interim_sent else 0):
            return False
        request.counted = request.interim_sent
        connection.pending[request.header.message_id] = request
        request.task = task
        request.on_done = self._resume
        if self.index == len(self.elements):
            request.allow_interim(self._interim)
        return True

    def _keep_elements(self, requests: int) -> bool:
        """Count `requests` pending requests and the bytes of the requests that are left, and copy these out of the
        receive buffer. False: the budget is used up, and nothing is counted."""
        room = self.connection.pending_budget
        if self.kept:
            return room.enter(requests, 0)
        # The request that waits, and those behind it
        left = self.elements[max(self.index - 1, 0) :]
        size = sum([len(message) for _, message in left])
        if not room.enter(requests, size):
            return False
        self.kept = size
        # The messages may lie in a receive buffer that is reused, so requests that wait need copies.
        self.elements[self.index :] = [
            (header, memoryview(bytes(message))) for header, message in self.elements[self.index :]
        ]
        return True

    def _let_go(self) -> None:
        """Release what PendingBudget counts for this message."""
        if self.kept:
            self.connection.pending_budget.leave(0, self.kept)
            self.kept = 0

    def _resume(self, request: Request, task: Task[Any]) -> None:
        connection = self.connection
        connection.pending.pop(request.header.message_id, None)
        if request.async_id:
            connection.pending_async.pop(request.async_id, None)
        if request.counted:
            request.counted = False
            connection.pending_budget.leave(1, 0)
        reply = dispatch.outcome(request, task)
        if connection.closed:
            self._let_go()
            return
        try:
            self._add(request, reply)
            self.start()
        except ConnectionFatal as error:
            self._let_go()
            connection.fail(str(error))

    def _interim(self, request: Request) -> None:
        """Send the replies that are ready, then STATUS_PENDING with an AsyncId (MS-SMB2 3.3.4.2). The interim response
        grants the credits. It is never signed, because it would use the nonce of the final reply (AES-GMAC)."""
        connection = self.connection
        if connection.closed:
            return
        self._flush()
        if not request.counted:
            request.counted = True
            connection.pending_budget.add()
        request.async_id = connection.server.new_id()
        connection.pending_async[request.async_id] = request
        header = request.header
        frame = bytearray(HEADROOM + HEADER_SIZE)
        granted = connection.window.grant_interim(header.command, header.credits)
        write_header(
            frame, HEADROOM, header, STATUS_PENDING, granted, header.flags & FLAGS_PRIORITY_MASK,
            async_id=request.async_id,
        )  # fmt: skip
        frame += error_body()
        if request.sealed and request.session_ is not None:
            connection.sender.send_sealed(frame, request.session_.sealer, request.session_.session_id)
        else:
            connection.sender.send_clear(frame)

    # --------------------------------------------------------------------------------------------------- replies

    def _add(self, request: Request, reply: Reply) -> None:
        """Append one reply to the message, and sign the reply before it, whose padding is known now."""
        if self.frame is None:
            frame = self.frame = start_frame(reply)
            start = HEADROOM
        else:
            frame = self.frame
            frame += bytes(-(len(frame) - HEADROOM) % 8)
            start = len(frame)
            frame[self.last_start + 20 : self.last_start + 24] = (start - self.last_start).to_bytes(4, "little")
            self._sign_last(start)
            frame += bytes(HEADER_SIZE)
            body = reply.body
            frame += body.data if isinstance(body, Body) else body
        self.span = reply.span
        self.chain.follow(request, reply.status)
        related = self.index > 1 and bool(request.header.flags & FLAGS_RELATED_OPERATIONS)
        write_reply_header(frame, start, request, reply.status, related and not request.async_id)
        self.last_start = start
        self.sign_last = signing_session(request)
        if hashes_preauth(request, reply.status):
            self._sign_last(len(frame))
            with memoryview(frame)[start:] as message:
                hash_preauth(request, message)

    def _sign_last(self, end: int) -> None:
        if self.sign_last is not None and self.frame is not None:
            sign_in_place(self.frame, self.last_start, end, self.connection.signer_of(self.sign_last))
        self.sign_last = None

    def _flush(self) -> None:
        frame, self.frame = self.frame, None
        if frame is None:
            return
        connection = self.connection
        if not self.single and self.span is None:
            # 3.3.4.1.3: in a compound the last element is padded as the others are, before it is signed
            frame += bytes(-(len(frame) - HEADROOM) % 8)
        if self.sealed_by is not None:
            connection.sender.send_sealed(frame, self.sealed_by.sealer, self.sealed_by.session_id)
        else:
            if self.sign_last is not None:
                sign_in_place(frame, self.last_start, len(frame), connection.signer_of(self.sign_last))
            connection.sender.send_clear(frame, self.span)
        self.sign_last = None
        self.span = None
        self.last_start = HEADROOM


def run_single(connection: Connection, header: Header, message: memoryview, sealed_by: Session | None) -> None:
    """Run a message with one request, the common case: the steps of CompoundRun without those that only a compound
    needs."""
    request = Request(connection, header, message, Chain(1))
    if sealed_by is not None:
        request.sealed = True
    if header.flags & FLAGS_RELATED_OPERATIONS:
        outcome: Reply | Task[Reply] = Reply(error_body(), STATUS_INVALID_PARAMETER)
    else:
        outcome = dispatch.execute(request, sealed_by)
    if type(outcome) is Task:
        if not outcome.done:
            refusal = CompoundRun(connection, [(header, message)], sealed_by).park(request, outcome)
            if refusal is None:
                return
            outcome = refusal
        else:
            outcome = dispatch.outcome(request, outcome)
    assert isinstance(outcome, Reply)
    finish_single(connection, request, outcome, sealed_by)


def finish_single(connection: Connection, request: Request, outcome: Reply, sealed_by: Session | None) -> None:
    """Send the reply to a message with one request."""
    if connection.state is ConnectionState.CLOSED:
        return
    header = request.header
    frame = start_frame(outcome)
    write_reply_header(frame, HEADROOM, request, outcome.status)
    if sealed_by is not None:
        sealer, session_id = sealed_by.sealer, sealed_by.session_id
        if len(frame) < OFFLOAD_FROM or not connection.sender.offload_sealing(frame, sealer, session_id):
            connection.sender.send_sealed(frame, sealer, session_id)
        return
    signs = signing_session(request)
    if signs is not None:
        signer = connection.signer_of(signs)
        if len(frame) >= OFFLOAD_FROM and signer is not None and connection.sender.offload_signing(frame, signer):
            return
        sign_in_place(frame, HEADROOM, len(frame), signer)
    if header.command <= SESSION_SETUP and hashes_preauth(request, outcome.status):
        with memoryview(frame)[HEADROOM:] as reply:
            hash_preauth(request, reply)
    connection.sender.send_clear(frame, outcome.span)


def cancel(connection: Connection, header: Header, message: memoryview, sealed_by: Session | None) -> None:
    """Handle CANCEL (MS-SMB2 3.3.5.16). It has no reply; the request that it names ends with STATUS_CANCELLED. A CANCEL
    need not be signed. If it is, and the signature is wrong, nothing is cancelled."""
    if header.flags & FLAGS_SIGNED and sealed_by is None:
        session = connection.sessions.get(header.session_id)
        signer = connection.signer_of(session) if session is not None else None
        if session is None or (signer is not None and not signer.verify(message)):
            return
    if header.flags & FLAGS_ASYNC_COMMAND:
        request = connection.pending_async.get(header.async_id)
    else:
        request = connection.pending.get(header.message_id)
    if request is not None:
        request.cancel()
