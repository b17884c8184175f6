# SPDX-License-Identifier: GPL-2.0-or-later
"""Capabilities (capabilities(7)): which a worker keeps, each with its reason, and how the rest is given up."""
from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from struct import Struct
from typing import Final

from ksmbd.kernel.syscalls import check, fail, function, number, system_call

CHOWN: Final = 0
DAC_OVERRIDE: Final = 1
DAC_READ_SEARCH: Final = 2
FOWNER: Final = 3
FSETID: Final = 4
SETGID: Final = 6
SETUID: Final = 7
LEASE: Final = 28
SYS_ADMIN: Final = 21
SYS_RESOURCE: Final = 24
NAMES: Final = {
    CHOWN: "CHOWN", DAC_OVERRIDE: "DAC_OVERRIDE", DAC_READ_SEARCH: "DAC_READ_SEARCH", FOWNER: "FOWNER",
    FSETID: "FSETID", SETGID: "SETGID", SETUID: "SETUID", LEASE: "LEASE", SYS_ADMIN: "SYS_ADMIN",
    SYS_RESOURCE: "SYS_RESOURCE",
}  # fmt: skip

WORKER: Final[dict[int, str]] = {
    SETUID: "setfsuid: file operations run as the connected user",
    SETGID: "setfsgid and setgroups, for the same",
    CHOWN: "SET_INFO of an owner, `inherit owner`",
    FOWNER: "times, modes and attributes of files that an ACL lets others than the owner change",
    FSETID: "keep the set-group-ID bit of folders when their mode is set",
    DAC_OVERRIDE: "`admin users`, and attributes kept in files that the user may not write",
    DAC_READ_SEARCH: "open the share's folder below folders that the user may not pass",
    LEASE: "kernel oplocks: F_SETLEASE on files of others",
    SYS_ADMIN: "security.NTACL, which the kernel lets nobody else write",
}
"""What a worker needs, and why."""

_HEADER: Final = Struct("=Ii")
_DATA: Final = Struct("=IIIIII")
_VERSION_3: Final = 0x20080522
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPGET: Final = number("capget")
_CAPSET: Final = number("capset")
_call: Final = system_call(ctypes.c_char_p, ctypes.c_char_p)
_prctl: Final = function(
    "prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong
)


def current() -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    """(effective, permitted, inheritable) of this thread. Raises OSError."""
    if _CAPGET is None:
        raise OSError(38, os.strerror(38))
    data = ctypes.create_string_buffer(_DATA.size)
    check(_call(_CAPGET, _HEADER.pack(_VERSION_3, 0), data))
    words = _DATA.unpack(data.raw)
    return _bits(words[0] | words[3] << 32), _bits(words[1] | words[4] << 32), _bits(words[2] | words[5] << 32)


def _bits(mask: int) -> frozenset[int]:
    return frozenset(bit for bit in range(64) if mask >> bit & 1)


def limit(keep: Iterable[int]) -> None:
    """Give up all capabilities but `keep`, for good: bounding set, ambient set, permitted and effective sets.

    Call once, before threads are made: sets are per thread. Capabilities that this process lacks stay lacking. Raises
    OSError."""
    if _CAPSET is None:
        raise OSError(38, os.strerror(38))
    wanted = frozenset(keep)
    _, permitted, _ = current()
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(64):
        if capability not in wanted and _prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            if _prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
                raise fail(f"capability {capability}")
    mask = sum(1 << capability for capability in wanted & permitted)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    check(_call(_CAPSET, _HEADER.pack(_VERSION_3, 0), _DATA.pack(low, low, 0, high, high, 0)))
    check(_prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def missing(needed: Iterable[int] = WORKER) -> list[str]:
    """The names of those of `needed` that this thread does not have in effect."""
    effective, _, _ = current()
    return [NAMES.get(capability, str(capability)) for capability in needed if capability not in effective]
