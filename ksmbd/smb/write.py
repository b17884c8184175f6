# SPDX-License-Identifier: GPL-2.0-or-later
"""WRITE (MS-SMB2 2.2.21, 2.2.22, 3.3.5.13)."""
from __future__ import annotations

from collections.abc import Coroutine
from struct import Struct
from typing import Any, Final, NamedTuple

from ksmbd.smb.constants import DIALECT_202, DIALECT_300, FILE_APPEND_DATA, FILE_WRITE_DATA, FILE_WRITE_THROUGH
from ksmbd.smb.data_paths import WRITE
from ksmbd.smb.header import HEADER_SIZE, HEADROOM, error_body
from ksmbd.smb.model import Open
from ksmbd.smb.ports import BreakKind, File
from ksmbd.smb.read import MAX_OFFSET, SMALL_MTU
from ksmbd.smb.reader import Reader
from ksmbd.smb.reply import start_frame, write_reply_header
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_DISK_FULL,
    STATUS_FILE_CLOSED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_MEDIA_WRITE_PROTECTED,
    STATUS_SUCCESS,
    NtStatusError,
    WireError,
)
from ksmbd.smb.waiting import Future

# StructureSize, DataOffset, Length, Offset, FileId, Channel, RemainingBytes, WriteChannelInfoOffset,
# WriteChannelInfoLength, Flags
_REQUEST: Final = Struct("<HHIQQQIIHHI")
_RESPONSE: Final = Struct("<HHIIHH")  # StructureSize, Reserved, Count, Remaining, WriteChannelInfoOffset, -Length
_BUFFER: Final = HEADER_SIZE + _REQUEST.size
HEAD: Final = _BUFFER
"""Length in bytes of a WRITE request up to its data."""
MAX_DATA_OFFSET: Final = 0x100
"""The largest DataOffset (MS-SMB2 3.3.5.13)."""
MAX_FILE_SIZE: Final = 0xFFFFFFF0000
"""The largest file of NTFS with clusters of 4 KiB, in bytes. As clients expect, a WRITE that begins there raises
STATUS_INVALID_PARAMETER, one that reaches it STATUS_DISK_FULL."""
WRITEFLAG_WRITE_THROUGH: Final = 0x00000001

_BREAK_READERS: Final = BreakKind(lose_read=True, lose_write=True, lose_handle=False)


class _Write(NamedTuple):
    """The fields of a WRITE request that has passed all checks."""

    open: Open
    file: File | None
    """None: a pipe."""
    data_offset: int
    length: int
    offset: int
    through: bool


def _checked(request: Request, reader: Reader, size: int) -> _Write:
    """Decode and check a WRITE whose message has `size` bytes. Raises NtStatusError."""
    _, data_offset, length, offset, persistent, volatile, channel, _, _, _, flags = reader.unpack(_REQUEST)
    open_ = request.find_open(persistent, volatile)
    dialect = request.session.dialect
    if length > (SMALL_MTU if dialect == DIALECT_202 else request.server.settings.max_write):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "Length")
    if channel and dialect >= DIALECT_300:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "an RDMA channel on another transport")
    if data_offset > MAX_DATA_OFFSET or (length and data_offset < _BUFFER):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "DataOffset")
    if length and data_offset + length > size:
        raise WireError("data beyond the message")
    file = open_.file
    if file is None:
        return _Write(open_, None, data_offset, length, 0, False)
    if not open_.granted_access & (FILE_WRITE_DATA | FILE_APPEND_DATA):
        raise NtStatusError(STATUS_MEDIA_WRITE_PROTECTED if open_.withdrawn_access else STATUS_ACCESS_DENIED)
    if file.is_directory:
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST)
    if offset + length > MAX_OFFSET or (length and offset >= MAX_FILE_SIZE):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "Offset")
    if length and offset + length >= MAX_FILE_SIZE:
        raise NtStatusError(STATUS_DISK_FULL)
    if not open_.granted_access & FILE_WRITE_DATA and offset < file.end_of_file():
        raise NtStatusError(STATUS_ACCESS_DENIED, "FILE_APPEND_DATA writes at the end alone")
    through = bool(flags & WRITEFLAG_WRITE_THROUGH) or bool(open_.create_options & FILE_WRITE_THROUGH)
    return _Write(open_, file, data_offset, length, offset, through)


def handle(request: Request) -> Reply | Coroutine[Any, Any, Reply]:
    """Write to a file or stream, after others have lost their read caching of it, or to a pipe."""
    reader = request.reader()
    open_, file, data_offset, length, offset, through = _checked(request, reader, len(request.message))
    data = reader.at(data_offset, length) if length else memoryview(b"")
    if file is None:
        return _write_pipe(request, open_, bytes(data))
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
    open_.wrote = True
    return _reply(count)


def _reply(count: int) -> Reply:
    return Reply(_RESPONSE.pack(17, 0, count, 0, 0, 0))


async def _write_pipe(request: Request, open_: Open, data: bytes) -> Reply:
    await request.server.daemon.rpc_write(open_.pipe_handle, data)
    return _reply(len(data))


# ------------------------------------------------------------------------- data that goes from the socket to the file


class IncomingWrite:
    """A WRITE that has passed every check while its data is still being received. The transport moves the data into
    the file, copied or through a pipe as `method` says, and then calls `finish`. After an error the rest of the data is
    received and dropped, and `finish` answers with the error."""

    __slots__ = ("left", "method", "_file", "_length", "_offset", "_open", "_request", "_status")

    def __init__(self, request: Request, open_: Open, file: File, offset: int, length: int) -> None:
        self.left = length
        """Bytes that are still to be received."""
        self.method = request.server.settings.data_paths.method(WRITE, file.file_system, length)
        self._request = request
        self._open = open_
        self._file = file
        self._offset = offset
        self._length = length
        self._status = STATUS_SUCCESS

    def take(self, data: memoryview) -> None:
        """Write the next bytes, which are in memory."""
        at = self._offset + self._length - self.left
        self.left -= len(data)
        if self._status == STATUS_SUCCESS and len(data):
            try:
                self._file.write(at, data)
            except NtStatusError as error:
                self._failed(error)

    def take_pipe(self, pipe: int, count: int) -> bool:
        """Write the next `count` bytes, which are in a pipe. False: some of them are left in the pipe."""
        at = self._offset + self._length - self.left
        self.left -= count
        if self._status == STATUS_SUCCESS:
            try:
                self._file.write_from_pipe(at, pipe, count)
            except NtStatusError as error:
                self._failed(error)
        return self._status == STATUS_SUCCESS

    def _failed(self, error: NtStatusError) -> None:
        # The open may have ended while the data came: through another connection, or by the open table.
        self._status = STATUS_FILE_CLOSED if self._open.closed else error.status

    def finish(self) -> None:
        """Send the response, after all data has been received."""
        request, open_ = self._request, self._open
        reply = Reply(error_body(), self._status)
        if self._status == STATUS_SUCCESS:
            open_.current_byte_offset = self._offset + self._length
            open_.wrote = True
            if open_.ref is not None and not open_.closed:
                # A client that began to read from a cache while the data came reads it anew. None can have got more
                # than that beside this open, so there is nothing to wait for.
                request.server.table.break_caching(open_.ref, _BREAK_READERS)
            reply = _reply(self._length)
        frame = start_frame(reply)
        write_reply_header(frame, HEADROOM, request, reply.status)
        request.connection.sender.send_clear(frame)


def begin(request: Request, size: int, have: int) -> IncomingWrite | None:
    """Begin a WRITE of a message of `size` bytes of which `have` are received. None: the message must be received whole
    first. Raises what `handle` would raise."""
    open_, file, data_offset, length, offset, through = _checked(request, request.reader(), size)
    if file is None or through or not length or data_offset + length != size or have < data_offset or file.fileno() < 0:
        return None
    if open_.ref is not None:
        table = request.server.table
        table.check_io(open_.ref, offset, length, True)
        future = table.break_caching(open_.ref, _BREAK_READERS)
        if not future.done:
            future.cancel()
            return None
    return IncomingWrite(request, open_, file, offset, length)
