# SPDX-License-Identifier: GPL-2.0-or-later
"""FSCTLs of named pipes: PIPE_TRANSCEIVE, PIPE_PEEK and PIPE_WAIT (MS-SMB2 3.3.5.15.3, 3.3.5.15.4 and 3.3.5.15.10)."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.create_names import pipe_name
from ksmbd.smb.fsctl import Control, Output
from ksmbd.smb.reader import decode_utf16
from ksmbd.smb.status import STATUS_BUFFER_OVERFLOW, STATUS_INVALID_DEVICE_REQUEST, STATUS_SUCCESS, NtStatusError

_PIPE_WAIT: Final = Struct("<QIBB")
"""Timeout, NameLength, TimeoutSpecified, Padding (MS-FSCC 2.3.49)."""

_PIPE_PEEK: Final = Struct("<IIII")
"""NamedPipeState, ReadDataAvailable, NumberOfMessages, MessageLength (MS-FSCC 2.3.46)."""
FILE_PIPE_CONNECTED_STATE: Final = 3


async def pipe_transceive(control: Control) -> Output:
    """FSCTL_PIPE_TRANSCEIVE: write the input and read the answer. A rest that does not fit stays for READ."""
    daemon = control.request.server.daemon
    future = daemon.rpc_transceive(control.open.pipe_handle, bytes(control.input), control.limit)
    data, more = await control.settle(future)
    return Output(data, STATUS_BUFFER_OVERFLOW if more else STATUS_SUCCESS)


async def pipe_peek(control: Control) -> Output:
    """FSCTL_PIPE_PEEK (MS-SMB2 3.3.5.15.4): the next message, which stays in the pipe. It never waits, and accepts an
    output buffer of any size."""
    data, more = await control.settle(control.request.server.daemon.rpc_peek(control.open.pipe_handle))
    out = _PIPE_PEEK.pack(FILE_PIPE_CONNECTED_STATE, len(data), 1 if data else 0, len(data)) + data
    cut = more or len(out) > control.limit
    return Output(out[: control.limit], STATUS_BUFFER_OVERFLOW if cut else STATUS_SUCCESS)


async def pipe_wait(control: Control) -> Output:
    """FSCTL_PIPE_WAIT: succeeds for a pipe that exists, since an instance is always free; STATUS_OBJECT_NAME_NOT_FOUND
    for others."""
    request = control.request
    if not request.tree.share.is_pipe:
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST)
    reader = control.reader(_PIPE_WAIT.size)
    _, length, _, _ = reader.unpack(_PIPE_WAIT)
    name = pipe_name(decode_utf16(reader.view(length)))
    identity = request.session.identity
    account = identity.account if identity is not None else ""
    restricted = identity is None or request.session.is_guest_or_anonymous
    handle = await control.settle(request.server.daemon.rpc_open(name, account, restricted))
    request.server.daemon.rpc_close(handle)
    return Output()
