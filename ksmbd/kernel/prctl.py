# SPDX-License-Identifier: GPL-2.0-or-later
"""prctl(2): what a process asks of the kernel about itself. Every function raises OSError."""
from __future__ import annotations

import ctypes
from typing import Final

from ksmbd.kernel.syscalls import check, function

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

_prctl: Final = function("prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def signal_when_parent_dies(number: int) -> None:
    """Have the kernel send `number` when the parent ends. The kernel forgets it when the user changes, the one for file
    access included (prctl(2)), so a process that impersonates watches its parent's pidfd as well."""
    check(_prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0))


def forbid_inspection() -> None:
    """No core dump, and no ptrace(2) nor /proc/PID/mem for the user's other processes."""
    check(_prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def forbid_new_privileges() -> None:
    """No execve(2) gives this process rights that it lacks now: set-id bits and file capabilities count no longer."""
    check(_prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def install_filter(address: int) -> None:
    """Filter the system calls by the `struct sock_fprog` at `address` (seccomp(2))."""
    check(_prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address, 0, 0))


def in_bounding_set(capability: int) -> bool:
    """False as well for a capability that this kernel does not know."""
    return bool(_prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1)


def drop_from_bounding_set(capability: int) -> None:
    """For good. PermissionError: without CAP_SETPCAP."""
    check(_prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))
