# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads KERB_VALIDATION_INFO (MS-PAC 2.5), what a domain says of a user in a ticket: the account's name and its groups.

The caller has verified the PAC's signature. The bytes are read all the same as any stranger's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ksmbd import limits
from ksmbd.smb.sid import Sid
from ksmbd.smb.status import WireError
from mountd.rpc.ndr import NdrReader
from mountd.rpc.ndr_types import read_rpc_sid

_HEADER: Final = bytes.fromhex("01100800cccccccc")
"""The common header of type serialization version 1 (MS-RPCE 2.2.6.1)."""
_HEADERS_SIZE: Final = 16
_FILETIME: Final = 8
_EXTRA_SIDS: Final = 0x20
_RESOURCE_GROUPS: Final = 0x200
"""UserFlags: which of the lists count."""
_ENABLED: Final = 0x4
"""SE_GROUP_ENABLED (MS-PAC 2.2.1)."""


class ValidationInfo(NamedTuple):
    """Whom the ticket is for. `sids`: the user's SID and those of the groups that are enabled."""

    account: str
    domain: str
    sids: tuple[Sid, ...]


class _Counted(NamedTuple):
    """An array behind a pointer."""

    size: int
    there: bool


def parse(data: bytes) -> ValidationInfo:
    """Decode the PAC's buffer of type 1. Raises WireError where it is malformed or has more SIDs than KERBEROS_SIDS."""
    if data[: len(_HEADER)] != _HEADER or len(data) < _HEADERS_SIZE:
        raise WireError("no type serialization")
    reader = NdrReader(data[_HEADERS_SIZE:])
    if not reader.pointer():
        raise WireError("no KERB_VALIDATION_INFO")
    reader.raw(6 * _FILETIME)
    names = [_text_head(reader) for _ in range(6)]  # EffectiveName is the first
    reader.u32()  # LogonCount, BadPasswordCount
    user, primary = reader.u32(), reader.u32()
    groups = _Counted(reader.u32(), reader.pointer())
    flags = reader.u32()
    reader.raw(16)  # UserSessionKey
    names += [_text_head(reader), _text_head(reader)]  # LogonServer, LogonDomainName
    domain_there = reader.pointer()
    for _ in range(4):  # Reserved1, UserAccountControl, SubAuthStatus
        reader.u32()
    reader.raw(2 * _FILETIME)
    reader.u32()  # FailedILogonCount
    reader.u32()  # Reserved3
    extra = _Counted(reader.u32(), reader.pointer())
    resource_there = reader.pointer()
    resources = _Counted(reader.u32(), reader.pointer())
    if groups.size + extra.size + resources.size > limits.KERBEROS_SIDS.value:
        raise WireError("too many groups")

    # What the pointers point to, in their order
    texts = [reader.string() if there else "" for there in names[:6]]
    rids = list(_memberships(reader, groups))
    texts += [reader.string() if there else "" for there in names[6:]]
    domain = read_rpc_sid(reader) if domain_there else None
    extra_sids = list(_extra_sids(reader, extra))
    resource_domain = read_rpc_sid(reader) if resource_there else None
    resource_rids = list(_memberships(reader, resources))

    sids: list[Sid] = []
    if domain is not None:
        sids += [domain.child(rid) for rid in (user, primary, *rids) if rid]
    if flags & _EXTRA_SIDS:
        sids += extra_sids
    if flags & _RESOURCE_GROUPS and resource_domain is not None:
        sids += [resource_domain.child(rid) for rid in resource_rids]
    return ValidationInfo(texts[0], texts[7], tuple(dict.fromkeys(sids)))


def _text_head(reader: NdrReader) -> bool:
    """An RPC_UNICODE_STRING (MS-DTYP 2.3.10) without its buffer: whether it has one."""
    reader.u16()
    reader.u16()
    return reader.pointer()


def _conformance(reader: NdrReader, announced: _Counted) -> int:
    if not announced.there:
        if announced.size:
            raise WireError("a count without an array")
        return 0
    if reader.u32() != announced.size:
        raise WireError("an array of another length")
    return announced.size


def _memberships(reader: NdrReader, announced: _Counted) -> Iterator[int]:
    """The RIDs of an array of GROUP_MEMBERSHIP that are enabled."""
    for _ in range(_conformance(reader, announced)):
        rid, attributes = reader.u32(), reader.u32()
        if attributes & _ENABLED:
            yield rid


def _extra_sids(reader: NdrReader, announced: _Counted) -> Iterator[Sid]:
    """The SIDs of an array of KERB_SID_AND_ATTRIBUTES that are enabled."""
    heads = [(reader.pointer(), reader.u32()) for _ in range(_conformance(reader, announced))]
    for there, attributes in heads:
        if there:
            sid = read_rpc_sid(reader)
            if attributes & _ENABLED:
                yield sid
