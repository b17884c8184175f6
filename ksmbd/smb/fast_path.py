# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast path for small requests: messages with one unencrypted, unsigned request are handled in the receive buffer,
and small replies to what one receive brought are sent together.

Only requests whose session passes `dispatch.accepts_unsigned` take this path. All checks of commands are made by
dispatch as for every request. Other complete messages (compounds, signed or encrypted ones) are passed to
`Connection.receive`. Malformed frames are left to the normal path, and so is everything while the debug component `smb`
logs requests.
"""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd import debug
from ksmbd.smb import dispatch
from ksmbd.smb.compound import CompoundRun, finish_single
from ksmbd.smb.connection_state import ConnectionState
from ksmbd.smb.constants import (
    CANCEL,
    CREATE,
    ECHO,
    FLAGS_PRIORITY_MASK,
    FLAGS_SERVER_TO_REDIR,
    OPLOCK_BREAK,
    READ,
    WRITE,
)
from ksmbd.smb.credits import max_charge
from ksmbd.smb.header import HEADER_SIZE, NBSS_HEADER_SIZE, REPLY_HEADER, SMB2_PROTOCOL_ID, Header
from ksmbd.smb.model import Connection, Session
from ksmbd.smb.request import Body, Chain, Request
from ksmbd.smb.waiting import Task

LEAST: Final = NBSS_HEADER_SIZE + HEADER_SIZE + 4
"""Length in bytes of the shortest request with its 4-byte length: ECHO (MS-SMB2 2.2.28)."""
BATCH_SECONDS: Final = 0.002
"""Seconds after which no further request is begun in this batch, so that the transport can serve other clients."""
_COMMAND: Final = NBSS_HEADER_SIZE + 12
_FLAGS: Final = 16
# The frame's length and the ProtocolId in the byte order of the rest, the header without Status, Reserved and Signature
# (MS-SMB2 2.1, 2.2.1), StructureSize of the body (2.2.28)
_ECHO: Final = Struct("<IIHH4xHHIIQ4xIQ16xH")
_ECHO_LENGTH: Final = int.from_bytes((HEADER_SIZE + 4).to_bytes(4, "big"), "little")
_PROTOCOL_ID: Final = int.from_bytes(SMB2_PROTOCOL_ID, "little")
_ECHO_REPLY: Final = Struct("<IIHH4xHHIIQIIQ16xI")
_ECHO_BODY: Final = 4
"""The body of the ECHO response, StructureSize and Reserved, as one number."""
_COUNTED: Final = 512
"""Replies of fewer bytes are not counted: a batch has not so many of them that they would fill it."""
_NO_SIGNATURE: Final = bytes(16)


def run(connection: Connection, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
    """Handle complete messages of view[position:end] in order, at most `limit`. Returns (position of the rest, number
    handled). The caller may reuse the memory of `view` afterwards. Raises ConnectionFatal."""
    if connection.state is not ConnectionState.NEGOTIATED or debug.mask[0] & debug.SMB:
        return position, 0
    window = connection.window
    sessions = connection.sessions
    served: Session | None = None
    count = 0
    sender = connection.sender
    joined = sender.begin_batch()
    monotonic = connection.server.clock.monotonic
    until = 0.0
    # The end of the connection ends the batch, too.
    while sender.batch_open and count < limit and end - position >= LEAST:
        command = view[position + _COMMAND]
        if command == ECHO:
            (
                length, protocol_id, structure, charge, number, requested, flags, following, message_id, tree_id,
                session_id, size,
            ) = _ECHO.unpack_from(view, position)  # fmt: skip
            session = sessions.get(session_id)
            if (
                length == _ECHO_LENGTH and number == ECHO and not flags & ~FLAGS_PRIORITY_MASK and not following
                and structure == HEADER_SIZE and protocol_id == _PROTOCOL_ID and size == 4
                and session is not None and (session is served or dispatch.accepts_unsigned(connection, session))
            ):  # fmt: skip
                served = session
                paid = charge if charge == 1 else max_charge(charge, connection.supports_multi_credit)
                granted = window.consume_and_grant(message_id, paid, requested)
                joined.append(_ECHO_REPLY.pack(
                    _ECHO_LENGTH, _PROTOCOL_ID, HEADER_SIZE, charge, ECHO, granted, flags | FLAGS_SERVER_TO_REDIR, 0,
                    message_id, 0xFEFF, tree_id, session_id, _ECHO_BODY,
                ))  # fmt: skip
                position += LEAST
                count += 1
                continue
        start = position + NBSS_HEADER_SIZE
        after = start + int.from_bytes(view[position + 1 : start], "big")
        if view[position] or after > end or not HEADER_SIZE <= after - start <= connection.max_frame:
            break
        if not until:
            until = monotonic() + BATCH_SECONDS
        elif monotonic() >= until:
            break
        position = after
        count += 1
        served = None  # the command may have changed the session
        header = _short(connection, view, start, command)
        if header is None:
            connection.receive(bytearray(view[start:after]))
        else:
            _serve(connection, header, view[start:after], joined)
    sender.end_batch()
    return position, count


def _serve(
    connection: Connection, header: Header, message: memoryview, joined: list[bytes | bytearray | memoryview]
) -> None:
    """Handle one message whose header `_short` returned. Raises ConnectionFatal."""
    command = header.command
    charge = header.credit_charge
    if charge != 1:
        charge = max_charge(charge, connection.supports_multi_credit)
    window = connection.window
    window.consume(header.message_id, charge)
    if command != READ and command != WRITE:
        message = memoryview(bytearray(message))  # READ and WRITE keep no reference to it, other commands may
    request = Request(connection, header, message, Chain(1))
    outcome = dispatch.execute(request, None, connection.sessions[header.session_id])
    if isinstance(outcome, Task):
        if outcome.done:
            outcome = dispatch.outcome(request, outcome)
        else:
            refusal = CompoundRun(connection, [(header, message)], None).park(request, outcome)
            if refusal is None:
                return
            outcome = refusal
    if connection.state is ConnectionState.CLOSED:
        return
    body, status = outcome.body, outcome.status
    if isinstance(body, Body) or outcome.span is not None:
        finish_single(connection, request, outcome, None)
        return
    size = len(body)
    joined.append(REPLY_HEADER.pack(
        (HEADER_SIZE + size).to_bytes(NBSS_HEADER_SIZE, "big"), SMB2_PROTOCOL_ID, HEADER_SIZE,
        header.credit_charge, status, command, window.grant(command, status, header.credits, charge),
        header.flags | FLAGS_SERVER_TO_REDIR, 0, header.message_id, 0xFEFF, header.tree_id, header.session_id,
        _NO_SIGNATURE,
    ))  # fmt: skip
    joined.append(body)
    if size >= _COUNTED:
        connection.sender.count(size)


def _short(connection: Connection, view: memoryview, start: int, command: int) -> Header | None:
    """The header of the message at `start` if it may take the fast path, else None. Raises ConnectionFatal."""
    if (
        not CREATE <= command <= OPLOCK_BREAK or command == CANCEL or view[start] != SMB2_PROTOCOL_ID[0]
        or view[start + _FLAGS] & ~FLAGS_PRIORITY_MASK
    ):  # fmt: skip
        return None
    header = Header(view, start)
    if header.flags & ~FLAGS_PRIORITY_MASK or header.next_command or header.command != command:
        return None
    session = connection.sessions.get(header.session_id)
    return header if session is not None and dispatch.accepts_unsigned(connection, session) else None
