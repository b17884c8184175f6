# SPDX-License-Identifier: GPL-2.0-or-later
"""The PDUs of connection-oriented RPC, version 5 (C706 12.6.4, MS-RPCE 2.2.2): encoding and bounded decoding."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.status import WireError

HEADER_SIZE: Final = 16
_HEADER: Final = Struct("<BBBBIHHI")
_FRAG_LENGTH_OFFSET: Final = 8
_LENGTHS: Final = Struct("<HH")
"""frag_length and auth_length."""
DREP_LITTLE_ENDIAN: Final = 0x10
"""Little-endian integers, ASCII, IEEE floats (C706 14.1)."""
FRAG_MAX: Final = 5840
"""The longest fragment offered; what Windows offers on pipes too."""
FRAG_MIN: Final = 1432
"""C706 12.6.3.4: every implementation takes fragments of that size (MustRecvFragSize)."""


class Ptype(IntEnum):
    """Packet types (C706 12.6.4)."""

    REQUEST = 0
    RESPONSE = 2
    FAULT = 3
    BIND = 11
    BIND_ACK = 12
    BIND_NAK = 13
    ALTER_CONTEXT = 14
    ALTER_CONTEXT_RESP = 15
    AUTH3 = 16
    SHUTDOWN = 17
    CO_CANCEL = 18
    ORPHANED = 19


class Pfc(IntFlag):
    """pfc_flags."""

    FIRST_FRAG = 0x01
    LAST_FRAG = 0x02
    SUPPORT_HEADER_SIGN = 0x04
    CONC_MPX = 0x10
    DID_NOT_EXECUTE = 0x20
    MAYBE = 0x40
    OBJECT_UUID = 0x80


WHOLE: Final = Pfc.FIRST_FRAG | Pfc.LAST_FRAG


class Fault(IntEnum):
    """Status of a fault PDU (C706 E, MS-RPCE 2.2.2)."""

    ACCESS_DENIED = 0x00000005
    BAD_STUB_DATA = 0x000006F7
    SEC_PKG_ERROR = 0x00000721
    CONTEXT_MISMATCH = 0x1C00001A
    OP_RNG_ERROR = 0x1C010002
    UNK_IF = 0x1C010003
    PROTO_ERROR = 0x1C01000B
    REMOTE_NO_MEMORY = 0x1C00001B
    UNSPEC = 0x1C000012


class Result(IntEnum):
    """p_cont_def_result_t, with MS-RPCE 2.2.2.4's negotiate_ack."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    PROVIDER_REJECTION = 2
    NEGOTIATE_ACK = 3


class Reason(IntEnum):
    """p_provider_reason_t."""

    NOT_SPECIFIED = 0
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 1
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 2
    LOCAL_LIMIT_EXCEEDED = 3


NAK_REASON_NOT_SPECIFIED: Final = 0
NAK_PROTOCOL_VERSION: Final = 4
NAK_AUTHENTICATION_TYPE: Final = 8
"""bind_nak's reasons (C706 12.6.3.1, MS-RPCE 2.2.2.5)."""


@dataclass(frozen=True)
class Syntax:
    """p_syntax_id_t: an interface or a transfer syntax; `version` is major | minor << 16."""

    uuid: uuid.UUID
    version: int

    def serves(self, wanted: Syntax) -> bool:
        """Whether an interface of this version serves clients of another: the same major version, and the minor one is
        not below theirs (C706 12.6.3.1)."""
        same = self.uuid == wanted.uuid and self.version & 0xFFFF == wanted.version & 0xFFFF
        return same and wanted.version >> 16 <= self.version >> 16

    def encode(self) -> bytes:
        """20 bytes."""
        return self.uuid.bytes_le + self.version.to_bytes(4, "little")

    @classmethod
    def read(cls, reader: Reader) -> Syntax:
        """From a PDU."""
        return cls(uuid.UUID(bytes_le=reader.bytes(16)), reader.u32())


NDR32: Final = Syntax(uuid.UUID("8a885d04-1ceb-11c9-9fe8-08002b104860"), 2)
NDR64: Final = Syntax(uuid.UUID("71710533-beba-4937-8319-b5dbef9ccc36"), 1)
NO_SYNTAX: Final = Syntax(uuid.UUID(int=0), 0)
_FEATURE_PREFIX: Final = uuid.UUID("6cb71c2c-9812-4540-0000-000000000000").bytes_le[:8]
"""Bind time feature negotiation is a transfer syntax whose last 8 bytes are a bitmask (MS-RPCE 2.2.2.14)."""


def feature_bits(syntax: Syntax) -> int | None:
    """The bitmask of a bind time feature negotiation, or None where it is an ordinary transfer syntax."""
    raw = syntax.uuid.bytes_le
    return int.from_bytes(raw[8:16], "little") if raw[:8] == _FEATURE_PREFIX and syntax.version == 1 else None


@dataclass(frozen=True)
class Header:
    """The common header."""

    ptype: int
    flags: Pfc
    frag_length: int
    auth_length: int
    call_id: int


def frag_length(data: Buffer) -> int | None:
    """The length of the PDU that begins here, or None where its header is not whole yet."""
    if len(data) < HEADER_SIZE:
        return None
    reader = Reader(data)
    reader.skip(_FRAG_LENGTH_OFFSET)
    length = reader.u16()
    if length < HEADER_SIZE:
        raise WireError(f"frag_length {length}")
    return length


def read_header(reader: Reader) -> Header:
    """WireError: another version, or another byte order than little-endian."""
    version, minor, ptype, flags, drep, length, auth_length, call_id = reader.unpack(_HEADER)
    if version != 5 or minor > 1:
        raise WireError(f"RPC version {version}.{minor}")
    if drep & 0xFF != DREP_LITTLE_ENDIAN:
        raise WireError(f"data representation {drep:#x}")
    return Header(ptype, Pfc(flags), length, auth_length, call_id)


@dataclass(frozen=True)
class ContextElement:
    """p_cont_elem_t."""

    context_id: int
    abstract: Syntax
    transfers: tuple[Syntax, ...]


@dataclass(frozen=True)
class Bind:
    """bind and alter_context."""

    max_xmit_frag: int
    max_recv_frag: int
    assoc_group: int
    contexts: tuple[ContextElement, ...]


def read_bind(reader: Reader) -> Bind:
    """The body behind the header."""
    max_xmit, max_recv, group = reader.u16(), reader.u16(), reader.u32()
    count = reader.u8()
    reader.skip(3)
    contexts = []
    for _ in range(count):
        context_id, transfers = reader.u16(), reader.u8()
        reader.skip(1)
        abstract = Syntax.read(reader)
        contexts.append(ContextElement(context_id, abstract, tuple(Syntax.read(reader) for _ in range(transfers))))
    return Bind(max_xmit, max_recv, group, tuple(contexts))


@dataclass(frozen=True)
class Request:
    """One fragment of a request; the stub without authentication trailer."""

    alloc_hint: int
    context_id: int
    opnum: int
    stub: memoryview


def read_request(reader: Reader, header: Header) -> Request:
    """The body behind the header."""
    alloc_hint, context_id, opnum = reader.u32(), reader.u16(), reader.u16()
    if header.flags & Pfc.OBJECT_UUID:
        reader.skip(16)
    return Request(alloc_hint, context_id, opnum, reader.view(reader.remaining))


def encode(ptype: Ptype, flags: Pfc, call_id: int, body: Buffer) -> bytes:
    """A PDU without authentication."""
    return _HEADER.pack(5, 0, ptype, flags, DREP_LITTLE_ENDIAN, HEADER_SIZE + len(body), 0, call_id) + bytes(body)


def set_lengths(message: bytearray, frag_length: int, auth_length: int) -> None:
    """Set the lengths in the header of a PDU that gets a token."""
    _LENGTHS.pack_into(message, _FRAG_LENGTH_OFFSET, frag_length, auth_length)


def encode_bind_ack(
    ptype: Ptype, call_id: int, max_xmit: int, max_recv: int, group: int, address: str,
    results: Sequence[tuple[Result, int, Syntax]], flags: Pfc = WHOLE,
) -> bytes:  # fmt: skip
    """bind_ack or alter_context_resp; `address` is empty for the latter."""
    body = bytearray(max_xmit.to_bytes(2, "little") + max_recv.to_bytes(2, "little") + group.to_bytes(4, "little"))
    port = address.encode("ascii") + b"\0" if address else b""
    body += len(port).to_bytes(2, "little") + port
    body += bytes(-(HEADER_SIZE + len(body)) % 4)
    body += bytes((len(results), 0, 0, 0))
    for result, reason, syntax in results:
        body += int(result).to_bytes(2, "little") + reason.to_bytes(2, "little") + syntax.encode()
    return encode(ptype, flags, call_id, body)


def encode_bind_nak(call_id: int, reason: int) -> bytes:
    """bind_nak with the one version that is spoken."""
    return encode(Ptype.BIND_NAK, WHOLE, call_id, reason.to_bytes(2, "little") + b"\x01\x05\x00")


def encode_fault(call_id: int, context_id: int, status: int, executed: bool) -> bytes:
    """A fault."""
    flags = WHOLE if executed else WHOLE | Pfc.DID_NOT_EXECUTE
    body = (32).to_bytes(4, "little") + context_id.to_bytes(2, "little") + bytes(2)
    body += status.to_bytes(4, "little") + bytes(4)
    return encode(Ptype.FAULT, flags, call_id, body)


def encode_response(call_id: int, context_id: int, stub: Buffer, max_frag: int) -> list[bytes]:
    """A response in fragments of at most `max_frag` bytes, their stubs multiples of 8."""
    room = (max_frag - HEADER_SIZE - 8) & ~7
    view = memoryview(stub)
    fragments = []
    for start in range(0, max(len(view), 1), room):
        part = view[start : start + room]
        flags = Pfc(0)
        if start == 0:
            flags |= Pfc.FIRST_FRAG
        if start + room >= len(view):
            flags |= Pfc.LAST_FRAG
        head = (len(view) - start).to_bytes(4, "little") + context_id.to_bytes(2, "little") + bytes(2)
        fragments.append(encode(Ptype.RESPONSE, flags, call_id, head + bytes(part)))
    return fragments
