# SPDX-License-Identifier: GPL-2.0-or-later
"""One extended attribute of an open file, by few steps: every open reads one."""
from __future__ import annotations

import ctypes
import errno
import os
import threading
from typing import Final

from ksmbd.kernel.descriptors import path_bytes
from ksmbd.kernel.syscalls import function, quick_function

_SHORT: Final = 256
_fgetxattr: Final = quick_function("fgetxattr")
_getxattr: Final = function(
    "getxattr", ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, restype=ctypes.c_ssize_t
)

_flistxattr: Final = quick_function("flistxattr")
_listxattr: Final = function(
    "listxattr", ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, restype=ctypes.c_ssize_t
)  # fmt: skip


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(_SHORT)


_buffers: Final = _Buffers()


def get_attribute(fd: int, name: bytes, path_only: bool, size: int = _SHORT) -> bytes | None:
    """An extended attribute of an open file, None where it is not set or not supported."""
    while True:
        buffer = _buffers.buffer if size <= _SHORT else ctypes.create_string_buffer(size)
        if path_only:
            length: int = _getxattr(path_bytes(fd), name, buffer, size)
        else:
            length = _fgetxattr(fd, name, buffer, size)
        if length >= 0:
            return buffer.raw[:length]
        code = ctypes.get_errno()
        if code == errno.ERANGE and size < 65536:
            size = 65536
            continue
        if code in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
            return None
        raise OSError(code, os.strerror(code))


def attribute_size(fd: int, name: bytes, path_only: bool) -> int:
    """Bytes of an extended attribute of an open file, -1 where it is not set or not supported. Raises OSError."""
    size: int = _getxattr(path_bytes(fd), name, None, 0) if path_only else _fgetxattr(fd, name, None, 0)
    if size < 0:
        code = ctypes.get_errno()
        if code in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
            return -1
        raise OSError(code, os.strerror(code))
    return size


def list_size(fd: int, path_only: bool) -> int:
    """Bytes of the list of an open file's extended attributes, 0 where there are none or they are not supported."""
    size: int = _listxattr(path_bytes(fd), None, 0) if path_only else _flistxattr(fd, None, 0)
    return size if size > 0 else 0
