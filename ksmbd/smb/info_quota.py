# SPDX-License-Identifier: GPL-2.0-or-later
"""QUERY_INFO and SET_INFO of quotas (MS-SMB2 3.3.5.20.4 and 3.3.5.21.4). This server has no quotas: the requests are
checked as specified and then refused with STATUS_NOT_SUPPORTED."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.info_query import Answer, Query
from ksmbd.smb.model import Open
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.status import STATUS_INVALID_PARAMETER, STATUS_NOT_SUPPORTED, NtStatusError

_QUERY_QUOTA_INFO: Final = Struct("<BBHIII")
"""ReturnSingle, RestartScan, Reserved, SidListLength, StartSidLength, StartSidOffset (MS-SMB2 2.2.37.1)."""


def query_quota(query: Query) -> Answer:
    """Always raises: STATUS_INVALID_PARAMETER for a malformed SMB2_QUERY_QUOTA_INFO, else STATUS_NOT_SUPPORTED."""
    reader = Reader(query.input)
    _, _, _, list_length, start_length, start_offset = reader.unpack(_QUERY_QUOTA_INFO)
    if list_length:
        reader.view(list_length)
    elif start_length and start_offset + start_length > reader.remaining:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "StartSid outside")
    raise NtStatusError(STATUS_NOT_SUPPORTED, "quotas")


def set_quota(open_: Open, data: Buffer) -> None:
    """Always raises STATUS_NOT_SUPPORTED."""
    raise NtStatusError(STATUS_NOT_SUPPORTED, "quotas")
