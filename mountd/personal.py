# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares of an smb.conf that are not the same for all sessions: those whose parameters have variables, and the home
directories that [homes] is the template of.

A home is the share of a user's name, or `homes` for the user of the session, without a section of that name. Its folder
is the home directory of the Unix account where the template has no `path`. It is shown in lists as `browseable` in
[global] says; that of the template hides `homes` alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mountd import variables
from mountd.config import Configuration, ShareSettings, share_name_problem
from mountd.unixusers import UnixUser, UnixUsers, guest

HOMES: Final = "homes"

PATHS: Final = ("path", "shadow:basedir", "shadow:mountpoint", "shadow:snapdir")
TEXTS: Final = ("comment",)
NAMES: Final = ("force user", "force group", "guest account")
LISTS: Final = ("admin users", "invalid users", "read list", "valid users", "write list")
PATTERNS: Final = ("hide files", "veto files")
SUBSTITUTED: Final = (*PATHS, *TEXTS, *NAMES, *LISTS, *PATTERNS)
"""The parameters of a share whose variables are replaced."""


@dataclass(frozen=True)
class Who:
    """The session that connects."""

    account: str = ""
    """The user of the session; '' is anonymous."""
    is_guest: bool = False
    peer: str = ""
    client: str = ""
    """The name that the client has given itself; '' for none."""
    local: str = ""
    """The server's address that the client has connected to."""
    dialect: str = ""


def attribute(name: str) -> str:
    """The settings' field of a parameter."""
    return name.replace(" ", "_").replace(":", "_")


def depends(share: ShareSettings) -> bool:
    """Whether a share has variables of the session."""
    for name in SUBSTITUTED:
        value: str | tuple[str, ...] = getattr(share, attribute(name))
        if any("%" in text and variables.letters(text) for text in ((value,) if isinstance(value, str) else value)):
            return True
    return False


def is_personal(name: str, configuration: Configuration) -> bool:
    """Whether what share this is depends on the session."""
    share = configuration.share(name)
    if share is None:
        return configuration.homes is not None and not share_name_problem(name)
    return configuration.samba and depends(share)


def resolve(name: str, who: Who, configuration: Configuration, users: UnixUsers) -> ShareSettings | None:
    """The share of this name for a session; None: there is none. Raises variables.Unsafe."""
    share = configuration.share(name)
    if share is None and configuration.homes is not None:
        share = _home(name, who, configuration, configuration.homes, users)
    if share is None or not configuration.samba or not depends(share):
        return share
    return substitute(share, who, configuration, users)


def _home(
    name: str, who: Who, configuration: Configuration, template: ShareSettings, users: UnixUsers
) -> ShareSettings | None:
    own = name.casefold() == HOMES
    if own and (who.is_guest or not who.account):
        return None
    user = users.user(who.account if own else name)
    if user is None or share_name_problem(user.name):
        return None
    if own and configuration.share(user.name) is not None:
        return configuration.share(user.name)
    return home_of(user, configuration, template)


def home_of(user: UnixUser, configuration: Configuration, template: ShareSettings) -> ShareSettings | None:
    """The home of a Unix user; None: it has none. Variables stay."""
    path = template.path or user.home
    if not path.strip("/"):
        return None
    share = replace(template, name=user.name, path=path, browseable=configuration.homes_browseable)
    return share if share.comment else replace(share, comment=f"Home directory of {user.name}")


def substitute(share: ShareSettings, who: Who, configuration: Configuration, users: UnixUsers) -> ShareSettings:
    """A share with all variables replaced. Raises variables.Unsafe."""
    wanted: set[str] = set()
    for name in SUBSTITUTED:
        value: str | tuple[str, ...] = getattr(share, attribute(name))
        wanted.update(*(variables.letters(text) for text in ((value,) if isinstance(value, str) else value)))
    values = _values(share, who, configuration, users, wanted)
    changed: dict[str, Any] = {}
    ways: Mapping[tuple[str, ...], Callable[[str, Mapping[str, str]], str]] = {
        PATHS: variables.expand_path, TEXTS: variables.expand, NAMES: variables.expand_member,
        LISTS: variables.expand_member, PATTERNS: variables.expand_pattern,
    }  # fmt: skip
    for names, way in ways.items():
        for name in names:
            value = getattr(share, attribute(name))
            changed[attribute(name)] = (
                way(value, values) if isinstance(value, str) else tuple(way(text, values) for text in value)
            )
            if name == "path":
                values["P"] = changed["path"]
    return replace(share, **changed)


def _values(
    share: ShareSettings, who: Who, configuration: Configuration, users: UnixUsers, wanted: set[str]
) -> dict[str, str]:
    """Letter -> value of the variables that a share has. Names are looked up for those alone that need it."""
    values = variables.of_time() | {
        "U": who.account.lower(), "m": (who.client or who.peer).lower(), "M": who.peer, "I": who.peer, "i": who.local,
        "J": variables.underscored(who.peer), "j": variables.underscored(who.local), "R": who.dialect,
        "a": "UNKNOWN", "d": str(os.getpid()), "S": share.name, "P": "",
    }  # fmt: skip
    if wanted & set("ugGH"):
        outside = who.is_guest or not who.account
        session = guest(users, share.guest_account or configuration.settings.guest_account) if outside else None
        session = session or users.user(who.account)
        forced = share.force_user and "%" not in share.force_user
        works_as = users.user(share.force_user) if forced else session
        values["u"] = works_as.name if works_as is not None else who.account
        values["H"] = works_as.home if works_as is not None else ""
        for letter, user in (("g", works_as), ("G", session)):
            if letter in wanted:
                values[letter] = (users.group_name(user.gid) if user is not None else None) or ""
    return values
