# SPDX-License-Identifier: GPL-2.0-or-later
"""CREATE on IPC$: opens a named pipe of the DCE/RPC services of mountd (MS-SMB2 3.3.5.9, "Open Execution" for a pipe
share)."""
from __future__ import annotations

from typing import Final

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb.access_mask import check_desired_access
from ksmbd.smb.create_names import pipe_name
from ksmbd.smb.create_reply import RESPONSE
from ksmbd.smb.model import Open
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.status import (
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_NETWORK_NAME_DELETED,
    STATUS_OBJECT_NAME_INVALID,
    NtStatusError,
)

PIPES_MAX: Final = limits.PIPES_PER_SESSION.value
PIPE_ALLOCATION: Final = 4096
"""AllocationSize of a pipe in the reply, the value of Windows."""


async def open_pipe(request: Request, raw_name: str, desired_access: int, share_access: int) -> Reply:
    """Open a pipe. Raises STATUS_OBJECT_NAME_NOT_FOUND for a pipe that mountd does not serve,
    STATUS_INSUFFICIENT_RESOURCES where the session or user has too many."""
    access = check_desired_access(desired_access)
    if access & c.MAXIMUM_ALLOWED:
        access = access & ~c.MAXIMUM_ALLOWED | c.FILE_ALL_ACCESS
    name = pipe_name(raw_name)
    if not name:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "no pipe's name")
    server, session, tree = request.server, request.session, request.tree
    server.open_admission.check(session)
    identity = session.identity
    account = identity.account if identity is not None else ""
    if session.pipes >= PIPES_MAX:
        raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "pipes of the session")
    session.pipes += 1
    try:
        restricted = identity is None or session.is_guest_or_anonymous
        handle = await server.daemon.rpc_open(name, account, restricted, request.connection.transport.peer)
        if tree.closed or session.state is SessionState.DELETED:
            server.daemon.rpc_close(handle)
            raise NtStatusError(STATUS_NETWORK_NAME_DELETED)
    except BaseException:
        session.pipes -= 1
        raise
    open_ = Open(server.new_id(), server.new_id(), session, tree, request.connection, None)
    open_.granted_access, open_.share_access = access, share_access
    open_.pipe_handle, open_.pipe_name = handle, name
    session.opens[open_.volatile_id] = open_
    server.opens[open_.persistent_id] = open_
    request.chain.file_id = (open_.persistent_id, open_.volatile_id)
    request.open = open_
    return Reply(
        RESPONSE.pack(
            89, c.OPLOCK_LEVEL_NONE, 0, c.FILE_OPENED, 0, 0, 0, 0, PIPE_ALLOCATION, 0, c.FILE_ATTRIBUTE_NORMAL, 0,
            open_.persistent_id, open_.volatile_id, 0, 0,
        )
    )  # fmt: skip
