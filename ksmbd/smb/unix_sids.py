# SPDX-License-Identifier: GPL-2.0-or-later
"""The SIDs of Unix users and groups, as the server makes and reads them.

A user is S-1-5-21-a-b-c-(2*uid+1000) of the server's own domain, so that clients can show its name; a group is
S-1-22-2-gid. S-1-22-1-uid, S-1-5-88-{1,2}-id (as cifs.ko and macOS write them) and Samba's algorithmic RIDs of groups,
which are odd, are read, too.
"""
from __future__ import annotations

from ksmbd.smb.sid import NFS_GROUPS, NFS_USERS, UNIX_GROUPS, UNIX_USERS, Sid


def domain_sid(sub_authorities: tuple[int, int, int]) -> Sid:
    """The SID of the server's domain."""
    return Sid(5, (21, *sub_authorities))


def user_sid(domain: Sid, uid: int) -> Sid:
    """The SID of a Unix user."""
    rid = 2 * uid + 1000
    return domain.child(rid) if rid < 1 << 32 else UNIX_USERS.child(uid)


def group_sid(gid: int) -> Sid:
    """The SID of a Unix group."""
    return UNIX_GROUPS.child(gid)


def uid_of(domain: Sid, sid: Sid) -> int | None:
    """The uid of a SID; None where the SID is no Unix user."""
    parent = sid.domain
    if parent in (UNIX_USERS, NFS_USERS):
        return sid.rid
    if parent == domain and sid.rid >= 1000 and sid.rid % 2 == 0:
        return (sid.rid - 1000) // 2
    return None


def gid_of(domain: Sid, sid: Sid) -> int | None:
    """The gid of a SID; None where the SID is no Unix group."""
    parent = sid.domain
    if parent in (UNIX_GROUPS, NFS_GROUPS):
        return sid.rid
    if parent == domain and sid.rid >= 1001 and sid.rid % 2:
        return (sid.rid - 1001) // 2
    return None
