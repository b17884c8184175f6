# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast path for small requests: messages with one request, clear, signed or encrypted, are handled in the receive
buffer, and small replies to what one receive brought are sent together.

Only requests that `dispatch.accepts` take this path. All checks of commands, and that of the signature, are made by
dispatch as for every request. Other complete messages (compounds, long encrypted ones) are passed to
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
    CLOSE,
    CREATE,
    DIALECT_300,
    ECHO,
    FLAGS_PRIORITY_MASK,
    FLAGS_SERVER_TO_REDIR,
    FLAGS_SIGNED,
    OPLOCK_BREAK,
    READ,
    WRITE,
)
from ksmbd.smb.credits import max_charge
from ksmbd.smb.header import (
    HEADER_SIZE,
    HEADROOM,
    NBSS_HEADER_SIZE,
    REPLY_HEADER,
    SMB2_PROTOCOL_ID,
    TRANSFORM_HEADER_SIZE,
    TRANSFORM_PROTOCOL_ID,
    Header,
)
from ksmbd.smb.model import Connection, Session
from ksmbd.smb.request import Body, Chain, Request
from ksmbd.smb.status import ConnectionFatal
from ksmbd.smb.waiting import Task

LEAST: Final = NBSS_HEADER_SIZE + HEADER_SIZE + 4
"""Length in bytes of the shortest request with its 4-byte length: ECHO (MS-SMB2 2.2.28)."""
BATCH_SECONDS: Final = 0.002
"""Seconds after which no further request is begun in this batch, so that the transport can serve other clients."""
_LENGTH: Final = Struct(">I")
_COMMAND: Final = NBSS_HEADER_SIZE + 12
_FLAGS: Final = 16
_SEALED: Final = TRANSFORM_PROTOCOL_ID[0]
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
_TRANSFORM_SESSION: Final = Struct("<Q")
_NO_SIGNATURE: Final = bytes(16)
_PLAIN_FLAGS: Final = FLAGS_PRIORITY_MASK | FLAGS_SIGNED
SEALED_MOST: Final = 32 << 10
"""Length in bytes of the longest message that is decrypted into a copy; longer ones are decrypted in place."""
_LONG: Final = 16 << 10
"""Bytes of a reply from which it may be signed or encrypted in a helper thread, and is not joined with others."""
_TRANSFORM_ROOM: Final = bytes(TRANSFORM_HEADER_SIZE - NBSS_HEADER_SIZE)
"""With the length in REPLY_HEADER the room for the transform header."""


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
                and session is not None
                and (session is served or dispatch.accepts(connection, session, ECHO, False, False))
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
        size = _LENGTH.unpack_from(view, position)[0]  # the first byte of another packet makes it too large
        after = start + size
        if after > end or not HEADER_SIZE <= size <= connection.max_frame:
            break
        if not until:
            until = monotonic() + BATCH_SECONDS
        elif monotonic() >= until:
            break
        position = after
        count += 1
        served = None  # the command may have changed the session
        if view[start] == _SEALED and size <= SEALED_MOST:
            _unseal(connection, view[start:after], joined)
            continue
        header = _short(connection, view, start, command)
        if header is None:
            connection.receive(bytearray(view[start:after]))
        else:
            _serve(connection, header, view[start:after], joined)
    sender.end_batch()
    return position, count


def _serve(
    connection: Connection, header: Header, message: memoryview, joined: list[bytes | bytearray | memoryview],
    sealed_by: Session | None = None,
) -> None:  # fmt: skip
    """Handle one message whose header passed `_short` or `_unseal`. Raises ConnectionFatal."""
    command = header.command
    charge = header.credit_charge
    if charge != 1:
        charge = max_charge(charge, connection.supports_multi_credit)
    window = connection.window
    window.consume(header.message_id, charge)
    if command != READ and command != WRITE and command != CLOSE and sealed_by is None:
        message = memoryview(bytearray(message))  # those three keep no reference to it, other commands may
    request = Request(connection, header, message, Chain(1))
    if sealed_by is not None:
        request.sealed = True
    session = connection.sessions[header.session_id] if sealed_by is None else sealed_by
    outcome = dispatch.execute(request, None, session)
    if isinstance(outcome, Task):
        if outcome.done:
            outcome = dispatch.outcome(request, outcome)
        else:
            refusal = CompoundRun(connection, [(header, message)], sealed_by).park(request, outcome)
            if refusal is None:
                return
            outcome = refusal
    if connection.state is ConnectionState.CLOSED:
        return
    body = outcome.body
    plain = sealed_by is None and not header.flags & FLAGS_SIGNED
    if isinstance(body, Body) or outcome.span is not None or (not plain and len(body) > _LONG):
        finish_single(connection, request, outcome, sealed_by)
        return
    size = len(body)
    head = REPLY_HEADER.pack(
        (HEADER_SIZE + size).to_bytes(NBSS_HEADER_SIZE, "big"), SMB2_PROTOCOL_ID, HEADER_SIZE,
        header.credit_charge, outcome.status, command,
        window.grant(command, outcome.status, header.credits, charge),
        header.flags | FLAGS_SERVER_TO_REDIR, 0, header.message_id, 0xFEFF, header.tree_id, header.session_id,
        _NO_SIGNATURE,
    )  # fmt: skip
    if plain:
        joined.append(head)
        joined.append(body)
    else:
        joined.append(_protected(connection, session, head + body, sealed_by is not None))
    if size >= _COUNTED:
        connection.sender.count(size)


def _protected(connection: Connection, session: Session, reply: bytes, sealed: bool) -> bytearray:
    """The message of a reply, which has its header behind its 4-byte length: encrypted, or signed."""
    if sealed:
        sealer = session.sealer
        assert sealer is not None  # as in `_unseal`
        length = len(reply) + TRANSFORM_HEADER_SIZE - NBSS_HEADER_SIZE
        frame = bytearray(length.to_bytes(NBSS_HEADER_SIZE, "big") + _TRANSFORM_ROOM + reply)
        sealer.seal(frame, HEADROOM, session.session_id)
        return frame
    signer = connection.signer_of(session)
    assert signer is not None  # as in `_short`
    frame = bytearray(reply)
    signer.sign(memoryview(frame)[NBSS_HEADER_SIZE:])
    return frame


def _unseal(connection: Connection, frame: memoryview, joined: list[bytes | bytearray | memoryview]) -> None:
    """Decrypt a message and handle it. Raises ConnectionFatal."""
    session = transform_session(connection, frame)
    sealer = session.sealer
    assert sealer is not None
    message = sealer.open(frame.toreadonly())
    header = Header(message)
    if (
        CREATE <= header.command <= OPLOCK_BREAK and header.command != CANCEL
        and not header.flags & ~FLAGS_PRIORITY_MASK and not header.next_command
        and header.session_id == session.session_id
        and dispatch.accepts(connection, session, header.command, False, True)
    ):  # fmt: skip
        _serve(connection, header, message, joined, session)
    else:
        connection.receive_opened(message, session)


def transform_session(connection: Connection, frame: memoryview) -> Session:
    """The session that a transform header names (MS-SMB2 3.3.5.2.1.1). Raises ConnectionFatal where there is none that
    has keys."""
    if connection.dialect < DIALECT_300 or len(frame) < TRANSFORM_HEADER_SIZE + HEADER_SIZE:
        raise ConnectionFatal("an encrypted message that cannot be one")
    session_id = _TRANSFORM_SESSION.unpack_from(frame, 44)[0]
    session = connection.sessions.get(session_id) or connection.exchanges.binding_session(session_id)
    if session is None or session.sealer is None:
        raise ConnectionFatal("an encrypted message of an unknown session")
    return session


def _short(connection: Connection, view: memoryview, start: int, command: int) -> Header | None:
    """The header of the message at `start` if it may take the fast path, else None. Raises ConnectionFatal."""
    if (
        not CREATE <= command <= OPLOCK_BREAK or command == CANCEL or view[start] != SMB2_PROTOCOL_ID[0]
        or view[start + _FLAGS] & ~_PLAIN_FLAGS
    ):  # fmt: skip
        return None
    header = Header(view, start)
    flags = header.flags
    if flags & ~_PLAIN_FLAGS or header.next_command or header.command != command:
        return None
    session = connection.sessions.get(header.session_id)
    signed = flags & FLAGS_SIGNED != 0
    if session is None or not dispatch.accepts(connection, session, command, signed, False):
        return None
    # Guests and anonymous sessions have no key.
    return None if signed and connection.signer_of(session) is None else header
