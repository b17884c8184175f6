# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes the create contexts of a CREATE request (MS-SMB2 2.2.13.2) and encodes those of its response (2.2.14.2)."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, NoReturn

from ksmbd import limits
from ksmbd.smb.constants import DIALECT_300, DIALECT_311
from ksmbd.smb.full_ea import parse_full_ea
from ksmbd.smb.ports import NO_POSIX_MODE, LeaseGrant, LeaseRequest
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import STATUS_INVALID_PARAMETER, NtStatusError, WireError

EXTA: Final = b"ExtA"
SECD: Final = b"SecD"
ALSI: Final = b"AlSi"
MXAC: Final = b"MxAc"
QFID: Final = b"QFid"
TWRP: Final = b"TWrp"
RQLS: Final = b"RqLs"
DHNQ: Final = b"DHnQ"
DHNC: Final = b"DHnC"
DH2Q: Final = b"DH2Q"
DH2C: Final = b"DH2C"
APP_INSTANCE_ID: Final = bytes.fromhex("45BCA66AEFA7F74A9008FA462E144D74")
APP_INSTANCE_VERSION: Final = bytes.fromhex("B982D0B73B56074FA07B524A8116A010")
POSIX: Final = bytes.fromhex("93AD25509CB411E7B42383DE968BCD7C")

DHANDLE_FLAG_PERSISTENT: Final = 0x00000002

_HEADER: Final = Struct("<IHHHHI")  # Next, NameOffset, NameLength, Reserved, DataOffset, DataLength
_LEASE_V1: Final = Struct("<16sIIQ")  # LeaseKey, LeaseState, LeaseFlags, LeaseDuration
_LEASE_V2: Final = Struct("<16sIIQ16sHH")  # ... ParentLeaseKey, Epoch, Reserved
_DH2Q: Final = Struct("<II8s16s")  # Timeout, Flags, Reserved, CreateGuid
_DH2C: Final = Struct("<QQ16sI")  # FileId, CreateGuid, Flags
_FILE_ID: Final = Struct("<QQ")
_APP_ID: Final = Struct("<HH16s")  # StructureSize, Reserved, AppInstanceId
_APP_VERSION: Final = Struct("<HHIQQ")  # StructureSize, Reserved, Padding, High, Low
_U64: Final = Struct("<Q")
_U32_PAIR: Final = Struct("<II")


@dataclass(slots=True)
class DurableV2:
    """SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2 (MS-SMB2 2.2.13.2.11)."""

    timeout: int
    persistent: bool
    create_guid: bytes


@dataclass(slots=True)
class Reconnect:
    """DHnC (version 1, MS-SMB2 2.2.13.2.4) or DH2C (version 2, 2.2.13.2.12)."""

    version: int
    persistent_id: int
    volatile_id: int
    create_guid: bytes = b""
    persistent: bool = False


@dataclass(slots=True)
class CreateContexts:
    """The decoded contexts of one CREATE; None or empty where a context is absent."""

    count: int = 0
    extended_attributes: Sequence[tuple[str, int, bytes]] = ()
    security_descriptor: bytes | None = None
    allocation_size: int = 0
    maximal_access_time: int | None = None
    """Timestamp of MxAc as FILETIME, 0 where MxAc carries none."""
    query_on_disk_id: bool = False
    timewarp: int = 0
    lease: LeaseRequest | None = None
    durable_v1: bool = False
    durable_v2: DurableV2 | None = None
    reconnect_v1: Reconnect | None = None
    reconnect_v2: Reconnect | None = None
    app_instance_id: bytes = b""
    app_instance_version: tuple[int, int] | None = None
    instance_count: int = 0
    """How many of the contexts are those two."""
    posix_mode: int | None = None


NO_CONTEXTS: Final = CreateContexts()
"""The shared value of every CREATE without contexts; it must not be changed."""


def _exact(data: memoryview, layout: Struct) -> tuple[Any, ...]:
    if len(data) != layout.size:
        raise WireError(f"a create context of {len(data)} bytes where {layout.size} belong")
    return Reader(data).unpack(layout)


def _extended_attributes(contexts: CreateContexts, data: memoryview) -> None:
    contexts.extended_attributes = parse_full_ea(data)


def _security_descriptor(contexts: CreateContexts, data: memoryview) -> None:
    contexts.security_descriptor = bytes(data)


def _allocation_size(contexts: CreateContexts, data: memoryview) -> None:
    (contexts.allocation_size,) = _exact(data, _U64)


def _maximal_access(contexts: CreateContexts, data: memoryview) -> None:
    # MS-SMB2 2.2.13.2.5: the timestamp is optional.
    contexts.maximal_access_time = Reader(data).u64() if len(data) == 8 else 0
    if len(data) not in (0, 8):
        raise WireError("MxAc")


def _query_on_disk_id(contexts: CreateContexts, data: memoryview) -> None:
    if len(data):
        raise WireError("QFid with data")
    contexts.query_on_disk_id = True


def _timewarp(contexts: CreateContexts, data: memoryview) -> None:
    (contexts.timewarp,) = _exact(data, _U64)


def _lease(contexts: CreateContexts, data: memoryview) -> None:
    reader = Reader(data)
    if len(data) == _LEASE_V1.size:
        key, state, flags, _ = reader.unpack(_LEASE_V1)
        contexts.lease = LeaseRequest(key, state & 7, 1, flags)
    elif len(data) == _LEASE_V2.size:
        key, state, flags, _, parent, epoch, _ = reader.unpack(_LEASE_V2)
        # LEASE_FLAG_PARENT_LEASE_KEY_SET is the one flag of a request (2.2.13.2.10).
        contexts.lease = LeaseRequest(key, state & 7, 2, flags & 4, parent if flags & 4 else b"", epoch)
    else:
        raise WireError("RqLs")


def _durable_v1(contexts: CreateContexts, data: memoryview) -> None:
    _exact(data, _FILE_ID)
    contexts.durable_v1 = True


def _reconnect_v1(contexts: CreateContexts, data: memoryview) -> None:
    persistent, volatile = _exact(data, _FILE_ID)
    contexts.reconnect_v1 = Reconnect(1, persistent, volatile)


def _durable_v2(contexts: CreateContexts, data: memoryview) -> None:
    timeout, flags, _, guid = _exact(data, _DH2Q)
    contexts.durable_v2 = DurableV2(timeout, bool(flags & DHANDLE_FLAG_PERSISTENT), guid)


def _reconnect_v2(contexts: CreateContexts, data: memoryview) -> None:
    persistent, volatile, guid, flags = _exact(data, _DH2C)
    contexts.reconnect_v2 = Reconnect(2, persistent, volatile, guid, bool(flags & DHANDLE_FLAG_PERSISTENT))


def _app_instance_id(contexts: CreateContexts, data: memoryview) -> None:
    size, _, guid = _exact(data, _APP_ID)
    if size != 20:
        _wrong("AppInstanceId")
    contexts.app_instance_id = guid
    contexts.instance_count += 1


def _app_instance_version(contexts: CreateContexts, data: memoryview) -> None:
    size, _, _, high, low = _exact(data, _APP_VERSION)
    if size != 24:
        _wrong("AppInstanceVersion")
    contexts.app_instance_version = (high, low)
    contexts.instance_count += 1


def _posix(contexts: CreateContexts, data: memoryview) -> None:
    if len(data) != 4:
        _wrong("POSIX")
    mode = Reader(data).u32()
    contexts.posix_mode = mode if mode == NO_POSIX_MODE else mode & 0o7777


def _wrong(what: str) -> NoReturn:
    raise WireError(f"{what}: wrong length")


_PARSERS: Final[dict[bytes, Callable[[CreateContexts, memoryview], None]]] = {
    EXTA: _extended_attributes,
    SECD: _security_descriptor,
    ALSI: _allocation_size,
    MXAC: _maximal_access,
    QFID: _query_on_disk_id,
    TWRP: _timewarp,
    RQLS: _lease,
    DHNQ: _durable_v1,
    DHNC: _reconnect_v1,
    DH2Q: _durable_v2,
    DH2C: _reconnect_v2,
    APP_INSTANCE_ID: _app_instance_id,
    APP_INSTANCE_VERSION: _app_instance_version,
    POSIX: _posix,
}


def parse_contexts(reader: Reader) -> CreateContexts:
    """Decode the chain that fills the window of `reader`. Unknown contexts are skipped (MS-SMB2 3.3.5.9).

    Raises STATUS_INVALID_PARAMETER for a wrong offset, alignment or length, for a name shorter than four bytes, for a
    context that appears twice, and for too many contexts."""
    contexts = CreateContexts()
    seen: set[bytes] = set()
    start = 0
    total = len(reader)
    while True:
        following, name_offset, name_length, _, data_offset, data_length = reader.unpack_at(_HEADER, start)
        end = total - start
        if following:
            if following % 8 or following < _HEADER.size or following > end:
                raise WireError("Next of a create context")
            end = following
        if name_offset != _HEADER.size or name_length < 4 or name_offset + name_length > end:
            raise WireError("the name of a create context")
        if data_offset and (data_offset % 8 or data_offset < name_offset + name_length):
            raise WireError("DataOffset of a create context")
        if data_offset + data_length > end or (data_length and not data_offset):
            raise WireError("the data of a create context")
        name = bytes(reader.at(start + name_offset, name_length))
        if name in seen:
            raise WireError("a create context that comes twice")
        seen.add(name)
        contexts.count += 1
        if contexts.count > limits.CREATE_CONTEXTS.value:
            raise WireError("too many create contexts")
        parser = _PARSERS.get(name)
        if parser is not None:
            parser(contexts, reader.at(start + data_offset, data_length) if data_length else memoryview(b""))
        if not following:
            return contexts
        start += following


def check_exclusions(contexts: CreateContexts, dialect: int) -> None:
    """Refuse durable contexts that exclude each other with STATUS_INVALID_PARAMETER (MS-SMB2 3.3.5.9.6, .7, .10 and
    .12). Before SMB 3.x the contexts of version 2 are unknown, so they are removed and exclude nothing; so is
    SMB2_CREATE_APP_INSTANCE_VERSION before SMB 3.1.1 (2.2.13.2.15)."""
    if dialect < DIALECT_311:
        contexts.app_instance_version = None
    if dialect < DIALECT_300:
        contexts.durable_v2 = contexts.reconnect_v2 = None
        contexts.app_instance_id = b""
        return
    v2_request, v2_reconnect = contexts.durable_v2 is not None, contexts.reconnect_v2 is not None
    v1_request, v1_reconnect = contexts.durable_v1, contexts.reconnect_v1 is not None
    if ((v2_request or v2_reconnect) and (v1_request or v1_reconnect)) or (v2_request and v2_reconnect):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "durable contexts that exclude each other")


# ------------------------------------------------------------------------------------------------------- responses


def encode_lease(grant: LeaseGrant) -> bytes:
    """SMB2_CREATE_RESPONSE_LEASE and _LEASE_V2 (MS-SMB2 2.2.14.2.10, 2.2.14.2.11)."""
    if grant.version == 1:
        return _LEASE_V1.pack(grant.key, grant.state, grant.flags, 0)
    parent = grant.parent_key or bytes(16)
    return _LEASE_V2.pack(grant.key, grant.state, grant.flags, 0, parent, grant.epoch, 0)


def encode_maximal_access(status: int, access: int) -> bytes:
    """SMB2_CREATE_QUERY_MAXIMAL_ACCESS_RESPONSE (MS-SMB2 2.2.14.2.5)."""
    return _U32_PAIR.pack(status, access)


def encode_on_disk_id(file_id: int, volume_id: int) -> bytes:
    """SMB2_CREATE_QUERY_ON_DISK_ID (MS-SMB2 2.2.14.2.9)."""
    return _FILE_ID.pack(file_id, volume_id) + bytes(16)


def encode_durable_v2(timeout: int, persistent: bool) -> bytes:
    """SMB2_CREATE_DURABLE_HANDLE_RESPONSE_V2 (MS-SMB2 2.2.14.2.12)."""
    return _U32_PAIR.pack(timeout, DHANDLE_FLAG_PERSISTENT if persistent else 0)


def encode_chain(contexts: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Encode (name, data) pairs as a chain. Each context and its data is aligned to 8 bytes (MS-SMB2 2.2.13.2)."""
    chain = bytearray()
    last = len(contexts) - 1
    for index, (name, data) in enumerate(contexts):
        data_offset = (_HEADER.size + len(name) + 7) & ~7
        size = data_offset + len(data)
        following = 0 if index == last else (size + 7) & ~7
        chain += _HEADER.pack(following, _HEADER.size, len(name), 0, data_offset if data else 0, len(data))
        chain += name
        chain += bytes(data_offset - _HEADER.size - len(name))
        chain += data
        if following:
            chain += bytes(following - size)
    return bytes(chain)
