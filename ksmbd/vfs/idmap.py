# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps Unix ids to SIDs and back by the rules of ksmbd/smb/unix_sids.py, and makes the security token of a session.

Users who moved here from another server have their SIDs of there, too (ksmbd/smb/former_sids.py).
"""
from __future__ import annotations

from collections.abc import Iterable

from ksmbd.smb.former_sids import FormerUser
from ksmbd.smb.ports import Identity
from ksmbd.smb.security_descriptor import Token
from ksmbd.smb.session_token import Standing, session_token
from ksmbd.smb.sid import Sid, is_of_domain
from ksmbd.smb.unix_sids import domain_sid, gid_of, group_sid, uid_of, user_sid


class IdMap:
    """The mapping of one server; `sub_authorities` are the a, b, c of its domain S-1-5-21-a-b-c."""

    __slots__ = ("_former", "_former_sids", "_groups", "_users", "domain")

    def __init__(self, sub_authorities: tuple[int, int, int], former: Iterable[FormerUser] = ()) -> None:
        self.domain = domain_sid(sub_authorities)
        self._former: dict[Sid, int] = {}
        """SID of a user on a former server -> uid."""
        self._former_sids: dict[int, tuple[Sid, ...]] = {}
        """uid -> the user's SIDs there, those of primary groups included."""
        for user, group, uid in former:
            self._former[user] = uid
            self._former_sids[uid] = (*self._former_sids.get(uid, ()), user, *((group,) if group is not None else ()))
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
        uid = uid_of(self.domain, sid)
        return self._former.get(sid) if uid is None else uid

    def gid(self, sid: Sid) -> int | None:
        """The gid of a SID; None where the SID is no Unix group."""
        return gid_of(self.domain, sid)

    def token(self, identity: Identity, uid: int, gid: int, groups: tuple[int, ...]) -> Token:
        """The security token of a session that accesses files as `uid`, `gid` and `groups`. Of the SIDs of a ticket
        those of domains count, and not this server's: no other says who is an administrator or a Unix user here."""
        if identity.is_anonymous:
            standing = Standing.ANONYMOUS
        elif identity.is_guest:
            standing = Standing.GUEST
        else:
            standing = Standing.USER
        if identity.is_admin:
            standing = Standing.ADMINISTRATOR
        sids = {*map(self.group_sid, (gid, *groups)), *self._former_sids.get(uid, ())}
        if uid == identity.uid:  # with `force user` everybody is that one
            others = (sid for sid in identity.sids if is_of_domain(sid) and sid.domain != self.domain)
            sids.update(sid for sid in others if sid not in self._former)
        return session_token(self.user_sid(uid), uid, sids, standing)
