# SPDX-License-Identifier: GPL-2.0-or-later
"""IOCTL (MS-SMB2 2.2.31, 2.2.32, 3.3.5.15): decodes the request and calls the handler of its FSCTL, by one table."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb import constants as c
from ksmbd.smb import fsctl_connection, fsctl_copy, fsctl_dfs, fsctl_file, fsctl_pipe, fsctl_ranges
from ksmbd.smb.fsctl import Control, Output, Rule, Target
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_FILE_CLOSED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_SUPPORTED,
    NtStatusError,
)

_REQUEST: Final = Struct("<HHIQQIIIIIIII")
"""StructureSize 57, Reserved, CtlCode, FileId, InputOffset, InputCount, MaxInputResponse, OutputOffset, OutputCount,
MaxOutputResponse, Flags, Reserved2."""
_RESPONSE: Final = Struct("<HHIQQIIIIII")
"""StructureSize 49, Reserved, CtlCode, FileId, InputOffset, InputCount, OutputOffset, OutputCount, Flags, Reserved2."""
_BUFFER_OFFSET: Final = HEADER_SIZE + _RESPONSE.size
SMB2_0_IOCTL_IS_FSCTL: Final = 0x00000001

_WRITE = c.FILE_WRITE_DATA
_SPARSE = c.FILE_WRITE_DATA | c.FILE_WRITE_ATTRIBUTES | c.FILE_APPEND_DATA
_ATTRIBUTES = c.FILE_WRITE_DATA | c.FILE_WRITE_ATTRIBUTES

RULES: Final[dict[int, Rule]] = {
    c.FSCTL_VALIDATE_NEGOTIATE_INFO: Rule(fsctl_connection.validate_negotiate_info, target=Target.CONNECTION),
    c.FSCTL_QUERY_NETWORK_INTERFACE_INFO: Rule(
        fsctl_connection.query_network_interface_info, target=Target.CONNECTION
    ),
    c.FSCTL_DFS_GET_REFERRALS: Rule(fsctl_dfs.dfs_get_referrals, target=Target.CONNECTION),
    c.FSCTL_DFS_GET_REFERRALS_EX: Rule(fsctl_dfs.dfs_get_referrals, target=Target.CONNECTION),
    c.FSCTL_PIPE_WAIT: Rule(fsctl_pipe.pipe_wait, target=Target.CONNECTION),
    c.FSCTL_PIPE_TRANSCEIVE: Rule(fsctl_pipe.pipe_transceive, c.FILE_READ_DATA, target=Target.PIPE),
    c.FSCTL_PIPE_PEEK: Rule(
        fsctl_pipe.pipe_peek, c.FILE_READ_DATA, target=Target.PIPE, misplaced=STATUS_NOT_SUPPORTED
    ),
    c.FSCTL_SRV_REQUEST_RESUME_KEY: Rule(fsctl_copy.request_resume_key),
    c.FSCTL_SRV_COPYCHUNK: Rule(fsctl_copy.copy_chunk, writes=True),
    c.FSCTL_SRV_COPYCHUNK_WRITE: Rule(fsctl_copy.copy_chunk, writes=True),
    c.FSCTL_DUPLICATE_EXTENTS_TO_FILE: Rule(fsctl_copy.duplicate_extents, _WRITE, writes=True),
    c.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX: Rule(fsctl_copy.duplicate_extents_ex, _WRITE, writes=True),
    c.FSCTL_SET_SPARSE: Rule(fsctl_ranges.set_sparse, _SPARSE, writes=True),
    c.FSCTL_SET_ZERO_DATA: Rule(fsctl_ranges.set_zero_data, _WRITE, writes=True),
    c.FSCTL_QUERY_ALLOCATED_RANGES: Rule(fsctl_ranges.query_allocated_ranges, c.FILE_READ_DATA),
    c.FSCTL_QUERY_FILE_REGIONS: Rule(fsctl_ranges.query_file_regions, c.FILE_READ_DATA),
    c.FSCTL_FILE_LEVEL_TRIM: Rule(fsctl_ranges.file_level_trim, _WRITE, writes=True),
    c.FSCTL_GET_COMPRESSION: Rule(fsctl_file.get_compression),
    c.FSCTL_SET_COMPRESSION: Rule(fsctl_file.set_compression, _WRITE, writes=True),
    c.FSCTL_GET_REPARSE_POINT: Rule(fsctl_file.get_reparse_point),
    c.FSCTL_SET_REPARSE_POINT: Rule(fsctl_file.set_reparse_point, _ATTRIBUTES, writes=True),
    c.FSCTL_DELETE_REPARSE_POINT: Rule(fsctl_file.delete_reparse_point, _ATTRIBUTES, writes=True),
    c.FSCTL_GET_OBJECT_ID: Rule(fsctl_file.get_object_id),
    c.FSCTL_CREATE_OR_GET_OBJECT_ID: Rule(fsctl_file.get_object_id),
    c.FSCTL_SET_OBJECT_ID: Rule(fsctl_file.set_object_id, writes=True),
    c.FSCTL_DELETE_OBJECT_ID: Rule(fsctl_file.invalid_device_request, _ATTRIBUTES, writes=True),
    c.FSCTL_SRV_ENUMERATE_SNAPSHOTS: Rule(fsctl_file.enumerate_snapshots),
    c.FSCTL_GET_NTFS_VOLUME_DATA: Rule(fsctl_file.get_ntfs_volume_data),
    c.FSCTL_LMR_REQUEST_RESILIENCY: Rule(fsctl_file.request_resiliency),
    # Integrity streams, ODX and BranchCache hashes: answered as a file system answers that has none of them
    c.FSCTL_GET_INTEGRITY_INFORMATION: Rule(fsctl_file.invalid_device_request),
    c.FSCTL_SET_INTEGRITY_INFORMATION: Rule(fsctl_file.invalid_device_request, _WRITE, writes=True),
    c.FSCTL_SET_INTEGRITY_INFORMATION_EX: Rule(fsctl_file.invalid_device_request, _WRITE, writes=True),
    c.FSCTL_OFFLOAD_READ: Rule(fsctl_file.not_supported, c.FILE_READ_DATA),
    c.FSCTL_OFFLOAD_WRITE: Rule(fsctl_file.not_supported, _WRITE, writes=True),
    c.FSCTL_SRV_READ_HASH: Rule(fsctl_file.not_supported),
}
"""For each FSCTL the handler, the access it needs (any bit), whether a read-only share refuses it, what the FileId
names."""


def _buffer(reader: Reader, offset: int, count: int) -> Buffer:
    """One of the two buffers of the request, which must lie behind its fixed part. Raises STATUS_INVALID_PARAMETER."""
    if not count:
        return b""
    if offset < HEADER_SIZE + _REQUEST.size:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "buffer offset")
    return reader.at(offset, count)


def _check(request: Request, rule: Rule, open_: Open | None) -> None:
    if rule.target is Target.FILE and (open_ is None or open_.file is None):
        raise NtStatusError(rule.misplaced, "no file")
    if rule.target is Target.PIPE and (open_ is None or open_.file is not None):
        raise NtStatusError(rule.misplaced, "no pipe")
    if rule.access and (open_ is None or not open_.granted_access & rule.access):
        raise NtStatusError(STATUS_ACCESS_DENIED)
    if rule.writes and request.tree.read_only:
        raise NtStatusError(STATUS_ACCESS_DENIED, "a read-only share")


async def handle(request: Request) -> Reply:
    """Run one FSCTL. Raises STATUS_INVALID_DEVICE_REQUEST for an unknown code, and what the handler raises."""
    reader = request.reader()
    (
        structure, _, code, persistent, volatile, input_offset, input_count, max_input, output_offset, output_count,
        max_output, flags, _,
    ) = reader.unpack(_REQUEST)  # fmt: skip
    if structure != 57:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "StructureSize")
    if flags != SMB2_0_IOCTL_IS_FSCTL:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "no FSCTL")
    if max(input_count, max_input, max_output) > request.connection.max_transact:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "more than MaxTransactSize")
    data = _buffer(reader, input_offset, input_count)
    _buffer(reader, output_offset, output_count)
    rule = RULES.get(code)
    open_: Open | None = None
    if rule is None or rule.target is not Target.CONNECTION:
        open_ = request.find_open(persistent, volatile)
        persistent, volatile = open_.persistent_id, open_.volatile_id
    elif persistent != c.NO_FILE_ID or volatile != c.NO_FILE_ID:
        raise NtStatusError(STATUS_INVALID_PARAMETER if code != c.FSCTL_PIPE_WAIT else STATUS_FILE_CLOSED, "FileId")
    if rule is None:
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, f"FSCTL 0x{code:08X}")
    _check(request, rule, open_)
    result = rule.handler(Control(request, code, open_, data, max_output))
    output = result if isinstance(result, Output) else await result
    head = _RESPONSE.pack(
        49, 0, code, persistent, volatile, _BUFFER_OFFSET, 0, _BUFFER_OFFSET, len(output.data), 0, 0
    )
    return Reply(head + (output.data or b"\0"), output.status)
