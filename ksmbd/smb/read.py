# SPDX-License-Identifier: GPL-2.0-or-later
"""READ (MS-SMB2 2.2.19, 2.2.20, 3.3.5.12)."""
from __future__ import annotations

from collections.abc import Coroutine
from struct import Struct
from typing import Any, Final

from ksmbd.smb.constants import DIALECT_202, DIALECT_300, FILE_EXECUTE, FILE_READ_DATA
from ksmbd.smb.data_paths import Transfer
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open
from ksmbd.smb.ports import File, FileSpan
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BUFFER_OVERFLOW,
    STATUS_END_OF_FILE,
    STATUS_FILE_CLOSED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_SUCCESS,
    NtStatusError,
)
from ksmbd.smb.waiting import Future
from ksmbd.smb.zero_copy import read_method

# StructureSize, Padding, Flags, Length, Offset, FileId, MinimumCount, Channel, RemainingBytes, ReadChannelInfoOffset,
# ReadChannelInfoLength
_REQUEST: Final = Struct("<HBBIQQQIIIHH")
_RESPONSE: Final = Struct("<HBBIII")  # StructureSize, DataOffset, Reserved, DataLength, DataRemaining, Reserved2
_DATA_OFFSET: Final = HEADER_SIZE + _RESPONSE.size
MAX_OFFSET: Final = 0x7FFFFFFFFFFFFFFF
"""The largest offset + length of a READ or WRITE, since file systems use signed offsets (MS-FSA 2.1.5.2)."""
SMALL_MTU: Final = 65536
"""Longest READ and WRITE in bytes of dialect 2.0.2, which has no multi-credit requests."""


SMALL: Final = 16 << 10
"""Size in bytes up to which the data of a READ is copied once more instead of allocating a Body."""


def handle(request: Request) -> Reply | Coroutine[Any, Any, Reply]:
    """Read from a file or stream, at once or after its data has come from the disk, or from a pipe when mountd
    answers."""
    _, _, _, length, offset, persistent, volatile, minimum, channel, _, _, _ = request.reader().unpack(_REQUEST)
    open_ = request.find_open(persistent, volatile)
    dialect = request.session.dialect
    if length > (SMALL_MTU if dialect == DIALECT_202 else request.server.settings.max_read):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "Length")
    if channel and dialect >= DIALECT_300:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "an RDMA channel on another transport")
    file = open_.file
    if file is None:
        return _read_pipe(request, open_, length)
    if not open_.granted_access & (FILE_READ_DATA | FILE_EXECUTE):
        raise NtStatusError(STATUS_ACCESS_DENIED)
    if file.is_directory:
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST)
    if offset + length > MAX_OFFSET:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "Offset")
    cold = file.prefetch(offset, length) if length else None
    if cold is not None:
        return _when_read_ahead(request, open_, file, offset, length, minimum, cold)
    return _read(request, open_, file, offset, length, minimum)


async def _when_read_ahead(
    request: Request, open_: Open, file: File, offset: int, length: int, minimum: int, cold: Future[None]
) -> Reply:
    """Read after a helper thread has brought the range from the disk into the page cache. No interim response is sent,
    because the wait is short."""
    await cold
    # Many such reads may complete at once: wait until the client has read enough of its replies.
    while (room := request.connection.transport.room()) is not None:
        await room
    if open_.closed:
        raise NtStatusError(STATUS_FILE_CLOSED)
    return _read(request, open_, file, offset, length, minimum)


def _read(request: Request, open_: Open, file: File, offset: int, length: int, minimum: int) -> Reply:
    if open_.ref is not None:
        request.server.table.check_io(open_.ref, offset, length, False)
    if length <= SMALL:
        return _small(open_, file, offset, length, minimum)
    method = read_method(request, file, length)
    if method is not Transfer.COPY:
        return _span(open_, file, offset, length, minimum, method is Transfer.SPLICE)
    body = request.allocate(_RESPONSE.size + length)
    with body.data[_RESPONSE.size :] as room:
        count = file.read_into(offset, room) if length else 0
    if count < minimum or (count == 0 and length):
        raise NtStatusError(STATUS_END_OF_FILE)
    _RESPONSE.pack_into(body.data, 0, 17, _DATA_OFFSET, 0, count, 0, 0)
    if count < length:
        body.shrink(_RESPONSE.size + count)
    open_.current_byte_offset = offset + count
    return Reply(body)


def _small(open_: Open, file: File, offset: int, length: int, minimum: int) -> Reply:
    """Read a small range: an additional copy costs less than a Body."""
    data = file.read(offset, length) if length else b""
    count = len(data)
    if count < minimum or (count == 0 and length):
        raise NtStatusError(STATUS_END_OF_FILE)
    open_.current_byte_offset = offset + count
    return Reply(_RESPONSE.pack(17, _DATA_OFFSET, 0, count, 0, 0) + data)


def _span(open_: Open, file: File, offset: int, length: int, minimum: int, splice: bool) -> Reply:
    """Reply with the header and a FileSpan: the transport sends the bytes of the file behind the header."""
    count = min(length, file.end_of_file() - offset)
    if count < minimum or count <= 0:
        raise NtStatusError(STATUS_END_OF_FILE)
    open_.current_byte_offset = offset + count
    return Reply(_RESPONSE.pack(17, _DATA_OFFSET, 0, count, 0, 0), span=FileSpan(file, offset, count, splice))


async def _read_pipe(request: Request, open_: Open, length: int) -> Reply:
    data, more = await request.server.daemon.rpc_read(open_.pipe_handle, length)
    body = _RESPONSE.pack(17, _DATA_OFFSET, 0, len(data), 0, 0) + data
    return Reply(body, STATUS_BUFFER_OVERFLOW if more else STATUS_SUCCESS)
