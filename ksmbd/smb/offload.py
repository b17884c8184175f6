# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on files that may take long (a large copy, a flush, the allocation of gigabytes) in helper threads.

The thread works on a duplicate of the open: it has a descriptor of its own, so that a CLOSE meanwhile does not
take it away, and acts with the rights of the same user.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from ksmbd.smb.model import Open
from ksmbd.smb.ports import File
from ksmbd.smb.request import Request
from ksmbd.smb.status import STATUS_FILE_CLOSED, NtStatusError

T = TypeVar("T")

LONG: Final = 256 << 10
"""Bytes of a copy from which on it is another thread's work: handing it over and back takes some 50 us."""
LARGE: Final = 16 << 20
"""Bytes from which on an allocation, a truncation or zeroing goes to a helper thread: the file system does less in a
millisecond or two."""


async def offload(request: Request, call: Callable[..., T], *opens: Open) -> T:
    """Run `call(file, ...)` with the files of these opens, in a helper thread where there is one and each file can be
    duplicated. Raises what `call` raises; STATUS_FILE_CLOSED if one of the opens was closed meanwhile."""
    files = [file for open_ in opens if (file := open_.file) is not None]
    if len(files) < len(opens):
        raise NtStatusError(STATUS_FILE_CLOSED)
    calls = request.server.long_calls
    if calls.offload is None:
        return call(*files)
    duplicates: list[File] = []
    for file in files:
        duplicate = file.duplicate()
        if duplicate is None:
            break
        duplicates.append(duplicate)

    def ended() -> None:
        for file, duplicate in zip(files, duplicates, strict=False):
            file.rejoin(duplicate)

    if len(duplicates) < len(files):
        ended()
        return call(*files)
    result = await calls.run(request.connection, partial(call, *duplicates), ended)
    if any(open_.closed for open_ in opens):
        raise NtStatusError(STATUS_FILE_CLOSED)
    return result


def is_large(file: File, size: int) -> bool:
    """Whether an operation is about so many bytes, or on a file that has so many, that it may take long."""
    if size >= LARGE:
        return True
    info = file.info()
    return max(info.end_of_file, info.allocation_size) >= LARGE
