# SPDX-License-Identifier: GPL-2.0-or-later
"""SET_INFO (MS-SMB2 2.2.39, 2.2.40, 3.3.5.21): decodes the request and applies the change by InfoType."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.constants import INFO_FILE, INFO_FILESYSTEM, INFO_QUOTA, INFO_SECURITY
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.info_quota import set_quota
from ksmbd.smb.info_security import set_security
from ksmbd.smb.reader import Buffer
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.set_file import set_file
from ksmbd.smb.set_filesystem import set_filesystem
from ksmbd.smb.set_query import Change
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_INVALID_PARAMETER, NtStatusError

_REQUEST: Final = Struct("<HBBIHHIQQ")
"""StructureSize 33, InfoType, FileInfoClass, BufferLength, BufferOffset, Reserved, AdditionalInformation, FileId."""
_RESPONSE: Final = b"\x02\x00"


async def handle(request: Request) -> Reply:
    """Apply one change."""
    reader = request.reader()
    structure, info_type, info_class, length, offset, _, additional, persistent, volatile = reader.unpack(_REQUEST)
    if structure != 33:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "StructureSize")
    open_ = request.find_open(persistent, volatile)
    if length > request.connection.max_transact:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "more than MaxTransactSize")
    data: Buffer = b""
    if length:
        if offset < HEADER_SIZE + _REQUEST.size:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "BufferOffset")
        data = reader.at(offset, length)
    change = Change(request, open_, data)
    if info_type == INFO_FILE:
        await set_file(change, info_class)
    elif info_type == INFO_FILESYSTEM:
        set_filesystem(change, info_class)
    elif info_type == INFO_SECURITY:
        if request.tree.read_only:
            raise NtStatusError(STATUS_ACCESS_DENIED, "a read-only share")
        set_security(open_, additional, data)
    elif info_type == INFO_QUOTA:
        set_quota(change)
    else:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"InfoType {info_type}")
    return Reply(_RESPONSE)
