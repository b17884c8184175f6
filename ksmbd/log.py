# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes log lines: `ksmbd: text` on standard error, or to syslog once the server has detached.

Errors and warnings are for the administrator, one line each. Lines that a client can cause go through `peer`, which
limits their rate by kind and address and in total, so that no client can fill the disk or hide other lines. Tracebacks
are limited by the place where they are raised. Debug lines belong to a component (see ksmbd.debug).
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
from ksmbd import limits
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
    """Detach from the terminal: log to syslog, and redirect standard input, output and error to /dev/null."""
    use_syslog()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def set_process(name: str) -> None:
    """Set the name of the process in debug lines, such as `ksmbd/1`."""
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
    """Log information for the administrator."""
    _emit(syslog.LOG_INFO, _printable(text))


def notice(text: str) -> None:
    """Log an event that the administrator should know of. The caller limits the rate."""
    _emit(syslog.LOG_NOTICE, _printable(text))


def warning(text: str, kind: str = "") -> None:
    """Log that something is missing or odd; the server goes on. Lines with a `kind` are limited in rate by kind."""
    if kind and not _admitted(_lines, kind):
        return
    _emit(syslog.LOG_WARNING, "warning: " + _printable(text))


def error(text: str, kind: str = "") -> None:
    """Log that something does not work. `kind` as in `warning`."""
    if kind and not _admitted(_lines, kind):
        return
    _emit(syslog.LOG_ERR, "error: " + _printable(text))


def exception(text: str, error: BaseException) -> None:
    """Log an unexpected exception, a defect of the server: the text, then the traceback. Limited in rate by the place
    in the source, since a client may be able to cause it again and again."""
    if not _admitted(_tracebacks, _place(error)):
        return
    _emit(syslog.LOG_ERR, "error: " + _printable(text))
    for part in traceback.format_exception(error):
        for line in part.rstrip().splitlines():
            _emit(syslog.LOG_ERR, "  " + _printable(line))


def debug(component: int, text: str) -> None:
    """Log a debug line of `component`, a bit of ksmbd.debug. The caller tests `debug.mask[0]` first, to save making the
    text."""
    if _debug.mask[0] & component:
        _emit(syslog.LOG_DEBUG, f"{_NAMES[component]}: {_who or 'ksmbd'}[{os.getpid()}]: {_printable(text)}")


def record(text: str) -> None:
    """A record for other programs, of printable characters alone: a line as it is. Who calls limits the rate."""
    _emit(syslog.LOG_NOTICE, text)


class Throttle:
    """A rate limit: at most `each` lines of a key and `total` lines in all within `interval` seconds."""

    __slots__ = ("_counts", "_each", "_interval", "_left_out", "_start", "_sum", "_total")

    def __init__(self, each: int, total: int, interval: float) -> None:
        self._each = each
        self._total = total
        self._interval = interval
        self._start = float("-inf")
        self._sum = 0
        self._counts: dict[str, int] = {}
        """Counts of this interval, only of keys that were admitted, so they are few."""
        self._left_out = 0

    def admit(self, key: str, now: float) -> int | None:
        """None: do not log this line. Else log it; the result is the number of lines left out since the last one."""
        if now - self._start >= self._interval:
            self._start = now
            self._sum = 0
            self._counts.clear()
        count = self._counts.get(key, 0)
        if count >= self._each or self._sum >= self._total:
            self._left_out += 1
            return None
        self._counts[key] = count + 1
        self._sum += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


_lines: Final = Throttle(limits.LOG_LINES_OF_A_KIND.value, limits.LOG_LINES.value, 5.0)
_tracebacks: Final = Throttle(limits.TRACEBACKS_OF_A_PLACE.value, limits.TRACEBACKS.value, 60.0)


def _admitted(throttle: Throttle, key: str) -> bool:
    left_out = throttle.admit(key, time.monotonic())
    if left_out:
        what = "lines about clients" if throttle is _lines else "tracebacks"
        _emit(syslog.LOG_INFO, f"{left_out} more {what} were left out")
    return left_out is not None


def _place(error: BaseException) -> str:
    """The type of an exception and where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__} {where}"


def peer(text: str, kind: str = "", address: str = "") -> None:
    """Log a line that a client caused (malformed frame, refused connection), limited in rate by kind and address."""
    if _admitted(_lines, f"{kind} {address}"):
        _emit(syslog.LOG_INFO, _printable(text))


class _Handler(logging.Handler):
    """Passes records of `logging.getLogger("ksmbd.COMPONENT")` to this module; debug records obey the toggle of the
    component."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError) as problem:
            text = f"{record.msg!r} ({problem})"
        if record.levelno <= logging.DEBUG:
            debug(_debug.COMPONENTS.get(record.name.partition(".")[2].partition(".")[0], 0), text)
        elif record.exc_info and record.exc_info[1] is not None:
            exception(text, record.exc_info[1])
        elif record.levelno >= logging.ERROR:
            error(text, f"{record.pathname}:{record.lineno}")
        elif record.levelno >= logging.WARNING:
            warning(text, f"{record.pathname}:{record.lineno}")
        else:
            info(text)


def take_over_logging() -> None:
    """Pass all loggers below `ksmbd` to this module. Once in each process."""
    logger = logging.getLogger("ksmbd")
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        logger.addHandler(_Handler())
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
