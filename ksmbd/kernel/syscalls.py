# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions of libc with declared argument types, and numbers of system calls that libc lacks or applies to the whole
process.

Every call returns -1 on failure with errno in `ctypes.get_errno()`; `check` turns that into OSError.
"""
from __future__ import annotations

import ctypes
import os
import platform
from typing import Any, Final

libc: Final = ctypes.CDLL(None, use_errno=True)

_ASM_GENERIC: Final = {"setfsuid": 151, "setfsgid": 152, "setgroups": 159, "utimensat": 88}
_NUMBERS: Final[dict[str, dict[str, int]]] = {
    "x86_64": {"setfsuid": 122, "setfsgid": 123, "setgroups": 116, "utimensat": 280},
    "aarch64": _ASM_GENERIC,
    "riscv64": _ASM_GENERIC,
    "loongarch64": _ASM_GENERIC,
}
# Since Linux 5.1 a new system call has the same number everywhere (but on alpha).
_COMMON: Final = {
    "openat2": 437, "quotactl_fd": 443, "faccessat2": 439, "cachestat": 451, "fchmodat2": 452, "getxattrat": 464,
}  # fmt: skip

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EACCESS: Final = 0x200
AT_REMOVEDIR: Final = 0x200
AT_SYMLINK_FOLLOW: Final = 0x400
AT_NO_AUTOMOUNT: Final = 0x800
AT_EMPTY_PATH: Final = 0x1000
O_PATH: Final = 0o10000000
O_CLOEXEC: Final = os.O_CLOEXEC
O_NOFOLLOW: Final = os.O_NOFOLLOW
O_DIRECTORY: Final = os.O_DIRECTORY


def number(name: str) -> int | None:
    """The number of a system call on this machine, None if unknown."""
    return _COMMON.get(name) or _NUMBERS.get(platform.machine(), {}).get(name)


def function(
    name: str, *argtypes: type[Any], restype: type[Any] | None = ctypes.c_int
) -> Any:  # noqa: ANN401 - ctypes has no type for a function with its arguments' types
    """A function of libc with its types, or None if this libc lacks it."""
    try:
        found = libc[name]
    except AttributeError:
        return None
    found.argtypes = argtypes
    found.restype = restype
    return found


def read_now(fd: int, size: int) -> bytes:
    """read(2) from a non-blocking descriptor; b'' if nothing is there now. Raises OSError."""
    try:
        return os.read(fd, size)
    except (BlockingIOError, InterruptedError):
        return b""


_held: Final = ctypes.PyDLL(None, use_errno=True)


def quick_function(name: str) -> Any:  # noqa: ANN401 - as `function`
    """A function of libc for frequent calls that never wait: it is called without declared types and without releasing
    the interpreter lock. Arguments are int (32 bits), bytes and ctypes objects."""
    return _held[name]


def system_call(*argtypes: type[Any]) -> Any:  # noqa: ANN401 - as `function`
    """A `syscall(number, ...)` function with these argument types."""
    found = ctypes.CDLL(None, use_errno=True)["syscall"]
    found.argtypes = (ctypes.c_long, *argtypes)
    found.restype = ctypes.c_long
    return found


def last_error(detail: str = "") -> OSError:
    """The OSError for errno of the call that has just failed."""
    number_ = ctypes.get_errno()
    return OSError(number_, os.strerror(number_), detail or None)


def check(result: int) -> int:
    """Return `result`, or raise OSError if it is negative."""
    if result < 0:
        raise last_error()
    return result
