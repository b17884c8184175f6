# SPDX-License-Identifier: GPL-2.0-or-later
"""Access control lists and their entries (MS-DTYP 2.4.4, 2.4.5): their values, wire form, inheritance and SDDL text.

A received list survives a round trip: object ACEs, system ACEs and ACEs of unknown types are kept byte for byte.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.smb.constants import (
    FILE_ALL_ACCESS,
    FILE_GENERIC_EXECUTE,
    FILE_GENERIC_READ,
    FILE_GENERIC_WRITE,
    GENERIC_ALL,
    GENERIC_EXECUTE,
    GENERIC_READ,
    GENERIC_WRITE,
)
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.sid import (
    CREATOR_GROUP,
    CREATOR_OWNER,
    MAX_SUB_AUTHORITIES,
    SDDL_ALIASES,
    SUB_AUTHORITIES,
    Sid,
    read_sid,
)
from ksmbd.smb.status import STATUS_INVALID_ACL, NtStatusError, WireError

# MS-DTYP 2.4.4.1, AceType
ACCESS_ALLOWED: Final = 0x00
ACCESS_DENIED: Final = 0x01
SYSTEM_AUDIT: Final = 0x02
ACCESS_ALLOWED_OBJECT: Final = 0x05
ACCESS_DENIED_OBJECT: Final = 0x06
SYSTEM_AUDIT_OBJECT: Final = 0x07
ACCESS_ALLOWED_CALLBACK: Final = 0x09
ACCESS_DENIED_CALLBACK: Final = 0x0A
ACCESS_ALLOWED_CALLBACK_OBJECT: Final = 0x0B
ACCESS_DENIED_CALLBACK_OBJECT: Final = 0x0C
SYSTEM_AUDIT_CALLBACK: Final = 0x0D
SYSTEM_AUDIT_CALLBACK_OBJECT: Final = 0x0F
SYSTEM_MANDATORY_LABEL: Final = 0x11
SYSTEM_RESOURCE_ATTRIBUTE: Final = 0x12
SYSTEM_SCOPED_POLICY_ID: Final = 0x13

_SID_TYPES: Final = frozenset((0x00, 0x01, 0x02, 0x03, 0x09, 0x0A, 0x0D, 0x0E, 0x11, 0x12, 0x13))
_OBJECT_TYPES: Final = frozenset((0x05, 0x06, 0x07, 0x08, 0x0B, 0x0C, 0x0F, 0x10))

# MS-DTYP 2.4.4.1, AceFlags
OBJECT_INHERIT: Final = 0x01
CONTAINER_INHERIT: Final = 0x02
NO_PROPAGATE_INHERIT: Final = 0x04
INHERIT_ONLY: Final = 0x08
INHERITED_ACE: Final = 0x10
_INHERITANCE: Final = OBJECT_INHERIT | CONTAINER_INHERIT | NO_PROPAGATE_INHERIT | INHERIT_ONLY

ACL_REVISION: Final = 2
ACL_REVISION_DS: Final = 4
_GENERIC: Final = GENERIC_READ | GENERIC_WRITE | GENERIC_EXECUTE | GENERIC_ALL
_ACL_HEADER: Final = Struct("<BBHHH")
_ACE_HEADER: Final = Struct("<BBH")
_U32: Final = Struct("<I")
_PLAIN: Final = Struct("<IBB6s")
"""The mask and the first fields of the SID, of an ACE without object types."""
_PLAIN_SIZE: Final = 4 + _PLAIN.size


def map_generic(mask: int) -> int:
    """Return `mask` with generic bits replaced by the file rights that they stand for (MS-DTYP 2.4.3, MS-SMB2
    2.2.13.1.1)."""
    if mask & _GENERIC:
        if mask & GENERIC_READ:
            mask |= FILE_GENERIC_READ
        if mask & GENERIC_WRITE:
            mask |= FILE_GENERIC_WRITE
        if mask & GENERIC_EXECUTE:
            mask |= FILE_GENERIC_EXECUTE
        if mask & GENERIC_ALL:
            mask |= FILE_ALL_ACCESS
        mask &= ~_GENERIC
    return mask


class Ace(NamedTuple):
    """One access control entry (MS-DTYP 2.4.4). `body` holds what follows the SID, or the whole of an unknown type."""

    type: int
    flags: int
    mask: int
    sid: Sid | None
    """None for an ACE of an unknown type, which is kept as it was received."""
    object_type: bytes = b""
    """GUID, 16 bytes, of an object ACE; empty where absent."""
    inherited_object_type: bytes = b""
    body: bytes = b""

    def encode(self) -> bytes:
        """The wire form, padded to a multiple of 4 bytes."""
        if self.sid is None:
            data = self.body
        else:
            data = _U32.pack(self.mask)
            if self.type in _OBJECT_TYPES:
                present = (1 if self.object_type else 0) | (2 if self.inherited_object_type else 0)
                data += _U32.pack(present) + self.object_type + self.inherited_object_type
            data += self.sid.encode() + self.body
        data += bytes(-len(data) % 4)
        return _ACE_HEADER.pack(self.type, self.flags, 4 + len(data)) + data


@dataclass(frozen=True, slots=True)
class Acl:
    """An access control list (MS-DTYP 2.4.5)."""

    aces: tuple[Ace, ...] = ()
    revision: int = ACL_REVISION

    def encode(self) -> bytes:
        """The wire form. Raises STATUS_INVALID_ACL where the list is longer than its 16-bit size field can say."""
        body = b"".join(ace.encode() for ace in self.aces)
        if len(body) + 8 > 0xFFFF:
            raise NtStatusError(STATUS_INVALID_ACL, "longer than 64 KiB")
        revision = self.revision
        if revision < ACL_REVISION_DS and any(ace.type in _OBJECT_TYPES for ace in self.aces):
            revision = ACL_REVISION_DS  # MS-DTYP 2.4.5: only that revision may hold object ACEs
        return _ACL_HEADER.pack(revision, 0, 8 + len(body), len(self.aces), 0) + body


def _read_ace(reader: Reader) -> Ace:
    kind, flags, size = reader.unpack(_ACE_HEADER)
    if size < 4 or size % 4:
        raise WireError(f"ACE of {size} bytes", reader.status)
    if kind in _SID_TYPES and size >= _PLAIN_SIZE:
        start = reader.position
        mask, revision, subs, authority = reader.unpack(_PLAIN)
        rest = size - _PLAIN_SIZE - 4 * subs
        if revision == 1 and subs <= MAX_SUB_AUTHORITIES and rest >= 0:
            sid = Sid(int.from_bytes(authority, "big"), reader.unpack(SUB_AUTHORITIES[subs]))
            return Ace(kind, flags, mask, sid, body=reader.bytes(rest) if rest else b"")
        reader.position = start  # the code below finds out what is wrong
    body = Reader(reader.view(size - 4), status=reader.status)
    if kind not in _SID_TYPES and kind not in _OBJECT_TYPES:
        return Ace(kind, flags, 0, None, body=body.bytes(body.remaining))
    mask = body.u32()
    object_type = inherited_object_type = b""
    if kind in _OBJECT_TYPES:
        present = body.u32()
        object_type = body.bytes(16) if present & 1 else b""
        inherited_object_type = body.bytes(16) if present & 2 else b""
    sid = read_sid(body)
    return Ace(kind, flags, mask, sid, object_type, inherited_object_type, body=body.bytes(body.remaining))


def has_generic(ace: Ace) -> bool:
    """Whether the entry applies to the object itself and names generic rights."""
    return ace.sid is not None and not ace.flags & INHERIT_ONLY and bool(ace.mask & _GENERIC)


def parse_acl(data: Buffer) -> Acl:
    """Decode the ACL at the start of `data` (MS-DTYP 2.4.5). Raises STATUS_INVALID_ACL where a size, a count or a SID
    is wrong."""
    header = Reader(data, status=STATUS_INVALID_ACL)
    revision, _, size, count, _ = header.unpack(_ACL_HEADER)
    if not ACL_REVISION <= revision <= ACL_REVISION_DS or size < _ACL_HEADER.size:
        raise WireError(f"ACL of revision {revision} and {size} bytes", STATUS_INVALID_ACL)
    body = header.restrict(_ACL_HEADER.size, size - _ACL_HEADER.size)
    if count * 4 > len(body):
        raise WireError(f"{count} ACEs in {size} bytes", STATUS_INVALID_ACL)
    return Acl(tuple(_read_ace(body) for _ in range(count)), revision)


def _inherits(ace: Ace, is_directory: bool) -> bool:
    if not is_directory:
        return bool(ace.flags & OBJECT_INHERIT)
    if ace.flags & CONTAINER_INHERIT:
        return True
    return ace.flags & (OBJECT_INHERIT | NO_PROPAGATE_INHERIT) == OBJECT_INHERIT


def for_owner(sid: Sid | None, owner: Sid | None, group: Sid | None) -> Sid | None:
    """`sid` with CREATOR OWNER replaced by `owner` and CREATOR GROUP by `group`, where these are known."""
    if sid == CREATOR_OWNER:
        return owner or sid
    if sid == CREATOR_GROUP:
        return group or sid
    return sid


def inherited_aces(
    aces: Iterable[Ace], owner: Sid | None, group: Sid | None, is_directory: bool, mark: bool = True
) -> tuple[Ace, ...]:
    """The entries that a new child inherits from the `aces` of its parent (MS-DTYP 2.5.3.4.3). `mark` sets
    INHERITED_ACE on each.

    An entry that applies to a new directory and is passed on to its children is written twice if the two forms differ,
    that is if it names CREATOR OWNER or CREATOR GROUP or has generic bits.
    """
    result = []
    extra = INHERITED_ACE if mark else 0
    for ace in aces:
        if not _inherits(ace, is_directory):
            continue
        kept = ace.flags & ~(_INHERITANCE | INHERITED_ACE) | extra  # the audit bits of system ACEs stay
        goes_on = is_directory and not ace.flags & NO_PROPAGATE_INHERIT
        effective = not is_directory or bool(ace.flags & CONTAINER_INHERIT)
        onward = kept | ace.flags & (OBJECT_INHERIT | CONTAINER_INHERIT)
        here = ace._replace(flags=kept, mask=map_generic(ace.mask), sid=for_owner(ace.sid, owner, group))
        if not effective:
            result.append(ace._replace(flags=onward | INHERIT_ONLY))
        elif not goes_on:
            result.append(here)
        elif here.sid != ace.sid or here.mask != ace.mask:
            result.append(here)
            result.append(ace._replace(flags=onward | INHERIT_ONLY))
        else:
            result.append(here._replace(flags=onward))
    return tuple(result)


def in_canonical_order(aces: Sequence[Ace]) -> bool:
    """Whether explicit entries precede inherited ones, and in each group deny precedes allow (MS-DTYP 2.4.5)."""
    order = [
        (bool(ace.flags & INHERITED_ACE), ace.type not in (ACCESS_DENIED, ACCESS_DENIED_OBJECT, ACCESS_DENIED_CALLBACK))
        for ace in aces
    ]
    explicit = [rank for rank in order if not rank[0]]
    return order[: len(explicit)] == explicit and explicit == sorted(explicit)


_TYPE_TEXT: Final = {
    0x00: "A", 0x01: "D", 0x02: "AU", 0x03: "AL", 0x05: "OA", 0x06: "OD", 0x07: "OU", 0x09: "XA", 0x0A: "XD",
    0x0B: "ZA", 0x0D: "XU", 0x11: "ML", 0x12: "RA", 0x13: "SP",
}  # fmt: skip
_FLAG_TEXT: Final = ((0x01, "OI"), (0x02, "CI"), (0x04, "NP"), (0x08, "IO"), (0x10, "ID"), (0x40, "SA"), (0x80, "FA"))
_MASK_TEXT: Final = {
    FILE_ALL_ACCESS: "FA", FILE_GENERIC_READ: "FR", FILE_GENERIC_WRITE: "FW", FILE_GENERIC_EXECUTE: "FX",
    GENERIC_ALL: "GA", GENERIC_READ: "GR", GENERIC_WRITE: "GW", GENERIC_EXECUTE: "GX",
}  # fmt: skip


def sid_text(sid: Sid | None) -> str:
    """SDDL's letters for a well-known SID, else its S-1-... form."""
    return "" if sid is None else SDDL_ALIASES.get(sid, str(sid))


def ace_text(ace: Ace) -> str:
    """One entry as SDDL writes it, e.g. `(A;OICI;FA;;;WD)`."""
    flags = "".join(text for bit, text in _FLAG_TEXT if ace.flags & bit)
    mask = _MASK_TEXT.get(ace.mask, f"0x{ace.mask:x}")
    kind = _TYPE_TEXT.get(ace.type, f"0x{ace.type:x}")
    return f"({kind};{flags};{mask};{ace.object_type.hex()};{ace.inherited_object_type.hex()};{sid_text(ace.sid)})"
