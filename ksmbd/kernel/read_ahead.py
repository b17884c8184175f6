# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a file is in the page cache, and getting the rest there (cachestat(2), Linux 6.5)."""
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
    """Whether reading `count` bytes, which end before the file does, waits for no disk; True where the kernel does not
    say."""
    pages = (offset + count - 1) // mmap.PAGESIZE - offset // mmap.PAGESIZE + 1
    cached = cached_pages(fd, offset, count)
    return cached is None or cached >= pages


def read_ahead(fd: int, offset: int, count: int) -> None:
    """Read a range into the page cache, waiting for the disk: in a helper thread. Closes `fd`. What cannot be read is
    for who reads it to find."""
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
