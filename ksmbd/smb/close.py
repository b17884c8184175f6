# SPDX-License-Identifier: GPL-2.0-or-later
"""CLOSE (MS-SMB2 2.2.15, 2.2.16, 3.3.5.10)."""
from __future__ import annotations

from collections.abc import Coroutine
from struct import Struct
from typing import Any, Final

from ksmbd.smb.constants import CLOSE_FLAG_POSTQUERY_ATTRIB
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open
from ksmbd.smb.open_life import close_open
from ksmbd.smb.reader import unpack_from
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import STATUS_FILE_CLOSED, NtStatusError
from ksmbd.smb.waiting import end_of

_REQUEST: Final = Struct("<HHIQQ")  # StructureSize, Flags, Reserved, FileId
# StructureSize, Flags, Reserved, four times, AllocationSize, EndofFile, FileAttributes
_RESPONSE: Final = Struct("<HHIQQQQQQI")
_PLAIN: Final = Reply(_RESPONSE.pack(60, 0, 0, 0, 0, 0, 0, 0, 0, 0))


def handle(request: Request) -> Reply | Coroutine[Any, Any, Reply]:
    """Close the open. With POSTQUERY_ATTRIB the reply has the attributes that the file had at that moment."""
    _, flags, _, persistent, volatile = unpack_from(request.message, HEADER_SIZE, _REQUEST)
    open_ = request.find_open(persistent, volatile)
    if open_.listing is not None:
        return _after_listing(request, open_, flags)
    return _close(open_, flags)


async def _after_listing(request: Request, open_: Open, flags: int) -> Reply:
    """Close after a QUERY_DIRECTORY of this open that is still being answered in time slices: the client may send its
    CLOSE without waiting for that reply."""
    while open_.listing is not None:
        await end_of(open_.listing)
        await request.server.scheduler.next_turn(request.connection)  # so that its reply leaves first
        if open_.closed:
            raise NtStatusError(STATUS_FILE_CLOSED)
    return _close(open_, flags)


def _close(open_: Open, flags: int) -> Reply:
    reply = _PLAIN
    if flags & CLOSE_FLAG_POSTQUERY_ATTRIB and open_.file is not None:
        try:
            if open_.wrote:
                open_.file.finish_writes()
            info = open_.file.info()
        except NtStatusError:
            pass  # the open is closed anyway; the flag stays clear, which tells the client that there are no attributes
        else:
            reply = Reply(
                _RESPONSE.pack(
                    60, CLOSE_FLAG_POSTQUERY_ATTRIB, 0, info.creation_time, info.last_access_time,
                    info.last_write_time, info.change_time, info.allocation_size, info.end_of_file, info.attributes,
                )
            )  # fmt: skip
    if not close_open(open_):
        raise NtStatusError(STATUS_FILE_CLOSED, "another worker has ended it")
    return reply
