# SPDX-License-Identifier: GPL-2.0-or-later
"""CLOSE (MS-SMB2 2.2.15, 2.2.16, 3.3.5.10)."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.constants import CLOSE_FLAG_POSTQUERY_ATTRIB
from ksmbd.smb.open_life import close_open
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import NtStatusError

_REQUEST: Final = Struct("<HHIQQ")  # StructureSize, Flags, Reserved, FileId
# StructureSize, Flags, Reserved, four times, AllocationSize, EndofFile, FileAttributes
_RESPONSE: Final = Struct("<HHIQQQQQQI")
_PLAIN: Final = Reply(_RESPONSE.pack(60, 0, 0, 0, 0, 0, 0, 0, 0, 0))


def handle(request: Request) -> Reply:
    """End the open; with POSTQUERY_ATTRIB the reply says what the file was like then."""
    _, flags, _, persistent, volatile = request.reader().unpack(_REQUEST)
    open_ = request.find_open(persistent, volatile)
    reply = _PLAIN
    if flags & CLOSE_FLAG_POSTQUERY_ATTRIB and open_.file is not None:
        try:
            if open_.wrote:
                open_.file.finish_writes()
            info = open_.file.info()
        except NtStatusError:
            pass  # the open ends all the same; the flag stays clear, so the client asks again where it cares
        else:
            reply = Reply(
                _RESPONSE.pack(
                    60, CLOSE_FLAG_POSTQUERY_ATTRIB, 0, info.creation_time, info.last_access_time,
                    info.last_write_time, info.change_time, info.allocation_size, info.end_of_file, info.attributes,
                )
            )  # fmt: skip
    close_open(open_)
    return reply
