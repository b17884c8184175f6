# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters that the enumerations of srvsvc share (MS-SRVS 2.2.4.38): level, container, length, resume handle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ksmbd import limits
from ksmbd.smb.status import WireError
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Win32

T = TypeVar("T")


@dataclass(frozen=True)
class EnumRequest:
    """Level, PreferedMaximumLength in bytes and ResumeHandle of an enumeration."""

    level: int
    preferred: int
    resume: int | None


def read_enum(reader: NdrReader) -> EnumRequest:
    """Read the container of a request, which is empty."""
    level, tag = reader.u32(), reader.u32()
    if level != tag:
        raise WireError(f"level {level}, union of {tag}")
    if reader.pointer():
        count = reader.u32()
        if reader.pointer() and (reader.u32() or count):
            raise WireError("entries in an enumeration's request")
    return EnumRequest(level, reader.u32(), reader.unique_u32())


def write_enum(
    writer: NdrWriter,
    request: EnumRequest,
    entries: Sequence[T],
    write_entry: Callable[[NdrWriter, T], None],
) -> None:
    """Write at least one entry and as many as the caller wants; if there are more, MORE_DATA and the ResumeHandle."""
    start = min(request.resume or 0, len(entries))
    count = fitting(entries[start:], request.preferred, write_entry)
    page = entries[start : start + count]
    more = start + count < len(entries)

    def array() -> None:
        writer.u32(len(page))
        for entry in page:
            write_entry(writer, entry)

    def container() -> None:
        writer.u32(len(page))
        writer.pointer(array)

    writer.u32(request.level)
    writer.u32(request.level)
    writer.pointer(container)
    writer.flush()
    writer.u32(len(entries) - start)
    resume = None if request.resume is None else (start + count if more else 0)
    writer.unique_u32(resume)
    writer.u32(Win32.MORE_DATA if more else Win32.SUCCESS)


def fitting(entries: Sequence[T], preferred: int, write_entry: Callable[[NdrWriter, T], None]) -> int:
    """How many of the entries fit into a reply that may have `preferred` bytes: at least one."""
    preferred = min(preferred, limits.RPC_REPLY.value)
    size = 0
    for count, entry in enumerate(entries):
        probe = NdrWriter()
        write_entry(probe, entry)
        probe.flush()
        size += len(probe.data)
        if size > preferred and count:
            return count
    return len(entries)


def write_enum_error(writer: NdrWriter, request: EnumRequest, error: Win32) -> None:
    """Write a result without entries, with an error code."""
    writer.u32(request.level)
    writer.u32(request.level)
    writer.pointer(None)
    writer.u32(0)
    writer.unique_u32(request.resume)
    writer.u32(error)


def write_info(writer: NdrWriter, level: int, content: Callable[[], None] | None, status: Win32) -> None:
    """A union by level of pointers to structures, and the return value."""
    writer.u32(level)
    writer.pointer(content)
    writer.flush()
    writer.u32(status)
