# SPDX-License-Identifier: GPL-2.0-or-later
"""MD4 (RFC 1320), which NTLM's password hash needs and OpenSSL 3 no longer offers without its legacy provider."""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF
_BLOCK = struct.Struct("<16I")
_STATE = struct.Struct("<4I")

# RFC 1320 3.4: for each round the order of the words, the shifts, and the constant added.
_ROUNDS = (
    (tuple(range(16)), (3, 7, 11, 19), 0),
    ((0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13), 0x5A827999),
    ((0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15), 0x6ED9EBA1),
)


def md4(data: bytes) -> bytes:
    """The 16-byte MD4 digest of `data`."""
    # RFC 1320 3.1, 3.2: a one bit, zeros to 56 modulo 64, the length in bits.
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + struct.pack("<Q", len(data) * 8 & 0xFFFFFFFFFFFFFFFF)
    state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for words in _BLOCK.iter_unpack(padded):
        a, b, c, d = state
        for number, (order, shifts, constant) in enumerate(_ROUNDS):
            for step, index in enumerate(order):
                if number == 0:
                    mixed = (b & c) | (~b & d)
                elif number == 1:
                    mixed = (b & c) | (b & d) | (c & d)
                else:
                    mixed = b ^ c ^ d
                total = (a + mixed + words[index] + constant) & _MASK
                shift = shifts[step % 4]
                a, b, c, d = d, (total << shift | total >> (32 - shift)) & _MASK, b, c
        state = tuple((old + new) & _MASK for old, new in zip(state, (a, b, c, d), strict=True))  # type: ignore[assignment]
    return _STATE.pack(*state)
