# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes and decodes user.DOSATTRIB: DOS attributes and creation time in Samba's layouts (NDR, little-endian).

    a string with the attributes in hexadecimal and NUL (empty from version 3 on), padded to 2; version u16; version
    u16 again (the union's discriminant), padded to 4; then by version
    1  attrib u32, ea_size u32, size u64, alloc_size u64, create_time u64, change_time u64
    2  flags u32, attrib u32, ea_size u32, size u64, alloc_size u64, create, change, write time u64, name
    3  valid_flags u32, attrib u32, ea_size u32, size u64, alloc_size u64, create_time u64, change_time u64
    4  valid_flags u32, attrib u32, itime u64, create_time u64
    5  valid_flags u32, attrib u32, create_time u64
"""
from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from ksmbd.smb.reader import Reader
from ksmbd.smb.status import NtStatusError

NAME: Final = b"user.DOSATTRIB"
VALID_ATTRIB: Final = 0x01
VALID_CREATE_TIME: Final = 0x10

_HEAD: Final = Struct("<HHHH")
_V5: Final = Struct("<HHHHIIQ")
_FIELDS: Final = {
    1: Struct("<IIQQQQ"),
    2: Struct("<IIIQQQQQ"),
    3: Struct("<IIIQQQQ"),
    4: Struct("<IIQQ"),
    5: Struct("<IIQ"),
}
# Index of the fields (flags, attrib, create_time). No index of flags: both values are always valid.
_PLACES: Final[dict[int, tuple[int | None, int, int]]] = {
    1: (None, 0, 4), 2: (None, 1, 5), 3: (0, 1, 5), 4: (0, 1, 3), 5: (0, 1, 2),
}  # fmt: skip


class DosAttributes(NamedTuple):
    """The decoded attribute; a value is None where the attribute does not have it."""

    attributes: int | None
    creation_time: int | None
    """FILETIME."""


NOTHING: Final = DosAttributes(None, None)


def decode(data: bytes) -> DosAttributes:
    """Decode any version. A damaged value counts as no attribute: NOTHING."""
    if len(data) == 24 and data[:6] == b"\0\0\5\0\5\0":
        _, _, _, _, flags, attributes, creation = _V5.unpack(data)
        return DosAttributes(
            attributes if flags & VALID_ATTRIB else None, (creation or None) if flags & VALID_CREATE_TIME else None
        )
    try:
        end = data.index(b"\0")
        text = data[:end].decode("ascii")
        fallback = int(text, 16) if text else None
    except ValueError:
        return NOTHING
    start = end + 1
    try:
        reader = Reader(data)
        reader.skip(start + start % 2)
        version = reader.u16()
        level = reader.u16()
        reader.skip(-reader.position % 4)
        if version != level or version not in _FIELDS:
            return DosAttributes(fallback, None)
        fields = reader.unpack(_FIELDS[version])
    except NtStatusError:
        return DosAttributes(fallback, None)
    flags_place, attributes_place, creation_place = _PLACES[version]
    flags = VALID_ATTRIB | VALID_CREATE_TIME if flags_place is None else fields[flags_place]
    return DosAttributes(
        fields[attributes_place] if flags & VALID_ATTRIB else fallback,
        (fields[creation_place] or None) if flags & VALID_CREATE_TIME else None,
    )


def encode(attributes: int, creation_time: int) -> bytes:
    """Encode as version 5, which Samba writes since 4.16. `creation_time` is a FILETIME; 0 is marked as not valid."""
    flags = VALID_ATTRIB | (VALID_CREATE_TIME if creation_time else 0)
    return _V5.pack(0, 5, 5, 0, flags, attributes, creation_time)
