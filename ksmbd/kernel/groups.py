# SPDX-License-Identifier: GPL-2.0-or-later
"""getgrouplist(3) without Python's lock held: os.getgrouplist holds up all threads while a directory answers."""
from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

MOST: Final = 1 << 17
"""Groups that a user may have at most: more than NGROUPS_MAX of Linux."""
_libc: Final = ctypes.CDLL(None)
_libc.getgrouplist.argtypes = [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
_libc.getgrouplist.restype = ctypes.c_int


def group_list(name: str, gid: int) -> tuple[int, ...]:
    """The gids of the groups of a user, `gid` included, sorted. Raises OSError where there are more than MOST,
    UnicodeEncodeError."""
    encoded = os.fsencode(name)
    room = 64
    while room <= MOST:
        gids = (ctypes.c_uint32 * room)()
        found = ctypes.c_int(room)
        if _libc.getgrouplist(encoded, gid, gids, ctypes.byref(found)) >= 0:
            return tuple(sorted(set(gids[: found.value])))
        room = max(found.value, 2 * room)
    raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
