# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes log lines: `ksmbd: text` on standard error, and where the settings say: a file, the journal, syslog.

Errors and warnings are for the administrator, one line each. Lines that a client can cause go through `peer`, which
limits their rate by kind and address and in total, so that no client can fill the disk or hide other lines. Tracebacks
are limited by the place where they are raised. Debug lines belong to a component (see ksmbd.debug).
"""

from __future__ import annotations

import logging
import math
import os
import syslog
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from ksmbd import debug as _debug
from ksmbd import limits
from ksmbd.line_limit import LineLimit
from ksmbd.log_record import OTHER, PREFIX, TRACEBACK, Record
from ksmbd.log_targets import (
    ENVIRONMENT,
    JOURNAL,
    NONE,
    RELAY,
    Journal,
    LogFile,
    LogSettings,
    Syslog,
    Target,
    Terminal,
)
from ksmbd.overriding import override

__all__ = ["PREFIX", "LogSettings", "Record"]

_settings = LogSettings()
_targets: list[Target] = [Terminal(_settings.terminal)]
_who = ""
_NAMES: Final = {bit: name for name, bit in _debug.COMPONENTS.items()}


def settings() -> LogSettings:
    """What this process tells, and where."""
    return _settings


def configure(new: LogSettings) -> None:
    """Use these settings from now on. A file is opened anew; where it cannot be opened, a line says so, and the
    terminal or the system's log has the lines."""
    global _settings
    close()
    _settings = new
    reopen()


def use_relay() -> None:
    """Send all lines to mountd, if it has started this process with a pipe for that."""
    if os.environ.get(ENVIRONMENT) == RELAY:
        configure(LogSettings(terminal=RELAY))


def close() -> None:
    """Close what is open."""
    for target in _targets:
        target.close()
    _targets.clear()


def reopen() -> None:
    """Open the file anew, after a rotation."""
    close()
    problem = ""
    if _settings.path:
        try:
            _targets.append(LogFile(_settings.path, _settings.json, _settings.max_kib))
        except OSError as error:
            problem = f"log file {_settings.path}: {error.strerror}"
    if _settings.terminal:
        _targets.append(Terminal(_settings.terminal))
    elif not _targets:
        _targets.append(Journal() if os.path.exists(JOURNAL) else Syslog(_settings.json))
    if problem:
        warning(problem)


def leave_terminal() -> None:
    """Detach from the terminal: no more lines there, and standard input, output and error are /dev/null."""
    configure(replace(_settings, terminal=NONE))
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def set_process(name: str) -> None:
    """Set the name of the process in the lines, such as `ksmbd/1`."""
    global _who
    _who = name


def _emit(
    priority: int, text: str, event: str = OTHER, fields: Mapping[str, str | int] | None = None
) -> None:
    write(Record(priority, text, event, fields or {}, _who or "ksmbd", os.getpid(), time.time()))


def write(record: Record) -> None:
    """Write a line to all targets, unless the settings leave it out."""
    if _settings.admit(record):
        for target in _targets:
            target.write(record)


def info(text: str, event: str = OTHER, **fields: str | int) -> None:
    """Log information for the administrator. `event` and `fields`: what programs know the line by."""
    _emit(syslog.LOG_INFO, text, event, fields)


def notice(text: str, event: str = OTHER, **fields: str | int) -> None:
    """Log an event that the administrator should know of. The caller limits the rate."""
    _emit(syslog.LOG_NOTICE, text, event, fields)


def warning(text: str, kind: str = "", event: str = OTHER, **fields: str | int) -> None:
    """Log that something is missing or odd; the server goes on. Lines with a `kind` are limited in rate by kind."""
    if kind and not _about_clients.admits(kind):
        return
    _emit(syslog.LOG_WARNING, text, event, fields)


def error(text: str, kind: str = "", event: str = OTHER, **fields: str | int) -> None:
    """Log that something does not work. `kind` as in `warning`."""
    if kind and not _about_clients.admits(kind):
        return
    _emit(syslog.LOG_ERR, text, event, fields)


def exception(text: str, error: BaseException) -> None:
    """Log an unexpected exception, a defect of the server: the text, then the traceback. Limited in rate by the place
    in the source, since a client may be able to cause it again and again."""
    if not _defects.admits(_place(error)):
        return
    _emit(syslog.LOG_ERR, text, "defect")
    for part in traceback.format_exception(error):
        for line in part.rstrip().splitlines():
            _emit(syslog.LOG_ERR, "  " + line, TRACEBACK)


def debug(component: int, text: str, address: str = "") -> None:
    """Log a debug line of `component`, a bit of ksmbd.debug, about the client at `address`. The caller tests
    `debug.mask[0]` first, to save making the text."""
    if _debug.wanted(component, address):
        fields = {"component": _NAMES[component], **({"address": address} if address else {})}
        _emit(syslog.LOG_DEBUG, text, "debug", fields)


def record(text: str) -> None:
    """A record for other programs, of printable characters alone. Who calls limits the rate."""
    _emit(syslog.LOG_NOTICE, text, "audit")


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
        _emit(syslog.LOG_INFO, self._count(key, number), "held-back", {"of": key, "count": number})

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
        fields = {"address": address} if address else {}
        _emit(syslog.LOG_INFO, text, kind or "client", fields)


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
            component = _debug.COMPONENTS.get(record.name.partition(".")[2].partition(".")[0], 0)
            debug(component, text, getattr(record, "address", ""))
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
