# SPDX-License-Identifier: GPL-2.0-or-later
"""The NDR of types that samr and lsarpc share: RPC_UNICODE_STRING, RPC_SID, context handles, OLD_LARGE_INTEGER (MS-DTYP
2.3, 2.4.2.3), and the frame of an operation that returns an NTSTATUS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Final, TypeVar

from ksmbd import limits
from ksmbd.smb.reader import Reader
from ksmbd.smb.sid import Sid, read_sid
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_PARAMETER,
    STATUS_SUCCESS,
    NtStatusError,
    WireError,
)
from mountd.rpc import handles
from mountd.rpc.ndr import STRING_MAX, NdrReader, NdrWriter
from mountd.rpc.service import Caller, Operation

T = TypeVar("T")

NEVER: Final = 0x7FFFFFFFFFFFFFFF
"""A time that does not come (MS-SAMR 2.2.1.6)."""


# ---------------------------------------------------------------------------------------------------------- reading


def read_handle(reader: NdrReader) -> bytes:
    """A context handle, 20 bytes."""
    reader.align(4)
    return reader.raw(handles.SIZE)


def read_rpc_sid(reader: NdrReader) -> Sid:
    """RPC_SID (MS-DTYP 2.4.2.3): a conformant structure, so that the number of sub-authorities comes first."""
    count = reader.u32()
    head = reader.raw(8)
    if head[1] != count or count > 15:
        raise WireError(f"SID of {head[1]} sub-authorities, {count} announced")
    return read_sid(Reader(head + reader.raw(4 * count)))


def read_sid_pointers(reader: NdrReader) -> list[Sid | None]:
    """LSAPR_SID_ENUM_BUFFER and SAMPR_PSID_ARRAY: a count, and a pointer to an array of pointers to SIDs. Raises
    STATUS_INVALID_PARAMETER where there are more than RPC_NAMES."""
    count = reader.u32()
    if not reader.pointer():
        if count:
            raise WireError("a count without an array")
        return []
    return [read_rpc_sid(reader) if there else None for there in _pointers(reader, count)]


def _pointers(reader: NdrReader, count: int) -> list[bool]:
    if reader.u32() != count:
        raise WireError("an array of another length")
    bounded(count)
    return [reader.pointer() for _ in range(count)]


def bounded(count: int) -> None:
    """Raise STATUS_INVALID_PARAMETER where a call has too many names."""
    if count > limits.RPC_NAMES.value:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"{count} entries")


def read_unicode_string(reader: NdrReader) -> str:
    """RPC_UNICODE_STRING (MS-DTYP 2.3.10) whose buffer follows at once; '' where there is none."""
    return read_unicode_strings(reader, 1)[0]


def read_unicode_strings(reader: NdrReader, count: int) -> list[str]:
    """An array of RPC_UNICODE_STRING without its conformance: the structures, then their buffers."""
    heads = []
    for _ in range(count):
        reader.align(4)
        length, _maximum = reader.u16(), reader.u16()
        heads.append((length, reader.pointer()))
    return [_buffer(reader, length) if there else "" for length, there in heads]


def _buffer(reader: NdrReader, length: int) -> str:
    maximum, offset, count = reader.u32(), reader.u32(), reader.u32()
    if offset or count > maximum or count > STRING_MAX or 2 * count != length:
        raise WireError(f"string of {length} bytes, {count} characters at {offset} in {maximum}")
    return reader.raw(2 * count).decode("utf-16-le", "surrogatepass")


# ---------------------------------------------------------------------------------------------------------- writing


def write_handle(writer: NdrWriter, handle: bytes) -> None:
    """A context handle."""
    writer.align(4)
    writer.raw(handle)


def write_rpc_sid(writer: NdrWriter, sid: Sid) -> None:
    """RPC_SID."""
    writer.u32(len(sid.sub_authorities))
    writer.raw(sid.encode())


def write_sid_pointer(writer: NdrWriter, sid: Sid | None) -> None:
    """A pointer to RPC_SID."""
    writer.pointer(None if sid is None else lambda: write_rpc_sid(writer, sid))


def write_unicode_string(writer: NdrWriter, text: str | None) -> None:
    """RPC_UNICODE_STRING; None: without a buffer."""
    encoded = b"" if text is None else text.encode("utf-16-le", "surrogatepass")
    writer.align(4)
    writer.u16(len(encoded))
    writer.u16(len(encoded))

    def buffer() -> None:
        writer.u32(len(encoded) // 2)
        writer.u32(0)
        writer.u32(len(encoded) // 2)
        writer.raw(encoded)

    writer.pointer(None if text is None else buffer)


def write_array(writer: NdrWriter, entries: Sequence[T], write: Callable[[NdrWriter, T], None]) -> None:
    """A pointer to a conformant array; null where it is empty."""

    def array() -> None:
        writer.u32(len(entries))
        for entry in entries:
            write(writer, entry)

    writer.pointer(array if entries else None)


def write_counted(writer: NdrWriter, entries: Sequence[T], write: Callable[[NdrWriter, T], None]) -> None:
    """The number of entries, and a pointer to a conformant array of them."""
    writer.u32(len(entries))
    write_array(writer, entries, write)


def write_counted_u32(writer: NdrWriter, values: Sequence[int]) -> None:
    """A count, and a pointer to an array of longs (SAMPR_ULONG_ARRAY)."""
    write_counted(writer, values, NdrWriter.u32)


def write_old_large_integer(writer: NdrWriter, value: int) -> None:
    """OLD_LARGE_INTEGER (MS-SAMR 2.2.2.2): two longs, aligned as such."""
    writer.u32(value & 0xFFFFFFFF)
    writer.u32(value >> 32)


# ------------------------------------------------------------------------------------------------------- operations


StatusOperation = Callable[[Caller, NdrReader, NdrWriter], int]
"""An operation that returns its NTSTATUS, or raises NtStatusError."""


def returning_status(refusal: Callable[[NdrWriter], None]) -> Callable[[StatusOperation], Operation]:
    """Decorates an operation of users. It writes its results and then its status; before the status of an error,
    `refusal` writes the results: null pointers and zeros."""

    def decorate(operation: StatusOperation) -> Operation:
        @wraps(operation)
        def run(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
            try:
                if caller.restricted:
                    raise NtStatusError(STATUS_ACCESS_DENIED, "an anonymous caller or a guest")
                status = operation(caller, reader, writer)
                writer.flush()
            except WireError:
                raise
            except NtStatusError as error:
                writer.clear()
                refusal(writer)
                writer.flush()
                status = error.status
            writer.u32(status)

        return run

    return decorate


def no_results(writer: NdrWriter) -> None:
    """An operation that has none."""


def null_handle(writer: NdrWriter) -> None:
    """A handle that is not open."""
    write_handle(writer, handles.NULL)


def null_pointer(writer: NdrWriter) -> None:
    """One null pointer."""
    writer.u32(0)


def null_words(count: int) -> Callable[[NdrWriter], None]:
    """`count` longs of zero: counts, resume handles and null pointers."""

    def write(writer: NdrWriter) -> None:
        for _ in range(count):
            writer.u32(0)

    return write


@returning_status(null_handle)
def close_handle(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarClose and SamrCloseHandle (MS-LSAD 3.1.4.9.4, MS-SAMR 3.1.5.13.1)."""
    caller.handles.close(read_handle(reader))
    write_handle(writer, handles.NULL)
    return STATUS_SUCCESS
