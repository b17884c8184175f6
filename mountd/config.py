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

import os
from dataclasses import dataclass, field
from typing import Any

from ksmbd.kernel import interface_patterns
from mountd import hosts, sambaconf, usernamemap, variables
from mountd.ignored import Ignored, changes_access_or_data, module_changes, place
from mountd.parameters import (
    GLOBAL_PARAMETERS,
    READ_ONLY_PRECEDENCE,
    SHARE_PARAMETERS,
    Kind,
    Parameter,
    Value,
    split_list,
)
from mountd.sections import (
    Diagnostic,
    Entry,
    Section,
    Severity,
    read_sections,
    share_key,
    share_name_problem,
    text_of,
)
from mountd.settings import GlobalSettings, ShareSettings
from mountd.usernamemap import UsernameMap
from mountd.usernamescript import Script

__all__ = [
    "Configuration",
    "Diagnostic",
    "Entry",
    "GlobalSettings",
    "Section",
    "Severity",
    "ShareSettings",
    "is_smb_conf",
    "load",
    "parse",
    "read_sections",
    "share_key",
    "share_name_problem",
]

NOT_SUPPORTED = "parameters of Samba that are not supported and were ignored"
"""How the warning begins that lists them."""

HOST_LISTS = ("hosts allow", "hosts deny")


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
    samba: bool = False
    """It is an smb.conf: shares may have variables of the session (mountd/personal.py)."""
    homes: ShareSettings | None = None
    """[homes] of an smb.conf, the template of users' home directories."""
    username_map: UsernameMap = field(default_factory=UsernameMap)
    """The lines of `username map`."""
    homes_browseable: bool = True
    """`browseable` of [global], which counts for home directories."""

    @property
    def errors(self) -> list[Diagnostic]:
        """The diagnostics with which the daemon must not start."""
        return [diagnostic for diagnostic in self.diagnostics if diagnostic.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The diagnostics that are no errors, but for those that only tell of what is in `ignored`."""
        told = {(item.file or self.path, item.line) for item in self.ignored}
        return [
            one
            for one in self.diagnostics
            if one.severity is Severity.WARNING
            and (one.file, one.line) not in told
            and not one.message.startswith(NOT_SUPPORTED)
        ]

    def share(self, name: str) -> ShareSettings | None:
        """A share by its name, without regard to case; None: there is none."""
        return self.shares.get(share_key(name))

    def all_shares(self) -> list[ShareSettings]:
        """All shares, and the template of home directories."""
        return [*self.shares.values(), *([self.homes] if self.homes is not None else [])]


def is_smb_conf(path: str) -> bool:
    """Whether a file is Samba's by its name."""
    return os.path.basename(path) == "smb.conf"


def load(path: str | os.PathLike[str], *, samba: bool | None = None) -> Configuration:
    """Read a configuration file. Never raises: a file that cannot be read gives an error in the diagnostics.

    `samba`: whether Samba's defaults and names apply; None: if the file is called smb.conf.
    """
    name = os.fspath(path)
    if samba is None:
        samba = is_smb_conf(name)
    try:
        with open(name, "rb") as stream:
            content = stream.read()
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        hint = "; create it with ksmbd.addshare, or name another with -C" if absent else ""
        problem = Diagnostic(name, 0, Severity.ERROR, f"cannot be read: {error.strerror}{hint}")
        return parse("", name, samba=samba, diagnostics=[problem])
    diagnostics: list[Diagnostic] = []
    return parse(text_of(content, name, diagnostics), name, samba=samba, diagnostics=diagnostics)


def parse(text: str, path: str, *, samba: bool = False, diagnostics: list[Diagnostic] | None = None) -> Configuration:
    """Parse a configuration; diagnostics name it `path`."""
    found = [] if diagnostics is None else diagnostics
    return _Builder(path, samba, found).build(read_sections(text, path, samba=samba, diagnostics=found))


class _Builder:
    """Converts sections to settings, and collects diagnostics."""

    def __init__(self, path: str, samba: bool, diagnostics: list[Diagnostic]) -> None:
        self.path = path
        self.samba = samba
        self.diagnostics = diagnostics
        self.unsupported: dict[str, Entry] = {}
        self.reported: set[tuple[str, int, str]] = set()
        self.ignored: dict[tuple[str, int, str], Ignored] = {}
        self.variables: dict[str, str] = {}
        """The variables of the server, of an smb.conf."""

    def build(self, sections: dict[str, Section]) -> Configuration:
        top = sections.pop("global", Section("global", 0))
        values: dict[str, Any] = {}
        if self.samba:
            named = top.entries.setdefault("netbios name", Entry(sambaconf.default_netbios_name(), 0)).text
            self.variables = variables.of_server(variables.expand(named, variables.of_server("")))
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
            share = self.share(section, top)
            if share.available or share.is_ipc:
                shares[key] = share
        if self.unsupported:
            by_line = sorted(self.unsupported.items(), key=lambda item: (item[1].file, item[1].line))
            names = ", ".join(f"{name} ({place(entry.file, entry.line)})" for name, entry in by_line)
            self.report(Entry("", 0), f"{NOT_SUPPORTED}: {names}", Severity.WARNING)
        self.diagnostics.sort(key=lambda diagnostic: (diagnostic.file != self.path, diagnostic.file, diagnostic.line))
        browseable = self.value(SHARE_PARAMETERS["browseable"], top.entries.get("browseable"))
        return Configuration(
            self.path, settings, shares, self.diagnostics, list(self.ignored.values()), samba=self.samba,
            homes=shares.pop("homes", None) if self.samba else None, homes_browseable=bool(browseable),
            username_map=self.username_map(settings, top),
        )  # fmt: skip

    def username_map(self, settings: GlobalSettings, top: Section) -> UsernameMap:
        path, script = settings.username_map, settings.username_map_script
        if script:
            return UsernameMap(script=Script(script, settings.username_map_cache_time))
        if not path:
            return UsernameMap()
        try:
            return usernamemap.load(path)
        except (OSError, ValueError) as error:
            why = f"`username map = {path}`: {getattr(error, 'strerror', None) or error}; no name is mapped"
            self.report(top.entries["username map"], why, Severity.WARNING)
            return UsernameMap()

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
        if self.samba and share_key(section.name) == "homes" and not share.path:
            return share
        if not ipc and not share.path:
            self.report(section, f"[{section.name}] has no `path` and is not shared", Severity.WARNING)
        elif not ipc and not share.path.startswith(("/", "%H", "%P") if self.samba else "/"):
            entry = section.entries.get("path", top.entries.get("path", Entry("", section.line)))
            self.report(entry, f"`path = {share.path}` in [{section.name}]: allowed is an absolute path")
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
                if parameter.kind in (Kind.STRING, Kind.LIST, Kind.PATTERNS) and self.variables:
                    text = variables.expand(text, self.variables)
                value, warning = parameter.parse(text)
                if parameter.name in HOST_LISTS and isinstance(value, tuple):
                    hosts.parse_list(value)
                elif parameter.name == "interfaces" and isinstance(value, tuple):
                    for item in value:
                        interface_patterns.parse(item)
                warning = warning or (sambaconf.warning(parameter, entry.text) if self.samba else "")
            except ValueError as error:
                tolerated = self.samba and parameter.kind is Kind.CHOICE  # Samba takes the default, too
                why = f"`{parameter.name} = {entry.text}`: {'not used, ' if tolerated else ''}allowed is {error}"
                self.report(entry, why, Severity.WARNING if tolerated else Severity.ERROR)
            else:
                if warning:
                    self.report(entry, f"`{parameter.name} = {entry.text}`: {warning}", Severity.WARNING)
                return value
        return parameter.parse(default)[0]

    def unknown(self, section: Section, *, in_global: bool) -> None:
        for name, entry in section.entries.items():
            if name in SHARE_PARAMETERS or (in_global and name in GLOBAL_PARAMETERS):
                continue
            why = "belongs in [global]" if name in GLOBAL_PARAMETERS else "not known"
            self.ignore(section, name, entry, why, changes_access_or_data(name, entry.text))
            if name in GLOBAL_PARAMETERS:
                self.report(entry, f"`{name}` belongs in [global]; ignored in [{section.name}]", Severity.WARNING)
            elif self.samba:
                self.unsupported.setdefault(name, entry)
            else:
                self.report(entry, f"unknown parameter `{name}` is ignored", Severity.WARNING)

    def without_effect(self, section: Section, parameters: dict[str, Parameter]) -> None:
        """Collect the parameters of a section that are checked and have no effect, and modules that are left out."""
        for name, entry in section.entries.items():
            parameter = parameters.get(name)
            if parameter is None:
                continue
            if parameter.pending and entry.text and entry.text != parameter.default:
                why = "has no effect without SMB Direct"
                self.ignore(section, name, entry, why, changes_access_or_data(name, entry.text))
            if name == "vfs objects":
                for module in split_list(entry.text):
                    if module not in parameter.choices:
                        why = f"module {module} is left out"
                        self.ignore(section, f"{name} = {module}", entry, why, module_changes(module))

    def ignore(self, section: Section, name: str, entry: Entry, why: str, changes: bool) -> None:
        item = Ignored(section.name, name, entry.text, entry.line, why, changes, file=entry.file)
        self.ignored.setdefault((entry.file, entry.line, name), item)

    def check_globals(self, settings: GlobalSettings, top: Section) -> None:
        names = list(GLOBAL_PARAMETERS["server min protocol"].choices)
        if names.index(settings.server_min_protocol) > names.index(settings.server_max_protocol):
            entry = top.entries.get("server min protocol") or top.entries["server max protocol"]
            self.report(entry, f"`server min protocol` ({settings.server_min_protocol}) is above "
                                    f"`server max protocol` ({settings.server_max_protocol}): no client could connect")

    def skip_samba_section(self, section: Section) -> bool:
        reason = sambaconf.section_not_served(section.name, {k: e.text for k, e in section.entries.items()})
        if reason:
            self.report(section, f"[{section.name}] is not shared: {reason}", Severity.WARNING)
        return bool(reason)

    def report(self, where: Entry | Section, message: str, severity: Severity = Severity.ERROR) -> None:
        file, line = where.file or self.path, where.line
        if (file, line, message) not in self.reported:  # a default of [global] is read again for every share
            self.reported.add((file, line, message))
            self.diagnostics.append(Diagnostic(file, line, severity, message))
