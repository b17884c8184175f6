# SPDX-License-Identifier: GPL-2.0-or-later
"""Samba's syntax rules, for a configuration file that is an smb.conf.

Blanks and case in a parameter's name are ignored; a backslash at the end of a line continues it; a comment is a whole
line; the last of several values counts; parameters have synonyms. Samba's defaults are in mountd/parameters.py.
"""

from __future__ import annotations

import re
import socket
from typing import Final

from mountd.parameters import (
    FALSE_WORDS,
    GLOBAL_PARAMETERS,
    READ_ONLY_PRECEDENCE,
    SHARE_PARAMETERS,
    TRUE_WORDS,
    Kind,
    Parameter,
    split_list,
)

SAMBA_TRUE = (*TRUE_WORDS, "on", "enabled")
SAMBA_FALSE = (*FALSE_WORDS, "off", "disabled")


_ON = (*SAMBA_TRUE, "auto", "if_required", "default")
_FORCED = ("mandatory", "required", "force", "forced", "enforced")
_CHOICES: Final[dict[str, dict[str, str]]] = {
    "server signing": {
        **dict.fromkeys(_ON, "auto"), **dict.fromkeys(_FORCED, "mandatory"), **dict.fromkeys(SAMBA_FALSE, "disabled"),
    },
    "smb3 encryption": {
        **dict.fromkeys(_ON, "auto"), **dict.fromkeys(_FORCED, "mandatory"), **dict.fromkeys(SAMBA_FALSE, "disabled"),
        "desired": "enabled",
    },
    "ntlm auth": {
        **dict.fromkeys(SAMBA_TRUE, "ntlmv1-permitted"), **dict.fromkeys(SAMBA_FALSE, "ntlmv2-only"),
        "disabled": "disabled", "enabled": "ntlmv1-permitted",
    },
    "mangling method": {"hash": "hash2"},
}  # fmt: skip
"""Parameter -> Samba's value in lower case -> choice."""

OLDER_PROTOCOLS = ("default", "core", "coreplus", "lanman1", "lanman2", "nt1", "smb1")


def _squeeze(name: str) -> str:
    return re.sub(r"\s+", "", name.lower())


def _names(parameters: dict[str, Parameter]) -> dict[str, str]:
    table: dict[str, str] = {}
    for parameter in parameters.values():
        for name in (parameter.name, *parameter.synonyms):
            table.setdefault(_squeeze(name), parameter.name)
    return table


_GLOBAL_NAMES = _names(GLOBAL_PARAMETERS)
_SHARE_NAMES = _names(SHARE_PARAMETERS)


def join_lines(text: str) -> list[tuple[int, str]]:
    """(number, line) of all lines; a line that ends in a backslash is joined with the next."""
    lines: list[tuple[int, str]] = []
    begun: tuple[int, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if begun is not None:
            number, line = begun[0], begun[1] + line.lstrip()
        if line.endswith("\\") and not line.lstrip().startswith((";", "#")):
            begun = number, line[:-1]
        else:
            lines.append((number, line))
            begun = None
    if begun is not None:
        lines.append(begun)
    return lines


def canonical(name: str, text: str, *, in_global: bool) -> tuple[str, str]:
    """The name in mountd/parameters.py for one of Samba's spellings, and the value; an unknown name is returned
    unchanged. `writable` and its like become `read only`, because the last of them counts."""
    squeezed = _squeeze(name)
    if in_global and squeezed in _GLOBAL_NAMES:
        return _GLOBAL_NAMES[squeezed], text
    found = _SHARE_NAMES.get(squeezed) or _GLOBAL_NAMES.get(squeezed) or name
    if found in READ_ONLY_PRECEDENCE[1:]:
        word = text.lower()
        if word in SAMBA_TRUE or word in SAMBA_FALSE:
            return READ_ONLY_PRECEDENCE[0], "no" if word in SAMBA_TRUE else "yes"
    return found, text


def default_netbios_name() -> str:
    """The name of a server whose file gives none: the first part of the machine's."""
    return socket.gethostname().partition(".")[0].upper()[:15]


def unquote(value: str) -> str:
    """A value without the quotes that enclose all of it."""
    if len(value) >= 2 and value[0] == value[-1] == '"' and '"' not in value[1:-1]:
        return value[1:-1]
    return value


def value(parameter: Parameter, text: str) -> str:
    """Convert a value of Samba to the form of ksmbd.conf."""
    word = text.lower()
    if parameter.kind is Kind.BOOLEAN:
        return "yes" if word in SAMBA_TRUE else "no" if word in SAMBA_FALSE else text
    if parameter.name == "tcp port":  # `smb ports`: 139 is NetBIOS' port, which is not served
        ports = [port for port in split_list(text) if port != "139"]
        return ports[0] if ports else text
    if parameter.name == "vfs objects":  # modules that are not ours are left out
        return " ".join(item for item in split_list(text) if item in parameter.choices)
    if parameter.name == "map to guest" and word in ("bad password", "bad uid"):
        return "never"  # both would admit users whose log-on has failed
    if parameter.name == "server min protocol" and word in OLDER_PROTOCOLS:
        return "SMB2_02"  # SMB1 and what came before it are never spoken
    if parameter.name == "server max protocol" and word == "default":
        return "SMB3_11"
    if parameter.name in ("server signing", "smb3 encryption", "ntlm auth", "mangling method"):
        return _CHOICES[parameter.name].get(word, text)
    if parameter.kind is Kind.LIST and parameter.name.endswith(("users", "list")):
        return " ".join(_group(item) for item in split_list(text))
    return text


def warning(parameter: Parameter, text: str) -> str:
    """A warning of what is lost when Samba's value is converted, or ''."""
    if parameter.name == "map to guest" and text.lower() in ("bad password", "bad uid"):
        return "is not supported and taken as never: guests would be let in after a failed log-on"
    if parameter.name == "mangling method" and text.lower() == "hash":
        return "is not supported and taken as hash2"
    if parameter.name == "vfs objects":
        lost = [item for item in split_list(text) if item not in parameter.choices]
        return f"modules that are not supported and left out: {', '.join(lost)}" if lost else ""
    return ""


def _group(item: str) -> str:
    bare = item.lstrip("@+&")
    name = f"@{bare}" if bare != item else item
    return f'"{name}"' if re.search(r"[,\s]", name) and not name.startswith("@") else name


def section_not_served(name: str, entries: dict[str, str]) -> str:
    """Why a section of smb.conf does not become a share, or ''."""
    if name.lower() in ("printers", "print$"):
        return "Samba's special sections are not supported"
    for key in ("printable", "print ok"):
        if entries.get(key, "no").lower() in SAMBA_TRUE:
            return "it is a printer"
    return ""
