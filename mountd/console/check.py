# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --check: what a configuration file means, what of it has no effect, and what is wrong."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Final

from mountd import config, ignored, sharepaths
from mountd.config import Configuration, Diagnostic, Severity, ShareSettings
from mountd.console.tables import printable
from mountd.ignored import Ignored
from mountd.parameters import GLOBAL_PARAMETERS, READ_ONLY_PRECEDENCE, SHARE_PARAMETERS, Kind, Parameter
from mountd.settings import GlobalSettings
from mountd.textvalue import text_value

_GROUPS: Final = (
    ("changes", "Without effect, though access or data may differ:"),
    ("harmless", "Without effect and harmless:"),
)


def check(path: str, as_json: bool) -> int:
    """Print what the file at `path` means. Returns the exit status: 1 where the server would refuse the file."""
    configuration = config.load(os.path.abspath(path))
    missing = sharepaths.problems(configuration)
    warnings = configuration.warnings
    warnings += [Diagnostic(configuration.path, 0, Severity.WARNING, line) for line in missing]
    if as_json:
        print(json.dumps(_as_object(configuration, warnings), indent=2))
    else:
        _print(configuration, warnings)
    return 1 if configuration.errors else 0


def meaning(settings: GlobalSettings | ShareSettings) -> dict[str, str]:
    """Name -> value, in the syntax of ksmbd.conf, of all parameters of a section that do not have ksmbd.conf's
    default. A value inherited from [global] is the share's."""
    found: dict[str, str] = {}
    parameters = GLOBAL_PARAMETERS if isinstance(settings, GlobalSettings) else SHARE_PARAMETERS
    for name, parameter in parameters.items():
        if name in READ_ONLY_PRECEDENCE and name != "read only":
            continue
        value = getattr(settings, parameter.attribute)
        default = True if name == "read only" else parameter.parse(parameter.default)[0]
        if value != default:
            found[name] = _text(parameter, value)
    return found


def _text(parameter: Parameter, value: object) -> str:
    if parameter.kind is Kind.LIST and isinstance(value, tuple):
        return ", ".join(re.sub(r"^([@+&]*)(.*[, \t].*)$", r'\1"\2"', str(item)) for item in value)
    return text_value(parameter, value)


def _shares(configuration: Configuration) -> dict[str, dict[str, str]]:
    """Name -> meaning of each share; IPC$, which always exists, only where the file says something about it."""
    unsaid = config.parse("", configuration.path, samba=configuration.samba).shares.values()
    return {share.name: meaning(share) for share in configuration.all_shares() if share not in unsaid}


def _as_object(configuration: Configuration, warnings: list[Diagnostic]) -> dict[str, object]:
    both = ignored.groups(configuration.ignored)
    return {
        "file": configuration.path,
        "valid": not configuration.errors,
        "global": meaning(configuration.settings),
        "shares": _shares(configuration),
        "ignored": {name: [_item(one, configuration.path) for one in getattr(both, name)] for name, _ in _GROUPS},
        "warnings": [_diagnostic(one) for one in warnings],
        "errors": [_diagnostic(one) for one in configuration.errors],
    }


def _item(item: Ignored, path: str) -> dict[str, object]:
    file = item.file or path
    return {
        "section": item.section, "name": item.name, "value": item.value, "file": file, "line": item.line,
        "why": item.why,
    }  # fmt: skip


def _diagnostic(diagnostic: Diagnostic) -> dict[str, object]:
    return {"file": diagnostic.file, "line": diagnostic.line, "message": diagnostic.message}


def _line(diagnostic: Diagnostic) -> str:
    where = f"{diagnostic.file}:{diagnostic.line}" if diagnostic.line else diagnostic.file
    return printable(f"{where}: {diagnostic.message}")


def _print(configuration: Configuration, warnings: list[Diagnostic]) -> None:
    _print_section("global", meaning(configuration.settings))
    for name, values in _shares(configuration).items():
        _print_section(name, values)
    both = ignored.groups(configuration.ignored)
    for group, title in _GROUPS:
        items: list[Ignored] = getattr(both, group)
        if items:
            print(f"; {title}")
        for item in items:
            where = ignored.place(item.file, item.line)
            print(printable(f";   {where}, [{item.section}] {item.name} = {item.value} ({item.why})"))
    for one in warnings:
        print(f"; Warning: {_line(one)}")
    sys.stdout.flush()
    for one in configuration.errors:
        print(_line(one), file=sys.stderr)


def _print_section(name: str, values: dict[str, str]) -> None:
    print(printable(f"[{name}]"))
    for key, value in values.items():
        print(printable(f"    {key} = {value}"))
    print()
