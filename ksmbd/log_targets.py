# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the lines of the log go: the terminal, a file, the journal, syslog; and the settings that say so.

The engine's processes know one target, a pipe to mountd, which writes their lines where its settings say. So one
process alone opens files and keeps order, and a worker never waits for the log: lines that the pipe has no room for are
lost."""
from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import syslog
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ksmbd.log_record import Record, as_datagram, as_json, as_line, as_text, shortened

IDENTITY: Final = "ksmbd"
JOURNAL: Final = "/run/systemd/journal/socket"
LOOK_SECONDS: Final = 1.0
"""Seconds between looks at the file's name and size."""
ENVIRONMENT: Final = "KSMBD_LOG"
"""The variable that tells a process of the server what its standard error is: RELAY."""
PIPE_BUF: Final = 4096
"""Bytes of a pipe's message that no other can come between (pipe(7))."""

TIMES, PLAIN, JSON, RELAY, NONE = "times", "plain", "json", "relay", ""
"""What the terminal gets: text with times, text, JSON, JSON for mountd's pipe, nothing."""


ALWAYS: Final = ("audit", "listening")
"""Messages that no level leaves out."""


@dataclass(frozen=True)
class LogSettings:
    """What is told, and where."""

    terminal: str = PLAIN
    json: bool = False
    """Lines of JSON for the file and for syslog."""
    path: str = ""
    """A file; '' is none."""
    max_kib: int = 0
    """The size at which the file is renamed to `.old`; 0: never."""
    level: int = syslog.LOG_INFO
    """The lowest priority that is told. Debug lines obey the toggles alone."""
    levels: Mapping[str, int] = field(default_factory=dict)
    """The same for the lines of a component, by its name."""

    def admit(self, record: Record) -> bool:
        """Whether the line is told."""
        if record.priority == syslog.LOG_DEBUG or record.event in ALWAYS:
            return True
        return record.priority <= self.levels.get(str(record.fields.get("component", "")), self.level)


class Terminal:
    """Standard error: one write a line, so that lines of several processes do not mix."""

    def __init__(self, form: str) -> None:
        self._form = form

    def write(self, record: Record) -> None:
        """Write a line. Nobody may read standard error any more; a server does not die of that."""
        if self._form == RELAY:
            line = shortened(record, PIPE_BUF)
        else:
            line = as_json(record) if self._form == JSON else as_line(record, self._form == TIMES)
        with contextlib.suppress(OSError, ValueError):
            fd = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
            os.write(fd, (line + "\n").encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Nothing to close."""


class Journal:
    """The journal of systemd."""

    def __init__(self, path: str = JOURNAL) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def write(self, record: Record) -> None:
        """Send a line; to syslog where there is no journal any more. One that would have to wait is lost."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.sendto(as_datagram(record, IDENTITY), self._path)
        except BlockingIOError:
            pass
        except OSError:
            syslog.syslog(record.priority, as_text(record))

    def close(self) -> None:
        """Close the socket; the next line opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Syslog:
    """The system's log."""

    def __init__(self, as_objects: bool) -> None:
        self._as_objects = as_objects
        syslog.openlog(IDENTITY, syslog.LOG_PID, syslog.LOG_DAEMON)

    def write(self, record: Record) -> None:
        """Send a line."""
        syslog.syslog(record.priority, as_json(record) if self._as_objects else as_text(record))

    def close(self) -> None:
        """Close the socket; the next line opens another."""
        syslog.closelog()
        syslog.openlog(IDENTITY, syslog.LOG_PID, syslog.LOG_DAEMON)


class LogFile:
    """A file that lines are added to. It is made anew where it was moved away (logrotate), and moved to `.old` where it
    has grown to `max_kib`."""

    def __init__(
        self,
        path: str,
        as_objects: bool,
        max_kib: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises OSError where it cannot be opened."""
        self._path = path
        self._as_objects = as_objects
        self._most = max_kib << 10
        self._monotonic = monotonic
        self._looked = monotonic()
        self._fd = -1
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        old, self._fd = self._fd, os.open(self._path, flags, 0o640)
        if old >= 0:
            os.close(old)

    def write(self, record: Record) -> None:
        """Add a line with one write. A full disk loses it."""
        now = self._monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            with contextlib.suppress(OSError):  # what is open stays in use
                self._look()
        line = as_json(record) if self._as_objects else as_line(record, times=True)
        with contextlib.suppress(OSError):
            os.write(self._fd, (line + "\n").encode("utf-8", "backslashreplace"))

    def _look(self) -> None:
        if not self._is_ours():
            self._open()
        elif self._most and os.fstat(self._fd).st_size >= self._most:
            # Of several servers one renames it; those that come later find another file under the name.
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                if self._is_ours():
                    os.rename(self._path, self._path + ".old")
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._open()

    def _is_ours(self) -> bool:
        here = os.fstat(self._fd)
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)
        self._fd = -1


Target = Terminal | Journal | Syslog | LogFile
