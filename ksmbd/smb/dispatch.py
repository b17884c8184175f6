# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the checks that MS-SMB2 3.3.5.2 demands for every command, by one table, and calls the command's module.

`execute` returns the Reply at once, or the Task of a command that waits. `outcome` turns an ended Task into a Reply.
"""
from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple, cast

from ksmbd import debug
from ksmbd.refusals import refused
from ksmbd.smb import (
    change_notify,
    close,
    create,
    debug_lines,
    echo,
    flush,
    ioctl,
    lock,
    logoff,
    negotiate,
    oplock_break,
    query_directory,
    query_info,
    read,
    session_setup,
    set_info,
    tree_connect,
    tree_disconnect,
    write,
)
from ksmbd.smb import constants as c
from ksmbd.smb.credits import PAYLOAD_FIELDS, charge_is_enough, payload_size
from ksmbd.smb.header import HEADER_SIZE, error_body
from ksmbd.smb.model import Connection, Session
from ksmbd.smb.request import Handler, Reply, Request
from ksmbd.smb.session_state import SessionInput, SessionState, next_state
from ksmbd.smb.signature_check import verify_signature
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANCELLED,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_PARAMETER,
    STATUS_NETWORK_NAME_DELETED,
    STATUS_NETWORK_SESSION_EXPIRED,
    STATUS_USER_SESSION_DELETED,
    ConnectionFatal,
    NtStatusError,
    SignatureWrong,
    status_name,
)
from ksmbd.smb.waiting import Cancelled, Task

logger = logging.getLogger("ksmbd.smb")


class Command(NamedTuple):
    """One command: its handler, and what dispatch checks before it."""

    name: str
    handle: Handler
    structure_sizes: tuple[int, ...]
    """The allowed values of StructureSize; an odd one counts the first byte of a variable part that may be absent."""
    needs_session: bool = True
    needs_tree: bool = True
    when_expired: bool = False
    """The command is served even if the credentials of the session have expired (MS-SMB2 3.3.5.2.9)."""
    variable: int = 0
    """Bytes counted by StructureSize although the variable part begins with them."""


COMMANDS: Final[dict[int, Command]] = {
    c.NEGOTIATE: Command("NEGOTIATE", negotiate.handle, (36,), needs_session=False, needs_tree=False),
    c.SESSION_SETUP: Command("SESSION_SETUP", session_setup.handle, (25,), needs_session=False, needs_tree=False),
    c.LOGOFF: Command("LOGOFF", logoff.handle, (4,), needs_tree=False, when_expired=True),
    c.TREE_CONNECT: Command("TREE_CONNECT", tree_connect.handle, (9,), needs_tree=False),
    c.TREE_DISCONNECT: Command("TREE_DISCONNECT", tree_disconnect.handle, (4,)),
    c.CREATE: Command("CREATE", create.handle, (57,)),
    c.CLOSE: Command("CLOSE", close.handle, (24,), when_expired=True),
    c.FLUSH: Command("FLUSH", flush.handle, (24,)),
    c.READ: Command("READ", read.handle, (49,)),
    c.WRITE: Command("WRITE", write.handle, (49,)),
    c.LOCK: Command("LOCK", lock.handle, (48,), when_expired=True, variable=24),
    c.IOCTL: Command("IOCTL", ioctl.handle, (57,)),
    c.ECHO: Command("ECHO", echo.handle, (4,), needs_session=False, needs_tree=False),
    c.QUERY_DIRECTORY: Command("QUERY_DIRECTORY", query_directory.handle, (33,)),
    c.CHANGE_NOTIFY: Command("CHANGE_NOTIFY", change_notify.handle, (32,)),
    c.QUERY_INFO: Command("QUERY_INFO", query_info.handle, (41,)),
    c.SET_INFO: Command("SET_INFO", set_info.handle, (33,)),
    c.OPLOCK_BREAK: Command("OPLOCK_BREAK", oplock_break.handle, (24, 36)),
}


_ALLOWED_FLAGS: Final = (
    c.FLAGS_RELATED_OPERATIONS | c.FLAGS_SIGNED | c.FLAGS_PRIORITY_MASK | c.FLAGS_DFS_OPERATIONS
    | c.FLAGS_REPLAY_OPERATION
)  # fmt: skip
"""The header flags that a client may set (MS-SMB2 2.2.1.2). ASYNC_COMMAND is allowed in CANCEL alone, which is not
dispatched here."""


def error_reply(status: int, data: bytes = b"", in_context: bool = False) -> Reply:
    """The ERROR Response (MS-SMB2 2.2.2)."""
    return Reply(error_body(data, in_context), status)


def execute(request: Request, sealed_by: Session | None, session: Session | None = None) -> Reply | Task[Reply]:
    """Check and run one request. Every failure becomes an error response, except ConnectionFatal, which is raised.

    `session`: the session of the request where `accepts` was true for it; the checks of the session are then left out,
    but for that of the signature."""
    try:
        number = request.header.command
        command = COMMANDS.get(number)
        if command is None:
            raise NtStatusError(STATUS_INVALID_PARAMETER)
        if session is None:
            _find_session(request, command, sealed_by)
        else:
            request.session_ = session
            if request.header.flags & c.FLAGS_SIGNED:
                verify_signature(request, session)
                request.signed = True
        check_structure(request, command)
        _find_tree(request, command)
        if number in PAYLOAD_FIELDS:
            check_credit_charge(request)
        result = command.handle(request)
        if isinstance(result, Reply):
            return result
        return Task(cast(Coroutine[Any, None, Reply], result), request.finished).start()
    except NtStatusError as error:
        return failed(request, error)
    except ConnectionFatal:
        raise
    except Exception:  # noqa: BLE001  (a defect of ours must not end other clients)
        return unexpected(request)


def admit(request: Request) -> None:
    """Make the checks of `execute` without running the command. Raises NtStatusError or ConnectionFatal."""
    command = COMMANDS[request.header.command]
    _find_session(request, command, None)
    check_structure(request, command)
    _find_tree(request, command)
    check_credit_charge(request)


def outcome(request: Request, task: Task[Reply]) -> Reply:
    """The Reply of an ended Task. ConnectionFatal ends the connection here, since no caller could catch it."""
    error = task.error
    if error is None:
        return task.result()
    if isinstance(error, NtStatusError):
        return failed(request, error)
    if isinstance(error, Cancelled):
        return error_reply(STATUS_CANCELLED)
    if isinstance(error, ConnectionFatal):
        request.connection.fail(str(error))
        return error_reply(STATUS_INVALID_PARAMETER)
    if isinstance(error, Exception):
        return unexpected(request, error)
    raise error


def failed(request: Request, error: NtStatusError) -> Reply:
    """The error response for an NtStatusError. The debug component `smb` logs the detail, which the client does not
    get."""
    if debug.mask[0] & debug.SMB:
        debug_lines.failed(request, error)
    if isinstance(error, SignatureWrong) and request.session_ is not None:
        _unprotected(request.connection, request.session_, "the signature of a request is wrong")
    return error_reply(error.status, error.data, request.connection.dialect == c.DIALECT_311)


def unexpected(request: Request, error: BaseException | None = None) -> Reply:
    """The error response for an unexpected exception, a defect of the server, which is logged with its traceback."""
    logger.error("%s: unexpected failure", c.COMMAND_NAMES[request.header.command], exc_info=error or True)
    if isinstance(error, MemoryError):
        return error_reply(STATUS_INSUFFICIENT_RESOURCES)
    return error_reply(STATUS_INVALID_PARAMETER)


# ------------------------------------------------------------------------------------------------------- the checks


def _unprotected(connection: Connection, session: Session, reason: str) -> NtStatusError:
    """Tell of a request without the protection that its session demands; the error to raise."""
    identity = session.identity
    account = "" if identity is None else identity.account
    refused("request", connection.transport.peer, reason, status_name(STATUS_ACCESS_DENIED), account=account)
    return NtStatusError(STATUS_ACCESS_DENIED, reason)


def _find_session(request: Request, command: Command, sealed_by: Session | None) -> None:
    """Find the session of the request, verify its signature and check that the session may be used (MS-SMB2 3.3.5.2.4,
    3.3.5.2.9). Raises NtStatusError or ConnectionFatal."""
    header = request.header
    connection = request.connection
    session_id = header.session_id
    if sealed_by is not None and session_id != sealed_by.session_id:
        # The transform header and the message must name the same session (3.3.5.2.1.1)
        raise ConnectionFatal("an encrypted message of another session than its transform header")
    if header.flags & ~_ALLOWED_FLAGS:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "Flags")
    session = connection.sessions.get(session_id) if session_id else None
    if header.command == c.SESSION_SETUP:
        # SESSION_SETUP has its own rules: it may make a session, or bind to one of another connection (3.3.5.5)
        if session is not None and header.flags & c.FLAGS_SIGNED and sealed_by is None:
            verify_signature(request, session)
        request.session_ = session
        return
    if session is None:
        if not command.needs_session and not header.flags & c.FLAGS_SIGNED:
            return
        request.chain.broken = True
        if header.command == c.NEGOTIATE or header.flags & c.FLAGS_RELATED_OPERATIONS:
            # A signed NEGOTIATE (3.3.5.2.4), or a request related to one without a session
            raise NtStatusError(STATUS_INVALID_PARAMETER)
        raise NtStatusError(STATUS_USER_SESSION_DELETED)
    if session.state is SessionState.IN_PROGRESS or connection not in session.channels:
        raise NtStatusError(STATUS_USER_SESSION_DELETED)
    request.session_ = session
    if sealed_by is None:
        if header.flags & c.FLAGS_SIGNED:
            verify_signature(request, session)
            request.signed = True
        lacking = _lacking(session, header.command, command.needs_session, request.signed)
        if lacking:
            raise _unprotected(connection, session, lacking)
    expires = session.expires
    if expires and session.state is SessionState.VALID and connection.server.clock.monotonic() >= expires:
        session.state = next_state(session.state, SessionInput.EXPIRE)
    if session.state is SessionState.EXPIRED and command.needs_session and not command.when_expired:
        raise NtStatusError(STATUS_NETWORK_SESSION_EXPIRED)


def _lacking(session: Session, command: int, needs_session: bool, signed: bool) -> str:
    """What an unencrypted request lacks of the protection that its session demands (MS-SMB2 3.3.5.2.4, 3.3.5.2.9); ''
    where it lacks nothing."""
    if session.signing_required and not signed and command != c.NEGOTIATE:
        return "a request is not signed, which the session demands"
    if session.encrypt_data and needs_session:
        return "a request is not encrypted, which the session demands"
    return ""


def accepts(connection: Connection, session: Session, command: int, signed: bool, sealed: bool) -> bool:
    """Whether `_find_session` would pass every single request of this session with this command, one after log-on, that
    has no flag but a priority and that of its signature. A signed one must be verified yet; `sealed`: it was encrypted
    with the key of this session."""
    return (
        session.state is SessionState.VALID
        and (sealed or not _lacking(session, command, True, signed))
        and (not session.expires or connection.server.clock.monotonic() < session.expires)
        and connection in session.channels
    )


def check_structure(request: Request, command: Command) -> None:
    """Check that StructureSize is one of the command and that the fixed part is complete (MS-SMB2 3.3.5.2.6). Raises
    STATUS_INVALID_PARAMETER."""
    message = request.message
    if len(message) < HEADER_SIZE + 2:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no body")
    size = message[HEADER_SIZE] | message[HEADER_SIZE + 1] << 8
    if size not in command.structure_sizes or len(message) < HEADER_SIZE + (size & ~1) - command.variable:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "StructureSize")


def _find_tree(request: Request, command: Command) -> None:
    """Find the tree connect of the request (MS-SMB2 3.3.5.2.11). Raises STATUS_NETWORK_NAME_DELETED or
    STATUS_ACCESS_DENIED."""
    header = request.header
    session = request.session_
    if session is None or header.command in (c.SESSION_SETUP, c.TREE_CONNECT, c.LOGOFF, c.ECHO):
        return
    tree = session.tree_connects.get(header.tree_id)
    if tree is None:
        if command.needs_tree:
            if header.flags & c.FLAGS_RELATED_OPERATIONS and not header.tree_id:
                # The request before it had no TreeId, and the TreeId of a related request does not count (3.3.5.2.7.2)
                request.chain.broken = True
                raise NtStatusError(STATUS_INVALID_PARAMETER, "related to an element without a TreeId")
            raise NtStatusError(STATUS_NETWORK_NAME_DELETED)
        return
    if tree.encrypt_data and not request.sealed:
        raise _unprotected(request.connection, session, "a request is not encrypted, which the share demands")
    request.tree_ = tree


def check_credit_charge(request: Request) -> None:
    """Check that CreditCharge covers the larger payload of the request and its reply (MS-SMB2 3.3.5.2.5). Raises
    STATUS_INVALID_PARAMETER."""
    connection: Connection = request.connection
    if connection.supports_multi_credit and request.header.command in PAYLOAD_FIELDS:
        payload = payload_size(request.header.command, request.message)
        if payload > 65536 and not charge_is_enough(request.header.credit_charge, payload):
            raise NtStatusError(STATUS_INVALID_PARAMETER, "CreditCharge")
