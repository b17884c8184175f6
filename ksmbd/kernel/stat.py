# SPDX-License-Identifier: GPL-2.0-or-later
"""statx(2): returns all metadata that a client can ask for in one call, birth time included."""
from __future__ import annotations

import ctypes
import errno
import threading
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.kernel.syscalls import AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, last_error, quick_function

STATX_BASIC_STATS: Final = 0x7FF
STATX_BTIME: Final = 0x800
STATX_MNT_ID: Final = 0x1000
STATX_SUBVOL: Final = 0x8000
STATX_ATTR_COMPRESSED: Final = 0x4
STATX_ATTR_IMMUTABLE: Final = 0x10
STATX_ATTR_APPEND: Final = 0x20
STATX_ATTR_MOUNT_ROOT: Final = 0x2000

# struct statx of linux/stat.h: mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks, attributes_mask,
# four times (seconds, nanoseconds), rdev, dev, mnt_id, two alignments, subvol.
_LAYOUT: Final = Struct("=IIQIIIH2xQQQQqI4xqI4xqI4xqI4xIIIIQIIQ")
_LISTED: Final = Struct("=I4xQIIIH2xQQQ8xqI4xqI4xqI4xqI4x8xII")
_MASK: Final = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID | STATX_SUBVOL
_LISTED_MASK: Final = STATX_BASIC_STATS | STATX_BTIME
_STATX_TYPE: Final = 0x1
_STATX_INO: Final = 0x100
_SIZE: Final = 256
_LISTED_SIZE: Final = 152
"""Up to stx_mnt_id."""

S_IFMT: Final = 0o170000
S_IFREG: Final = 0o100000
S_IFDIR: Final = 0o040000
S_IFLNK: Final = 0o120000


class Stat(NamedTuple):
    """The result of statx. Times are seconds and nanoseconds; `btime` is (0, 0) if the file system has none."""

    mask: int
    block_size: int
    attributes: int
    nlink: int
    uid: int
    gid: int
    mode: int
    ino: int
    size: int
    blocks: int
    """Of 512 bytes."""
    attributes_mask: int
    atime: int
    atime_ns: int
    btime: int
    btime_ns: int
    ctime: int
    ctime_ns: int
    mtime: int
    mtime_ns: int
    rdev_major: int
    rdev_minor: int
    dev_major: int
    dev_minor: int
    mnt_id: int
    dio_mem_align: int
    dio_offset_align: int
    subvolume: int

    @property
    def dev(self) -> int:
        """The device as one number, as the kernel composes it."""
        return self.dev_major << 20 | self.dev_minor


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(_SIZE)
        self.start = (ctypes.c_char * _LISTED_SIZE).from_buffer(self.buffer)
        """The part of it that a listing asks for."""


_buffers: Final = _Buffers()
_statx: Final = quick_function("statx")
_ENTRY: Final = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT
_HANDLE: Final = AT_EMPTY_PATH | AT_NO_AUTOMOUNT
_unpack: Final = _LAYOUT.unpack_from
_unpack_listed: Final = _LISTED.unpack_from
_unpack_key: Final = Struct("=32xQ96xII").unpack_from
_unpack_mode: Final = Struct("=28xH").unpack_from
_new: Final = tuple.__new__


def stat_at(directory: int, name: bytes) -> Stat:
    """The metadata of the entry `name` of `directory`, without following a symbolic link. Raises OSError."""
    buffer = _buffers.buffer
    if _statx(directory, name, _ENTRY, _MASK, buffer):
        raise last_error()
    return _new(Stat, _unpack(buffer))


def find_at(directory: int, name: bytes) -> Stat | None:
    """As `stat_at`, but None if there is no such entry."""
    buffer = _buffers.buffer
    if _statx(directory, name, _ENTRY, _MASK, buffer):
        if ctypes.get_errno() == errno.ENOENT:
            return None
        raise last_error()
    return _new(Stat, _unpack(buffer))


def listed_at(directory: int, name: bytes) -> bytes | None:
    """As `find_at`, but faster, for listings: the bytes that the kernel wrote. They are equal as long as nothing of the
    entry's metadata has changed; `listed_fields` decodes them."""
    buffers = _buffers
    if _statx(directory, name, _ENTRY, _LISTED_MASK, buffers.buffer):
        if ctypes.get_errno() == errno.ENOENT:
            return None
        raise last_error()
    found: bytes = buffers.start.raw
    return found


def listed_fields(data: bytes) -> tuple[int, ...]:
    """Decode what `listed_at` returned: mask, attributes, nlink, uid, gid, mode, ino, size, blocks, then seconds and
    nanoseconds of access, birth, change and write, then major and minor device number."""
    return _unpack_listed(data)


def stat_fd(fd: int) -> Stat:
    """The metadata of an open file, opened with O_PATH or otherwise. Raises OSError."""
    buffer = _buffers.buffer
    if _statx(fd, b"", _HANDLE, _MASK, buffer):
        raise last_error()
    return _new(Stat, _unpack(buffer))


def key_fd(fd: int) -> tuple[int, int]:
    """(device, inode) of an open file, as in `Stat`; twice as fast as `stat_fd`. Raises OSError."""
    buffer = _buffers.buffer
    if _statx(fd, b"", _HANDLE, _STATX_INO, buffer):
        raise last_error()
    ino, major, minor = _unpack_key(buffer)
    return major << 20 | minor, ino


def kind_at(directory: int, path: bytes) -> int:
    """The S_IFMT bits of what `path` below `directory` names; a symbolic link in its last component is not followed.
    Raises OSError."""
    buffer = _buffers.buffer
    if _statx(directory, path, _ENTRY, _STATX_TYPE, buffer):
        raise last_error()
    mode: int = _unpack_mode(buffer)[0]
    return mode & S_IFMT


def key_at(directory: int, path: bytes) -> tuple[int, int]:
    """As `key_fd`, of what `path` below `directory` names, following symbolic links. Raises OSError."""
    buffer = _buffers.buffer
    if _statx(directory, path, AT_NO_AUTOMOUNT, _STATX_INO, buffer):
        raise last_error()
    ino, major, minor = _unpack_key(buffer)
    return major << 20 | minor, ino
