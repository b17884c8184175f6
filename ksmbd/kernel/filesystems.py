# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells whether a mounted file system supports shared extents and compression, without touching a file."""
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from typing import Final, NamedTuple

from ksmbd.kernel.descriptors import path
from ksmbd.kernel.syscalls import function, last_error

# linux/magic.h, and fs/xfs and fs/bcachefs
BTRFS_SUPER_MAGIC: Final = 0x9123683E
XFS_SUPER_MAGIC: Final = 0x58465342
BCACHEFS_SUPER_MAGIC: Final = 0xCA451A4E
TMPFS_MAGIC: Final = 0x01021994
RAMFS_MAGIC: Final = 0x858458F6
ELSEWHERE: Final = frozenset((
    0x6969, 0xFF534D42, 0xFE534D42, 0x517B, 0x00C36400, 0x01021997, 0x5346414F, 0x65735546, 0x0BD00BD0, 0x01161970,
))  # fmt: skip
"""The magic numbers of NFS, CIFS, SMB2, the old SMB, Ceph, 9P, AFS, FUSE, Lustre and GFS2: others have the data."""
BTRFS_IOC_GET_SUBVOL_INFO: Final = 0x81F8943C
"""_IOR(0x94, 60, struct btrfs_ioctl_get_subvol_info_args)."""
_SUBVOL_INFO_SIZE: Final = 504
_SUBVOL_OTIME: Final = 392
"""Offset of `otime`, whose first eight bytes are seconds."""
XFS_IOC_FSGEOMETRY_V1: Final = 0x80705864
"""_IOR('X', 100, struct xfs_fsop_geom_v1)."""
_BTRFS_ROOT: Final = 256
"""The inode number of every subvolume's root."""
_XFS_GEOMETRY_SIZE: Final = 112
_XFS_FLAGS_OFFSET: Final = 92
_XFS_REFLINK: Final = 1 << 20

NAMES: Final = {
    0xEF53: "ext4",
    0xF2F52010: "f2fs",
    0x65735546: "fuse",
    0x6969: "nfs",
    0x794C7630: "overlay",
    0x2FC12FC1: "zfs",
    BCACHEFS_SUPER_MAGIC: "bcachefs",
    BTRFS_SUPER_MAGIC: "btrfs",
    RAMFS_MAGIC: "ramfs",
    TMPFS_MAGIC: "tmpfs",
    XFS_SUPER_MAGIC: "xfs",
}
"""Names of file systems by f_type (linux/magic.h); ext2 and ext3 have that of ext4."""
_NAMES_MAX: Final = 256
_names: Final[dict[int, str]] = {}

_fstatfs: Final = function("fstatfs", ctypes.c_int, ctypes.c_void_p)
_STATFS_SIZE: Final = 256


class Abilities(NamedTuple):
    """Optional features of a file system."""

    reflinks: bool
    """It supports FICLONERANGE."""
    compression: bool
    """It compresses files with FS_COMPR_FL."""


def file_system_type(fd: int) -> int:
    """f_type of fstatfs(2); works on O_PATH descriptors. Raises OSError."""
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    if _fstatfs(fd, buffer):
        raise last_error()
    return int(ctypes.c_ulong.from_buffer(buffer).value) & 0xFFFFFFFF


def file_system_name(fd: int, device: int) -> str:
    """The name of the file system that `fd`, a file on `device`, is on; '' if it is unknown. It is cached by device.
    Should a device number be reused by another file system, only speed suffers."""
    name = _names.get(device)
    if name is None:
        try:
            name = NAMES.get(file_system_type(fd), "")
        except OSError:
            return ""
        if len(_names) >= _NAMES_MAX:
            _names.clear()
        _names[device] = name
    return name


def _xfs_reflinks(file: int) -> bool:
    # mkfs.xfs can leave them out, and did before version 5.1.
    if stat.S_IFMT(os.fstat(file).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        return False
    fd = os.open(path(file), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        geometry = bytearray(_XFS_GEOMETRY_SIZE)
        fcntl.ioctl(fd, XFS_IOC_FSGEOMETRY_V1, geometry)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return False
        raise
    finally:
        os.close(fd)
    return bool(int.from_bytes(geometry[_XFS_FLAGS_OFFSET : _XFS_FLAGS_OFFSET + 4], "little") & _XFS_REFLINK)


def abilities(file: int) -> Abilities:
    """The optional features of the file system of an open file or directory (O_PATH suffices). Raises OSError."""
    kind = file_system_type(file)
    if kind == XFS_SUPER_MAGIC:
        return Abilities(_xfs_reflinks(file), False)
    if kind in (BTRFS_SUPER_MAGIC, BCACHEFS_SUPER_MAGIC):
        return Abilities(True, True)
    return Abilities(False, False)


def subvolume_time(directory: int) -> int | None:
    """When the btrfs subvolume was made that an open directory (not O_PATH) is the root of, in seconds since 1970; None
    for all other directories. Raises OSError."""
    found = os.fstat(directory)
    if found.st_ino != _BTRFS_ROOT or file_system_type(directory) != BTRFS_SUPER_MAGIC:
        return None
    info = bytearray(_SUBVOL_INFO_SIZE)
    fcntl.ioctl(directory, BTRFS_IOC_GET_SUBVOL_INFO, info)
    return int.from_bytes(info[_SUBVOL_OTIME : _SUBVOL_OTIME + 8], "little")
