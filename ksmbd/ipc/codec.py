# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes and decodes messages between the engine and mountd. Received bytes are checked before they are decoded."""
from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

from ksmbd.ipc.constants import Attribute, Event
from ksmbd.ipc.messages import (
    GENL_VERSION,
    MESSAGE_TYPE,
    NLA_HEADER_SIZE,
    NLA_PAYLOAD_MAX,
    STRUCTURES,
    text_of,
)
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import WireError

_NLA_TYPE_MASK: Final = 0x3FFF
_HEADERS: Final = struct.Struct("=IHHIIBBH")
"""struct nlmsghdr and struct genlmsghdr."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_NUMBER: Final = struct.Struct("=I")
_NAME: Final = 1
_VALUE: Final = 2
"""The attributes within an OPTION."""
_ATTRIBUTES: Final = frozenset(Attribute)
_NUMBERS: Final = {
    Attribute.HANDLE, Attribute.ENCRYPT, Attribute.FORCE_UID, Attribute.FORCE_GID, Attribute.SIZE, Attribute.WORKERS,
    Attribute.BPF, Attribute.PID, Attribute.LIFETIME, Attribute.NT_STATUS, Attribute.WITHHELD,
    Attribute.DEBUG,
}  # fmt: skip


@dataclass(slots=True)
class Message:
    """One message: its event, the fields of KSMBD's structure, and the additional attributes."""

    event: Event
    fields: dict[str, Any] = field(default_factory=dict)
    """Texts are `str` when sent, `bytes` with their NULs when received (`text_of` reads them)."""
    numbers: dict[Attribute, int] = field(default_factory=dict)
    texts: dict[Attribute, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)

    @property
    def handle(self) -> int:
        """The request's handle, from the structure or from the attribute HANDLE."""
        return int(self.fields.get("handle", self.numbers.get(Attribute.HANDLE, 0)))

    def text(self, name: str) -> str:
        """A text field of the structure."""
        return text_of(self.fields[name])


def _attribute(kind: int, data: bytes) -> bytes:
    """One attribute, with zeros up to a multiple of 4, which its length does not count. Raises ValueError where it is
    too long."""
    if len(data) > NLA_PAYLOAD_MAX:
        raise ValueError(f"{len(data)} bytes are too long for one attribute")
    return _ATTRIBUTE.pack(NLA_HEADER_SIZE + len(data), kind) + data + bytes(-len(data) % 4)


def _text(kind: int, text: str) -> bytes:
    """A text as a NUL-terminated attribute. Raises ValueError where it has a NUL or is too long."""
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data or len(data) >= NLA_PAYLOAD_MAX:
        raise ValueError(f"a text of {len(data)} bytes, or with NUL, cannot be an attribute")
    return _attribute(kind, data + b"\0")


def _number(kind: int, number: int) -> bytes:
    """A number of 32 bits as an attribute. Raises ValueError."""
    try:
        return _attribute(kind, _NUMBER.pack(number))
    except struct.error as error:
        raise ValueError(str(error)) from None


def encode(message: Message, sequence: int = 0, port: int = 0, kind: int = MESSAGE_TYPE, flags: int = 0) -> bytes:
    """Encode a message with a netlink sequence number, port id, type (the generic-netlink family's id) and flags.
    Raises ValueError where a value does not fit its field."""
    event = message.event
    try:
        parts = []
        if event in STRUCTURES:
            parts.append(_attribute(event, STRUCTURES[event].encode(message.fields)))
        parts += [_number(key, number) for key, number in message.numbers.items()]
        parts += [_text(key, text) for key, text in message.texts.items()]
        parts += [_text(Attribute.ADDRESS, text) for text in message.addresses]
        for name, value in message.options.items():
            parts.append(_attribute(Attribute.OPTION, _text(_NAME, name) + _text(_VALUE, value)))
    except ValueError as error:
        raise ValueError(f"{event.name}: {error}") from None
    body = b"".join(parts)
    length = _HEADERS.size + len(body)
    return _HEADERS.pack(length, kind, flags, sequence & 0xFFFFFFFF, port, event, GENL_VERSION, 0) + body


def decode(data: bytes, expected: int = MESSAGE_TYPE) -> Message:
    """Decode a message whose netlink type is `expected`. Raises WireError where it is malformed in any way."""
    reader = Reader(data)
    length = reader.u32()
    if length != len(data):
        raise WireError(f"netlink length {length} of {len(data)} bytes")
    kind = reader.u16()
    reader.skip(10)
    if kind != expected:
        raise WireError(f"netlink type {kind}")
    command, version = reader.u8(), reader.u8()
    reader.skip(2)
    if version != GENL_VERSION:
        raise WireError(f"version {version}")
    try:
        event = Event(command)
    except ValueError:
        raise WireError(f"unknown message {command}") from None
    message = Message(event)
    found = _take_attributes(reader, message)
    if event in STRUCTURES and not found:
        raise WireError(f"{event.name} without its structure")
    return message


def _take_attributes(reader: Reader, message: Message) -> bool:
    """Decode all attributes within their bounds. Returns whether KSMBD's structure is there. Raises WireError."""
    event = message.event
    found = False
    while reader.remaining:
        offset = reader.position
        size, kind = reader.u16(), reader.u16() & _NLA_TYPE_MASK
        if size < NLA_HEADER_SIZE:
            raise WireError(f"attribute of {size} bytes at {offset}")
        body = reader.restrict(reader.position, size - NLA_HEADER_SIZE)
        reader.skip(min(-(-(size - NLA_HEADER_SIZE) // 4) * 4, reader.remaining))
        if kind == event and event in STRUCTURES and not found:
            _check_structure(event, len(body))
            message.fields = STRUCTURES[event].decode(body.view(len(body)))
            found = True
        elif kind < Attribute.HANDLE:
            raise WireError(f"attribute {kind} in {event.name}")
        elif kind in _ATTRIBUTES:
            _collect(message, Attribute(kind), body)
    return found


def _check_structure(event: Event, size: int) -> None:
    structure = STRUCTURES[event]
    fixed = structure.fixed_size()
    if size < fixed or (size > fixed and not structure.tail):
        raise WireError(f"{event.name} has {fixed} bytes, not {size}")


def _collect(message: Message, attribute: Attribute, body: Reader) -> None:
    """Decode one additional attribute. Raises WireError."""
    if attribute in _NUMBERS:
        if len(body) != _NUMBER.size:
            raise WireError(f"attribute {attribute} of {len(body)} bytes")
        message.numbers[attribute] = body.u32()
    elif attribute is Attribute.OPTION:
        name, value = _pair(body)
        message.options[name] = value
    elif attribute is Attribute.ADDRESS:
        message.addresses.append(_plain(body.view(len(body))))
    else:
        message.texts[attribute] = _plain(body.view(len(body)))


def _pair(reader: Reader) -> tuple[str, str]:
    """The name and the value of an OPTION; '' for what is missing. Raises WireError."""
    found = {_NAME: "", _VALUE: ""}
    while reader.remaining:
        size, kind = reader.u16(), reader.u16() & _NLA_TYPE_MASK
        if size < NLA_HEADER_SIZE:
            raise WireError(f"nested attribute of {size} bytes")
        found[kind] = _plain(reader.view(size - NLA_HEADER_SIZE))
        reader.skip(min(-size % 4, reader.remaining))
    return found[_NAME], found[_VALUE]


def _plain(data: bytes | memoryview) -> str:
    return bytes(data).partition(b"\0")[0].decode("utf-8", "surrogateescape")
