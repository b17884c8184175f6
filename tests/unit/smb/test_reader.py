# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions for what needs no Reader give and refuse what a Reader over the whole buffer does."""
from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import pytest

from ksmbd.smb.reader import Reader, decode_utf16, encode_utf16, part_of, unpack_from
from ksmbd.smb.status import STATUS_INVALID_PARAMETER, WireError

DATA = bytes(range(100, 120))
PLACES = (-21, -20, -1, 0, 1, 12, 13, 16, 17, 19, 20, 21, 1 << 31, 1 << 63)


def outcome(read: Callable[[], Any]) -> object:
    try:
        return read()
    except WireError as error:
        assert error.status == STATUS_INVALID_PARAMETER
        return WireError


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("layout", [Struct("<B"), Struct("<HI"), Struct("<I"), Struct("<Q"), Struct("<20s")])
@pytest.mark.parametrize("offset", PLACES)
def test_fields(make: Callable[[bytes], Any], layout: Struct, offset: int) -> None:
    found = outcome(lambda: unpack_from(make(DATA), offset, layout))
    assert found == outcome(lambda: Reader(make(DATA)).unpack_at(layout, offset))
    assert (found is not WireError) == (0 <= offset <= 20 - layout.size)


@pytest.mark.parametrize("size", PLACES)
@pytest.mark.parametrize("offset", PLACES)
def test_a_part(offset: int, size: int) -> None:
    found = outcome(lambda: bytes(part_of(memoryview(DATA), offset, size)))
    assert found == outcome(lambda: bytes(Reader(DATA).at(offset, size)))
    assert (found is not WireError) == (offset >= 0 and size >= 0 and offset + size <= 20)


@pytest.mark.parametrize("text", ["", "a", "ünïcödé", "\U0001f600", "\ud800", "a\udfff", "\ufeffa", "\0"])
def test_text_comes_back(text: str) -> None:
    """A byte order mark and unpaired surrogates are characters like others."""
    data = encode_utf16(text)
    for make in (bytes, bytearray, memoryview):
        assert decode_utf16(make(data)) == text
    assert outcome(lambda: decode_utf16(data + b"x")) is WireError
