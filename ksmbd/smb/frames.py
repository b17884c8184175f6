# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of long messages, used again: a new bytearray is zeroed first, which costs a tenth of a signed READ of 1 MiB.

Not among the compiled modules: it counts references as the interpreter does.
"""
from __future__ import annotations

from sys import getrefcount
from typing import Final

TAIL: Final = 16
"""Bytes that an encrypted frame grows by and shrinks again, for the cipher's tag (ksmbd.auth.encryption): with room for
them it stays where it is."""
LEAST: Final = 64 << 10
"""Shorter frames are made anew: that is as quick."""
MOST: Final = 1 << 20 | 4096
"""Longer ones too, so that they do not stay in memory for good."""
KEPT: Final = 3
"""Frames of a worker: one being received, one with a helper thread, one being sent."""

_kept: Final[list[bytearray]] = []
_PROBE: Final = [bytearray()]
_ONE_OWNER: Final = getrefcount(_PROBE[0])
"""The reference count of a frame that only `_kept` holds."""


def make(size: int) -> bytearray:
    """A frame of `size` bytes with whatever in them, which the caller overwrites or cuts off."""
    if size < LEAST or size > MOST:
        return _new(size)
    for index in range(len(_kept)):
        # Views of it count too: a frame that waits to be sent is in use.
        if getrefcount(_kept[index]) == _ONE_OWNER:
            if len(_kept[index]) != size:
                _kept[index] = _new(size)
            return _kept[index]
    frame = _new(size)
    if len(_kept) < KEPT:
        _kept.append(frame)
    return frame


def begin(size: int) -> bytearray:
    """The first `size` bytes of a frame that is to grow; it is not used again afterwards."""
    return _new(size)


def grown(frame: bytearray, size: int) -> bytearray:
    """A frame of `size` bytes that begins with `frame`."""
    larger = _new(size)
    larger[: len(frame)] = frame
    return larger


def _new(size: int) -> bytearray:
    frame = bytearray(size + TAIL)
    del frame[size:]
    return frame
