# SPDX-License-Identifier: GPL-2.0-or-later
"""FLUSH (MS-SMB2 2.2.17, 2.2.18, 3.3.5.11)."""
from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Final

from ksmbd.smb.constants import FILE_APPEND_DATA, FILE_WRITE_DATA
from ksmbd.smb.offload import offload
from ksmbd.smb.ports import File
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import STATUS_ACCESS_DENIED, NtStatusError

_REQUEST: Final = Struct("<HHIQQ")  # StructureSize, Reserved1, Reserved2, FileId
_FULL_SYNC: Final = 0xFFFF
"""Value of Reserved1 from Apple's clients that also want the drive's cache written (F_FULLFSYNC)."""
_RESPONSE: Final = Reply(b"\x04\0\0\0")
IN_MEMORY: Final = frozenset(("tmpfs", "ramfs"))
"""File systems without a disk, where a flush returns at once."""


def _flush(file: File, full: bool) -> None:
    file.flush(full)


async def handle(request: Request) -> Reply:
    """Flush the file to disk. Raises STATUS_ACCESS_DENIED without the right to write; on a directory the same bits mean
    FILE_ADD_FILE and FILE_ADD_SUBDIRECTORY."""
    _, reserved, _, persistent, volatile = request.reader().unpack(_REQUEST)
    open_ = request.find_open(persistent, volatile)
    if open_.file is not None:
        # What was written before the share became read-only may still be flushed.
        if not (open_.granted_access | open_.withdrawn_access) & (FILE_WRITE_DATA | FILE_APPEND_DATA):
            raise NtStatusError(STATUS_ACCESS_DENIED)
        if open_.file.file_system in IN_MEMORY:
            open_.file.flush(reserved == _FULL_SYNC)
        else:
            await offload(request, partial(_flush, full=reserved == _FULL_SYNC), open_)
    return _RESPONSE
