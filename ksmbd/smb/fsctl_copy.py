# SPDX-License-Identifier: GPL-2.0-or-later
"""Server-side copies: resume keys and copy chunks (MS-SMB2 3.3.5.15.5, 3.3.5.15.6), cloned extents (MS-FSCC 2.3.7)."""
from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.smb.constants import (
    FILE_APPEND_DATA,
    FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_EXECUTE,
    FILE_READ_DATA,
    FILE_WRITE_DATA,
    FSCTL_SRV_COPYCHUNK,
)
from ksmbd.smb.fsctl import Control, Output
from ksmbd.smb.model import Open, ref_of
from ksmbd.smb.offload import LONG, offload
from ksmbd.smb.ports import BreakKind, File
from ksmbd.smb.reader import Reader
from ksmbd.smb.scheduler import TimeSlice
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_END_OF_FILE,
    STATUS_FILE_CLOSED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_HANDLE,
    STATUS_INVALID_PARAMETER,
    STATUS_INVALID_VIEW_SIZE,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_SUCCESS,
    NtStatusError,
)

MAX_CHUNKS: Final = limits.COPY_CHUNKS.value
MAX_CHUNK_SIZE: Final = limits.COPY_CHUNK_SIZE.value
MAX_TOTAL_SIZE: Final = limits.COPY_TOTAL_SIZE.value
"""ServerSideCopyMaxNumberofChunks, ServerSideCopyMaxChunkSize and ServerSideCopyMaxDataSize (MS-SMB2 3.3.3), the values
of Windows."""

_RESUME_KEY: Final = Struct("<QQQ")
"""The resume key: 24 bytes that are opaque to the client; here the FileId and zeros."""
_COPY: Final = Struct("<QQQII")
"""SourceKey, ChunkCount, Reserved (2.2.31.1)."""
_CHUNK: Final = Struct("<QQII")
"""SourceOffset, TargetOffset, Length, Reserved (2.2.31.1.1)."""
_COPY_RESPONSE: Final = Struct("<III")
"""ChunksWritten, ChunkBytesWritten, TotalBytesWritten (2.2.32.1)."""
_DUPLICATE: Final = Struct("<QQqqq")
"""SourceFileID, SourceFileOffset, TargetFileOffset, ByteCount (MS-FSCC 2.3.7.2)."""
_DUPLICATE_EX_SIZE: Final = 0x30
"""StructureSize of DUPLICATE_EXTENTS_DATA_EX, which does not count its own field (MS-FSCC 2.3.9.2)."""
_FLAGS: Final = Struct("<I4x")
"""Flags, Reserved, behind them."""
DUPLICATE_EXTENTS_DATA_EX_SOURCE_ATOMIC: Final = 0x00000001

_MAX_SIZE: Final = (1 << 63) - 1
"""The largest size of a file in bytes."""

WRITE_BREAK: Final = BreakKind(lose_read=True, lose_write=True, lose_handle=False)


def request_resume_key(control: Control) -> Output:
    """FSCTL_SRV_REQUEST_RESUME_KEY: the key that names this open as the source of a copy, and an empty context."""
    control.need(32, STATUS_INVALID_PARAMETER)
    open_ = control.open
    return Output(_RESUME_KEY.pack(open_.persistent_id, open_.volatile_id, 0) + bytes(8))


def _source(control: Control, persistent: int, volatile: int, status: int) -> Open:
    """The source of a copy: an open of the same session, on any of its shares. Raises `status` for any other."""
    source = control.request.session.opens.get(volatile)
    if source is None or source.persistent_id != persistent or source.file is None:
        raise NtStatusError(status)
    return source


def _maxima() -> Output:
    """The reply to a copy beyond the limits, which tells the client these limits (MS-SMB2 3.3.5.15.6.2)."""
    return Output(_COPY_RESPONSE.pack(MAX_CHUNKS, MAX_CHUNK_SIZE, MAX_TOTAL_SIZE), STATUS_INVALID_PARAMETER)


async def copy_chunk(control: Control) -> Output:
    """FSCTL_SRV_COPYCHUNK, and FSCTL_SRV_COPYCHUNK_WRITE, which needs no right to read the target.

    An error during the copy is reported together with the number of bytes written before it."""
    control.need(_COPY_RESPONSE.size, STATUS_INVALID_PARAMETER)
    reader = control.reader(_COPY.size)
    persistent, volatile, rest, count, _ = reader.unpack(_COPY)
    if rest:
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no key of ours")
    target = control.open
    source = _source(control, persistent, volatile, STATUS_OBJECT_NAME_NOT_FOUND)
    if control.file.is_directory or (source.file is not None and source.file.is_directory):
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a directory")
    if not source.granted_access & (FILE_READ_DATA | FILE_EXECUTE):
        raise NtStatusError(STATUS_ACCESS_DENIED, "source not readable")
    if not target.granted_access & (FILE_WRITE_DATA | FILE_APPEND_DATA):
        raise NtStatusError(STATUS_ACCESS_DENIED, "target not writable")
    if control.code == FSCTL_SRV_COPYCHUNK and not target.granted_access & FILE_READ_DATA:
        raise NtStatusError(STATUS_ACCESS_DENIED, "target not readable")
    if count > MAX_CHUNKS:
        return _maxima()
    chunks = [reader.unpack(_CHUNK)[:3] for _ in range(count)]
    if any(not 0 < length <= MAX_CHUNK_SIZE for _, _, length in chunks):
        return _maxima()
    if sum(length for _, _, length in chunks) > MAX_TOTAL_SIZE:
        return _maxima()
    if chunks:
        await control.settle(control.request.server.table.break_caching(control.ref, WRITE_BREAK))
        if source.closed:
            raise NtStatusError(STATUS_FILE_CLOSED)
    total = 0
    time_slice = control.request.time_slice()
    for index, (source_offset, target_offset, length) in enumerate(chunks):
        status, written = await _copy_one(control, time_slice, source, source_offset, target_offset, length)
        if status != STATUS_SUCCESS:
            return Output(_COPY_RESPONSE.pack(index, written, total), status)
        total += written
    return Output(_COPY_RESPONSE.pack(len(chunks), 0, total))


async def _copy_one(
    control: Control, time_slice: TimeSlice, source: Open, source_offset: int, target_offset: int, length: int
) -> tuple[int, int]:
    """Copy one chunk. Returns its NTSTATUS and the bytes written. A range beyond the end of the source gives
    STATUS_INVALID_VIEW_SIZE."""
    request = control.request
    table = request.server.table
    source_file, target_file = source.file, control.file
    assert source_file is not None
    written = 0
    try:
        if time_slice.is_over():
            await time_slice.renew()
            if source.closed or control.open.closed:
                return STATUS_FILE_CLOSED, 0
        if source_offset + length > source_file.info().end_of_file:
            return STATUS_INVALID_VIEW_SIZE, 0
        if target_offset + length > _MAX_SIZE:
            return STATUS_INVALID_PARAMETER, 0
        table.check_io(ref_of(source), source_offset, length, False)
        table.check_io(control.ref, target_offset, length, True)
        while written < length:
            copy = partial(_copy, source_offset + written, target_offset + written, length - written)
            if length >= LONG:
                step = await offload(request, copy, control.open, source)
            else:
                step = copy(target_file, source_file)
            if step <= 0:
                return STATUS_END_OF_FILE, written
            written += step
    except NtStatusError as error:
        return error.status, written
    return STATUS_SUCCESS, written


def _copy(source_offset: int, target_offset: int, length: int, target: File, source: File) -> int:
    return target.copy_range(source, source_offset, target_offset, length)


async def duplicate_extents(control: Control) -> Output:
    """FSCTL_DUPLICATE_EXTENTS_TO_FILE: share blocks between two files, where the file system can (MS-FSA
    2.1.5.10.4)."""
    return await _duplicate(control, control.reader(_DUPLICATE.size))


async def duplicate_extents_ex(control: Control) -> Output:
    """FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX (MS-FSA 2.1.5.10.5). A clone is one system call, so it is atomic with any
    flags."""
    reader = control.reader(8 + _DUPLICATE.size + _FLAGS.size)
    size = reader.u64()
    (flags,) = reader.unpack_at(_FLAGS, 8 + _DUPLICATE.size)
    if size != _DUPLICATE_EX_SIZE or flags & ~DUPLICATE_EXTENTS_DATA_EX_SOURCE_ATOMIC:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "StructureSize or Flags")
    return await _duplicate(control, reader)


async def _duplicate(control: Control, reader: Reader) -> Output:
    persistent, volatile, source_offset, target_offset, length = reader.unpack(_DUPLICATE)
    source = _source(control, persistent, volatile, STATUS_INVALID_HANDLE)
    source_file, target_file = source.file, control.file
    assert source_file is not None
    if min(source_offset, target_offset, length) < 0:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a negative range")
    if not source.granted_access & FILE_READ_DATA:
        raise NtStatusError(STATUS_ACCESS_DENIED, "source not readable")
    if source_file.is_directory or target_file.is_directory:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "a directory")
    if not length:
        return Output()
    source_info, target_info = source_file.info(), target_file.info()
    grows = target_offset + length > target_info.end_of_file
    # MS-FSCC 2.3.8 names no error for a target that is too short; one that is sparse may grow
    if source_offset + length > source_info.end_of_file or (
        grows and not target_info.attributes & FILE_ATTRIBUTE_SPARSE_FILE
    ):
        raise NtStatusError(STATUS_NOT_SUPPORTED, "beyond the end of a file")
    if source_info.attributes & ~target_info.attributes & FILE_ATTRIBUTE_SPARSE_FILE:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "from a sparse file into one that is not")
    same = source_file.key == target_file.key and source_file.stream == target_file.stream
    if same and abs(source_offset - target_offset) < length:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "overlapping ranges")
    await control.settle(control.request.server.table.break_caching(control.ref, WRITE_BREAK))
    if source.closed:
        raise NtStatusError(STATUS_FILE_CLOSED)
    target_file.clone_range(source_file, source_offset, target_offset, length)
    return Output()
