# SPDX-License-Identifier: GPL-2.0-or-later
"""What the encoders of QUERY_INFO share: the query, the checks of a class, and cutting an answer to the buffer of the
client.

MS-SMB2 3.3.5.20.1: a buffer too small for the fixed part gives STATUS_INFO_LENGTH_MISMATCH. A buffer too small for the
variable part is filled with as much of it as fits, with STATUS_BUFFER_OVERFLOW.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final, NamedTuple

from ksmbd.smb.model import Open, file_of
from ksmbd.smb.ports import File, FileInfo, VolumeInfo
from ksmbd.smb.reader import Buffer
from ksmbd.smb.request import Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BUFFER_OVERFLOW,
    STATUS_INFO_LENGTH_MISMATCH,
    STATUS_SUCCESS,
    NtStatusError,
)


class Query:
    """The fields of one QUERY_INFO request and its open. `info` and `volume` are fetched once, when first needed."""

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
        """The file of the open. Raises STATUS_INVALID_DEVICE_REQUEST for a pipe."""
        return file_of(self.open)

    @property
    def info(self) -> FileInfo:
        """The metadata of the file. Raises what File.info raises."""
        info = self._info
        if info is None:
            info = self._info = self.file.info()
        return info

    @cached_property
    def volume(self) -> VolumeInfo:
        """The information about the file system."""
        return self.file.volume_info()


_new: Final = tuple.__new__
"""Makes an Answer without the call into Python that its class makes of it."""


class Answer(NamedTuple):
    """The output buffer of the response, at most Query.limit bytes, and its status."""

    data: bytes | bytearray
    status: int = STATUS_SUCCESS


class QueryClass(NamedTuple):
    """One information class: the checks before it and its encoder."""

    fixed: int
    """The size in bytes that the output buffer must have at least."""
    access: int
    """The bits that must all be in Open.GrantedAccess; 0: none."""
    encode: Callable[[Query], Answer | bytes]
    """Encodes the structure: bytes, which `answer` cuts, or an Answer that is cut at its own boundaries already."""

    def answer(self, query: Query) -> Answer:
        """Check access and buffer size, encode the structure and cut it. Raises STATUS_ACCESS_DENIED,
        STATUS_INFO_LENGTH_MISMATCH, and what the encoder raises."""
        if self.access & ~query.open.granted_access:
            raise NtStatusError(STATUS_ACCESS_DENIED)
        if query.limit < self.fixed:
            raise NtStatusError(STATUS_INFO_LENGTH_MISMATCH)
        data = self.encode(query)
        if isinstance(data, Answer):
            return data
        if len(data) > query.limit:
            return Answer(data[: query.limit], STATUS_BUFFER_OVERFLOW)
        return _new(Answer, (data, STATUS_SUCCESS))
