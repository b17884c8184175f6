# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens the cgroup (version 2) of this process as a directory, even where no cgroup2 file system is mounted."""
from __future__ import annotations

import ctypes
import os
from typing import Final

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same number on every machine since Linux 5.2
_FSCONFIG_CMD_CREATE: Final = 6
_FSMOUNT_CLOEXEC: Final = 1
_FSOPEN_CLOEXEC: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _call(*arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value) for value in arguments]
    result = int(_syscall(*converted))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _mounted_at() -> str | None:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, tail = line.partition(" - ")
            if tail.split(" ", 1)[0] == "cgroup2":
                return fields.split(" ")[4].replace("\\040", " ")
    return None


def _root() -> int:
    """A descriptor of the root of the hierarchy. If it is not mounted, a private mount is made."""
    where = _mounted_at()
    if where is not None:
        return os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    context = _call(_FSOPEN, b"cgroup2", _FSOPEN_CLOEXEC)
    try:
        _call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)


def own_cgroup() -> int:
    """A descriptor of the cgroup directory of this process. Raises OSError where cgroup2 is not available."""
    root = _root()
    try:
        path = "/"
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if line.startswith("0::"):
                    path = line[3:].rstrip("\n")
        return os.open(path.strip("/") or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    finally:
        os.close(root)
