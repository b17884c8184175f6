# SPDX-License-Identifier: GPL-2.0-or-later
"""winreg, the Windows Remote Registry (MS-RRP), read-only: the few keys from which clients learn what the server is.

There is no registry behind them. Whatever would change one is no operation of this interface.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.smb.status import NtStatusError, WireError
from mountd.rpc import handles, refused
from mountd.rpc.facts import Facts
from mountd.rpc.ndr import STRING_MAX, NdrReader, NdrWriter
from mountd.rpc.ndr_types import read_handle, write_handle, write_unicode_string
from mountd.rpc.pdu import Syntax
from mountd.rpc.service import Caller, Interface, Operation, Win32

REG_SZ: Final = 1
REG_DWORD: Final = 4
"""Types of values (MS-RRP 2.2.9)."""
VERSION: Final = 5
"""What BaseRegGetVersion answers: a registry as of Windows 2000."""
_U32: Final = Struct("<I")


class Value(NamedTuple):
    """A value of a key."""

    name: str
    type: int
    data: bytes


@dataclass
class Key:
    """A key, its values and the keys below it, by their names in lower case."""

    name: str = ""
    values: list[Value] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)

    def at(self, path: str) -> Key | None:
        """The key with this path below it; None: there is none."""
        found: Key | None = self
        for part in path.split("\\"):
            found = found.keys.get(part.lower()) if found is not None and part else found
        return found

    def make(self, path: str) -> Key:
        """The key with this path, made where it is missing."""
        found = self
        for part in path.split("\\"):
            found = found.keys.setdefault(part.lower(), Key(part))
        return found

    def value(self, name: str) -> Value | None:
        """A value by its name, without regard to case."""
        return next((value for value in self.values if value.name.lower() == name.lower()), None)


def local_machine(facts: Facts) -> Key:
    """HKEY_LOCAL_MACHINE."""
    root = Key()
    name = facts.netbios_name.upper()
    keys: Mapping[str, Mapping[str, str | int]] = {
        r"SOFTWARE\Microsoft\Windows NT\CurrentVersion": {
            "CurrentVersion": "6.3", "CurrentMajorVersionNumber": 10, "CurrentMinorVersionNumber": 0,
            "ProductName": facts.server_string, "SystemRoot": r"C:\Windows",
        },
        r"SYSTEM\CurrentControlSet\Control\ComputerName\ComputerName": {"ComputerName": name},
        r"SYSTEM\CurrentControlSet\Control\ProductOptions": {"ProductType": "ServerNT"},
        r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters": {"Hostname": facts.netbios_name.lower(), "Domain": ""},
    }  # fmt: skip
    for path, values in keys.items():
        root.make(path).values = [_value(each, given) for each, given in values.items()]
    return root


def _value(name: str, given: str | int) -> Value:
    if isinstance(given, int):
        return Value(name, REG_DWORD, _U32.pack(given))
    return Value(name, REG_SZ, (given + "\0").encode("utf-16-le", "surrogatepass"))


# ---------------------------------------------------------------------------------------------------------- strings


def _read_text(reader: NdrReader) -> tuple[str, int]:
    """RRP_UNICODE_STRING (MS-RRP 2.2.4): the text without its NUL, and the bytes that there is room for."""
    reader.align(4)
    reader.u16()
    room = reader.u16()
    if not reader.pointer():
        return "", room
    maximum, offset, count = reader.u32(), reader.u32(), reader.u32()
    if offset or count > maximum or count > STRING_MAX:
        raise WireError(f"string of {count} characters at {offset} in {maximum}")
    return reader.raw(2 * count).decode("utf-16-le", "surrogatepass").partition("\0")[0], room


def _write_text(writer: NdrWriter, text: str | None) -> None:
    """RRP_UNICODE_STRING, whose length counts the NUL; None: without a buffer."""
    write_unicode_string(writer, None if text is None else text + "\0")
    writer.flush()


def _size(text: str) -> int:
    return len((text + "\0").encode("utf-16-le", "surrogatepass"))


def _read_buffer(reader: NdrReader) -> int | None:
    """lpType, lpData, lpcbData and lpcbLen of a request: how many bytes of data the client has room for; None: it
    wants none."""
    reader.unique_u32()
    wants = reader.pointer()
    if wants:
        maximum, offset, count = reader.u32(), reader.u32(), reader.u32()
        if offset or count > maximum:
            raise WireError("an array beyond its size")
        reader.raw(count)
    room = reader.unique_u32()
    reader.unique_u32()
    return (room or 0) if wants else None


def _write_value(writer: NdrWriter, value: Value, room: int | None) -> Win32:
    """Type, data and sizes of a value; the data only where the client has room for them."""
    size = len(value.data)
    fits = room is not None and size <= room

    def data() -> None:
        writer.u32(room or 0)
        writer.u32(0)
        writer.u32(size)
        writer.raw(value.data)

    writer.unique_u32(value.type)
    writer.pointer(data if fits else None)
    writer.flush()
    writer.unique_u32(size)
    writer.unique_u32(size if fits else 0)
    return Win32.SUCCESS if fits or room is None else Win32.MORE_DATA


def _write_no_value(writer: NdrWriter) -> None:
    for _ in range(4):
        writer.u32(0)


# ------------------------------------------------------------------------------------------------------- operations


Answer = Callable[[Caller, NdrReader, NdrWriter], Win32]


def _operation(refusal: Callable[[NdrWriter], None]) -> Callable[[Answer], Operation]:
    """Decorates an operation of users that returns its Win32 error code; before that of an error `refusal` writes what
    it answers then."""

    def decorate(answer: Answer) -> Operation:
        @wraps(answer)
        def run(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
            try:
                code = Win32.ACCESS_DENIED if caller.restricted else answer(caller, reader, writer)
            except WireError:
                raise
            except NtStatusError:  # of the handles
                code = Win32.INVALID_HANDLE
            if code not in (Win32.SUCCESS, Win32.MORE_DATA):
                writer.clear()
                refusal(writer)
            writer.u32(code)

        return run

    return decorate


def _null_handle(writer: NdrWriter) -> None:
    write_handle(writer, handles.NULL)




def _no_key(writer: NdrWriter) -> None:
    _write_text(writer, None)
    writer.u32(0)
    writer.u32(0)


def _no_named_value(writer: NdrWriter) -> None:
    _write_text(writer, None)
    _write_no_value(writer)


def _no_info(writer: NdrWriter) -> None:
    _write_text(writer, None)
    for _ in range(9):
        writer.u32(0)


@_operation(_null_handle)
def open_local_machine(caller: Caller, reader: NdrReader, writer: NdrWriter) -> Win32:
    """OpenLocalMachine, opnum 2 (MS-RRP 3.1.5.3): the server's name is one character."""
    if reader.pointer():
        reader.u16()
    reader.u32()
    write_handle(writer, caller.handles.open(local_machine(caller.facts())))
    return Win32.SUCCESS


@_operation(_null_handle)
def close_key(caller: Caller, reader: NdrReader, writer: NdrWriter) -> Win32:
    """BaseRegCloseKey, opnum 5 (MS-RRP 3.1.5.6)."""
    caller.handles.close(read_handle(reader))
    _null_handle(writer)
    return Win32.SUCCESS


@_operation(_no_key)
def enum_key(caller: Caller, reader: NdrReader, writer: NdrWriter) -> Win32:
    """BaseRegEnumKey, opnum 9 (MS-RRP 3.1.5.10)."""
    key, index = caller.handles.get(read_handle(reader), Key), reader.u32()
    _, room = _read_text(reader)
    if reader.pointer():
        _read_text(reader)
    keys = list(key.keys.values())
    if index >= len(keys):
        return Win32.NO_MORE_ITEMS
    if _size(keys[index].name) > room:
        return Win32.INSUFFICIENT_BUFFER
    _write_text(writer, keys[index].name)
    writer.u32(0)  # no class
    writer.u32(0)  # no time
    return Win32.SUCCESS


@_operation(_no_named_value)
def enum_value(caller: Caller, reader: NdrReader, writer: NdrWriter) -> Win32:
    """BaseRegEnumValue, opnum 10 (MS-RRP 3.1.5.11)."""
    key, index = caller.handles.get(read_handle(reader), Key), reader.u32()
    _, room = _read_text(reader)
    data_room = _read_buffer(reader)
    if index >= len(key.values):
        return Win32.NO_MORE_ITEMS
    if _size(key.values[index].name) > room:
        return Win32.INSUFFICIENT_BUFFER
    _write_text(writer, key.values[index].name)
    return _write_value(writer, key.values[index], data_room)


@_operation(_null_handle)
def open_key(caller: Caller, reader: NdrReader, writer: NdrWriter) -> Win32:
    """BaseRegOpenKey, opnum 15 (MS-RRP 3.1.5.15)."""
    key = caller.handles.get(read_handle(reader), Key)
    path, _ = _read_text(reader)
    found = key.at(path)
    if found is None:
        return Win32.FILE_NOT_FOUND
    write_handle(writer, caller.handles.open(found))
    return Win32.SUCCESS


@_operation(_no_info)
def query_info_key(caller: Caller, reader: NdrReader, writer: NdrWriter) -> Win32:
    """BaseRegQueryInfoKey, opnum 16 (MS-RRP 3.1.5.16)."""
    key = caller.handles.get(read_handle(reader), Key)
    _write_text(writer, "")
    writer.u32(len(key.keys))
    writer.u32(max((_size(each.name) for each in key.keys.values()), default=0))
    writer.u32(0)  # the longest class
    writer.u32(len(key.values))
    writer.u32(max((_size(value.name) for value in key.values), default=0))
    writer.u32(max((len(value.data) for value in key.values), default=0))
    for _ in range(3):  # security descriptor, and FILETIME: there is none
        writer.u32(0)
    return Win32.SUCCESS


@_operation(_write_no_value)
def query_value(caller: Caller, reader: NdrReader, writer: NdrWriter) -> Win32:
    """BaseRegQueryValue, opnum 17 (MS-RRP 3.1.5.17)."""
    key = caller.handles.get(read_handle(reader), Key)
    name, _ = _read_text(reader)
    room = _read_buffer(reader)
    value = key.value(name)
    return Win32.FILE_NOT_FOUND if value is None else _write_value(writer, value, room)


def _no_version(writer: NdrWriter) -> None:
    writer.u32(0)


@_operation(_no_version)
def get_version(caller: Caller, reader: NdrReader, writer: NdrWriter) -> Win32:
    """BaseRegGetVersion, opnum 26 (MS-RRP 3.1.5.24)."""
    caller.handles.get(read_handle(reader), Key)
    writer.u32(VERSION)
    return Win32.SUCCESS


INTERFACE: Final = Interface(
    pipe="winreg",
    syntax=Syntax(uuid.UUID("338cd001-2244-31f1-aaaa-900038001003"), 1),
    operations={
        **refused.WINREG,
        2: open_local_machine,
        5: close_key,
        9: enum_key,
        10: enum_value,
        15: open_key,
        16: query_info_key,
        17: query_value,
        26: get_version,
    },
)
