# SPDX-License-Identifier: GPL-2.0-or-later
"""FSCTLs about ranges of a file: sparse files, zeroing, allocated ranges, regions, trim (MS-FSCC 2.3)."""
from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.smb.fsctl import Control, Output
from ksmbd.smb.fsctl_copy import WRITE_BREAK
from ksmbd.smb.offload import LONG, offload
from ksmbd.smb.ports import File
from ksmbd.smb.status import (
    STATUS_BUFFER_OVERFLOW,
    STATUS_FILE_CLOSED,
    STATUS_INVALID_PARAMETER,
    BufferTooSmall,
    NtStatusError,
)

_RANGE: Final = Struct("<qq")
_TRIM: Final = Struct("<II")
_TRIM_RANGE: Final = Struct("<QQ")
_REGION_INPUT: Final = Struct("<qqII")
_REGION_OUTPUT: Final = Struct("<IIII")
_REGION: Final = Struct("<qqII")
FILE_REGION_USAGE_VALID_CACHED_DATA: Final = 0x00000001
_MAX_SIZE: Final = (1 << 63) - 1
_ZEROS: Final = 64 << 20
"""Bytes that one step zeroes. A file system that must write the zeros needs some 20 ms for them."""


def set_sparse(control: Control) -> Output:
    """FSCTL_SET_SPARSE: an empty input sets the flag (MS-FSCC 2.3.79)."""
    if control.file.is_directory:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a directory")
    control.file.set_sparse(not control.input or control.input[0] != 0)
    return Output()


async def set_zero_data(control: Control) -> Output:
    """FSCTL_SET_ZERO_DATA: zero the bytes from FileOffset up to, not including, BeyondFinalZero (MS-FSCC 2.3.85)."""
    offset, beyond = control.reader(_RANGE.size).unpack(_RANGE)
    if control.file.is_directory or offset < 0 or beyond < offset:
        raise NtStatusError(STATUS_INVALID_PARAMETER)
    if beyond > offset:
        table = control.request.server.table
        table.check_io(control.ref, offset, beyond - offset, True)
        await control.settle(table.break_caching(control.ref, WRITE_BREAK))
        await _zero(control, offset, min(beyond, control.file.end_of_file()))
    return Output()


async def _zero(control: Control, offset: int, end: int) -> None:
    """Zero the bytes from `offset` up to `end` in steps, so that none takes long."""
    while offset < end:
        beyond = min(offset + _ZEROS, end)
        if beyond - offset < LONG:
            control.file.zero_data(offset, beyond)
        else:
            await offload(control.request, partial(_zero_step, offset, beyond), control.open)
        offset = beyond


def _zero_step(offset: int, beyond: int, file: File) -> None:
    file.zero_data(offset, beyond)


def query_allocated_ranges(control: Control) -> Output:
    """FSCTL_QUERY_ALLOCATED_RANGES (MS-FSCC 2.3.55): the ranges that hold data, as many as fit."""
    offset, length = control.reader(_RANGE.size).unpack(_RANGE)
    if control.file.is_directory or offset < 0 or length < 0 or offset + length > _MAX_SIZE:
        raise NtStatusError(STATUS_INVALID_PARAMETER)
    if not length:
        return Output()
    room = min(control.limit // _RANGE.size, limits.ALLOCATED_RANGES.value)
    ranges = control.file.allocated_ranges(offset, length, room + 1)
    if ranges and not room:
        raise BufferTooSmall(_RANGE.size)
    data = b"".join(_RANGE.pack(start, size) for start, size in ranges[:room])
    return Output(data, STATUS_BUFFER_OVERFLOW) if len(ranges) > room else Output(data)


def query_file_regions(control: Control) -> Output:
    """FSCTL_QUERY_FILE_REGIONS (MS-FSCC 2.3.57): one region, since on Linux all data up to the end of the file is
    valid."""
    control.need(_REGION_OUTPUT.size)
    offset, length, usage = 0, _MAX_SIZE, FILE_REGION_USAGE_VALID_CACHED_DATA
    if control.input:
        offset, length, usage, _ = control.reader(_REGION_INPUT.size).unpack(_REGION_INPUT)
    unknown = usage != FILE_REGION_USAGE_VALID_CACHED_DATA
    if control.file.is_directory or unknown or offset < 0 or length < 0 or offset + length > _MAX_SIZE:
        raise NtStatusError(STATUS_INVALID_PARAMETER)
    end = min(offset + length, control.file.info().end_of_file)
    if offset >= end:
        return Output(_REGION_OUTPUT.pack(0, 0, 0, 0))
    if control.limit < _REGION_OUTPUT.size + _REGION.size:
        return Output(_REGION_OUTPUT.pack(0, 1, 0, 0), STATUS_BUFFER_OVERFLOW)
    return Output(_REGION_OUTPUT.pack(0, 1, 1, 0) + _REGION.pack(offset, end - offset, usage, 0))


async def file_level_trim(control: Control) -> Output:
    """FSCTL_FILE_LEVEL_TRIM (MS-FSCC 2.3.13): the client needs the data of these ranges no longer; they are zeroed."""
    reader = control.reader(_TRIM.size)
    key, count = reader.unpack(_TRIM)
    if control.file.is_directory or key or not count:
        raise NtStatusError(STATUS_INVALID_PARAMETER)
    if count > limits.TRIM_RANGES.value:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"{count} ranges")
    if reader.remaining < count * _TRIM_RANGE.size:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "fewer ranges than announced")
    ranges = [reader.unpack(_TRIM_RANGE) for _ in range(count)]
    if any(offset + length > _MAX_SIZE for offset, length in ranges):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "beyond the largest file")
    table = control.request.server.table
    for offset, length in ranges:
        if length:
            table.check_io(control.ref, offset, length, True)
    await control.settle(table.break_caching(control.ref, WRITE_BREAK))
    end = control.file.info().end_of_file
    time_slice = control.request.time_slice()
    for offset, length in ranges:
        if time_slice.is_over():
            await time_slice.renew()
            if control.open.closed:
                raise NtStatusError(STATUS_FILE_CLOSED)
        await _zero(control, offset, min(offset + length, end))
    return Output(count.to_bytes(4, "little") if control.limit >= 4 else b"")
