# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks the DER of a peer (ITU-T X.690 10) before it is decoded: number, depth and length of its elements.

A decoder spends some microseconds on each element, and more than linear time on long object identifiers and integers,
so a token of 64 KiB could cost a second. What passes these checks is cheap to decode.
"""
from __future__ import annotations

from typing import Final

from ksmbd import limits
from ksmbd.smb.status import WireError

ELEMENTS_MAX: Final = limits.LOGON_MECHANISMS.value + 1
"""Largest number of elements: a MechTypeList of the most mechanisms and the list itself (RFC 4178 4.2.1)."""
DEPTH_MAX: Final = limits.LOGON_NESTING.value
IDENTIFIER_MAX: Final = limits.LOGON_IDENTIFIER.value
INTEGER_MAX: Final = 8

_INTEGER: Final = 0x02
_IDENTIFIER: Final = 0x06
_ENUMERATED: Final = 0x0A
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F


def header(data: bytes, position: int, end: int) -> tuple[int, int, int]:
    """Decode the header of the element at `position`, which ends at or before `end`. Returns (tag, start of the
    content, end of the content).

    Definite lengths of at most four octets, and tags of one byte, are accepted; a log-on needs no others. Raises
    WireError."""
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
    """Check the element at the start of `data` and all elements in it; bytes behind it are ignored. Returns their
    number. Raises WireError for one that is malformed, or too many, too deep or too long ones."""
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
