# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of ksmbd.conf that the kernel's server does not know, where a configuration sets them.

mountd decides on log-ons and tree connects for it, so the parameters that concern these hold as with our engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mountd.config import Configuration
from mountd.ignored import LISTED
from mountd.kernelserver.startup import DIALECTS
from mountd.parameter import Parameter
from mountd.parameters import GLOBAL_PARAMETERS, SHARE_PARAMETERS

GLOBALS: Final = frozenset((
    "audit file", "bpf", "data paths", "lookup port", "mangle prefix", "mangling method", "ntlm auth",
    "tune networks", "username map", "username map cache time", "username map script", "workers",
))  # fmt: skip
"""Parameters of [global] that it does not know."""
TUNING: Final = frozenset(("bpf", "data paths", "mangle prefix", "mangling method", "tune networks", "workers"))
"""Those whose loss changes nobody's access or data."""
SHARES: Final = frozenset(SHARE_PARAMETERS) - frozenset((
    "access based share enum", "browseable", "comment", "create mask", "crossmnt", "directory mask", "follow symlinks",
    "force create mode", "force directory mode", "force group", "force user", "guest ok", "hide dot files",
    "hosts allow", "hosts deny", "inherit owner", "invalid users", "max connections", "oplocks", "path", "read list",
    "read only", "smb3 encryption", "store dos attributes", "valid users", "veto files", "vfs objects", "writable",
    "write list", "write ok", "writeable",
))  # fmt: skip
"""Parameters of a share that it does not know."""
MODULES: Final = frozenset(("acl_xattr", "streams_xattr"))
"""The modules of `vfs objects` that it has."""


def unknown(configuration: Configuration) -> tuple[list[str], list[str]]:
    """What a configuration sets and the kernel's server does not know: what changes access or data, and what does not.
    A parameter of shares is followed by their names."""
    settings = configuration.settings
    changes: list[str] = []
    harmless: list[str] = []
    for name in sorted(GLOBALS):
        if _is_set(GLOBAL_PARAMETERS[name], getattr(settings, GLOBAL_PARAMETERS[name].attribute)):
            (harmless if name in TUNING else changes).append(name)
    if settings.map_to_guest not in ("never", "bad user"):
        changes.append(f"map to guest = {settings.map_to_guest}")
    if settings.server_max_protocol not in DIALECTS:
        changes.append(f"server max protocol = {settings.server_max_protocol}")
    where: dict[str, list[str]] = {}
    for share in configuration.shares.values():
        if share.is_ipc:
            continue
        for name in sorted(SHARES):
            parameter = SHARE_PARAMETERS[name]
            if _is_set(parameter, getattr(share, parameter.attribute)):
                where.setdefault(name, []).append(share.name)
        for module in share.vfs_objects:
            if module not in MODULES:
                where.setdefault(f"vfs objects = {module}", []).append(share.name)
        if share.force_group.startswith("+") and not share.force_user:
            where.setdefault(f"force group = {share.force_group}", []).append(share.name)
    changes += _told(where)
    return changes, harmless


def lines(configuration: Configuration) -> list[str]:
    """A line for each group that has members."""
    changes, harmless = unknown(configuration)
    texts = (
        ("the kernel's server does not know these, and access or data may differ by it", changes),
        ("the kernel's server does not know these, which is harmless", harmless),
    )
    return [f"{text}: {_listed(names)}" for text, names in texts if names]


def _is_set(parameter: Parameter, value: object) -> bool:
    """Whether a value is neither the default nor Samba's."""
    defaults = (parameter.default, parameter.samba if parameter.samba is not None else parameter.default)
    return value not in [parameter.parse(default)[0] for default in defaults]


def _told(where: Mapping[str, list[str]]) -> list[str]:
    return [f"{name} [{'], ['.join(names)}]" for name, names in sorted(where.items())]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"


