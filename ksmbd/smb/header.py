# SPDX-License-Identifier: GPL-2.0-or-later
"""The SMB2 packet header (MS-SMB2 2.2.1) and the ERROR Response (2.2.2): decoding and encoding."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.constants import FLAGS_ASYNC_COMMAND, FLAGS_SERVER_TO_REDIR
from ksmbd.smb.reader import Buffer
from ksmbd.smb.status import ConnectionFatal

SMB1_PROTOCOL_ID: Final = b"\xffSMB"
SMB2_PROTOCOL_ID: Final = b"\xfeSMB"
TRANSFORM_PROTOCOL_ID: Final = b"\xfdSMB"
COMPRESSION_PROTOCOL_ID: Final = b"\xfcSMB"

HEADER_SIZE: Final = 64
TRANSFORM_HEADER: Final = Struct("<4s16s16sIHHQ")
"""ProtocolId, Signature, Nonce, OriginalMessageSize, Reserved, Flags (3.0: EncryptionAlgorithm, 1 as well), SessionId
(MS-SMB2 2.2.41)."""
TRANSFORM_HEADER_SIZE: Final = 52
NBSS_HEADER_SIZE: Final = 4
HEADROOM: Final = NBSS_HEADER_SIZE + TRANSFORM_HEADER_SIZE
"""Bytes reserved before an outgoing message: sealing writes the length and the transform header there, an unencrypted
message uses the last 4 for the length."""
SIGNATURE_OFFSET: Final = 48

# ProtocolId, StructureSize, CreditCharge, Status or ChannelSequence, Command, Credits, Flags, NextCommand, MessageId,
# then Reserved + TreeId or AsyncId, SessionId, Signature
SYNC_HEADER: Final = Struct("<4sHHIHHIIQIIQ16s")
ASYNC_HEADER: Final = Struct("<4sHHIHHIIQQQ16s")
REPLY_HEADER: Final = Struct("<4s4sHHIHHIIQIIQ16s")
"""The 4-byte length (MS-SMB2 2.1), then SYNC_HEADER."""
_NO_SIGNATURE: Final = bytes(16)


BLANK_HEADER: Final = SYNC_HEADER.pack(SMB2_PROTOCOL_ID, HEADER_SIZE, *(0,) * 10, _NO_SIGNATURE)
"""A header with all fields 0, for the reply to an SMB1 NEGOTIATE and for notifications."""


class Header:
    """The decoded header of one request. With FLAGS_ASYNC_COMMAND `async_id` is set and `tree_id` is 0."""

    __slots__ = (
        "credit_charge", "status", "command", "credits", "flags", "next_command", "message_id", "tree_id",
        "async_id", "session_id", "signature",
    )  # fmt: skip

    credit_charge: int
    status: int
    command: int
    credits: int
    flags: int
    next_command: int
    message_id: int
    tree_id: int
    async_id: int
    session_id: int
    signature: bytes

    def __init__(self, buffer: Buffer, offset: int = 0) -> None:
        """Decode the 64 bytes at `offset`. Raises ConnectionFatal where they are no SMB2 header (MS-SMB2 3.3.5.2)."""
        if len(buffer) - offset < HEADER_SIZE:
            raise ConnectionFatal("a message shorter than its header")
        (
            protocol_id, size, self.credit_charge, self.status, self.command, self.credits, self.flags,
            self.next_command, self.message_id, low, self.tree_id, self.session_id, self.signature,
        ) = SYNC_HEADER.unpack_from(buffer, offset)  # fmt: skip
        if protocol_id != SMB2_PROTOCOL_ID or size != HEADER_SIZE:
            raise ConnectionFatal("no SMB2 header")
        self.async_id = 0
        if self.flags & FLAGS_ASYNC_COMMAND:
            self.async_id = low | self.tree_id << 32
            self.tree_id = 0

    @property
    def channel_sequence(self) -> int:
        """ChannelSequence, the low half of the Status field in requests of SMB 3.x (MS-SMB2 2.2.1.2)."""
        return self.status & 0xFFFF


def write_header(  # noqa: PLR0913 - of every reply: made with the ids in a record it took a fifth longer
    frame: bytearray,
    offset: int,
    request: Header,
    status: int,
    granted: int,
    flags: int,
    next_command: int = 0,
    async_id: int = 0,
    session_id: int | None = None,
    tree_id: int | None = None,
) -> None:
    """Write the header of the reply to `request` at `offset`, with a zero signature. SERVER_TO_REDIR is added to
    `flags`."""
    session = request.session_id if session_id is None else session_id
    flags |= FLAGS_SERVER_TO_REDIR
    if async_id:
        ASYNC_HEADER.pack_into(
            frame, offset, SMB2_PROTOCOL_ID, HEADER_SIZE, request.credit_charge, status, request.command, granted,
            flags | FLAGS_ASYNC_COMMAND, next_command, request.message_id, async_id, session, _NO_SIGNATURE,
        )  # fmt: skip
    else:
        SYNC_HEADER.pack_into(
            frame, offset, SMB2_PROTOCOL_ID, HEADER_SIZE, request.credit_charge, status, request.command, granted,
            flags, next_command, request.message_id, 0xFEFF, request.tree_id if tree_id is None else tree_id, session,
            _NO_SIGNATURE,
        )  # fmt: skip


_ERROR_RESPONSE: Final = Struct("<HBBI")
_ERROR_CONTEXT: Final = Struct("<II")
"""ErrorDataLength, ErrorId: SMB2_ERROR_ID_DEFAULT (MS-SMB2 2.2.2.1)."""


def error_body(data: bytes = b"", in_context: bool = False) -> bytes:
    """The body of the ERROR Response (MS-SMB2 2.2.2): StructureSize 9, and one byte of ErrorData where there is none.

    `in_context`: wrap ErrorData in an SMB2 ERROR Context, as dialect 3.1.1 demands."""
    if data and in_context:
        return _ERROR_RESPONSE.pack(9, 1, 0, _ERROR_CONTEXT.size + len(data)) + _ERROR_CONTEXT.pack(len(data), 0) + data
    return _ERROR_RESPONSE.pack(9, 0, 0, len(data)) + (data or b"\0")
