# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes and decodes security.NTACL, a stored security descriptor in Samba's layouts (NDR of xattr_NTACL,
little-endian).

    version u16, version again u16 (the union's discriminant), pointer u32, then by version
    1  the descriptor
    2  pointer u32, hash of 16 bytes (never looked at), the descriptor
    3  pointer u32, hash type u16, hash of 64 bytes, the descriptor
    4  pointer u32, hash type u16, hash[64], description (NUL-terminated), padding to 4, time u64,
       hash of the POSIX ACL[64], the descriptor

The descriptor is self-relative (MS-DTYP 2.4.6), but its four offsets count from the start of the attribute, as NDR
has it. KSMBD writes the same with offsets from the descriptor's start. This module reads both, and writes Samba's.
"""
from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.smb.reader import Reader
from ksmbd.smb.status import NtStatusError

HASH_NONE: Final = 0
_OLD_HASH: Final = 16
HASH_SHA256: Final = 1
_DESCRIPTION: Final = b"posix_acl\0"
_HEAD: Final = Struct("<HHIIH64s10sQ64s")
_OFFSETS: Final = Struct("<IIIII")
"""The first 20 bytes of a descriptor: revision and control, then the offsets of owner, group, SACL and DACL."""


class NtAcl(NamedTuple):
    """The decoded attribute."""

    version: int
    descriptor: bytes
    hash_type: int = HASH_NONE
    hash: bytes = b""
    """The hash of the descriptor that Samba would make from the POSIX permissions."""
    system_hash: bytes = b""
    """The hash of the POSIX permissions themselves (version 4)."""
    time: int = 0


def _moved(descriptor: bytes, delta: int) -> bytes:
    """The descriptor with `delta` added to its offsets. Raises NtStatusError where the header is cut off."""
    head, *offsets = Reader(descriptor).unpack(_OFFSETS)
    if any(offset and offset + delta < _OFFSETS.size for offset in offsets):
        return descriptor  # the offsets count from its own start already
    moved = [offset + delta if offset else 0 for offset in offsets]
    return _OFFSETS.pack(head, *moved) + descriptor[_OFFSETS.size :]


def _rest(reader: Reader) -> bytes:
    reader.skip(-reader.position % 4)
    start = reader.position
    return _moved(reader.bytes(reader.remaining), -start)


def decode(data: bytes) -> NtAcl | None:
    """Decode any version; None where the value is not valid."""
    try:
        reader = Reader(data)
        version, level, pointer = reader.u16(), reader.u16(), reader.u32()
        if version != level or not pointer:
            return None
        if version == 1:
            return NtAcl(1, _rest(reader))
        if not reader.u32():
            return None
        if version == 2:
            reader.skip(_OLD_HASH)
            return NtAcl(2, _rest(reader))
        if version == 3:
            kind = reader.u16()
            digest = reader.bytes(64)
            return NtAcl(3, _rest(reader), kind, digest)
        if version == 4:
            kind = reader.u16()
            digest = reader.bytes(64)
            while reader.u8():
                pass
            reader.skip(-reader.position % 4)
            time = reader.u64()
            system = reader.bytes(64)
            return NtAcl(4, _rest(reader), kind, digest, system, time)
    except NtStatusError:
        return None
    return None


def encode(descriptor: bytes, posix: bytes, time: int) -> bytes:
    """Encode as version 4. `posix` is `posix_acl.blob` of the file after its permissions were set; `time` is a
    FILETIME."""
    system = sha256(posix).digest().ljust(64, b"\0")
    # Samba checks the first hash only where the second one differs; it is of a descriptor that only Samba can make.
    head = _HEAD.pack(4, 4, 0x20000, 0x20004, HASH_SHA256, bytes(64), _DESCRIPTION, time, system)
    return head + _moved(descriptor, len(head))


def matches(acl: NtAcl, posix: bytes) -> bool:
    """Whether the POSIX permissions (`posix_acl.blob`) are still those that the descriptor was stored with. If not, a
    local process has changed them, and the descriptor is ignored.

    Versions 1 and 2 have no hash and always match. Version 3 has the hash of a descriptor that only Samba can make, so
    it matches, too; the kernel still checks the permissions themselves."""
    if acl.version < 3:
        return True
    if acl.hash_type != HASH_SHA256:
        return False
    return acl.version == 3 or acl.system_hash[:32] == sha256(posix).digest()
