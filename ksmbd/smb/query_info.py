# SPDX-License-Identifier: GPL-2.0-or-later
"""QUERY_INFO (MS-SMB2 2.2.37, 2.2.38, 3.3.5.20): decodes the request and calls the encoder by InfoType."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.constants import INFO_FILE, INFO_FILESYSTEM, INFO_QUOTA, INFO_SECURITY
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.info_file import query_file
from ksmbd.smb.info_filesystem import query_filesystem
from ksmbd.smb.info_pipe import query_pipe
from ksmbd.smb.info_query import Query
from ksmbd.smb.info_quota import query_quota
from ksmbd.smb.info_security import query_security
from ksmbd.smb.reader import Buffer
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import STATUS_INVALID_PARAMETER, NtStatusError

_REQUEST: Final = Struct("<HBBIHHIIIQQ")
"""StructureSize 41, InfoType, FileInfoClass, OutputBufferLength, InputBufferOffset, Reserved, InputBufferLength,
AdditionalInformation, Flags, FileId."""
_RESPONSE: Final = Struct("<HHI")
_BUFFER_OFFSET: Final = HEADER_SIZE + _RESPONSE.size


def handle(request: Request) -> Reply:
    """Answer one query."""
    reader = request.reader()
    (
        structure, info_type, info_class, limit, input_offset, _, input_length, additional, flags, persistent, volatile,
    ) = reader.unpack(_REQUEST)  # fmt: skip
    if structure != 41:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "StructureSize")
    open_ = request.find_open(persistent, volatile)
    maximum = request.connection.max_transact
    if limit > maximum or input_length > maximum:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "more than MaxTransactSize")
    input_buffer: Buffer = b""
    if input_length:
        if input_offset < HEADER_SIZE + _REQUEST.size:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "InputBufferOffset")
        input_buffer = reader.at(input_offset, input_length)
    query = Query(request, open_, limit, additional, flags, input_buffer)
    if info_type == INFO_FILE:
        answer = query_pipe(query, info_class) if open_.file is None else query_file(query, info_class)
    elif info_type == INFO_FILESYSTEM:
        answer = query_filesystem(query, info_class)
    elif info_type == INFO_SECURITY:
        answer = query_security(query)
    elif info_type == INFO_QUOTA:
        answer = query_quota(query)
    else:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"InfoType {info_type}")
    # StructureSize 9 counts one byte of the buffer, which is there even when it is empty.
    body = _RESPONSE.pack(9, _BUFFER_OFFSET, len(answer.data)) + (answer.data or b"\0")
    return Reply(body, answer.status)
