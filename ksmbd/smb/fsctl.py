# SPDX-License-Identifier: GPL-2.0-or-later
"""What the handlers of FSCTLs share: the fields of the request, the output, and the checks of one code (MS-SMB2
3.3.5.15)."""
from __future__ import annotations

from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol, TypeVar

from ksmbd.smb.model import Open, file_of, ref_of
from ksmbd.smb.ports import File, OpenRef
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.request import Request
from ksmbd.smb.status import (
    STATUS_BUFFER_TOO_SMALL,
    STATUS_FILE_CLOSED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_SUCCESS,
    BufferTooSmall,
    NtStatusError,
)
from ksmbd.smb.waiting import Future

T = TypeVar("T")


class Output(NamedTuple):
    """The output buffer of the response. An error status with data is sent as an IOCTL Response, not as an ERROR
    Response."""

    data: bytes | bytearray = b""
    status: int = STATUS_SUCCESS


class Control:
    """One FSCTL request on its way through a handler."""

    __slots__ = ("code", "input", "limit", "open_", "request")

    def __init__(self, request: Request, code: int, open_: Open | None, data: Buffer, limit: int) -> None:
        self.request = request
        self.code = code
        self.open_ = open_
        self.input = data
        self.limit = limit
        """MaxOutputResponse."""

    @property
    def open(self) -> Open:
        """The Open that the FileId names. Raises STATUS_FILE_CLOSED for a code that works on no open."""
        if self.open_ is None:
            raise NtStatusError(STATUS_FILE_CLOSED)
        return self.open_

    @property
    def file(self) -> File:
        """The file of the open. Raises STATUS_INVALID_DEVICE_REQUEST for a pipe."""
        return file_of(self.open)

    @property
    def ref(self) -> OpenRef:
        """The key of the open in the open table."""
        return ref_of(self.open)

    def reader(self, size: int) -> Reader:
        """A Reader over the input. Raises STATUS_INVALID_PARAMETER where it is shorter than `size` bytes."""
        if len(self.input) < size:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "input too short")
        return Reader(self.input)

    def need(self, size: int, status: int = STATUS_BUFFER_TOO_SMALL) -> None:
        """Raise `status` where MaxOutputResponse is less than `size` bytes; STATUS_BUFFER_TOO_SMALL carries the
        size."""
        if self.limit < size:
            if status == STATUS_BUFFER_TOO_SMALL:
                raise BufferTooSmall(size)
            raise NtStatusError(status, "output too small")

    async def settle(self, future: Future[T]) -> T:
        """Await a Future and return its result. Raises STATUS_FILE_CLOSED if the open was closed meanwhile."""
        if future.done:
            return future.result()
        self.request.go_async()
        result = await future
        if self.open_ is not None and self.open_.closed:
            raise NtStatusError(STATUS_FILE_CLOSED)
        return result


class Target(Enum):
    """What the FileId of a code must name."""

    FILE = auto()
    PIPE = auto()
    CONNECTION = auto()
    """The FileId must be all ones (MS-SMB2 3.3.5.15)."""


class Handler(Protocol):
    """The function that carries out one FSCTL."""

    def __call__(self, control: Control, /) -> Output | Coroutine[Any, Any, Output]: ...


class Rule(NamedTuple):
    """The checks of one FSCTL, a line of the table in ioctl.py."""

    handler: Handler
    access: int = 0
    """One bit of these must be in Open.GrantedAccess; 0: none is needed."""
    writes: bool = False
    """The FSCTL changes the file, so a read-only share refuses it."""
    target: Target = Target.FILE
    misplaced: int = STATUS_INVALID_DEVICE_REQUEST
    """The status for an open that is not a `target`."""
