# SPDX-License-Identifier: GPL-2.0-or-later
"""A look at a peer's DER (ITU-T X.690 10) before a decoder builds objects of it: how many elements, how deep, how long.

A decoder spends some microseconds an element, and more than linear time on a long object identifier or integer, so a
token of 64 KiB may cost a second. What passes here costs what a log-on needs.
"""
from __future__ import annotations

from typing import Final

from ksmbd import limits
from ksmbd.smb.status import WireError

ELEMENTS_MAX: Final = limits.LOGON_MECHANISMS.value + 1
"""A MechTypeList with its list (RFC 4178 4.2.1): the largest of what is decoded."""
DEPTH_MAX: Final = limits.LOGON_NESTING.value
IDENTIFIER_MAX: Final = limits.LOGON_IDENTIFIER.value
INTEGER_MAX: Final = 8

_INTEGER: Final = 0x02
_IDENTIFIER: Final = 0x06
_ENUMERATED: Final = 0x0A
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F


def header(data: bytes, position: int, end: int) -> tuple[int, int, int]:
    """(tag, where the content begins, where it ends) of the element at `position`, which lies before `end`.

    Definite lengths of at most four octets, and single-byte tags: DER has no other in a log-on. Raises WireError."""
    if position + 2 > end:
        raise WireError("an element without a length")
    tag, size = data[position], data[position + 1]
    position += 2
    if tag & _LONG_TAG == _LONG_TAG:
        raise WireError("a tag of more than one byte")
    if size & 0x80:
        octets = size & 0x7F
        if not 1 <= octets <= 4 or position + octets > end:
            raise WireError("a length that is none")
        size = int.from_bytes(data[position : position + octets], "big")
        position += octets
    if position + size > end:
        raise WireError(f"{size} bytes announced, {end - position} there")
    return tag, position, position + size


def check(data: bytes) -> int:
    """Walk through the element at the front of `data` and all inside it; how many they are. What follows it is not
    looked at. Raises WireError at the first that is malformed or one too many, too deep or too long."""
    ends: list[int] = []
    position, end, count = 0, len(data), 0
    while True:
        tag, begin, stop = header(data, position, end)
        count += 1
        if count > ELEMENTS_MAX:
            raise WireError(f"more than {ELEMENTS_MAX} elements")
        if tag == _IDENTIFIER and stop - begin > IDENTIFIER_MAX:
            raise WireError(f"an object identifier of {stop - begin} bytes")
        if tag in (_INTEGER, _ENUMERATED) and stop - begin > INTEGER_MAX:
            raise WireError(f"an integer of {stop - begin} bytes")
        if tag & _CONSTRUCTED:
            if len(ends) == DEPTH_MAX:
                raise WireError(f"elements more than {DEPTH_MAX} deep")
            ends.append(stop)
            position = begin
        else:
            position = stop
        while ends and position == ends[-1]:
            ends.pop()
        if not ends:
            return count
        end = ends[-1]
