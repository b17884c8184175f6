# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk quotas of users and groups (quotactl(2)), by a descriptor of any file of the file system.

ext4, XFS, tmpfs and others answer the same calls where they were mounted with quotas. All functions raise OSError:
EOPNOTSUPP where the file system has no quotas, ENOSYS where the kernel has no quotactl_fd (Linux 5.14), ESRCH where
none are on. What is asked about others, and every change, needs CAP_SYS_ADMIN."""
from __future__ import annotations

import ctypes
import errno
import os
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.kernel.syscalls import last_error, number, system_call

USER: Final = 0
GROUP: Final = 1

_GET: Final = 0x800007
_SET: Final = 0x800008
_GET_NEXT: Final = 0x800009
_GET_INFO: Final = 0x800005
_GET_FORMAT: Final = 0x800004
_XGETQSTATV: Final = (ord("X") << 8) + 8

_QUOTA: Final = Struct("=QQQQQQQQI4x")
"""struct if_dqblk: hard and soft limit of blocks (1 KiB), bytes used, hard and soft limit of inodes, inodes used, two
times, what is valid."""
_NEXT: Final = Struct("=QQQQQQQQII")
"""struct if_nextdqblk: the same, and the id."""
_BLOCK: Final = 1024
_LIMITS_VALID: Final = 1
_XSTATE: Final = Struct("=bBHI")
"""The head of struct fs_quota_statv: version, padding, flags, in-core quotas."""
_XSTATE_SIZE: Final = 256
_ACCOUNTED: Final = (1 << 0, 1 << 2)
_ENFORCED: Final = (1 << 1, 1 << 3)
"""FS_QUOTA_UDQ_ACCT and _ENFD, FS_QUOTA_GDQ_ACCT and _ENFD."""

_NUMBER: Final = number("quotactl_fd")
_call: Final = system_call(ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p)


class Quota(NamedTuple):
    """Bytes. A limit of 0 is none."""

    id: int
    used: int
    soft: int
    hard: int


class State(NamedTuple):
    """Whether the quotas of a kind are counted, and whether they limit."""

    counted: bool
    enforced: bool


def _ask(fd: int, command: int, kind: int, id_: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    if _NUMBER is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _call(_NUMBER, fd & 0xFFFFFFFF, (command << 8 | kind) & 0xFFFFFFFF, id_ & 0xFFFFFFFF, buffer) < 0:
        raise last_error()


def get(fd: int, kind: int, id_: int) -> Quota:
    """The quota of a user or group; of one that has none, no limits and nothing used."""
    buffer = ctypes.create_string_buffer(_NEXT.size)
    try:
        _ask(fd, _GET, kind, id_, buffer)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return Quota(id_, 0, 0, 0)
    hard, soft, used, *_ = _QUOTA.unpack_from(buffer)
    return Quota(id_, used, soft * _BLOCK, hard * _BLOCK)


def following(fd: int, kind: int, id_: int) -> Quota | None:
    """The quota with the lowest id from `id_` on; None: there is no other."""
    buffer = ctypes.create_string_buffer(_NEXT.size)
    try:
        _ask(fd, _GET_NEXT, kind, id_, buffer)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return None
    hard, soft, used, *_, found = _NEXT.unpack_from(buffer)
    return None if found < id_ else Quota(found, used, soft * _BLOCK, hard * _BLOCK)


def set_limits(fd: int, kind: int, id_: int, soft: int, hard: int) -> None:
    """Set both limits, rounded up to 1 KiB; those of inodes stay."""
    values = (-(-hard // _BLOCK), -(-soft // _BLOCK), 0, 0, 0, 0, 0, 0, _LIMITS_VALID)
    _ask(fd, _SET, kind, id_, ctypes.create_string_buffer(_QUOTA.pack(*values), _NEXT.size))


def state(fd: int, kind: int) -> State:
    """Whether quotas are on."""
    buffer = ctypes.create_string_buffer(_XSTATE_SIZE)
    buffer[0] = b"\x01"  # FS_QSTATV_VERSION1
    _ask(fd, _XGETQSTATV, kind, 0, buffer)
    _, _, flags, _ = _XSTATE.unpack_from(buffer)
    return State(bool(flags & _ACCOUNTED[kind]), bool(flags & _ENFORCED[kind]))
