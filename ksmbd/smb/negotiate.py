# SPDX-License-Identifier: GPL-2.0-or-later
"""NEGOTIATE (MS-SMB2 2.2.3, 2.2.4, 3.3.5.3, 3.3.5.4), sent as SMB2 or as an SMB1 multi-protocol request."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.refusals import refused
from ksmbd.smb import negotiate_contexts
from ksmbd.smb.connection_state import ConnectionInput
from ksmbd.smb.constants import (
    CIPHER_AES128_CCM,
    DIALECT_202,
    DIALECT_210,
    DIALECT_300,
    DIALECT_302,
    DIALECT_311,
    DIALECT_WILDCARD,
    GLOBAL_CAP_DFS,
    GLOBAL_CAP_DIRECTORY_LEASING,
    GLOBAL_CAP_ENCRYPTION,
    GLOBAL_CAP_LARGE_MTU,
    GLOBAL_CAP_LEASING,
    GLOBAL_CAP_MULTI_CHANNEL,
    GLOBAL_CAP_PERSISTENT_HANDLES,
    NEGOTIATE_SIGNING_ENABLED,
    NEGOTIATE_SIGNING_REQUIRED,
    SIGNING_AES_CMAC,
    SIGNING_HMAC_SHA256,
)
from ksmbd.smb.header import BLANK_HEADER, HEADER_SIZE, Header
from ksmbd.smb.model import Connection
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.status import STATUS_NOT_SUPPORTED, ConnectionFatal, NtStatusError, WireError, status_name

_REQUEST: Final = Struct("<HHHHI16sIHH")
_REQUEST_TIME: Final = Struct("<HHHHI16sQ")
_RESPONSE: Final = Struct("<HHHH16sIIIIQQHHI")
SALT_SIZE: Final = 32
SMB2_DIALECTS: Final = (DIALECT_311, DIALECT_302, DIALECT_300, DIALECT_210, DIALECT_202)
SMALL_IO: Final = 65536
"""Largest READ, WRITE and transaction in bytes without multi-credit requests (SMB 2.0.2)."""


def choose_dialect(offered: tuple[int, ...], settings: ServerSettings) -> int | None:
    """The highest common dialect within `server min protocol` and `server max protocol`; None without one."""
    for dialect in SMB2_DIALECTS:
        if dialect in offered and settings.min_dialect <= dialect <= settings.max_dialect:
            return dialect
    return None


def server_capabilities(dialect: int, client: int, settings: ServerSettings, cipher: int) -> int:
    """Capabilities of the response (MS-SMB2 3.3.5.4): what the dialect has, the server offers and, for 3.x, the client
    supports."""
    capabilities = GLOBAL_CAP_DFS if settings.dfs else 0
    if dialect >= DIALECT_210:
        capabilities |= GLOBAL_CAP_LARGE_MTU
        if settings.leases:
            capabilities |= GLOBAL_CAP_LEASING
    if dialect >= DIALECT_300:
        if settings.leases and client & GLOBAL_CAP_DIRECTORY_LEASING:
            capabilities |= GLOBAL_CAP_DIRECTORY_LEASING
        if settings.multichannel and client & GLOBAL_CAP_MULTI_CHANNEL:
            capabilities |= GLOBAL_CAP_MULTI_CHANNEL
        if settings.durable_handles and client & GLOBAL_CAP_PERSISTENT_HANDLES:
            capabilities |= GLOBAL_CAP_PERSISTENT_HANDLES
        if cipher and dialect != DIALECT_311:
            capabilities |= GLOBAL_CAP_ENCRYPTION
    return capabilities


def handle(request: Request) -> Reply:
    """Choose a dialect and its algorithms, and store them in the Connection. A second NEGOTIATE ends the connection.
    Raises STATUS_NOT_SUPPORTED without a common dialect, STATUS_INVALID_PARAMETER for a malformed request."""
    connection = request.connection
    connection.move(ConnectionInput.NEGOTIATE)
    reader = request.reader()
    _, count, security_mode, _, capabilities, guid, context_offset, context_count, _ = reader.unpack(_REQUEST)
    if count == 0:
        raise WireError("no dialects")
    dialects = tuple(reader.u16() for _ in range(count))
    settings = request.server.settings
    dialect = choose_dialect(dialects, settings)
    if dialect is None:
        listed = ", ".join(f"0x{each:04x}" for each in dialects[:8])
        reason = f"no common dialect: the client offers {listed}"
        refused("connection", connection.transport.peer, reason, status_name(STATUS_NOT_SUPPORTED))
        raise NtStatusError(STATUS_NOT_SUPPORTED)
    connection.client_guid = guid if dialect != DIALECT_202 else bytes(16)
    connection.client_capabilities = capabilities if dialect >= DIALECT_300 else 0
    connection.client_security_mode = security_mode
    connection.client_dialects = dialects
    contexts = b""
    context_total = 0
    cipher = 0
    connection.signing_algorithm = SIGNING_AES_CMAC if dialect >= DIALECT_300 else SIGNING_HMAC_SHA256
    if dialect == DIALECT_311:
        offered = negotiate_contexts.parse(reader, context_offset, context_count)
        encrypts = settings.encryption != "disabled"
        answer_cipher: int | None = None
        if offered.ciphers is not None and encrypts:
            cipher = negotiate_contexts.choose(negotiate_contexts.CIPHER_PREFERENCE, offered.ciphers) or 0
            answer_cipher = cipher
        answer_signing: int | None = None
        if offered.signing_algorithms is not None:
            answer_signing = negotiate_contexts.choose(
                negotiate_contexts.SIGNING_PREFERENCE, offered.signing_algorithms
            )
            if answer_signing is not None:
                connection.signing_algorithm = answer_signing
        connection.posix = offered.posix and settings.posix_extensions
        contexts, context_total = negotiate_contexts.encode(
            request.server.security.random(SALT_SIZE), answer_cipher, answer_signing, connection.posix
        )
    elif dialect >= DIALECT_300 and settings.encryption != "disabled" and capabilities & GLOBAL_CAP_ENCRYPTION:
        cipher = CIPHER_AES128_CCM
    connection.cipher = cipher
    agree(connection, dialect, server_capabilities(dialect, capabilities, settings, cipher))
    return Reply(_response(connection, dialect, contexts, context_total))


def agree(connection: Connection, dialect: int, capabilities: int) -> None:
    """Store the dialect and the server's capabilities in the Connection, and what follows from them."""
    connection.dialect = dialect
    connection.supports_multi_credit = dialect >= DIALECT_210
    connection.server_capabilities = capabilities
    connection.max_transact = max_transact(connection)
    connection.server_security_mode = security_mode(connection.server.settings)


def max_transact(connection: Connection) -> int:
    """Connection.MaxTransactSize in bytes: 64 KiB where there are no multi-credit requests."""
    large = connection.server_capabilities & GLOBAL_CAP_LARGE_MTU
    return connection.server.settings.max_transact if large else SMALL_IO


def _response(connection: Connection, revision: int, contexts: bytes = b"", context_count: int = 0) -> bytes:
    """The NEGOTIATE response's body (MS-SMB2 2.2.4)."""
    server = connection.server
    token = server.security.negotiate_token()
    offset = HEADER_SIZE + _RESPONSE.size
    context_offset = 0
    padding = b""
    if contexts:
        padding = bytes(-(offset + len(token)) % 8)
        context_offset = offset + len(token) + len(padding)
    large = connection.server_capabilities & GLOBAL_CAP_LARGE_MTU
    settings = server.settings
    fixed = _RESPONSE.pack(
        65, connection.server_security_mode, revision, context_count, settings.server_guid,
        connection.server_capabilities,
        max_transact(connection),
        settings.max_read if large else SMALL_IO,
        settings.max_write if large else SMALL_IO,
        server.clock.filetime(), 0, offset, len(token), context_offset,
    )  # fmt: skip
    return fixed + token + padding + contexts


def security_mode(settings: ServerSettings) -> int:
    """The server's SecurityMode: signing is always enabled, and required if `server signing` says so."""
    return NEGOTIATE_SIGNING_ENABLED | (NEGOTIATE_SIGNING_REQUIRED if settings.signing_required else 0)


def smb1_negotiate(connection: Connection, message: Buffer) -> bytes:
    """Handle an SMB1 NEGOTIATE (MS-SMB2 3.3.5.3). Returns the body of the response, whose header is an SMB2 one with
    MessageId 0. Raises ConnectionFatal where it is malformed or offers no SMB2 dialect."""
    reader = Reader(message)
    try:
        reader.skip(4)
        command = reader.u8()
        reader.skip(27)
        word_count = reader.u8()
        reader.skip(2 * word_count)
        names = bytes(reader.view(reader.u16()))
    except WireError as error:
        raise ConnectionFatal(f"a malformed SMB1 message: {error}") from None
    if command != 0x72:
        refused("connection", connection.transport.peer, "the client speaks SMB1")
        raise ConnectionFatal("SMB1 is not served")
    offered = {name.lstrip(b"\x02") for name in names.split(b"\0")}
    settings = connection.server.settings
    connection.server_security_mode = security_mode(settings)
    if b"SMB 2.???" in offered and settings.max_dialect >= DIALECT_210:
        connection.move(ConnectionInput.SMB1_WILDCARD)
        connection.server_capabilities = GLOBAL_CAP_LARGE_MTU | (GLOBAL_CAP_LEASING if settings.leases else 0)
        return _response(connection, DIALECT_WILDCARD)
    if b"SMB 2.002" in offered and settings.min_dialect <= DIALECT_202:
        connection.move(ConnectionInput.SMB1_202)
        connection.client_dialects = (DIALECT_202,)
        connection.client_security_mode = NEGOTIATE_SIGNING_ENABLED
        connection.signing_algorithm = SIGNING_HMAC_SHA256
        agree(connection, DIALECT_202, 0)
        return _response(connection, DIALECT_202)
    refused("connection", connection.transport.peer, "the client offers dialects of SMB1 alone")
    raise ConnectionFatal("an SMB1 client that offers no dialect of SMB2")


def smb1_reply_header() -> Header:
    """The SMB2 request header that an SMB1 NEGOTIATE stands for: MessageId 0, one credit requested."""
    header = Header(BLANK_HEADER)
    header.credits = 1
    return header
