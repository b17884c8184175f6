# SPDX-License-Identifier: GPL-2.0-or-later
"""MD4 (RFC 1320), which NTLM needs for its keys; OpenSSL 3 has it only in a provider that is off by default."""
from __future__ import annotations

from struct import Struct
from typing import Final

_MASK: Final = 0xFFFFFFFF
_BLOCK: Final = Struct("<16I")
_LENGTH: Final = Struct("<Q")
_DIGEST: Final = Struct("<4I")
_INITIAL: Final = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
# RFC 1320 3.4: the order of the words and the four shifts of each round
_FIRST: Final = (tuple(range(16)), (3, 7, 11, 19))
_SECOND: Final = (tuple(row + 4 * column for row in range(4) for column in range(4)), (3, 5, 9, 13))
_THIRD: Final = ((0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15))


def _rotate(value: int, bits: int) -> int:
    value &= _MASK
    return (value << bits | value >> 32 - bits) & _MASK


def md4(data: bytes) -> bytes:
    """The 16-byte digest of `data`."""
    message = data + b"\x80" + bytes(-(len(data) + 9) % 64) + _LENGTH.pack(len(data) * 8 & (1 << 64) - 1)
    state = _INITIAL
    for words in _BLOCK.iter_unpack(message):
        a, b, c, d = state
        for step, index in enumerate(_FIRST[0]):
            a, b, c, d = d, _rotate(a + (b & c | ~b & d) + words[index], _FIRST[1][step % 4]), b, c
        for step, index in enumerate(_SECOND[0]):
            a, b, c, d = d, _rotate(a + (b & c | b & d | c & d) + words[index] + 0x5A827999, _SECOND[1][step % 4]), b, c
        for step, index in enumerate(_THIRD[0]):
            a, b, c, d = d, _rotate(a + (b ^ c ^ d) + words[index] + 0x6ED9EBA1, _THIRD[1][step % 4]), b, c
        state = (state[0] + a & _MASK, state[1] + b & _MASK, state[2] + c & _MASK, state[3] + d & _MASK)
    return _DIGEST.pack(*state)
