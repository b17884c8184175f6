# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory shared by the processes of a server: a mapped file in the run directory.

The first bytes are the debug toggles (ksmbd.debug). From `_FIRST` on each worker has `_SLOTS` 64-bit words, its
counters and epoch, which only it writes and all read. The forker, index 0, has them, too, and a word by which it asks
all others to tell of activity (Attention). Behind them is the
SharedTable. Words are read and written whole.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass
from typing import Final

from ksmbd.process.table import SharedTable, table_size

FILE_NAME: Final = "ksmbd.state"
_FIRST: Final = 4096
_SLOTS: Final = 64
_WORD: Final = 8

_EPOCH, _PID, _CONNECTIONS, _SESSIONS, _OPENS, _REQUESTS, _RECEIVED, _SENT, _ACCEPTED, _REFUSED = range(10)
_ATTENTION: Final = 10


@dataclass(frozen=True)
class WorkerStats:
    """A snapshot of the counters of one worker."""

    worker: int
    pid: int
    epoch: int
    connections: int
    sessions: int
    opens: int
    requests: int
    bytes_received: int
    bytes_sent: int
    accepted: int
    refused: int


class WorkerCounters:
    """The counters of one worker in shared memory. Sums last as long as the server, the others as long as the
    worker."""

    __slots__ = ("_words", "index")

    def __init__(self, words: memoryview, index: int) -> None:
        self._words = words
        self.index = index

    @property
    def epoch(self) -> int:
        """How often this worker was started; 0: never."""
        return self._words[_EPOCH]

    @property
    def pid(self) -> int:
        """Its process id, 0 while it is dead."""
        return self._words[_PID]

    @property
    def connections(self) -> int:
        """Its connections now."""
        return self._words[_CONNECTIONS]

    def begin(self, pid: int) -> int:
        """Begin a new epoch for a worker that starts as process `pid`. Returns the epoch."""
        words = self._words
        words[_CONNECTIONS] = words[_SESSIONS] = words[_OPENS] = 0
        words[_PID] = pid
        words[_EPOCH] += 1
        return words[_EPOCH]

    def set_pid(self, pid: int) -> None:
        """Set the process id."""
        self._words[_PID] = pid

    def end(self) -> None:
        """Clear what a dead worker had."""
        words = self._words
        words[_PID] = words[_CONNECTIONS] = words[_SESSIONS] = words[_OPENS] = 0

    def count(self, requests: int, received: int, sent: int) -> None:
        """Add frames handled and bytes to the sums."""
        words = self._words
        if requests:
            words[_REQUESTS] += requests
        if received:
            words[_RECEIVED] += received
        if sent:
            words[_SENT] += sent

    def connected(self) -> None:
        """One connection more."""
        self._words[_CONNECTIONS] += 1
        self._words[_ACCEPTED] += 1

    def disconnected(self) -> None:
        """One connection less."""
        self._words[_CONNECTIONS] -= 1

    def refused(self) -> None:
        """A connection was refused by the limits."""
        self._words[_REFUSED] += 1

    def queue_empty(self) -> None:
        """All connections that had come were accepted: nothing to count."""

    def publish(self, sessions: int, opens: int) -> None:
        """Store how many sessions and opens the worker has."""
        self._words[_SESSIONS] = sessions
        self._words[_OPENS] = opens

    def read(self) -> WorkerStats:
        """All of it."""
        words = self._words
        return WorkerStats(
            worker=self.index,
            pid=words[_PID],
            epoch=words[_EPOCH],
            connections=words[_CONNECTIONS],
            sessions=words[_SESSIONS],
            opens=words[_OPENS],
            requests=words[_REQUESTS],
            bytes_received=words[_RECEIVED],
            bytes_sent=words[_SENT],
            accepted=words[_ACCEPTED],
            refused=words[_REFUSED],
        )


class Attention:
    """A word by which the forker, which sleeps, asks to be told when the counters of a worker change."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    @property
    def asked(self) -> bool:
        """Whether the forker asks."""
        return self._words[_ATTENTION] != 0

    def ask(self) -> None:
        """Ask: the next worker that does anything takes the question, and tells."""
        self._words[_ATTENTION] = 1

    def take(self) -> bool:
        """Take the question, if there is one: the caller then tells the forker."""
        if self._words[_ATTENTION]:
            self._words[_ATTENTION] = 0
            return True
        return False


class SharedState:
    """The mapping. The forker makes it before it forks; workers inherit it, other programs open the file."""

    def __init__(self, mapping: mmap.mmap, workers: int, lock_fd: int) -> None:
        self.lock_fd = lock_fd
        """The descriptor of the state file, which workers lock to use the table."""
        self.memory = memoryview(mapping)
        table = _FIRST + (workers + 1) * _SLOTS * _WORD
        words = self.memory[_FIRST:table].cast("Q")
        self.table = SharedTable(self.memory[table:], lock_fd)
        self.attention = Attention(words[:_SLOTS])
        self.counters = [
            WorkerCounters(words[index * _SLOTS : (index + 1) * _SLOTS], index) for index in range(workers + 1)
        ]
        """By worker; index 0 is the forker."""

    @classmethod
    def create(cls, rundir: str, workers: int, connections: int) -> SharedState:
        """Make a new file of zeros for so many workers and connections, replacing one that an earlier server left.
        Raises OSError where there is no room for it."""
        path = os.path.join(rundir, FILE_NAME)
        temporary = f"{path}.{os.getpid()}"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = _FIRST + (workers + 1) * _SLOTS * _WORD + table_size(connections)
            # Allocated now: a write to a page that the file system has no room for would raise SIGBUS.
            os.posix_fallocate(fd, 0, size)
            mapping = mmap.mmap(fd, size)
            os.replace(temporary, path)
        except BaseException:
            os.close(fd)
            os.unlink(temporary)
            raise
        return cls(mapping, workers, fd)

    @staticmethod
    def remove(rundir: str) -> None:
        """Remove the file, after the server has stopped."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(rundir, FILE_NAME))

    @property
    def workers(self) -> int:
        """The number of workers that it has room for."""
        return len(self.counters) - 1
