# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls on files beyond Python's os module: rename flags, links by descriptor, extents, clones, times, access, inode
flags.

All raise OSError. What an old kernel lacks has a probe in ksmbd/kernel/features.py or a way round here.
"""
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from struct import Struct
from typing import Final

from ksmbd.kernel.descriptors import path, path_bytes
from ksmbd.kernel.syscalls import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    function,
    last_error,
    number,
    quick_function,
    system_call,
)

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
FALLOC_FL_KEEP_SIZE: Final = 0x01
FALLOC_FL_PUNCH_HOLE: Final = 0x02
FALLOC_FL_ZERO_RANGE: Final = 0x10
FICLONERANGE: Final = 0x4020940D
FS_IOC_FIEMAP: Final = 0xC020660B
FS_IOC_GETFLAGS: Final = 0x80086601
FS_IOC_SETFLAGS: Final = 0x40086602
FS_COMPR_FL: Final = 0x00000004
FS_NOCOMP_FL: Final = 0x00000400
UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2
R_OK: Final = 4
W_OK: Final = 2
X_OK: Final = 1

_renameat2: Final = function(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_linkat: Final = function("linkat", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
_fallocate: Final = function("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_fchownat: Final = function(
    "fchownat", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_int
)
_getxattr: Final = function(
    "lgetxattr", ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, restype=ctypes.c_ssize_t
)
_faccess_call: Final = system_call(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)
_FACCESSAT2: Final = number("faccessat2")
_utime_call: Final = system_call(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
_UTIMENSAT: Final = number("utimensat")
_getxattrat_call: Final = system_call(
    ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
)
_GETXATTRAT: Final = number("getxattrat")
_quick_call: Final = quick_function("syscall")
# As wide as a register, for no type is declared.
_NUMBER: Final = ctypes.c_long(_GETXATTRAT or -1)
_FACCESS_NUMBER: Final = ctypes.c_long(_FACCESSAT2 or -1)
_ARGUMENTS_SIZE: Final = ctypes.c_size_t(16)
_CACHESTAT: Final = number("cachestat")
_cachestat_call: Final = system_call(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)
_TIMES: Final = Struct("=qqqq")
_CLONE: Final = Struct("=qQQQ")
_FIEMAP: Final = Struct("=QQIIII")
"""struct fiemap: start, length, flags, mapped extents, room for extents, reserved."""
_EXTENT: Final = Struct("=QQQ16xI12x")
"""struct fiemap_extent: logical and physical offset, length, flags."""
_EXTENTS: Final = 32


def rename(source_dir: int, source: bytes, target_dir: int, target: bytes, replace: bool) -> None:
    """Rename; without `replace` an existing target is EEXIST, checked by the kernel where it can (RENAME_NOREPLACE)."""
    flags = 0 if replace else RENAME_NOREPLACE
    if _renameat2(source_dir, source, target_dir, target, flags) == 0:
        return
    error = last_error()
    if replace or error.errno not in (errno.EINVAL, errno.ENOSYS):
        raise error
    # The file system knows no RENAME_NOREPLACE (NFS, old FUSE): look first, a race remains.
    try:
        os.stat(target, dir_fd=target_dir, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def exchange(directory: int, one: bytes, other: bytes) -> None:
    """Let two entries of a directory change places, at once. EINVAL, ENOSYS where that cannot be had."""
    if _renameat2(directory, one, directory, other, RENAME_EXCHANGE):
        raise last_error()


def link_fd(fd: int, directory: int, name: bytes) -> None:
    """A new hard link to an open file."""
    if _linkat(AT_FDCWD, path_bytes(fd), directory, name, AT_SYMLINK_FOLLOW):
        raise last_error()


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2); `mode` of FALLOC_FL_*."""
    if _fallocate(fd, mode, offset, length):
        raise last_error()


def has_extents(fd: int, offset: int) -> bool:
    """Whether a file has blocks from `offset` on, written or not, also beyond its end. EOPNOTSUPP: not to be had."""
    asked = bytearray(_FIEMAP.pack(offset, (1 << 64) - 1 - offset, 0, 0, 0, 0))  # no room: they are counted alone
    fcntl.ioctl(fd, FS_IOC_FIEMAP, asked)
    return bool(_FIEMAP.unpack(asked)[3])


def extents_from(fd: int, offset: int) -> int | None:
    """How many bytes of blocks a file has from `offset` on, as `has_extents` counts them; None for more than 32
    extents. EOPNOTSUPP, EBADF (O_PATH): not to be had."""
    if not has_extents(fd, offset):
        return 0
    asked = bytearray(_FIEMAP.size + _EXTENTS * _EXTENT.size)
    _FIEMAP.pack_into(asked, 0, offset, (1 << 64) - 1 - offset, 0, 0, _EXTENTS, 0)
    fcntl.ioctl(fd, FS_IOC_FIEMAP, asked)
    count = _FIEMAP.unpack_from(asked)[3]
    if count == _EXTENTS:
        return None
    total = 0
    for index in range(count):
        start, _, length, _ = _EXTENT.unpack_from(asked, _FIEMAP.size + index * _EXTENT.size)
        total += int(start + length - max(start, offset))
    return total


def chown_fd(fd: int, uid: int, gid: int) -> None:
    """Change owner and group, -1 leaves one; works on O_PATH descriptors too."""
    if _fchownat(fd, b"", uid & 0xFFFFFFFF, gid & 0xFFFFFFFF, AT_EMPTY_PATH):
        raise last_error()


def chmod_fd(fd: int, mode: int, path_only: bool) -> None:
    """Change the mode; `path_only` for O_PATH descriptors, which fchmod refuses."""
    if path_only:
        os.chmod(path(fd), mode)
    else:
        os.fchmod(fd, mode)


def access_fd(fd: int, mode: int) -> bool:
    """Whether this thread's file-system credentials may R_OK, W_OK, X_OK the file: modes, ACLs, mounts and all.

    faccessat2 (Linux 5.8) takes descriptors; before it /proc names the file.
    """
    if _FACCESSAT2 is not None:
        if _quick_call(_FACCESS_NUMBER, fd, b"", mode, AT_EACCESS | AT_EMPTY_PATH) == 0:
            return True
        if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):
            return False
    return os.access(path(fd), mode, effective_ids=True)


def access_at(directory: int, name: bytes, mode: int) -> bool:
    """The same for an entry of a directory."""
    if _FACCESSAT2 is not None and _faccess_call(_FACCESSAT2, directory, name, mode, AT_EACCESS) == 0:
        return True
    if _FACCESSAT2 is not None and ctypes.get_errno() != errno.ENOSYS:
        return False
    return os.access(name, mode, dir_fd=directory, effective_ids=True)


def set_times(fd: int, access: tuple[int, int], write: tuple[int, int]) -> None:
    """utimensat by descriptor, O_PATH too; times as (seconds, nanoseconds), (0, UTIME_OMIT) leaves one."""
    times = _TIMES.pack(*access, *write)
    if _utime_call(_UTIMENSAT, fd, b"", times, AT_EMPTY_PATH) == 0:
        return
    error = last_error()
    if error.errno != errno.EINVAL:
        raise error
    # AT_EMPTY_PATH came to utimensat with Linux 5.8.
    if _utime_call(_UTIMENSAT, AT_FDCWD, path_bytes(fd), times, 0) < 0:
        raise last_error()


class _XattrArguments(ctypes.Structure):
    """struct xattr_args of getxattrat(2)."""

    _fields_ = (("value", ctypes.c_uint64), ("size", ctypes.c_uint32), ("flags", ctypes.c_uint32))


class AttributeReader:
    """Reads one short extended attribute of many entries of a directory, as a listing does."""

    __slots__ = ("_arguments", "_buffer", "_directory", "_name", "_pointer", "_prefix", "denied")

    def __init__(self, directory: int, name: bytes) -> None:
        self.denied = False
        """Whether the last one is set, perhaps, and the thread may not read it."""
        self._directory = directory
        self._name = name
        self._prefix = path_bytes(directory) + b"/"
        self._buffer = ctypes.create_string_buffer(256)
        self._arguments = _XattrArguments(ctypes.addressof(self._buffer), 256, 0)
        self._pointer = ctypes.c_void_p(ctypes.addressof(self._arguments))

    def read(self, entry: bytes) -> bytes | None:
        """The attribute of `entry` (a link itself), None where it is not set, too long or not readable."""
        if GETXATTRAT:
            length = _quick_call(
                _NUMBER, self._directory, entry, AT_SYMLINK_NOFOLLOW, self._name, self._pointer, _ARGUMENTS_SIZE
            )
        else:
            length = _getxattr(self._prefix + entry, self._name, self._buffer, 256)
        if length >= 0:
            self.denied = False
            return self._buffer.raw[:length]
        self.denied = ctypes.get_errno() == errno.EACCES
        return None


def _probe_getxattrat() -> bool:
    arguments = _XattrArguments(0, 0, 0)
    _getxattrat_call(_GETXATTRAT, AT_FDCWD, b".", 0, b"user.probe", ctypes.byref(arguments), 16)
    return ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM)


GETXATTRAT: Final = _probe_getxattrat()
"""Linux 6.13: an attribute by directory descriptor and name."""


def clone_range(target: int, source: int, source_offset: int, length: int, target_offset: int) -> None:
    """FICLONERANGE: share the source's extents (XFS, btrfs, bcachefs, overlay of such)."""
    fcntl.ioctl(target, FICLONERANGE, _CLONE.pack(source, source_offset, length, target_offset))


def inode_flags(fd: int) -> int:
    """FS_*_FL of an open file."""
    buffer = bytearray(8)
    fcntl.ioctl(fd, FS_IOC_GETFLAGS, buffer)
    return int.from_bytes(buffer[:4], "little")


def set_inode_flags(fd: int, flags: int) -> None:
    """Set FS_*_FL of an open file."""
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, flags.to_bytes(8, "little"))


def cached_pages(fd: int, offset: int, length: int) -> int | None:
    """How many pages of a range are in the page cache (cachestat, Linux 6.5), None where the kernel does not say."""
    if _CACHESTAT is None:
        return None
    span = (ctypes.c_uint64 * 2)(offset, length)
    result = (ctypes.c_uint64 * 5)()
    if _cachestat_call(_CACHESTAT, fd, span, result, 0) < 0:
        return None
    return int(result[0])
