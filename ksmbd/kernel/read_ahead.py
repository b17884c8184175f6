# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells whether a range of a file is in the page cache (cachestat(2), Linux 6.5), and reads it into the cache."""
from __future__ import annotations

import mmap
import os
import threading
from typing import Final

from ksmbd.kernel.files import cached_pages

_PIECE: Final = 256 << 10


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.piece = bytearray(_PIECE)


_buffers: Final = _Buffers()


def is_cached(fd: int, offset: int, count: int) -> bool:
    """Whether reading `count` bytes before the end of the file needs no disk access; True where the kernel cannot
    tell."""
    pages = (offset + count - 1) // mmap.PAGESIZE - offset // mmap.PAGESIZE + 1
    cached = cached_pages(fd, offset, count)
    return cached is None or cached >= pages


def read_ahead(fd: int, offset: int, count: int) -> None:
    """Read a range into the page cache, in a helper thread, since it waits for the disk. Closes `fd`. Errors are
    ignored; the later read will report them."""
    try:
        os.posix_fadvise(fd, offset, count, os.POSIX_FADV_WILLNEED)
        end = offset + count
        while offset < end:
            done = os.preadv(fd, [memoryview(_buffers.piece)[: min(_PIECE, end - offset)]], offset)
            if not done:
                break
            offset += done
    except OSError:
        pass
    finally:
        os.close(fd)
