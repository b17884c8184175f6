# SPDX-License-Identifier: GPL-2.0-or-later
"""The SIDs of users on a server from which they moved (MS-ADTS calls them sIDHistory), as mountd tells the engine.

Access control lists that the former server has stored name users by them. A user's token contains them, and where a
list must become an owner or POSIX permissions, they are the user's.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ksmbd import limits
from ksmbd.smb.sid import Sid, sid_from_text
from ksmbd.smb.status import NtStatusError, WireError

_DOMAIN: Final = 21
"""The first sub-authority of the SIDs of domains and machines: S-1-5-21-a-b-c (MS-DTYP 2.4.2.4)."""


class FormerUser(NamedTuple):
    """One user: the SIDs of the user and of the primary group there (None: not known), and the uid here."""

    user: Sid
    group: Sid | None
    uid: int


def is_account(sid: Sid) -> bool:
    """Whether it is the SID of an account of a domain or machine: S-1-5-21-a-b-c-rid."""
    return sid.authority == 5 and len(sid.sub_authorities) == 5 and sid.sub_authorities[0] == _DOMAIN


def encode(users: Iterable[FormerUser]) -> str:
    """The text that `decode` reads: `uid user-SID [RID of the group, which is of the same domain]`, separated by
    commas."""
    return ",".join(
        f"{one.uid} {one.user}" + (f" {one.group.rid}" if one.group is not None else "") for one in users
    )


def decode(text: str) -> tuple[FormerUser, ...]:
    """The users in a text of `encode`. Raises WireError."""
    words = text.split(",") if text else []
    if len(words) > limits.FORMER_USERS.value:
        raise WireError(f"{len(words)} former users")
    try:
        return tuple(_one(word.split(" ")) for word in words)
    except (ValueError, NtStatusError):
        raise WireError("former users") from None


def _one(fields: list[str]) -> FormerUser:
    uid, user, *group = fields
    if len(group) > 1 or not 0 <= int(uid) < 1 << 32:
        raise ValueError(uid)
    sid = sid_from_text(user)
    if not is_account(sid) or (group and not 0 <= int(group[0]) < 1 << 32):
        raise ValueError(user)
    return FormerUser(sid, sid.domain.child(int(group[0])) if group else None, int(uid))
