# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps Unix ids to SIDs and back.

A user is S-1-5-21-a-b-c-(2*uid+1000) of the server's own domain, so that clients can show its name; a group is
S-1-22-2-gid. S-1-22-1-uid and S-1-5-88-{1,2}-id (as cifs.ko and macOS write them) are mapped to ids, too.
"""
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
    NFS_GROUPS,
    NFS_USERS,
    UNIX_GROUPS,
    UNIX_USERS,
    Sid,
)


class IdMap:
    """The mapping of one server; `sub_authorities` are the a, b, c of its domain S-1-5-21-a-b-c."""

    __slots__ = ("_groups", "_users", "domain")

    def __init__(self, sub_authorities: tuple[int, int, int]) -> None:
        self.domain = Sid(5, (21, *sub_authorities))
        self._users: dict[int, Sid] = {}
        self._groups: dict[int, Sid] = {}

    def user_sid(self, uid: int) -> Sid:
        """The SID of a Unix user."""
        sid = self._users.get(uid)
        if sid is None:
            rid = 2 * uid + 1000
            sid = self.domain.child(rid) if rid < 1 << 32 else UNIX_USERS.child(uid)
            self._users[uid] = sid
        return sid

    def group_sid(self, gid: int) -> Sid:
        """The SID of a Unix group."""
        sid = self._groups.get(gid)
        if sid is None:
            sid = self._groups[gid] = UNIX_GROUPS.child(gid)
        return sid

    def uid(self, sid: Sid) -> int | None:
        """The uid of a SID; None where the SID is no Unix user."""
        domain = sid.domain
        if domain in (UNIX_USERS, NFS_USERS):
            return sid.rid
        if domain == self.domain and sid.rid >= 1000 and sid.rid % 2 == 0:
            return (sid.rid - 1000) // 2
        return None

    def gid(self, sid: Sid) -> int | None:
        """The gid of a SID (Samba's algorithmic group RIDs are odd); None where the SID is no Unix group."""
        domain = sid.domain
        if domain in (UNIX_GROUPS, NFS_GROUPS):
            return sid.rid
        if domain == self.domain and sid.rid >= 1001 and sid.rid % 2:
            return (sid.rid - 1001) // 2
        return None

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
