# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps Unix ids to SIDs and back by the rules of ksmbd/smb/unix_sids.py, and makes the security token of a session."""
from __future__ import annotations

from ksmbd.smb.ports import Identity
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
from ksmbd.smb.unix_sids import domain_sid, gid_of, group_sid, uid_of, user_sid


class IdMap:
    """The mapping of one server; `sub_authorities` are the a, b, c of its domain S-1-5-21-a-b-c."""

    __slots__ = ("_groups", "_users", "domain")

    def __init__(self, sub_authorities: tuple[int, int, int]) -> None:
        self.domain = domain_sid(sub_authorities)
        self._users: dict[int, Sid] = {}
        self._groups: dict[int, Sid] = {}

    def user_sid(self, uid: int) -> Sid:
        """The SID of a Unix user."""
        sid = self._users.get(uid)
        if sid is None:
            sid = self._users[uid] = user_sid(self.domain, uid)
        return sid

    def group_sid(self, gid: int) -> Sid:
        """The SID of a Unix group."""
        sid = self._groups.get(gid)
        if sid is None:
            sid = self._groups[gid] = group_sid(gid)
        return sid

    def uid(self, sid: Sid) -> int | None:
        """The uid of a SID; None where the SID is no Unix user."""
        return uid_of(self.domain, sid)

    def gid(self, sid: Sid) -> int | None:
        """The gid of a SID; None where the SID is no Unix group."""
        return gid_of(self.domain, sid)

    def token(self, identity: Identity, uid: int, gid: int, groups: tuple[int, ...]) -> Token:
        """The security token of a session that accesses files as `uid`, `gid` and `groups`."""
        sids = {EVERYONE, NETWORK, self.group_sid(gid), UNIX_USERS.child(uid)}
        sids.update(self.group_sid(group) for group in groups)
        if identity.is_anonymous:
            sids.add(ANONYMOUS)
        elif identity.is_guest:
            sids.add(BUILTIN_GUESTS)
        else:
            sids.update((AUTHENTICATED_USERS, BUILTIN_USERS))
        privileges = Privilege.NONE
        if uid == 0 or identity.is_admin:
            sids.add(BUILTIN_ADMINISTRATORS)
            privileges = Privilege.SECURITY | Privilege.TAKE_OWNERSHIP | Privilege.BACKUP | Privilege.RESTORE
        return Token(self.user_sid(uid), frozenset(sids), privileges)
