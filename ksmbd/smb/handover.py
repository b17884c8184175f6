# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection that has only negotiated, as bytes: so that it can go on in another worker of this server.

That is where a session lives to which it is to be bound (MS-SMB2 3.3.5.5.2): all channels of one are in one place.
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
    """Whether a frame is an SMB2 SESSION_SETUP, in the clear."""
    return bytes(frame[:4]) == SMB2_PROTOCOL_ID and frame[_COMMAND:][:2] == SESSION_SETUP.to_bytes(2, "little")


def session_to_bind(frame: Buffer) -> int:
    """The SessionId of a SESSION_SETUP that asks for a binding (MS-SMB2 2.2.5), 0 for any other frame."""
    if not is_session_setup(frame):
        return 0
    reader = Reader(frame)
    try:
        flags = int(reader.at(HEADER_SIZE + 2, 1)[0])
        return int.from_bytes(reader.at(_SESSION_ID, 8), "little") if flags & SESSION_FLAG_BINDING else 0
    except WireError:
        return 0


def can_move(connection: Connection) -> bool:
    """Whether nothing but what was negotiated belongs to a connection."""
    return (
        connection.state is ConnectionState.NEGOTIATED
        and not connection.sessions
        and not connection.exchanges
        and not connection.pending
        and not connection.window.used
    )


def encode(connection: Connection) -> bytes:
    """What `resume` needs; for one that `can_move`."""
    dialects = connection.client_dialects
    return _STATE.pack(
        connection.dialect, connection.client_security_mode, connection.signing_algorithm,
        connection.client_capabilities, connection.server_capabilities, connection.cipher, connection.posix,
        connection.window.low, connection.window.high, connection.client_guid, connection.preauth_hash, len(dialects),
    ) + b"".join(dialect.to_bytes(2, "little") for dialect in dialects)  # fmt: skip


def resume(connection: Connection, state: bytes) -> None:
    """Let a new connection go on where another worker's was. The bytes come from a worker, not from a client."""
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
