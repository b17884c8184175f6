# SPDX-License-Identifier: GPL-2.0-or-later
"""WRITE (MS-SMB2 2.2.21, 2.2.22, 3.3.5.13)."""
from __future__ import annotations

from collections.abc import Coroutine
from struct import Struct
from typing import Any, Final

from ksmbd.smb.constants import DIALECT_202, DIALECT_300, FILE_APPEND_DATA, FILE_WRITE_DATA, FILE_WRITE_THROUGH
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open
from ksmbd.smb.ports import BreakKind, File
from ksmbd.smb.read import MAX_OFFSET, SMALL_MTU
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_DISK_FULL,
    STATUS_FILE_CLOSED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    NtStatusError,
)
from ksmbd.smb.waiting import Future

# StructureSize, DataOffset, Length, Offset, FileId, Channel, RemainingBytes, WriteChannelInfoOffset,
# WriteChannelInfoLength, Flags
_REQUEST: Final = Struct("<HHIQQQIIHHI")
_RESPONSE: Final = Struct("<HHIIHH")  # StructureSize, Reserved, Count, Remaining, WriteChannelInfoOffset, -Length
_BUFFER: Final = HEADER_SIZE + _REQUEST.size
MAX_DATA_OFFSET: Final = 0x100
"""MS-SMB2 3.3.5.13: data does not begin later in the message."""
MAX_FILE_SIZE: Final = 0xFFFFFFF0000
"""The largest file of NTFS with clusters of 4 KiB: a write that begins there is
STATUS_INVALID_PARAMETER, one that reaches it STATUS_DISK_FULL, as clients expect."""
WRITEFLAG_WRITE_THROUGH: Final = 0x00000001

_BREAK_READERS: Final = BreakKind(lose_read=True, lose_write=True, lose_handle=False)


def handle(request: Request) -> Reply | Coroutine[Any, Any, Reply]:
    """Write to a file or stream, after others have given up what they cache of it; or to a pipe."""
    reader = request.reader()
    _, data_offset, length, offset, persistent, volatile, channel, _, _, _, flags = reader.unpack(_REQUEST)
    open_ = request.find_open(persistent, volatile)
    dialect = request.session.dialect
    if length > (SMALL_MTU if dialect == DIALECT_202 else request.server.settings.max_write):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "Length")
    if channel and dialect >= DIALECT_300:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "an RDMA channel on another transport")
    if data_offset > MAX_DATA_OFFSET or (length and data_offset < _BUFFER):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "DataOffset")
    data = reader.at(data_offset, length) if length else memoryview(b"")
    file = open_.file
    if file is None:
        return _write_pipe(request, open_, bytes(data))
    if not open_.granted_access & (FILE_WRITE_DATA | FILE_APPEND_DATA):
        raise NtStatusError(STATUS_ACCESS_DENIED)
    if file.is_directory:
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST)
    if offset + length > MAX_OFFSET or (length and offset >= MAX_FILE_SIZE):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "Offset")
    if length and offset + length >= MAX_FILE_SIZE:
        raise NtStatusError(STATUS_DISK_FULL)
    if not open_.granted_access & FILE_WRITE_DATA and offset < file.info().end_of_file:
        raise NtStatusError(STATUS_ACCESS_DENIED, "FILE_APPEND_DATA writes at the end alone")
    through = bool(flags & WRITEFLAG_WRITE_THROUGH) or bool(open_.create_options & FILE_WRITE_THROUGH)
    if open_.ref is None:
        return _write(open_, file, offset, data, through)
    table = request.server.table
    table.check_io(open_.ref, offset, length, True)
    future = table.break_caching(open_.ref, _BREAK_READERS)
    if future.done:
        future.result()
        return _write(open_, file, offset, data, through)
    # The receive buffer is used again while this waits.
    return _wait(request, open_, file, offset, bytes(data), through, future)


async def _wait(
    request: Request, open_: Open, file: File, offset: int, data: bytes, through: bool, future: Future[None]
) -> Reply:
    request.go_async()
    await future
    if open_.closed:
        raise NtStatusError(STATUS_FILE_CLOSED)
    if open_.ref is not None:
        request.server.table.check_io(open_.ref, offset, len(data), True)
    return _write(open_, file, offset, data, through)


def _write(open_: Open, file: File, offset: int, data: memoryview | bytes, through: bool) -> Reply:
    count = file.write(offset, data, through) if len(data) else 0
    open_.current_byte_offset = offset + count
    return _reply(count)


def _reply(count: int) -> Reply:
    return Reply(_RESPONSE.pack(17, 0, count, 0, 0, 0))


async def _write_pipe(request: Request, open_: Open, data: bytes) -> Reply:
    await request.server.daemon.rpc_write(open_.pipe_handle, data)
    return _reply(len(data))
