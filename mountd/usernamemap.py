# SPDX-License-Identifier: GPL-2.0-or-later
"""`username map` of smb.conf(5): a file whose lines give users of the server to the names that clients log on with.

    !root = administrator admin
    ann = "Ann Lee" ann.lee @staff
    nobody = *

A line whose right side has the name, a group that the name's Unix account is a member of (@, + or &), or *, maps it to
the left side. Of several such lines the last one counts, or the first that begins with an exclamation mark.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from os import stat as status
from typing import Final

from mountd.parameter import split_list
from mountd.unixusers import UnixUsers, is_member
from mountd.usernamescript import Script

BYTES_MAX: Final = 4 << 20
"""Bytes of the file at most."""


@dataclass(frozen=True)
class Line:
    """One line: the server's user, the clients' names, and whether no further line is looked at."""

    user: str
    names: tuple[str, ...]
    is_last: bool


@dataclass(frozen=True)
class UsernameMap:
    """The lines of the file; or a script, which counts instead of them."""

    lines: tuple[Line, ...] = ()
    script: Script | None = None

    def user(self, name: str, users: UnixUsers) -> str:
        """The user that a client's name stands for; the name itself where no line has it, and no script."""
        if self.script is not None:
            return users.mapped(self.script, name) or name if name else ""
        found = name
        for line in self.lines:
            if name and any(_matches(item, name, users) for item in line.names):
                found = line.user
                if line.is_last:
                    break
        return found


def _matches(item: str, name: str, users: UnixUsers) -> bool:
    if "*" in item:
        return True
    if item[:1] in ("@", "+", "&"):
        return is_member(users.user(name), item, users)
    return item.casefold() == name.casefold()


def parse(text: str) -> UsernameMap:
    """Parse a file's text. What is no line of it is passed over, as by Samba."""
    lines = []
    for raw in text.replace("\\\n", " ").split("\n"):
        user, equals, names = raw.strip().partition("=")
        is_last = user.startswith("!")
        user = user[1:].strip() if is_last else user.strip()
        if equals and user and user[0] not in "#;":
            lines.append(Line(user, tuple(split_list(names)), is_last))
    return UsernameMap(tuple(lines))


def load(path: str) -> UsernameMap:
    """Read the file. Raises OSError; ValueError where it is no text, too long or no file."""
    if not stat.S_ISREG(status(path).st_mode):
        raise ValueError("is no file")
    with open(path, "rb") as stream:
        content = stream.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise ValueError(f"has more than {BYTES_MAX >> 20} MB")
    try:
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
