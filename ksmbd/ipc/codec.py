# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes and decodes messages between the engine and mountd. Received bytes are checked before pyroute2 sees them."""
from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ksmbd.ipc.constants import Attribute, Event
from ksmbd.ipc.messages import (
    GENL_VERSION,
    MESSAGE_TYPE,
    NLA_HEADER_SIZE,
    NLA_PAYLOAD_MAX,
    STRUCTURES,
    NetlinkMessage,
    text_of,
)
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import WireError

_NLA_TYPE_MASK: Final = 0x3FFF
_NUMBERS: Final = {
    Attribute.HANDLE, Attribute.ENCRYPT, Attribute.FORCE_UID, Attribute.FORCE_GID, Attribute.SIZE, Attribute.WORKERS,
    Attribute.BPF, Attribute.PID, Attribute.LIFETIME, Attribute.NT_STATUS, Attribute.WITHHELD,
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


def _name(attribute: Attribute) -> str:
    return attribute.name


def _pair(name: str, value: str) -> dict[str, Any]:
    return {"attrs": [("NAME", _escape(name)), ("VALUE", _escape(value))]}


def _escape(text: str) -> bytes:
    """Encode a text for an asciiz attribute. Raises ValueError where it has a NUL or is too long."""
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data or len(data) >= NLA_PAYLOAD_MAX:
        raise ValueError(f"a text of {len(data)} bytes, or with NUL, cannot be an attribute")
    return data


def encode(message: Message, sequence: int = 0, port: int = 0, kind: int = MESSAGE_TYPE, flags: int = 0) -> bytes:
    """Encode a message with a netlink sequence number, port id, type (the generic-netlink family's id) and flags.
    Raises ValueError where a value does not fit its field."""
    netlink = NetlinkMessage()
    netlink["cmd"] = int(message.event)
    netlink["version"] = GENL_VERSION
    netlink["header"] = {"type": kind, "flags": flags, "sequence_number": sequence & 0xFFFFFFFF, "pid": port}
    attributes: list[tuple[str, Any]] = []
    if message.event in STRUCTURES:
        attributes.append((message.event.name, _structure_value(message.event, message.fields)))
    attributes += [(_name(key), number) for key, number in message.numbers.items()]
    attributes += [(_name(key), _escape(text)) for key, text in message.texts.items()]
    attributes += [("ADDRESS", _escape(text)) for text in message.addresses]
    attributes += [("OPTION", _pair(name, value)) for name, value in message.options.items()]
    netlink["attrs"] = attributes
    try:
        netlink.encode()
    except struct.error as error:  # an attribute of more than 65535 bytes
        raise ValueError(f"{message.event.name}: {error}") from None
    return bytes(netlink.data)


def _structure_value(event: Event, fields: Mapping[str, Any]) -> dict[str, Any]:
    structure = STRUCTURES[event]
    names = {name for name, _ in structure.fields}
    unknown = set(fields) - names
    if unknown:
        raise ValueError(f"{event.name} has no field {', '.join(sorted(unknown))}")
    payload = fields.get("payload", b"")
    if structure.fixed_size() + len(payload) > NLA_PAYLOAD_MAX:
        raise ValueError(f"{event.name}: a payload of {len(payload)} bytes is too long for one message")
    return dict(fields)


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
    found = _check_attributes(reader, event)
    if event in STRUCTURES and not found:
        raise WireError(f"{event.name} without its structure")
    netlink = NetlinkMessage(bytearray(data))
    netlink.decode()
    message = Message(event)
    for name, value in ((slot[0], slot[1]) for slot in netlink["attrs"]):
        _collect(message, name, value)
    return message


def _check_attributes(reader: Reader, event: Event) -> bool:
    """Check the bounds of all attributes. Returns whether KSMBD's structure is there. Raises WireError."""
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
            found = True
        elif kind < Attribute.HANDLE:
            raise WireError(f"attribute {kind} in {event.name}")
        elif kind == Attribute.OPTION:
            _check_nested(body)
        elif kind in _NUMBERS and len(body) != 4:
            raise WireError(f"attribute {kind} of {len(body)} bytes")
    return found


def _check_structure(event: Event, size: int) -> None:
    structure = STRUCTURES[event]
    fixed = structure.fixed_size()
    if size < fixed or (size > fixed and not structure.tail):
        raise WireError(f"{event.name} has {fixed} bytes, not {size}")


def _check_nested(reader: Reader) -> None:
    while reader.remaining:
        size = reader.u16()
        reader.skip(2)
        if size < NLA_HEADER_SIZE:
            raise WireError(f"nested attribute of {size} bytes")
        reader.view(size - NLA_HEADER_SIZE)
        reader.skip(min(-size % 4, reader.remaining))


def _collect(message: Message, name: str, value: Any) -> None:  # noqa: ANN401 - what pyroute2 decoded
    if name == message.event.name and message.event in STRUCTURES:
        hidden = ("header", "reserved", "_padding")
        message.fields = {key: item for key, item in dict(value).items() if key not in hidden}
        return
    attribute = Attribute.__members__.get(name)
    if attribute is None:
        return  # an attribute of a newer version
    if attribute in _NUMBERS:
        message.numbers[attribute] = int(value)
    elif attribute is Attribute.OPTION:
        key, text = _cells(value)
        message.options[key] = text
    elif attribute is Attribute.ADDRESS:
        message.addresses.append(_plain(value))
    else:
        message.texts[attribute] = _plain(value)


def _slots(value: Any) -> Sequence[tuple[str, Any]]:  # noqa: ANN401 - what pyroute2 decoded
    return [(slot[0], slot[1]) for slot in value["attrs"]]


def _cells(value: Any) -> tuple[str, str]:  # noqa: ANN401 - what pyroute2 decoded
    cells = {name: _plain(text) for name, text in _slots(value)}
    return cells.get("NAME", ""), cells.get("VALUE", "")


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return str(value).partition("\0")[0]
