# SPDX-License-Identifier: GPL-2.0-or-later
"""Parses ksmbd.conf by KSMBD's rules, and smb.conf by Samba's where they differ (mountd/sambaconf.py).

The rules of ksmbd.conf:
- `[section]`, `key = value`; `;` and `#` begin a comment to the end of the line, also after a value;
- sections whose names are equal without regard to case are one; of a key given twice the first non-empty value counts;
- a share parameter in [global] is the default of every share except IPC$: a `veto files` meant for directories must
  not change which pipes can be opened;
- an unknown parameter gives a warning, a value that is not allowed an error; both name file and line.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass, field
from typing import Any

from ksmbd.kernel import interface_patterns
from ksmbd.overriding import override
from mountd import hosts, sambaconf
from mountd.ignored import Ignored, changes_access_or_data, module_changes
from mountd.parameters import (
    GLOBAL_PARAMETERS,
    READ_ONLY_PRECEDENCE,
    SHARE_PARAMETERS,
    Parameter,
    Value,
    split_list,
)
from mountd.settings import GlobalSettings, ShareSettings

__all__ = [
    "Configuration",
    "Diagnostic",
    "Entry",
    "GlobalSettings",
    "Section",
    "Severity",
    "ShareSettings",
    "load",
    "parse",
    "read_sections",
    "share_key",
    "share_name_problem",
]

SHARE_NAME_MAX = 63
"""Bytes of a share's name in UTF-8: the field in the netlink messages has 64 with the NUL."""

NOT_SUPPORTED = "parameters of Samba that are not supported and were ignored"
"""How the warning begins that lists them."""

HOST_LISTS = ("hosts allow", "hosts deny")

_FORBIDDEN_IN_SHARE_NAME = frozenset('"/\\[]:|<>+=;,*?')
"""Characters that Windows refuses in a share's name."""


class Severity(enum.Enum):
    """Whether the daemon can use the configuration: a WARNING is logged, an ERROR prevents its use."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Diagnostic:
    """A problem in a configuration file. `line` counts from 1; 0 stands for the whole file."""

    file: str
    line: int
    severity: Severity
    message: str

    @override
    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.severity.value}: {self.message}"


@dataclass(frozen=True)
class Entry:
    """A value as written in the file, and its line."""

    text: str
    line: int


@dataclass
class Section:
    """All entries of the sections with one name. Keys are in lower case with single spaces."""

    name: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass
class Configuration:
    """A parsed configuration. A value with an error in `diagnostics` is replaced by its default."""

    path: str
    settings: GlobalSettings
    shares: dict[str, ShareSettings]
    """Name in lower case -> share; `ipc$` is always there."""
    diagnostics: list[Diagnostic]
    ignored: list[Ignored] = field(default_factory=list)
    """What has no effect (mountd/ignored.py)."""

    @property
    def errors(self) -> list[Diagnostic]:
        """The diagnostics with which the daemon must not start."""
        return [diagnostic for diagnostic in self.diagnostics if diagnostic.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The diagnostics that are no errors, but for those that only tell of what is in `ignored`."""
        told = {item.line for item in self.ignored}
        return [
            one
            for one in self.diagnostics
            if one.severity is Severity.WARNING and one.line not in told and not one.message.startswith(NOT_SUPPORTED)
        ]

    def share(self, name: str) -> ShareSettings | None:
        """A share by its name, without regard to case; None: there is none."""
        return self.shares.get(share_key(name))


def share_key(name: str) -> str:
    """The case-folded name of a share, as a key."""
    return name.casefold()


def share_name_problem(name: str) -> str:
    """Why this cannot be a share's name, or an empty string."""
    size = len(name.encode(errors="surrogateescape"))
    if not 1 <= size <= SHARE_NAME_MAX:
        return f"a share's name has 1 to {SHARE_NAME_MAX} bytes, this one has {size}"
    bad = sorted(c for c in set(name) if c in _FORBIDDEN_IN_SHARE_NAME or ord(c) < 0x20)
    if bad:
        return "a share's name cannot contain " + " ".join(repr(c) for c in bad)
    try:
        name.encode()
    except UnicodeEncodeError:
        return "a share's name must be UTF-8"
    return ""


def load(path: str | os.PathLike[str], *, samba: bool | None = None) -> Configuration:
    """Read a configuration file. Never raises: a file that cannot be read gives an error in the diagnostics.

    `samba`: whether Samba's defaults and names apply; None: if the file is called smb.conf.
    """
    name = os.fspath(path)
    if samba is None:
        samba = os.path.basename(name) == "smb.conf"
    try:
        with open(name, "rb") as stream:
            content = stream.read()
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        hint = "; create it with ksmbd.addshare, or name another with -C" if absent else ""
        problem = Diagnostic(name, 0, Severity.ERROR, f"cannot be read: {error.strerror}{hint}")
        return parse("", name, samba=samba, diagnostics=[problem])
    diagnostics: list[Diagnostic] = []
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        diagnostics.append(Diagnostic(name, line, Severity.ERROR, "not UTF-8"))
        text = content.decode("utf-8-sig", errors="replace")
    return parse(text, name, samba=samba, diagnostics=diagnostics)


def parse(text: str, path: str, *, samba: bool = False, diagnostics: list[Diagnostic] | None = None) -> Configuration:
    """Parse a configuration; diagnostics name it `path`."""
    found = [] if diagnostics is None else diagnostics
    return _Builder(path, samba, found).build(read_sections(text, path, samba=samba, diagnostics=found))


def read_sections(text: str, path: str, *, samba: bool, diagnostics: list[Diagnostic]) -> dict[str, Section]:
    """Parse the sections, without interpreting their entries: name in lower case -> section."""
    sections: dict[str, Section] = {}
    current: Section | None = None

    def problem(line: int, message: str, severity: Severity = Severity.ERROR) -> None:
        diagnostics.append(Diagnostic(path, line, severity, message))

    lines = sambaconf.join_lines(text) if samba else list(enumerate(text.split("\n"), 1))
    for number, raw in lines:
        line = raw.strip(" \t\r\v\f")
        if not line or line[0] in ";#":
            continue
        if line[0] == "[":
            name, bracket, rest = line[1:].partition("]")
            name = name.strip()
            if not bracket or (rest.strip() and rest.strip()[0] not in ";#"):
                problem(number, f"not a section: {line!r} (allowed is [name])")
                current = None
                continue
            reason = share_name_problem(name)
            if reason:
                problem(number, f"[{name}]: {reason}")
                current = Section(name, number)  # its entries are dropped
                continue
            current = sections.setdefault(share_key(name), Section(name, number))
            continue
        key, equals, value = line.partition("=")
        key = " ".join(key.lower().split())
        listed = key == "interfaces"  # its items may be quoted and have options after a semicolon
        if not samba:
            value = _strip_comment(value, quotes=listed)
        value = value.strip()
        if not equals or not key or (not samba and any(c in key for c in ";#")):
            problem(number, f"neither a section nor `parameter = value`: {line!r}")
            continue
        if current is None:
            problem(number, f"`{key}` stands before the first section; put [global] above it")
            continue
        if samba:
            key = sambaconf.canonical(key, in_global=share_key(current.name) == "global")
            value = value if listed else sambaconf.unquote(value)
        known = current.entries.get(key)
        if known is None or samba or not known.text:
            current.entries[key] = Entry(value, number)
        elif value and value != known.text:
            problem(number, f"`{key}` is already set in line {known.line}; this value is not used", Severity.WARNING)
    return sections


def _strip_comment(value: str, quotes: bool = False) -> str:
    """A value without its comment. `quotes`: text in double quotes is no comment."""
    inside = False
    for index, character in enumerate(value):
        if character == '"' and quotes:
            inside = not inside and '"' in value[index + 1 :]
        elif character in ";#" and not inside:
            return value[:index]
    return value


class _Builder:
    """Converts sections to settings, and collects diagnostics."""

    def __init__(self, path: str, samba: bool, diagnostics: list[Diagnostic]) -> None:
        self.path = path
        self.samba = samba
        self.diagnostics = diagnostics
        self.unsupported: dict[str, int] = {}
        self.reported: set[tuple[int, str]] = set()
        self.ignored: dict[tuple[int, str], Ignored] = {}

    def build(self, sections: dict[str, Section]) -> Configuration:
        top = sections.pop("global", Section("global", 0))
        values: dict[str, Any] = {}
        for parameter in GLOBAL_PARAMETERS.values():
            values[parameter.attribute] = self.value(parameter, top.entries.get(parameter.name))
        self.without_effect(top, GLOBAL_PARAMETERS)
        settings = GlobalSettings(**values)
        self.unknown(top, in_global=True)
        self.check_globals(settings, top)
        for parameter in SHARE_PARAMETERS.values():  # a bad default is reported although no share may use it
            if parameter.name in top.entries and parameter.name not in GLOBAL_PARAMETERS:
                self.value(parameter, top.entries[parameter.name])
        self.without_effect(top, SHARE_PARAMETERS)
        sections.setdefault("ipc$", Section("IPC$", 0))
        shares: dict[str, ShareSettings] = {}
        for key, section in sections.items():
            if self.samba and self.skip_samba_section(section):
                continue
            shares[key] = self.share(section, top)
        if self.unsupported:
            by_line = sorted(self.unsupported.items(), key=lambda item: item[1])
            names = ", ".join(f"{name} (line {line})" for name, line in by_line)
            self.report(0, f"{NOT_SUPPORTED}: {names}", Severity.WARNING)
        self.diagnostics.sort(key=lambda diagnostic: diagnostic.line)
        return Configuration(self.path, settings, shares, self.diagnostics, list(self.ignored.values()))

    def share(self, section: Section, top: Section) -> ShareSettings:
        ipc = share_key(section.name) == "ipc$"
        values: dict[str, Any] = {"name": section.name}
        for parameter in SHARE_PARAMETERS.values():
            if parameter.name in READ_ONLY_PRECEDENCE:
                continue
            entry = section.entries.get(parameter.name)
            if entry is None and parameter.inherits and not ipc:
                entry = top.entries.get(parameter.name)
            values[parameter.attribute] = self.value(parameter, entry)
        values["read_only"] = self.read_only(section, Section("", 0) if ipc else top)
        if ipc:
            values["comment"] = values["comment"] or "IPC share"
            values["path"] = ""  # named pipes only: no directory can be reached through IPC$
        self.unknown(section, in_global=False)
        self.without_effect(section, SHARE_PARAMETERS)
        share = ShareSettings(**values)
        if not ipc and not share.path:
            self.report(section.line, f"[{section.name}] has no `path` and is not shared", Severity.WARNING)
        elif not ipc and not share.path.startswith("/"):
            line = section.entries.get("path", top.entries.get("path", Entry("", section.line))).line
            self.report(line, f"`path = {share.path}` in [{section.name}]: allowed is an absolute path")
        return share

    def read_only(self, section: Section, top: Section) -> bool:
        for source in (section, top):
            outcome: bool | None = None
            for name in READ_ONLY_PRECEDENCE:
                entry = source.entries.get(name)
                if entry is None or not entry.text:
                    continue
                value = bool(self.value(SHARE_PARAMETERS[name], entry))
                if outcome is None:
                    outcome = value if name == "read only" else not value
            if outcome is not None:
                return outcome
        return True

    def value(self, parameter: Parameter, entry: Entry | None) -> Value:
        default = parameter.default
        if self.samba and parameter.samba is not None:
            default = parameter.samba
        if parameter.name in READ_ONLY_PRECEDENCE:
            default = default or "no"
        # An empty value counts as unset, except for texts and lists, where it overrides a default of [global].
        if entry is not None and (entry.text or parameter.default == ""):
            try:
                text = sambaconf.value(parameter, entry.text) if self.samba else entry.text
                value, warning = parameter.parse(text)
                if parameter.name in HOST_LISTS and isinstance(value, tuple):
                    hosts.parse_list(value)
                elif parameter.name == "interfaces" and isinstance(value, tuple):
                    for item in value:
                        interface_patterns.parse(item)
                warning = warning or (sambaconf.warning(parameter, entry.text) if self.samba else "")
            except ValueError as error:
                self.report(entry.line, f"`{parameter.name} = {entry.text}`: allowed is {error}")
            else:
                if warning:
                    self.report(entry.line, f"`{parameter.name} = {entry.text}`: {warning}", Severity.WARNING)
                return value
        return parameter.parse(default)[0]

    def unknown(self, section: Section, *, in_global: bool) -> None:
        for name, entry in section.entries.items():
            if name in SHARE_PARAMETERS or (in_global and name in GLOBAL_PARAMETERS):
                continue
            why = "belongs in [global]" if name in GLOBAL_PARAMETERS else "not known"
            self.ignore(section, name, entry, why, changes_access_or_data(name, entry.text))
            if name in GLOBAL_PARAMETERS:
                self.report(entry.line, f"`{name}` belongs in [global]; ignored in [{section.name}]", Severity.WARNING)
            elif self.samba:
                self.unsupported.setdefault(name, entry.line)
            else:
                self.report(entry.line, f"unknown parameter `{name}` is ignored", Severity.WARNING)

    def without_effect(self, section: Section, parameters: dict[str, Parameter]) -> None:
        """Collect the parameters of a section that are checked and have no effect, and modules that are left out."""
        for name, entry in section.entries.items():
            parameter = parameters.get(name)
            if parameter is None:
                continue
            if parameter.pending and entry.text and entry.text != parameter.default:
                self.ignore(section, name, entry, "has no effect yet", changes_access_or_data(name, entry.text))
            if name == "vfs objects":
                for module in split_list(entry.text):
                    if module not in parameter.choices:
                        why = f"module {module} is left out"
                        self.ignore(section, f"{name} = {module}", entry, why, module_changes(module))

    def ignore(self, section: Section, name: str, entry: Entry, why: str, changes: bool) -> None:
        item = Ignored(section.name, name, entry.text, entry.line, why, changes)
        self.ignored.setdefault((entry.line, name), item)

    def check_globals(self, settings: GlobalSettings, top: Section) -> None:
        names = list(GLOBAL_PARAMETERS["server min protocol"].choices)
        if names.index(settings.server_min_protocol) > names.index(settings.server_max_protocol):
            entry = top.entries.get("server min protocol") or top.entries["server max protocol"]
            self.report(entry.line, f"`server min protocol` ({settings.server_min_protocol}) is above "
                                    f"`server max protocol` ({settings.server_max_protocol}): no client could connect")

    def skip_samba_section(self, section: Section) -> bool:
        reason = sambaconf.section_not_served(section.name, {k: e.text for k, e in section.entries.items()})
        if reason:
            self.report(section.line, f"[{section.name}] is not shared: {reason}", Severity.WARNING)
        return bool(reason)

    def report(self, line: int, message: str, severity: Severity = Severity.ERROR) -> None:
        if (line, message) not in self.reported:  # a default of [global] is read again for every share
            self.reported.add((line, message))
            self.diagnostics.append(Diagnostic(self.path, line, severity, message))
