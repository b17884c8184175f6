# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on ranges of regular files: allocate, truncate, zero, copy, clone, compress (MS-FSCC 2.3, MS-FSA
2.1.5.10)."""
from __future__ import annotations

import errno
import os
from typing import Final

from ksmbd.kernel import files as kernel
from ksmbd.smb.status import (
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_SUPPORTED,
    NtStatusError,
)

COMPRESSION_FORMAT_NONE: Final = 0
COMPRESSION_FORMAT_DEFAULT: Final = 1
COMPRESSION_FORMAT_LZNT1: Final = 2
STEP: Final = 32 << 20
"""Bytes that are allocated or freed by one system call: tmpfs needs some 10 ms for them."""
_STEPS: Final = 4096
_CHUNK: Final = 1 << 20
_LARGEST: Final = (1 << 63) - 1


def check_span(offset: int, length: int) -> None:
    """Raise STATUS_INVALID_PARAMETER for a range of bytes that is negative or ends beyond 2^63 - 1."""
    if offset < 0 or length < 0 or offset + length > _LARGEST:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"{length} bytes at {offset}")


def truncate(fd: int, size: int) -> None:
    """Truncate or extend a file to `size` bytes, as ftruncate(2). A large truncation is done in steps, because each
    step holds the inode's lock, for which writers wait. Blocks beyond the end are freed, too, unless the file becomes
    longer. Raises OSError."""
    stat = os.fstat(fd)
    more = stat.st_size - size
    blocks = stat.st_blocks << 9
    if more >= 0 and blocks > stat.st_size + STEP:
        _free_beyond(fd, stat.st_size, blocks)  # what is written there meanwhile is truncated below
    if blocks > STEP and more > STEP:
        step = max(STEP, more // _STEPS)  # a file of exabytes has holes
        for reached in range(stat.st_size - step, size, -step):
            os.ftruncate(fd, reached)
    os.ftruncate(fd, size)


def _free_beyond(fd: int, end: int, blocks: int) -> None:
    """Free the blocks beyond the end of a file in steps, where the file system can punch holes there."""
    mode = kernel.FALLOC_FL_PUNCH_HOLE | kernel.FALLOC_FL_KEEP_SIZE
    try:
        for offset in range(-(-end // STEP) * STEP, end + blocks, STEP):
            kernel.fallocate(fd, mode, offset, STEP)
    except OSError:
        pass  # the truncation frees them at once


def allocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) in steps, as `truncate`. After an error the steps before it stay done. Raises OSError."""
    end = offset + length
    while offset < end:
        count = min(STEP, end - offset)
        kernel.fallocate(fd, mode, offset, count)
        offset += count


def zero(fd: int, offset: int, beyond: int, sparse: bool) -> None:
    """Make the bytes from `offset` up to `beyond`, exclusive, read as zeros: as a hole in a sparse file, else
    allocated. The file does not grow. Raises OSError."""
    size = os.fstat(fd).st_size
    end = min(beyond, size)
    if end <= offset:
        return
    modes = (
        (kernel.FALLOC_FL_PUNCH_HOLE | kernel.FALLOC_FL_KEEP_SIZE,)
        if sparse
        else (kernel.FALLOC_FL_ZERO_RANGE | kernel.FALLOC_FL_KEEP_SIZE,)
    )
    for mode in modes:
        try:
            if sparse:
                kernel.fallocate(fd, mode, offset, end - offset)
            else:
                allocate(fd, mode, offset, end - offset)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
    zeros = bytes(_CHUNK)
    while offset < end:
        offset += os.pwrite(fd, memoryview(zeros)[: min(_CHUNK, end - offset)], offset)


def allocated(fd: int, offset: int, length: int, most: int) -> list[tuple[int, int]]:
    """(offset, length) of the first `most` allocated ranges within a range of bytes (FSCTL_QUERY_ALLOCATED_RANGES,
    MS-FSCC 2.3.48). Raises OSError."""
    size = os.fstat(fd).st_size
    end = min(offset + length, size)
    ranges: list[tuple[int, int]] = []
    position = offset
    while position < end and len(ranges) < most:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # no SEEK_DATA here: all of it counts as data
                return [(offset, end - offset)]
            raise
        if start >= end:
            break
        stop = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        ranges.append((start, stop - start))
        position = stop
    return ranges


def copy(target: int, source: int, source_offset: int, target_offset: int, length: int) -> int:
    """Copy with copy_file_range(2), or by reads and writes where the kernel refuses that. Returns the bytes copied,
    fewer than `length` where the source ends. Raises OSError."""
    done = 0
    by_hand = False
    while done < length:
        try:
            if by_hand:
                data = os.pread(source, min(_CHUNK, length - done), source_offset + done)
                count = os.pwrite(target, data, target_offset + done) if data else 0
            else:
                count = os.copy_file_range(
                    source, target, min(length - done, 1 << 30), source_offset + done, target_offset + done
                )
        except OSError as error:
            known = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF)
            if by_hand or error.errno not in known:
                raise
            by_hand = True  # another file system, overlapping ranges of one file
            continue
        if count == 0:
            break
        done += count
    return done


def clone(target: int, source: int, source_offset: int, target_offset: int, length: int) -> None:
    """Share extents with another file (FSCTL_DUPLICATE_EXTENTS_TO_FILE, MS-FSCC 2.3.7). Raises OSError;
    STATUS_INVALID_DEVICE_REQUEST where the file system has no reflinks."""
    if length == 0:
        return
    try:
        kernel.clone_range(target, source, source_offset, length, target_offset)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV):
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "no reflinks on this file system") from error
        raise


def compression(fd: int) -> int:
    """The compression state for FSCTL_GET_COMPRESSION, one of COMPRESSION_FORMAT_*. Never raises OSError."""
    try:
        flags = kernel.inode_flags(fd)
    except OSError:
        return COMPRESSION_FORMAT_NONE
    return COMPRESSION_FORMAT_LZNT1 if flags & kernel.FS_COMPR_FL else COMPRESSION_FORMAT_NONE


def set_compression(fd: int, state: int) -> None:
    """Set the compression flag of the inode (FSCTL_SET_COMPRESSION), which btrfs has. `state` is one of
    COMPRESSION_FORMAT_*. Raises STATUS_NOT_SUPPORTED on other file systems, STATUS_INVALID_PARAMETER, OSError."""
    if state not in (COMPRESSION_FORMAT_NONE, COMPRESSION_FORMAT_DEFAULT, COMPRESSION_FORMAT_LZNT1):
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"compression format {state}")
    try:
        flags = kernel.inode_flags(fd)
        wanted = flags & ~kernel.FS_COMPR_FL | (kernel.FS_COMPR_FL if state else 0)
        if wanted != flags:
            kernel.set_inode_flags(fd, wanted)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
            if state == COMPRESSION_FORMAT_NONE:
                return
            raise NtStatusError(STATUS_NOT_SUPPORTED, "this file system does not compress") from error
        raise
