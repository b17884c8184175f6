# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the sections of a configuration, without interpreting their entries; of an smb.conf also those of the files
that it includes, and those that it copies."""

from __future__ import annotations

import enum
import os
import stat
from dataclasses import dataclass, field
from typing import Final

from ksmbd.overriding import override
from mountd import sambaconf, variables

SHARE_NAME_MAX: Final = 63
"""Bytes of a share's name in UTF-8: the field in the netlink messages has 64 with the NUL."""
DEPTH_MAX: Final = 100
"""Files that include each other at most, as in Samba."""
FILES_MAX: Final = 1000
"""Files that are included at most in all."""
BYTES_MAX: Final = 16 << 20
"""Bytes of an included file at most, and of all of them."""

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
    """A value as written in the file, and its line. `file`: the included file that it is in; '': in none."""

    text: str
    line: int
    file: str = ""


@dataclass
class Section:
    """All entries of the sections with one name. Keys are in lower case with single spaces."""

    name: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)
    file: str = ""
    copied: set[str] = field(default_factory=set)
    """Keys whose entries are copies of another section's."""


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


def text_of(content: bytes, path: str, diagnostics: list[Diagnostic]) -> str:
    """The text of a file, in UTF-8; a byte-order mark is left out."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        diagnostics.append(Diagnostic(path, line, Severity.ERROR, "not UTF-8"))
        return content.decode("utf-8-sig", errors="replace")


def read_sections(text: str, path: str, *, samba: bool, diagnostics: list[Diagnostic]) -> dict[str, Section]:
    """Parse the sections, without interpreting their entries: name in lower case -> section."""
    reader = _Reader(path, samba, diagnostics)
    reader.read(text, "")
    return reader.sections


class _Reader:
    """Reads one file, and what it includes."""

    def __init__(self, path: str, samba: bool, diagnostics: list[Diagnostic]) -> None:
        self.path = path
        self.samba = samba
        self.diagnostics = diagnostics
        self.sections: dict[str, Section] = {}
        self.current: Section | None = None
        self.including: list[str] = []
        """The files that are being read, each included by the one before it."""
        self.files = 0
        self.bytes = 0

    def problem(self, file: str, line: int, message: str, severity: Severity = Severity.ERROR) -> None:
        self.diagnostics.append(Diagnostic(file or self.path, line, severity, message))

    def read(self, text: str, file: str) -> None:
        """Read a text. `file`: the included file that it is of."""
        for number, raw in sambaconf.join_lines(text) if self.samba else enumerate(text.split("\n"), 1):
            line = raw.strip(" \t\r\v\f")
            if not line or line[0] in ";#":
                continue
            if "\0" in line:
                self.problem(file, number, "a zero byte, which no name or path can have")
            elif line[0] == "[":
                self._begin(line, file, number)
            else:
                self._entry(line, file, number)

    def _begin(self, line: str, file: str, number: int) -> None:
        name, bracket, rest = line[1:].partition("]")
        name = name.strip()
        if not bracket or (rest.strip() and rest.strip()[0] not in ";#"):
            self.problem(file, number, f"not a section: {line!r} (allowed is [name])")
            self.current = None
            return
        reason = share_name_problem(name)
        if reason:
            severity = Severity.WARNING if self.samba else Severity.ERROR
            why = f"[{name}] is not shared: {reason}" if self.samba else f"[{name}]: {reason}"
            self.problem(file, number, why, severity)
            self.current = Section(name, number)  # its entries are dropped
            return
        self.current = self.sections.setdefault(share_key(name), Section(name, number, file=file))

    def _entry(self, line: str, file: str, number: int) -> None:
        key, equals, value = line.partition("=")
        key = " ".join(key.lower().split())
        listed = key == "interfaces"  # its items may be quoted and have options after a semicolon
        if not self.samba:
            value = _strip_comment(value, quotes=listed)
        value = value.strip()
        if not equals or not key or (not self.samba and any(c in key for c in ";#")):
            self.problem(file, number, f"neither a section nor `parameter = value`: {line!r}")
        elif self.current is None:
            self.problem(file, number, f"`{key}` stands before the first section; put [global] above it")
        elif self.samba:
            self._samba_entry(self.current, key, Entry(value if listed else sambaconf.unquote(value), number, file))
        else:
            self._set_once(self.current, key, Entry(value, number))

    def _set_once(self, section: Section, key: str, entry: Entry) -> None:
        """Of an entry that is given twice the first one counts that is not empty."""
        known = section.entries.get(key)
        if known is None or not known.text:
            section.entries[key] = entry
        elif entry.text and entry.text != known.text:
            where = f"`{key}` is already set in line {known.line}; this value is not used"
            self.problem("", entry.line, where, Severity.WARNING)

    def _samba_entry(self, section: Section, key: str, entry: Entry) -> None:
        """Obey `include` and `copy`; of other entries the last one counts."""
        if key.replace(" ", "") in ("include", "copy"):
            if entry.text and key == "copy":
                self._copy(section, entry)
            elif entry.text:
                self._include(entry)
            return
        key, text = sambaconf.canonical(key, entry.text, in_global=share_key(section.name) == "global")
        section.entries[key] = entry if text == entry.text else Entry(text, entry.line, entry.file)
        section.copied.discard(key)

    def _copy(self, section: Section, entry: Entry) -> None:
        """Take over what another section says so far; what this section says itself has precedence."""
        source = self.sections.get(share_key(entry.text))
        if source is None or source is section or share_key(section.name) == "global":
            why = "no section before this one has that name" if source is None else "a share copies another one"
            self.problem(entry.file, entry.line, f"`copy = {entry.text}`: {why}")
            return
        for key, copied in source.entries.items():
            if key not in section.entries or key in section.copied:
                section.entries[key] = copied
                section.copied.add(key)

    def _include(self, entry: Entry) -> None:
        where = f"`include = {entry.text}`"
        unknown = variables.named(entry.text, variables.SESSION)
        if unknown:
            why = f"{', '.join(unknown)} is not known before a client connects; nothing is included"
            self.problem(entry.file, entry.line, f"{where}: {why}", Severity.WARNING)
            return
        if entry.text.lower() == "registry":
            self.problem(entry.file, entry.line, f"{where}: Samba's registry is not read", Severity.WARNING)
            return
        path = os.path.join(os.path.dirname(self.path), variables.expand(entry.text, self._variables()))
        if len(self.including) >= DEPTH_MAX or path in (*self.including, self.path):
            self.problem(entry.file, entry.line, f"{where}: the file includes itself")
            return
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                self.problem(entry.file, entry.line, f"{where}: is no file")
                return
            with open(path, "rb") as stream:
                content = stream.read(BYTES_MAX - self.bytes + 1)
        except FileNotFoundError:
            self.problem(entry.file, entry.line, f"{where}: there is no such file", Severity.WARNING)
            return
        except OSError as error:
            self.problem(entry.file, entry.line, f"{where}: cannot be read: {error.strerror}")
            return
        self.files += 1
        self.bytes += len(content)
        if self.files > FILES_MAX or self.bytes > BYTES_MAX:
            self.problem(entry.file, entry.line, f"{where}: more than {FILES_MAX} files or {BYTES_MAX >> 20} MB in all")
            return
        self.including.append(path)
        self.read(text_of(content, path, self.diagnostics), path)
        self.including.pop()

    def _variables(self) -> dict[str, str]:
        top = self.sections.get("global")
        name = top.entries.get("netbios name") if top is not None else None
        return variables.of_server(name.text if name is not None else sambaconf.default_netbios_name())


def _strip_comment(value: str, quotes: bool = False) -> str:
    """A value without its comment. `quotes`: text in double quotes is no comment."""
    inside = False
    for index, character in enumerate(value):
        if character == '"' and quotes:
            inside = not inside and '"' in value[index + 1 :]
        elif character in ";#" and not inside:
            return value[:index]
    return value
