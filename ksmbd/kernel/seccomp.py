# SPDX-License-Identifier: GPL-2.0-or-later
"""Restricts a process to a list of system calls with seccomp(2), by a BPF program that the kernel runs before each
call.

Other calls fail with EPERM. A call through the table of another architecture ends the process. `mmap` and `mprotect`
may not make memory executable, and no file can be mapped. A filter cannot be removed.
"""
from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.kernel import prctl

_INSTRUCTION: Final = Struct("=HBBI")
"""struct sock_filter: code, jump if true, jump if false, constant."""
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15
_JUMP_NOT_LESS: Final = 0x35
_JUMP_BITS: Final = 0x45
_RETURN: Final = 0x06

# struct seccomp_data
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16

KILL: Final = 0x80000000
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM
"""Results of the program: SECCOMP_RET_KILL_PROCESS, _ALLOW, _ERRNO."""

_X32: Final = 0x40000000
"""The bit in the numbers of the x32 table, which x86_64 accepts as well."""
_PROT_EXEC: Final = 0x4
_MAP_ANONYMOUS: Final = 0x20


class Architecture(NamedTuple):
    """The call table of an architecture, as far as it is used here. `audit`: its AUDIT_ARCH number."""

    audit: int
    numbers: Mapping[str, int]


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "x86_64": Architecture(0xC000003E, {
        "read": 0, "write": 1, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigprocmask": 14,
        "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28, "getpid": 39, "sendto": 44,
        "recvfrom": 45, "exit": 60, "gettimeofday": 96, "getrusage": 98, "sigaltstack": 131, "gettid": 186,
        "time": 201, "futex": 202, "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230,
        "exit_group": 231, "getrandom": 318,
        "fstat": 5, "stat": 4, "lseek": 8, "ioctl": 16, "pread64": 17, "access": 21, "uname": 63, "fcntl": 72,
        "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "openat": 257, "newfstatat": 262,
    }),
    "aarch64": Architecture(0xC00000B7, {
        "close": 57, "read": 63, "write": 64, "exit": 93, "exit_group": 94, "futex": 98, "clock_gettime": 113,
        "clock_nanosleep": 115, "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132, "rt_sigprocmask": 135,
        "rt_sigreturn": 139, "getrusage": 165, "gettimeofday": 169, "getpid": 172, "gettid": 178, "sendto": 206,
        "recvfrom": 207, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233,
        "getrandom": 278,
        "fcntl": 25, "ioctl": 29, "faccessat": 48, "openat": 56, "lseek": 62, "pread64": 67, "newfstatat": 79,
        "fstat": 80, "uname": 160, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177,
    }),
}  # fmt: skip

SERVICE_CALLS: Final = frozenset({
    "read", "write", "recvfrom", "sendto", "close", "mmap", "mprotect", "munmap", "mremap", "madvise", "brk", "futex",
    "rt_sigreturn", "rt_sigprocmask", "sigaltstack", "restart_syscall", "clock_gettime", "clock_nanosleep",
    "gettimeofday", "time", "getrandom", "getrusage", "getpid", "gettid", "sched_yield", "exit", "exit_group",
})  # fmt: skip
"""The calls of a process that computes answers to what it reads from descriptors that it has: I/O on these, memory,
time."""

READING_CALLS: Final = frozenset({
    "openat", "newfstatat", "fstat", "stat", "access", "faccessat", "lseek", "pread64", "fcntl", "ioctl", "uname",
    "getuid", "geteuid", "getgid", "getegid",
})  # fmt: skip
"""Further calls of a process that reads files of its root directory: `openat` for reading alone, `ioctl` to ask whether
a descriptor is a terminal."""
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_TCGETS: Final = 0x5401


def _argument(index: int) -> int:
    """The offset of the low half of an argument; both architectures are little-endian."""
    return _ARGUMENTS + 8 * index


def _conditions(name: str) -> list[tuple[int, int, int, int]]:
    """Further conditions for a call that is in the list; the program returns ALLOW behind them."""
    if name == "mprotect":
        return [(_LOAD, 0, 0, _argument(2)), (_JUMP_BITS, 0, 1, _PROT_EXEC), (_RETURN, 0, 0, REFUSE)]
    if name == "openat":
        return [(_LOAD, 0, 0, _argument(2)), (_JUMP_BITS, 0, 1, _WRITING), (_RETURN, 0, 0, REFUSE)]
    if name == "ioctl":
        return [(_LOAD, 0, 0, _argument(1)), (_JUMP_EQUAL, 1, 0, _TCGETS), (_RETURN, 0, 0, REFUSE)]
    if name == "mmap":
        return [
            (_LOAD, 0, 0, _argument(2)), (_JUMP_BITS, 0, 1, _PROT_EXEC), (_RETURN, 0, 0, REFUSE),
            (_LOAD, 0, 0, _argument(3)), (_JUMP_BITS, 1, 0, _MAP_ANONYMOUS), (_RETURN, 0, 0, REFUSE),
        ]  # fmt: skip
    return []


def program(architecture: Architecture, calls: Iterable[str]) -> bytes:
    """The filter that allows `calls`; names that the architecture lacks are ignored."""
    steps: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_JUMP_EQUAL, 1, 0, architecture.audit), (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER), (_JUMP_NOT_LESS, 0, 1, _X32), (_RETURN, 0, 0, KILL),
    ]  # fmt: skip
    for name in sorted(calls):
        number = architecture.numbers.get(name)
        if number is None:
            continue
        conditions = _conditions(name)
        steps.append((_JUMP_EQUAL, 0, len(conditions) + 1, number))
        steps += [*conditions, (_RETURN, 0, 0, ALLOW)]
    steps.append((_RETURN, 0, 0, REFUSE))
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def keep_only(calls: Iterable[str]) -> None:
    """Restrict this thread and what it starts to these calls, for good. Raises OSError where kernel or architecture
    cannot do this."""
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise OSError(errno.ENOSYS, f"no list of system calls for {platform.machine()}")
    code = program(architecture, calls)
    prctl.forbid_new_privileges()
    given = _Program(len(code) // _INSTRUCTION.size, code)
    prctl.install_filter(ctypes.addressof(given))
