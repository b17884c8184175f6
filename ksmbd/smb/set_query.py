# SPDX-License-Identifier: GPL-2.0-or-later
"""What the classes of SET_INFO share: the change that is asked for, and one class's rules (MS-SMB2 3.3.5.21.1)."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from ksmbd.smb.model import Open
from ksmbd.smb.ports import File, FileKey, OpenRef, OpenTable
from ksmbd.smb.reader import Buffer
from ksmbd.smb.request import Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_FILE_CLOSED,
    STATUS_INFO_LENGTH_MISMATCH,
    STATUS_INVALID_DEVICE_REQUEST,
    NtStatusError,
)
from ksmbd.smb.waiting import Future

T = TypeVar("T")


class Change:
    """One SET_INFO request: the open, the buffer, and the open table around it."""

    __slots__ = ("data", "open", "request", "table")

    def __init__(self, request: Request, open_: Open, data: Buffer) -> None:
        self.request = request
        self.open = open_
        self.data = data
        self.table: OpenTable = request.server.table

    @property
    def file(self) -> File:
        """The open's file; a pipe has none (STATUS_INVALID_DEVICE_REQUEST)."""
        file = self.open.file
        if file is None:
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a pipe")
        return file

    @property
    def ref(self) -> OpenRef:
        """The open's name in the table; every open of a file has one."""
        assert self.open.ref is not None
        return self.open.ref

    async def settle(self, future: Future[T]) -> T:
        """The table's answer, waiting for breaks; STATUS_FILE_CLOSED if the open was closed meanwhile."""
        if future.done:
            return future.result()
        self.request.go_async()
        result = await future
        if self.open.closed:
            raise NtStatusError(STATUS_FILE_CLOSED)
        return result

    def directory_changed(self, directory: FileKey | None) -> None:
        """An entry of `directory` is not what others may have cached; the holder of this open's ParentLeaseKey
        knows."""
        if directory is not None:
            lease = self.open.lease
            parent_key = lease.parent_key if lease is not None else b""
            self.table.directory_changed(directory, parent_key, self.request.session.client_guid)


class SetClass(NamedTuple):
    """The rules of one class."""

    size: int
    """Bytes of the fixed part."""
    access: int
    """Needed in Open.GrantedAccess, any bit of it; 0 = nothing."""
    writes: bool
    """It changes what is stored, so a read-only share refuses it."""
    apply: Callable[[Change], Awaitable[None] | None]

    def check(self, change: Change) -> None:
        """STATUS_INFO_LENGTH_MISMATCH, STATUS_ACCESS_DENIED."""
        if len(change.data) < self.size:
            raise NtStatusError(STATUS_INFO_LENGTH_MISMATCH)
        if self.access and not change.open.granted_access & self.access:
            raise NtStatusError(STATUS_ACCESS_DENIED)
        if self.writes and change.request.tree.read_only:
            raise NtStatusError(STATUS_ACCESS_DENIED, "a read-only share")
