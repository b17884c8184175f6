# SPDX-License-Identifier: GPL-2.0-or-later
"""CHANGE_NOTIFY (MS-SMB2 2.2.35, 2.2.36, 3.3.5.19) and FILE_NOTIFY_INFORMATION (MS-FSCC 2.7.1)."""
from __future__ import annotations

from collections.abc import Coroutine, Sequence
from struct import Struct
from typing import Any, Final

from ksmbd.smb.character_map import map_of
from ksmbd.smb.constants import FILE_LIST_DIRECTORY, WATCH_TREE
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open
from ksmbd.smb.open_life import wait_on_open
from ksmbd.smb.ports import Watch
from ksmbd.smb.reader import encode_utf16
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_DELETE_PENDING,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_IMPLEMENTED,
    STATUS_NOTIFY_CLEANUP,
    STATUS_NOTIFY_ENUM_DIR,
    NtStatusError,
)
from ksmbd.smb.waiting import Future

_REQUEST: Final = Struct("<HHIQQII")  # StructureSize, Flags, OutputBufferLength, FileId, CompletionFilter, Reserved
_RESPONSE: Final = Struct("<HHI")  # StructureSize, OutputBufferOffset, OutputBufferLength
_ENTRY: Final = Struct("<III")  # NextEntryOffset, Action, FileNameLength
FILTER_MASK: Final = 0x00000FFF
"""Every CompletionFilter (MS-SMB2 2.2.35): names, directory names, attributes, size, times, EA, security, streams.
Other bits are let through and never match, as on Windows."""


def handle(request: Request) -> Coroutine[Any, Any, Reply]:
    """Wait for changes of a directory. The first request of an open fixes what is watched (MS-FSA 2.1.5.11)."""
    _, flags, length, persistent, volatile, completion_filter, _ = request.reader().unpack(_REQUEST)
    if length > request.connection.max_transact:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "OutputBufferLength")
    open_ = request.find_open(persistent, volatile)
    file = open_.file
    if file is None or not file.is_directory:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no directory")
    if not open_.granted_access & FILE_LIST_DIRECTORY:
        raise NtStatusError(STATUS_ACCESS_DENIED)
    if not request.tree.share.change_notify:
        raise NtStatusError(STATUS_NOT_IMPLEMENTED, "change notify = no")
    if request.server.table.delete_pending(file.key):
        raise NtStatusError(STATUS_DELETE_PENDING)
    if open_.watch is None:
        open_.watch = file.watch(completion_filter & FILTER_MASK, bool(flags & WATCH_TREE), later=True)
    return _wait(request, open_, open_.watch, length)


async def _wait(request: Request, open_: Open, watch: Watch, length: int) -> Reply:
    future = watch.next(length)
    if watch.go_on():
        await _watch_all(request, open_, watch, future)
    if not future.done:
        request.go_async()
    changes = await wait_on_open(open_, future, STATUS_NOTIFY_CLEANUP)
    data = encode_changes(_shown(open_, changes)) if changes is not None else b""
    if not data or len(data) > length:
        # 3.3.4.4: the client shall list the directory itself.
        return Reply(_RESPONSE.pack(9, 0, 0), STATUS_NOTIFY_ENUM_DIR)
    return Reply(_RESPONSE.pack(9, HEADER_SIZE + _RESPONSE.size, len(data)) + data)


async def _watch_all(request: Request, open_: Open, watch: Watch, future: Future[Any]) -> None:
    """Set up the watches of a large directory tree in time slices."""
    time_slice = request.time_slice()
    try:
        while not open_.closed and watch.go_on():
            if time_slice.is_over():
                await time_slice.renew()
    except BaseException:
        future.cancel()
        raise


def _shown(open_: Open, changes: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
    characters = map_of(open_)
    if characters is None:
        return changes
    return [(action, characters.to_client(name)) for action, name in changes]


def encode_changes(changes: Sequence[tuple[int, str]]) -> bytes:
    """Encode (action, name below the directory) pairs as a chain of FILE_NOTIFY_INFORMATION, each aligned to 4
    bytes."""
    chain = bytearray()
    last = len(changes) - 1
    for index, (action, name) in enumerate(changes):
        raw = encode_utf16(name)
        size = _ENTRY.size + len(raw)
        padding = 0 if index == last else -size % 4
        chain += _ENTRY.pack(0 if index == last else size + padding, action, len(raw))
        chain += raw
        chain += bytes(padding)
    return bytes(chain)
