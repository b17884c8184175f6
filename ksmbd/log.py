# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes log lines: `ksmbd: text` on standard error, or to syslog once the server has detached.

Errors and warnings are for the administrator, one line each. Lines that a client can cause go through `peer`, which
limits their rate by kind and address and in total, so that no client can fill the disk or hide other lines. Tracebacks
are limited by the place where they are raised. Debug lines belong to a component (see ksmbd.debug).
"""

from __future__ import annotations

import logging
import math
import os
import sys
import syslog
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from ksmbd import debug as _debug
from ksmbd import limits
from ksmbd.line_limit import LineLimit
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
    if kind and not _about_clients.admits(kind):
        return
    _emit(syslog.LOG_WARNING, "warning: " + _printable(text))


def error(text: str, kind: str = "") -> None:
    """Log that something does not work. `kind` as in `warning`."""
    if kind and not _about_clients.admits(kind):
        return
    _emit(syslog.LOG_ERR, "error: " + _printable(text))


def exception(text: str, error: BaseException) -> None:
    """Log an unexpected exception, a defect of the server: the text, then the traceback. Limited in rate by the place
    in the source, since a client may be able to cause it again and again."""
    if not _defects.admits(_place(error)):
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


_lines: Final = LineLimit(limits.LOG_LINES_OF_A_KIND.value, limits.LOG_LINES.value, 5.0)
_tracebacks: Final = LineLimit(limits.TRACEBACKS_OF_A_PLACE.value, limits.TRACEBACKS.value, 60.0)


class Limited:
    """Lines under a LineLimit, with the lines that tell how many were held back: `count(key, number)` is such a line's
    text."""

    def __init__(self, limit: LineLimit, count: Callable[[str, int], str]) -> None:
        self.limit = limit
        self._count = count
        self._armed = False
        _all_limited.append(self)

    def admits(self, key: str) -> bool:
        """Whether a line of this key may be told now. Tells of those that were held back before it."""
        now = time.monotonic()
        self.tell(now)
        held = self.limit.admit(key, now)
        if held:
            self._tell(key, held)
        if held is None and not self._armed:
            self._arm(now)
        return held is not None

    def tell(self, now: float) -> None:
        """Tell the counts of intervals that have ended."""
        for key, number in self.limit.overdue(now):
            self._tell(key, number)

    def _tell(self, key: str, number: int) -> None:
        _emit(syslog.LOG_INFO, _printable(self._count(key, number)))

    def _arm(self, now: float) -> None:
        if _clock is not None and threading.get_ident() == _clock_thread:
            self._armed = True
            _clock(max(self.limit.due - now, 0.0), self._due)

    def _due(self) -> None:
        self._armed = False
        now = time.monotonic()
        self.tell(now)
        if self.limit.due != math.inf:
            self._arm(now)

    def forget(self) -> None:
        """Begin anew, in another process."""
        self._armed = False
        self.limit.forget()


_all_limited: Final[list[Limited]] = []
_clock: Callable[[float, Callable[[], None]], object] | None = None
_clock_thread = 0


def use_clock(call_later: Callable[[float, Callable[[], None]], object]) -> None:
    """Tell counts of lines that were held back in time, by this process's loop: `call_later(seconds, call)`. Called in
    the loop's thread, before it runs; counts of an earlier process are forgotten."""
    global _clock, _clock_thread
    _clock, _clock_thread = call_later, threading.get_ident()
    for limited in _all_limited:
        limited.forget()


_about_clients: Final = Limited(_lines, lambda key, number: f"{number} more lines were left out: {key or 'others'}")
_defects: Final = Limited(_tracebacks, lambda key, number: f"{number} more tracebacks were left out: {key or 'others'}")


def _place(error: BaseException) -> str:
    """The type of an exception and where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__} {where}"


def peer(text: str, kind: str = "", address: str = "") -> None:
    """Log a line that a client caused (malformed frame, refused connection), limited in rate by kind and address."""
    if _about_clients.admits(f"{kind} {address}".strip()):
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
