# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns a Reply into a message: its header, the key that signs it, and the preauthentication hash (MS-SMB2 3.3.4.1)."""
from __future__ import annotations

from typing import Final

from ksmbd import debug
from ksmbd.smb import debug_lines
from ksmbd.smb.constants import (
    DIALECT_311,
    FLAGS_PRIORITY_MASK,
    FLAGS_RELATED_OPERATIONS,
    FLAGS_REPLAY_OPERATION,
    FLAGS_SIGNED,
    NEGOTIATE,
    SESSION_SETUP,
)
from ksmbd.smb.credits import max_charge
from ksmbd.smb.header import HEADER_SIZE, HEADROOM, SIGNATURE_OFFSET, write_header
from ksmbd.smb.model import Session
from ksmbd.smb.request import Body, Reply, Request
from ksmbd.smb.status import STATUS_SUCCESS

_ECHOED_FLAGS: Final = FLAGS_PRIORITY_MASK | FLAGS_REPLAY_OPERATION
_HEAD: Final = bytes(HEADROOM + HEADER_SIZE)


def start_frame(reply: Reply) -> bytearray:
    """A buffer with room for all headers and the body of the reply at its place. If the reply has a Body, it is the
    buffer of the Body."""
    body = reply.body
    if isinstance(body, Body):
        body.data.release()
        return body.frame
    return bytearray(_HEAD + body)


def write_reply_header(frame: bytearray, start: int, request: Request, status: int, related: bool = False) -> None:
    """Write the header at `start`: credits, echoed flags, ids. A final asynchronous response grants no credits
    (3.3.4.3).

    Where there is no key to sign an error response, flag and signature of the request are echoed, as Windows does,
    because some clients reject a response without the flag."""
    header = request.header
    if debug.mask[0] & debug.SMB:
        debug_lines.answered(request, status)
    async_id = request.async_id
    flags = header.flags & _ECHOED_FLAGS
    if related:
        flags |= FLAGS_RELATED_OPERATIONS
    session_id, tree_id = request.reply_ids()
    granted = 0
    if not async_id:
        connection = request.connection
        charge = max_charge(header.credit_charge, connection.supports_multi_credit)
        granted = connection.window.grant(header.command, status, header.credits, charge)
    write_header(frame, start, header, status, granted, flags, 0, async_id, session_id, tree_id)
    if header.flags & FLAGS_SIGNED and not request.sealed and signing_session(request) is None:
        frame[start + 16] |= FLAGS_SIGNED
        frame[start + SIGNATURE_OFFSET : start + HEADER_SIZE] = header.signature


def signing_session(request: Request) -> Session | None:
    """The session whose key signs the reply (MS-SMB2 3.3.4.1.1); None: the reply is not signed. An encrypted one never
    is."""
    session = request.session_
    if session is None or request.sealed:
        return None
    header = request.header
    if header.command <= SESSION_SETUP:
        if header.command == NEGOTIATE or not request.sign_reply:
            return None
    elif not (header.flags & FLAGS_SIGNED or session.signing_required):
        return None
    return session if request.connection.signer_of(session) is not None else None


def hashes_preauth(request: Request, status: int) -> bool:
    """Whether the reply updates a preauthentication hash: that of NEGOTIATE, or of SESSION_SETUP except the final
    one."""
    command = request.header.command
    if command > SESSION_SETUP or request.connection.dialect != DIALECT_311:
        return False
    return command == NEGOTIATE or (status != STATUS_SUCCESS and request.exchange is not None)


def hash_preauth(request: Request, message: memoryview) -> None:
    """Update that hash with the final bytes of the reply."""
    if request.header.command == NEGOTIATE:
        request.connection.hash_preauth(request.message)
        request.connection.hash_preauth(message)
    elif request.exchange is not None:
        request.exchange.hash_message(message)
