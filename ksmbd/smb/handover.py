# SPDX-License-Identifier: GPL-2.0-or-later
"""Serialises a connection that has negotiated and nothing more, so that another worker of this server can continue it.

This is needed for a binding (MS-SMB2 3.3.5.5.2): all channels of a session must be in the worker of the session.
"""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.connection_state import ConnectionInput, ConnectionState
from ksmbd.smb.constants import SESSION_FLAG_BINDING, SESSION_SETUP
from ksmbd.smb.header import HEADER_SIZE, SMB2_PROTOCOL_ID
from ksmbd.smb.model import Connection
from ksmbd.smb.negotiate import agree
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.status import WireError

_STATE: Final = Struct("<HHHIIH?QQ16s64sH")
"""Dialect, the client's SecurityMode, signing algorithm, Capabilities of client and server, cipher, POSIX,
sequence window, ClientGuid, preauthentication hash, number of the client's dialects, which follow."""
_COMMAND: Final = 12
_SESSION_ID: Final = 40


def is_session_setup(frame: Buffer) -> bool:
    """Whether a message is an unencrypted SMB2 SESSION_SETUP."""
    return bytes(frame[:4]) == SMB2_PROTOCOL_ID and frame[_COMMAND:][:2] == SESSION_SETUP.to_bytes(2, "little")


def session_to_bind(frame: Buffer) -> int:
    """The SessionId of a SESSION_SETUP that requests a binding (MS-SMB2 2.2.5), 0 for any other message."""
    if not is_session_setup(frame):
        return 0
    reader = Reader(frame)
    try:
        flags = int(reader.at(HEADER_SIZE + 2, 1)[0])
        return int.from_bytes(reader.at(_SESSION_ID, 8), "little") if flags & SESSION_FLAG_BINDING else 0
    except WireError:
        return 0


def can_move(connection: Connection) -> bool:
    """Whether the connection has no state but what was negotiated."""
    return (
        connection.state is ConnectionState.NEGOTIATED
        and not connection.sessions
        and not connection.exchanges
        and not connection.pending
        and not connection.window.used
    )


def encode(connection: Connection) -> bytes:
    """Serialise a connection for which `can_move` is true."""
    dialects = connection.client_dialects
    return _STATE.pack(
        connection.dialect, connection.client_security_mode, connection.signing_algorithm,
        connection.client_capabilities, connection.server_capabilities, connection.cipher, connection.posix,
        connection.window.low, connection.window.high, connection.client_guid, connection.preauth_hash, len(dialects),
    ) + b"".join(dialect.to_bytes(2, "little") for dialect in dialects)  # fmt: skip


def resume(connection: Connection, state: bytes) -> None:
    """Restore into a new connection what another worker serialised with `encode`. The bytes come from a worker, never
    from a client."""
    reader = Reader(state)
    (
        dialect, client_mode, signing, client_capabilities, capabilities, cipher, posix, low, high, guid,
        preauth_hash, count,
    ) = reader.unpack(_STATE)  # fmt: skip
    connection.move(ConnectionInput.NEGOTIATE)
    agree(connection, dialect, capabilities)
    connection.client_security_mode = client_mode
    connection.signing_algorithm = signing
    connection.client_capabilities = client_capabilities
    connection.cipher = cipher
    connection.posix = posix
    connection.window.low, connection.window.high = low, high
    connection.client_guid = guid
    connection.preauth_hash = preauth_hash
    connection.client_dialects = tuple(reader.u16() for _ in range(count))
