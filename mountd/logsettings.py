# SPDX-License-Identifier: GPL-2.0-or-later
"""What the log tells and where: the command line, and Samba's parameters `log level`, `log file`, `max log size`."""

from __future__ import annotations

import os
import re
import socket
import syslog
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from ksmbd import debug
from ksmbd.log_targets import JSON, NONE, PLAIN, TIMES, LogSettings
from mountd.settings import GlobalSettings

DEBUG_LEVEL: Final = 5
"""The level from which on the debug lines of a component are told."""
PROGRAM: Final = "ksmbd"
"""What Samba's variables of a client stand for in `log file`: one file has the lines about all."""
_PRIORITIES: Final = (syslog.LOG_WARNING, syslog.LOG_NOTICE, syslog.LOG_INFO)
"""By level; higher levels are as the last one."""
_CLASSES: Final[Mapping[str, str]] = {
    name: component
    for component, names in {
        "smb": "smb smb2 smb2_credits dfs msdfs dns",
        "auth": "auth auth_audit auth_json_audit kerberos passdb sam winbind",
        "vfs": "vfs acls quota full_audit ea",
        "oplock": "oplock locking lease",
        "ipc": "ipc rpc_parse rpc_srv rpc_cli",
        "conn": "conn",
    }.items()
    for name in names.split()
}
"""Samba's debug classes and our components -> the component."""
_WORD: Final = re.compile(r"(?:([a-z0-9_]+):)?([0-9]{1,4})(?:@\S*)?", re.IGNORECASE)


class Levels(NamedTuple):
    """The meaning of `log level`."""

    priority: int
    """The lowest priority that is told."""
    priorities: Mapping[str, int]
    """The same for the lines of a component."""
    debug: int
    """The components whose debug lines are on, bits of ksmbd.debug."""
    unknown: tuple[str, ...]
    """Words that mean nothing."""


def levels(text: str) -> Levels:
    """Read a value such as `1 auth:3 smb2:5`."""
    general = len(_PRIORITIES) - 1
    named: dict[str, int] = {}
    unknown = []
    for word in text.replace(",", " ").split():
        match = _WORD.fullmatch(word)
        if match is None:
            unknown.append(word)
        elif match[1] is None or match[1].lower() == "all":
            general = int(match[2])
        elif (component := _CLASSES.get(match[1].lower())) is not None:
            named[component] = max(named.get(component, 0), int(match[2]))
    on = 0
    for component, bit in debug.COMPONENTS.items():
        if named.get(component, general) >= DEBUG_LEVEL:
            on |= bit
    return Levels(_priority(general), {name: _priority(level) for name, level in named.items()}, on, tuple(unknown))


def _priority(level: int) -> int:
    return _PRIORITIES[min(level, len(_PRIORITIES) - 1)]


def file_path(text: str, settings: GlobalSettings) -> str:
    """The path of `log file`: Samba's variables of the machine are replaced, those of a client are `ksmbd`."""
    known = {"h": socket.gethostname(), "L": settings.netbios_name.lower(), "%": "%"}
    return re.sub(r"%(.)", lambda match: known.get(match[1], PROGRAM).replace("/", "_"), text)


def of_parameters(before: LogSettings, settings: GlobalSettings) -> LogSettings:
    """The settings `before` with what the configuration says."""
    found = levels(settings.log_level)
    path = file_path(settings.log_file, settings) if settings.log_file else ""
    if path and not path.startswith("/"):
        path = ""
    return replace(
        before, path=path, max_kib=settings.max_log_size, level=found.priority, levels=found.priorities
    )


def problems(settings: GlobalSettings) -> list[str]:
    """A line for each part of the parameters that means nothing here."""
    found = [f"log level: {word} means nothing" for word in levels(settings.log_level).unknown]
    if settings.log_file and not file_path(settings.log_file, settings).startswith("/"):
        found.append(f"log file: {settings.log_file} is not an absolute path, and is left out")
    return found


def at_start(form: str, foreground: bool) -> LogSettings:
    """The settings before the configuration is read. `form`: text, json, or '' where the command line says nothing."""
    as_objects = form == "json"
    if not foreground:
        return LogSettings(JSON if as_objects else PLAIN, as_objects)
    if as_objects:
        return LogSettings(JSON, True)
    return LogSettings(NONE if stderr_is_journal() else TIMES)


def stderr_is_journal(descriptor: int = 2) -> bool:
    """Whether standard error leads to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        device, inode = map(int, os.environ.get("JOURNAL_STREAM", "").split(":"))
        found = os.fstat(descriptor)
    except (ValueError, OSError):
        return False
    return (found.st_dev, found.st_ino) == (device, inode)
