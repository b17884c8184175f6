# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes ksmbd.sidhistory: which SIDs the users had on a Samba server from which they moved.

Samba's access control lists name the users of its own database by numbers that it has given out. A line is

    otto S-1-5-21-1-2-3-1001 S-1-5-21-1-2-3-513

with the user, the SID, and the SID of the primary group, which may be missing and is of the same domain.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from ksmbd import limits
from ksmbd.smb.former_sids import FormerUser, is_account
from ksmbd.smb.sid import Sid, sid_from_text
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.unix_sids import domain_sid
from mountd.accounts import name_problem
from mountd.files import FileProblem, locked_directory, replace
from mountd.unixusers import UnixUsers

_FIELD: Final = re.compile(r"(Unix username|User SID|Primary Group SID):\s*(\S.*)")
"""The lines of `pdbedit -Lv` that count."""
_SIZE_MAX: Final = 1 << 20
NONE_RID: Final = 513
"""DOMAIN_GROUP_RID_USERS: the primary group of all users (MS-DTYP 2.4.2.4)."""


class Former(NamedTuple):
    """One line of the file."""

    name: str
    user: Sid
    group: Sid | None


def path_for(config: str) -> str:
    """The path of the file: in the directory of the configuration."""
    return os.path.join(os.path.dirname(os.path.abspath(config)), "ksmbd.sidhistory")


def from_pdbedit(content: bytes) -> list[Former]:
    """The users in the output of `pdbedit -Lv`; what else is in it is passed over, and so are accounts of machines."""
    found: list[dict[str, str]] = []
    for line in content.decode("utf-8", "replace").split("\n"):
        match = _FIELD.fullmatch(line.strip())
        if match and match[1] == "Unix username":
            found.append({})
        if match and found:
            found[-1][match[1]] = match[2]
    return [
        Former(one["Unix username"], user, _group(one.get("Primary Group SID", ""), user))
        for one in found
        if (user := _account(one.get("User SID", ""))) is not None
        and not one["Unix username"].endswith("$") and not name_problem(one["Unix username"])
    ]  # fmt: skip


def _account(text: str) -> Sid | None:
    try:
        sid = sid_from_text(text)
    except NtStatusError:
        return None
    return sid if is_account(sid) else None


def _group(text: str, user: Sid) -> Sid | None:
    sid = _account(text)
    return sid if sid is not None and sid.domain == user.domain else None


def load(path: str) -> list[Former]:
    """The lines of the file; none where it is missing. Raises FileProblem where it is malformed or cannot be read."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(_SIZE_MAX + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileProblem(f"{path}: cannot be read: {error.strerror}") from None
    lines = [line for line in content.decode("utf-8", "replace").split("\n") if line.strip() and line[0] != "#"]
    if len(content) > _SIZE_MAX or len(lines) > limits.FORMER_USERS.value:
        raise FileProblem(f"{path}: more than {limits.FORMER_USERS.value} users")
    return [_line(line.split(), path) for line in lines]


def _line(fields: list[str], path: str) -> Former:
    user = _account(fields[1]) if 2 <= len(fields) <= 3 else None
    group = _group(fields[2], user) if user is not None and len(fields) == 3 else None
    if user is None or (len(fields) == 3 and group is None):
        raise FileProblem(f"{path}: allowed is USER SID [SID-OF-GROUP] in a line, both as S-1-5-21-1-2-3-1001")
    return Former(fields[0], user, group)


def merge(path: str, found: Iterable[Former]) -> tuple[int, int]:
    """Add users to the file, or replace what it has of their SIDs. Returns (added, replaced or unchanged). Raises
    FileProblem, OSError."""
    with locked_directory(path):
        known = {one.user: one for one in load(path)}
        before = len(known)
        given = {one.user: one for one in found}
        known |= given
        if len(known) > limits.FORMER_USERS.value:
            raise FileProblem(f"{path}: at most {limits.FORMER_USERS.value} users")
        lines = [
            " ".join((one.name, str(one.user), *((str(one.group),) if one.group is not None else ())))
            for one in known.values()
        ]
        replace(path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
    added = len(known) - before
    return added, len(given) - added


def read(config: str, users: UnixUsers, sub_authorities: tuple[int, int, int]) -> tuple[list[FormerUser], list[str]]:
    """What `resolved` makes of the file beside a configuration. Raises FileProblem."""
    return resolved(load(path_for(config)), users, domain_sid(sub_authorities))


def resolved(lines: Iterable[Former], users: UnixUsers, own: Sid) -> tuple[list[FormerUser], list[str]]:
    """The users with their uids, and for each line that does not count a text that says why. `own`: the SID of this
    server's domain, whose numbers mean others."""
    found: list[FormerUser] = []
    problems: list[str] = []
    for line in lines:
        unix = users.user(line.name)
        if line.user.domain == own:
            problems.append(f"{line.user} of {line.name} is of this server's own domain, where the number is another's")
        elif unix is None:
            problems.append(f"{line.name} has no Unix account")
        else:
            found.append(FormerUser(line.user, line.group, unix.uid))
    return found, problems


def by_sid(users: Iterable[FormerUser]) -> dict[str, tuple[int, ...]]:
    """What mountd.unixnames answers by: SID -> the user's uid, and () for the group of all users."""
    found: dict[str, tuple[int, ...]] = {}
    for user in users:
        if user.group is not None and user.group.rid == NONE_RID:
            found[str(user.group)] = ()
        found[str(user.user)] = (user.uid,)
    return found
