# SPDX-License-Identifier: GPL-2.0-or-later
"""What the classes of SET_INFO share: the requested change and the checks of a class (MS-SMB2 3.3.5.21.1)."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from ksmbd.smb.model import Open, file_of, ref_of
from ksmbd.smb.ports import File, FileKey, OpenRef, OpenTable
from ksmbd.smb.reader import Buffer
from ksmbd.smb.request import Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_FILE_CLOSED,
    STATUS_INFO_LENGTH_MISMATCH,
    NtStatusError,
)
from ksmbd.smb.waiting import Future

T = TypeVar("T")


class Change:
    """One SET_INFO request: its open, its buffer and the open table."""

    __slots__ = ("data", "open", "request", "table")

    def __init__(self, request: Request, open_: Open, data: Buffer) -> None:
        self.request = request
        self.open = open_
        self.data = data
        self.table: OpenTable = request.server.table

    @property
    def file(self) -> File:
        """The file of the open. Raises STATUS_INVALID_DEVICE_REQUEST for a pipe."""
        return file_of(self.open)

    @property
    def ref(self) -> OpenRef:
        """The key in the open table, which every open of a file has."""
        return ref_of(self.open)

    async def settle(self, future: Future[T]) -> T:
        """Await a Future of the open table, which may wait for breaks. Raises STATUS_FILE_CLOSED if the open was closed
        meanwhile."""
        if future.done:
            return future.result()
        self.request.go_async()
        result = await future
        if self.open.closed:
            raise NtStatusError(STATUS_FILE_CLOSED)
        return result

    def directory_changed(self, directory: FileKey | None) -> None:
        """Break the directory leases of others on `directory`, because an entry changed. The lease with the
        ParentLeaseKey of this open stays."""
        if directory is not None:
            lease = self.open.lease
            parent_key = lease.parent_key if lease is not None else b""
            self.table.directory_changed(directory, parent_key, self.request.session.client_guid)


class SetClass(NamedTuple):
    """One information class: the checks before it and the function that applies it."""

    size: int
    """Size of the fixed part in bytes."""
    access: int
    """One bit of these must be in Open.GrantedAccess; 0: none is needed."""
    writes: bool
    """The class changes the file, so a read-only share refuses it."""
    apply: Callable[[Change], Awaitable[None] | None]

    def check(self, change: Change) -> None:
        """Check size and access. Raises STATUS_INFO_LENGTH_MISMATCH or STATUS_ACCESS_DENIED."""
        if len(change.data) < self.size:
            raise NtStatusError(STATUS_INFO_LENGTH_MISMATCH)
        if self.access and not change.open.granted_access & self.access:
            raise NtStatusError(STATUS_ACCESS_DENIED)
        if self.writes and change.request.tree.read_only:
            raise NtStatusError(STATUS_ACCESS_DENIED, "a read-only share")
