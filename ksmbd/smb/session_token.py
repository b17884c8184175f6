# SPDX-License-Identifier: GPL-2.0-or-later
"""The security token of a session (MS-DTYP 2.5.2): its user, the groups, and what it is to the server."""
from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from ksmbd.smb.security_descriptor import Privilege, Token
from ksmbd.smb.sid import (
    ANONYMOUS,
    AUTHENTICATED_USERS,
    BUILTIN_ADMINISTRATORS,
    BUILTIN_GUESTS,
    BUILTIN_USERS,
    EVERYONE,
    NETWORK,
    UNIX_USERS,
    Sid,
)


class Standing(IntEnum):
    """What a session's user is to the server."""

    ANONYMOUS = 0
    GUEST = 1
    USER = 2
    ADMINISTRATOR = 3


def session_token(user: Sid, uid: int, groups: Iterable[Sid], standing: Standing) -> Token:
    """The token of a session that works as the Unix user `uid`, whose SID is `user`. Root is an administrator."""
    sids = {EVERYONE, NETWORK, UNIX_USERS.child(uid), *groups}
    if standing is Standing.ANONYMOUS:
        sids.add(ANONYMOUS)
    elif standing is Standing.GUEST:
        sids.add(BUILTIN_GUESTS)
    else:
        sids.update((AUTHENTICATED_USERS, BUILTIN_USERS))
    privileges = Privilege.NONE
    if uid == 0 or standing is Standing.ADMINISTRATOR:
        sids.add(BUILTIN_ADMINISTRATORS)
        privileges = Privilege.SECURITY | Privilege.TAKE_OWNERSHIP | Privilege.BACKUP | Privilege.RESTORE
    return Token(user, frozenset(sids), privileges)
