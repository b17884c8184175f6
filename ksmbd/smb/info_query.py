# SPDX-License-Identifier: GPL-2.0-or-later
"""What the encoders of QUERY_INFO share: the query, a class's rules, and how an answer is cut to the client's buffer.

MS-SMB2 3.3.5.20.1: a buffer that cannot hold the fixed part is STATUS_INFO_LENGTH_MISMATCH, one that cannot hold the
variable part gets as much of it as fits with STATUS_BUFFER_OVERFLOW.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from ksmbd.smb.model import Open
from ksmbd.smb.ports import File, FileInfo, VolumeInfo
from ksmbd.smb.reader import Buffer
from ksmbd.smb.request import Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BUFFER_OVERFLOW,
    STATUS_INFO_LENGTH_MISMATCH,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_SUCCESS,
    NtStatusError,
)


class Query:
    """One QUERY_INFO request's fields and the open it asks about; `info` and `volume` are fetched once, when needed."""

    def __init__(
        self, request: Request, open_: Open, limit: int, additional: int, flags: int, input_buffer: Buffer
    ) -> None:
        self.request = request
        self.open = open_
        self.limit = limit
        """OutputBufferLength."""
        self.additional = additional
        """AdditionalInformation."""
        self.flags = flags
        self._info: FileInfo | None = None
        self.input = input_buffer

    @property
    def file(self) -> File:
        """The open's file; a pipe has none (STATUS_INVALID_DEVICE_REQUEST)."""
        file = self.open.file
        if file is None:
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "a pipe")
        return file

    @property
    def info(self) -> FileInfo:
        """The file's metadata."""
        info = self._info
        if info is None:
            info = self._info = self.file.info()
        return info

    @cached_property
    def volume(self) -> VolumeInfo:
        """The file system's."""
        return self.file.volume().volume_info()


class Answer(NamedTuple):
    """What is sent: at most `limit` bytes."""

    data: bytes | bytearray
    status: int = STATUS_SUCCESS


class QueryClass(NamedTuple):
    """The rules of one class."""

    fixed: int
    """Bytes that the buffer must hold at least."""
    access: int
    """Needed in Open.GrantedAccess; 0 = nothing."""
    encode: Callable[[Query], Answer | bytes]
    """The whole structure, to be cut here; an Answer where the encoder cuts at its own boundaries."""

    def answer(self, query: Query) -> Answer:
        """Check access and length, encode, cut."""
        if self.access & ~query.open.granted_access:
            raise NtStatusError(STATUS_ACCESS_DENIED)
        if query.limit < self.fixed:
            raise NtStatusError(STATUS_INFO_LENGTH_MISMATCH)
        data = self.encode(query)
        if isinstance(data, Answer):
            return data
        if len(data) > query.limit:
            return Answer(data[: query.limit], STATUS_BUFFER_OVERFLOW)
        return Answer(data)
