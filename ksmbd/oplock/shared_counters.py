# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters in memory that all workers share: which streams have byte-range locks, and how many locks there are.

Each READ and WRITE asks whether its stream has locks. Where the stream's counter is zero there are none, so most
requests need not read the record. Several streams may share a counter; where it is not zero the record is read.

Each environment has its own part, which only the holder of the environment's writer lock changes.
"""
from __future__ import annotations

import errno
import hashlib
import mmap
import os
import struct
from pathlib import Path
from typing import Final

from ksmbd.smb.ports import FileKey

COUNTERS: Final = 1 << 14
"""Lock counters of one part."""
COUNTER: Final = struct.Struct("=I")
WORD: Final = 8
JOURNALS: Final = 0
HELD: Final = 1
WORDS: Final = 2
"""Number of 64-bit words of a part: JOURNALS (journals begun), HELD (locks)."""


def stream_digest(stream: str) -> bytes:
    """A hash of 16 bytes of a stream's name, to choose its counter."""
    return hashlib.blake2b(stream.encode("utf-16-le", "surrogatepass"), digest_size=16).digest()


DEFAULT_STREAM: Final = stream_digest("")


def counter_of(file: FileKey, stream: str) -> int:
    """The number of a stream's counter in its part."""
    digest = stream_digest(stream) if stream else DEFAULT_STREAM
    return ((file[1] ^ file[0]) * 0x9E3779B1 ^ digest[0] << 5 ^ digest[1]) % COUNTERS


class SharedCounters:
    """The counters and words of all parts, in one mapped file."""

    def __init__(self, path: Path, fresh: int = 0) -> None:
        """`fresh`: create the file, for so many parts; else it knows how many there are. Raises OSError where there is
        no room for it, or where it does not exist."""
        part = COUNTERS * COUNTER.size + WORDS * WORD
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if fresh else 0), 0o600)
        try:
            self.parts = fresh or os.fstat(descriptor).st_size // part
            """The number of parts."""
            if not self.parts:
                raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))
            whole = part * self.parts
            counted = COUNTERS * COUNTER.size * self.parts
            os.posix_fallocate(descriptor, 0, whole)
            self._shared = mmap.mmap(descriptor, whole)
        finally:
            os.close(descriptor)
        memory = memoryview(self._shared)
        self.counters = memory[:counted].cast("I")
        self.words = memory[counted:].cast("Q")
        memory.release()

    def counters_of(self, part: int) -> memoryview:
        """The counters of one part; the caller releases them before `close`."""
        return self.counters[part * COUNTERS : (part + 1) * COUNTERS]

    def words_of(self, part: int) -> memoryview:
        """The words of one part; the caller releases them before `close`."""
        return self.words[part * WORDS : (part + 1) * WORDS]

    def locks(self) -> int:
        """How many locks there are in all parts."""
        return sum(self.words[HELD::WORDS])

    @property
    def zero(self) -> bool:
        """Whether there are no locks; for tests of clean-up."""
        return not any(self.counters) and not any(self.words[HELD::WORDS])

    def close(self) -> None:
        """Unmap the file."""
        self.counters.release()
        self.words.release()
        self._shared.close()
