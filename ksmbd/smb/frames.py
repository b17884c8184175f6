# SPDX-License-Identifier: GPL-2.0-or-later
"""Reuses the buffers of long messages, because a new bytearray is zeroed first, which costs a tenth of a signed READ of
1 MiB.

This module is not compiled: it relies on the reference counts of the interpreter.
"""
from __future__ import annotations

from sys import getrefcount
from typing import Final

TAIL: Final = 16
"""Spare bytes behind each buffer: encryption appends its tag and removes it again (ksmbd.auth.encryption), which must
not move the buffer."""
LEAST: Final = 64 << 10
"""Shorter buffers, in bytes, are not reused: making them is as quick."""
MOST: Final = 1 << 20 | 4096
"""Longer buffers, in bytes, are not reused, so that they do not occupy memory for good."""
KEPT: Final = 3
"""Buffers that a worker keeps: one to receive into, one with a helper thread, one being sent."""

_kept: Final[list[bytearray]] = []
_PROBE: Final = [bytearray()]
_ONE_OWNER: Final = getrefcount(_PROBE[0])
"""The reference count of a buffer that only `_kept` refers to."""


def make(size: int) -> bytearray:
    """A buffer of `size` bytes with arbitrary content, which the caller overwrites or cuts off."""
    if size < LEAST or size > MOST:
        return _new(size)
    for index in range(len(_kept)):
        # Memory views count as references, so a buffer that waits to be sent is in use.
        if getrefcount(_kept[index]) == _ONE_OWNER:
            if len(_kept[index]) != size:
                _kept[index] = _new(size)
            return _kept[index]
    frame = _new(size)
    if len(_kept) < KEPT:
        _kept.append(frame)
    return frame


def begin(size: int) -> bytearray:
    """A buffer of `size` bytes that the caller lengthens with `grown`; it is not reused."""
    return _new(size)


def grown(frame: bytearray, size: int) -> bytearray:
    """A new buffer of `size` bytes that begins with the content of `frame`."""
    larger = _new(size)
    larger[: len(frame)] = frame
    return larger


def _new(size: int) -> bytearray:
    frame = bytearray(size + TAIL)
    del frame[size:]
    return frame
