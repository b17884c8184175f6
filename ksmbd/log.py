# SPDX-License-Identifier: GPL-2.0-or-later
"""Log lines: `ksmbd: text` on standard error, or through syslog once the server has detached.

Errors and warnings are for the administrator, one line each. What a client can cause at will goes through `peer`, which
is limited in rate, so that nobody fills the disk from outside. Debug prints are a component's (see ksmbd.debug).
"""

from __future__ import annotations

import logging
import os
import sys
import syslog
import time
import traceback
from typing import Final

from ksmbd import debug as _debug
from ksmbd.overriding import override

PREFIX: Final = "ksmbd: "
_MAX_LINE: Final = 4096

_use_syslog = False
_who = ""
_NAMES: Final = {bit: name for name, bit in _debug.COMPONENTS.items()}


def use_syslog(identity: str = "ksmbd") -> None:
    """Send all lines to syslog from now on (facility daemon)."""
    global _use_syslog
    syslog.openlog(identity, syslog.LOG_PID, syslog.LOG_DAEMON)
    _use_syslog = True


def leave_terminal() -> None:
    """Lines go to syslog from now on, and standard input, output and error are nobody's any more: for who detaches."""
    use_syslog()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def set_process(name: str) -> None:
    """The name that debug lines carry, such as `ksmbd/1`."""
    global _who
    _who = name


def _printable(text: str) -> str:
    # One record is one line, whatever a peer put into a name.
    if text.isprintable():
        return text[:_MAX_LINE]
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:_MAX_LINE])


def _emit(priority: int, text: str) -> None:
    if _use_syslog:
        syslog.syslog(priority, text)
        return
    try:
        # One write a line: lines of several processes do not mix.
        fd = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
        os.write(fd, (PREFIX + text + "\n").encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        pass  # nobody reads standard error any more; a server does not die of that


def info(text: str) -> None:
    """Something that an administrator wants to know."""
    _emit(syslog.LOG_INFO, _printable(text))


def warning(text: str) -> None:
    """Something is missing or odd; the server goes on."""
    _emit(syslog.LOG_WARNING, "warning: " + _printable(text))


def error(text: str) -> None:
    """Something does not work."""
    _emit(syslog.LOG_ERR, "error: " + _printable(text))


def exception(text: str, error: BaseException) -> None:
    """A defect of ours: the text, then the traceback, a line each."""
    _emit(syslog.LOG_ERR, "error: " + _printable(text))
    for part in traceback.format_exception(error):
        for line in part.rstrip().splitlines():
            _emit(syslog.LOG_ERR, "  " + _printable(line))


def debug(component: int, text: str) -> None:
    """A debug print of `component`, a bit of ksmbd.debug. Test `debug.mask[0]` first: a text costs."""
    if _debug.mask[0] & component:
        _emit(syslog.LOG_DEBUG, f"{_NAMES[component]}: {_who or 'ksmbd'}[{os.getpid()}]: {_printable(text)}")


class RateLimit:
    """At most `burst` lines in `interval` seconds; the next one let through says how many were left out."""

    __slots__ = ("_burst", "_count", "_interval", "_start")

    def __init__(self, burst: int = 10, interval: float = 5.0) -> None:
        self._burst = burst
        self._interval = interval
        self._start = float("-inf")
        self._count = 0

    def admit(self, now: float) -> int | None:
        """None: leave this line out. Else print it, after saying that so many were left out."""
        if now - self._start >= self._interval:
            missed = max(0, self._count - self._burst)
            self._start = now
            self._count = 1
            return missed
        self._count += 1
        return 0 if self._count <= self._burst else None


_peer_limit = RateLimit()


def peer(text: str) -> None:
    """A line that a client caused (bad frame, refused connection), limited in rate."""
    missed = _peer_limit.admit(time.monotonic())
    if missed is None:
        return
    if missed:
        _emit(syslog.LOG_INFO, f"{missed} more lines about clients were left out")
    _emit(syslog.LOG_INFO, _printable(text))


class _Handler(logging.Handler):
    """Records of `logging.getLogger("ksmbd.ROOM")` take the same way; debug records obey that room's toggle."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError) as problem:
            text = f"{record.msg!r} ({problem})"
        if record.levelno <= logging.DEBUG:
            debug(_debug.COMPONENTS.get(record.name.partition(".")[2].partition(".")[0], 0), text)
        elif record.exc_info and record.exc_info[1] is not None:
            exception(text, record.exc_info[1])
        elif record.levelno >= logging.ERROR:
            error(text)
        elif record.levelno >= logging.WARNING:
            warning(text)
        else:
            info(text)


def take_over_logging() -> None:
    """Let the loggers below `ksmbd` print here. Once a process."""
    logger = logging.getLogger("ksmbd")
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        logger.addHandler(_Handler())
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
