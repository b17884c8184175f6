# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs file operations that may take long (a large copy, a flush, the allocation of gigabytes) in helper threads.

The thread works on a duplicate of the file: the same open with a descriptor of its own and the rights of the same user.
So a CLOSE does not take the descriptor away while the operation runs.
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
"""Size in bytes from which a copy is offloaded. Handing it to a thread and back takes some 50 us."""
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
    """Whether an operation on `size` bytes of `file` may take long, because `size` or the file is large."""
    if size >= LARGE:
        return True
    info = file.info()
    return max(info.end_of_file, info.allocation_size) >= LARGE
