# SPDX-License-Identifier: GPL-2.0-or-later
"""openat2(2): opens a path below a directory, while the kernel refuses paths that lead out of it."""
from __future__ import annotations

import ctypes
import errno
import os
from struct import Struct
from typing import Final

from ksmbd.kernel.syscalls import O_CLOEXEC, O_PATH, number, quick_function

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

_HOW: Final = Struct("=QQQ")
_NUMBER: Final = number("openat2")
_call: Final = quick_function("syscall")
_OPENAT2: Final = ctypes.c_long(_NUMBER or -1)
_HOW_SIZE: Final = ctypes.c_size_t(_HOW.size)
_RETRIES: Final = 64
"""How often EAGAIN is retried: it means that a rename or mount raced with `..` or a symbolic link."""
_hows: dict[tuple[int, int, int], bytes] = {}


def openat2(directory: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    """Open `path` below `directory` and return the descriptor. Raises OSError: EXDEV or ELOOP for what `resolve`
    forbids, ENOSYS without openat2."""
    key = (flags, mode, resolve)
    how = _hows.get(key)
    if how is None:
        if len(_hows) > 4096:  # modes come from clients
            _hows.clear()
        how = _hows[key] = _HOW.pack(flags | O_CLOEXEC, mode, resolve)
    for _ in range(_RETRIES):
        fd: int = _call(_OPENAT2, directory, path, how, _HOW_SIZE)
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code))


def _probe() -> str:
    if _NUMBER is None:
        return "not known on this architecture"
    try:
        os.close(openat2(-100, b".", O_PATH | os.O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS))
    except OSError as error:
        return error.strerror or str(error)
    return ""


MISSING: Final = _probe()
"""The reason why openat2 cannot be used; '' if it can."""
