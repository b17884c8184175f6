# SPDX-License-Identifier: GPL-2.0-or-later
"""What a worker may do: the list of its capabilities, each with its reason, and the other limits of its process.

A worker handles clients' bytes, so it gives up what it does not need before it reads the first one. It keeps user 0,
whose file-system capabilities the kernel takes away while fsuid is another user's (capabilities(7)): they count for
what the server does as itself and for users that are root (`admin users`, `force user = root`).
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

from ksmbd import log

CAP_CHOWN: Final = 0
CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2
CAP_FOWNER: Final = 3
CAP_SETGID: Final = 6
CAP_SETUID: Final = 7
CAP_SYS_ADMIN: Final = 21
CAP_LEASE: Final = 28

WORKER_CAPABILITIES: Final = {
    CAP_SETUID: "setfsuid: file operations run as the connected user",
    CAP_SETGID: "setfsgid and setgroups: the same for groups",
    CAP_CHOWN: "`inherit owner`, and setting a file's owner through its security descriptor",
    CAP_DAC_OVERRIDE: "`admin users`; reaching a share whose parent folders only root may enter",
    CAP_DAC_READ_SEARCH: "open_by_handle_at: durable and persistent opens are found again by file handle",
    CAP_FOWNER: "times and attributes of files that WRITE_ATTRIBUTES was granted for but that others own",
    CAP_SYS_ADMIN: "security.NTACL, where access control lists are kept",
    CAP_LEASE: "F_SETLEASE on files of other users (`kernel oplocks`)",
}
"""Capability -> what it is for. All others are dropped, from the bounding set as well.

CAP_FSETID is not among them, so that the kernel takes the set-user-ID and set-group-ID bits off a file that anybody
writes through us, `admin users` included."""

PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
_LAST_CAP_LIMIT: Final = 64
_CAPABILITY_VERSION_3: Final = 0x20080522

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2). Raises OSError."""
    nothing = ctypes.c_ulong(0)
    result: int = _libc.prctl(option, ctypes.c_ulong(argument), nothing, nothing, nothing)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def signal_when_parent_dies(number: int) -> None:
    """Have the kernel send `number` when the parent ends. The kernel forgets it when the user for file access changes
    (prctl(2)), so a process that impersonates watches its parent's pidfd as well."""
    prctl(PR_SET_PDEATHSIG, number)


def permitted_capabilities() -> int:
    """This thread's permitted set as bits."""
    header = _Header(_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)()
    if _libc.capget(ctypes.byref(header), data) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(data[0].permitted) | int(data[1].permitted) << 32


def _set_capabilities(bits: int) -> None:
    header = _Header(_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)()
    for half in range(2):
        word = bits >> 32 * half & 0xFFFFFFFF
        data[half].effective = data[half].permitted = word
    if _libc.capset(ctypes.byref(header), data) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def drop_worker_privileges() -> None:
    """Keep WORKER_CAPABILITIES and no way to gain others. Before threads start: capabilities are a thread's."""
    kept = sum(1 << capability for capability in WORKER_CAPABILITIES)
    try:
        for capability in range(_LAST_CAP_LIMIT):
            if not kept >> capability & 1:
                try:
                    prctl(PR_CAPBSET_DROP, capability)
                except OSError:
                    break  # beyond the last one this kernel knows, or without CAP_SETPCAP: nothing to drop it from
        _set_capabilities(permitted_capabilities() & kept)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
    except OSError as error:
        log.warning(f"a worker keeps all its privileges: {error.strerror}")


def raise_descriptor_limit(wanted: int) -> int:
    """Allow `wanted` open descriptors, or as many as the hard limit lets; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted <= soft:
        return soft
    if wanted > hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except (ValueError, OSError):
            wanted = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def set_oom_score(adjust: int) -> None:
    """Tell the kernel whom to end first when memory runs out: higher is sooner. Without the right, nothing."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as stream:
            stream.write(str(adjust))
    except OSError:
        pass


def set_title(title: str) -> None:
    """The process's name in ps and top."""
    import setproctitle

    setproctitle.setproctitle(title)
