# SPDX-License-Identifier: GPL-2.0-or-later
"""Capabilities (capabilities(7)): those a thread has, and how it gives them up. Sets are integers, a bit a capability.

Sets are a thread's: give up before other threads start. Every function raises OSError.
"""
from __future__ import annotations

import ctypes
from collections.abc import Iterable
from struct import Struct
from typing import Final

from ksmbd.kernel import prctl
from ksmbd.kernel.syscalls import check, function

CAP_CHOWN: Final = 0
CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2
CAP_FOWNER: Final = 3
CAP_SETGID: Final = 6
CAP_SETUID: Final = 7
CAP_SYS_ADMIN: Final = 21
CAP_LEASE: Final = 28

_WORD: Final = 0xFFFFFFFF
_MOST: Final = 64
_VERSION_3: Final = 0x20080522
_HEADER: Final = Struct("=Ii")  # version, thread: 0 is the caller
_DATA: Final = Struct("=6I")  # effective, permitted, inheritable: the low words, then the high ones

_capget: Final = function("capget", ctypes.c_char_p, ctypes.c_char_p)
_capset: Final = function("capset", ctypes.c_char_p, ctypes.c_char_p)


def mask(capabilities: Iterable[int]) -> int:
    """The set of these capabilities."""
    return sum(1 << capability for capability in set(capabilities))


def permitted() -> int:
    """This thread's permitted set."""
    data = ctypes.create_string_buffer(_DATA.size)
    check(_capget(_HEADER.pack(_VERSION_3, 0), data))
    words = _DATA.unpack(data.raw)
    return int(words[1]) | int(words[4]) << 32


def limit_bounding_set(kept: int) -> None:
    """Take all but `kept` from the bounding set: no execve(2) gives them back. PermissionError: without CAP_SETPCAP."""
    for capability in range(_MOST):
        if not kept >> capability & 1 and prctl.in_bounding_set(capability):
            prctl.drop_from_bounding_set(capability)


def keep(kept: int) -> None:
    """Have those of `kept` that are permitted now, in effect at once, and no others; none is inheritable, so the kernel
    empties the ambient set as well."""
    kept &= permitted()
    low, high = kept & _WORD, kept >> 32
    check(_capset(_HEADER.pack(_VERSION_3, 0), _DATA.pack(low, low, 0, high, high, 0)))
