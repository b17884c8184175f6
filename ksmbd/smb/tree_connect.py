# SPDX-License-Identifier: GPL-2.0-or-later
"""TREE_CONNECT (MS-SMB2 2.2.9, 2.2.10, 3.3.5.7)."""
from __future__ import annotations

from dataclasses import replace
from struct import Struct
from typing import Final, NamedTuple

from ksmbd import limits
from ksmbd.refusals import noticed, refused
from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Connection, Session, TreeConnect
from ksmbd.smb.ports import Client, Identity, ShareConfig, TreeConnectResult, Volume
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BAD_NETWORK_NAME,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_USER_SESSION_DELETED,
    ConnectionFatal,
    NtStatusError,
    WireError,
    status_name,
)

_REQUEST: Final = Struct("<HHHH")
_RESPONSE: Final = Struct("<HBBIII")
FLAG_EXTENSION_PRESENT: Final = 0x0004

_PIPE_ACCESS: Final = c.FILE_GENERIC_READ | c.FILE_GENERIC_WRITE | c.FILE_EXECUTE
_CHANGES: Final = (
    c.FILE_WRITE_DATA | c.FILE_APPEND_DATA | c.FILE_WRITE_EA | c.FILE_WRITE_ATTRIBUTES | c.FILE_DELETE_CHILD
    | c.DELETE | c.WRITE_DAC | c.WRITE_OWNER
)  # fmt: skip
_MAX_PATH: Final = limits.TREE_CONNECT_PATH.value
"""Longest path name in bytes; a server name of 15 and a share name of 80 characters are far shorter."""


def share_name(path: str) -> str:
    """The share name in `\\\\server\\share`. Raises STATUS_BAD_NETWORK_NAME for any other path."""
    parts = path.lstrip("\\").split("\\")
    if not path.startswith("\\") or len(parts) != 2 or not parts[1]:
        raise NtStatusError(STATUS_BAD_NETWORK_NAME, path)
    return parts[1]


def must_be_protected(request: Request) -> bool:
    """Whether the request must be signed or encrypted but is not: in 3.1.1 a session with a key must, to detect a
    downgrade (MS-SMB2 3.3.5.7)."""
    session = request.session
    return (
        request.connection.dialect == c.DIALECT_311
        and not session.is_guest_or_anonymous
        and not request.sealed
        and not request.signed
    )


def rights_on_share(identity: Identity, share: ShareConfig, is_admin: bool, is_guest: bool) -> Identity:
    """The identity that is used on a share: the user of the session, as administrator where `admin users` of the share
    name it, or the `guest account` of the share for guests."""
    if is_guest and share.guest is not None:
        uid, gid, groups = share.guest
        return replace(identity, uid=uid, gid=gid, groups=groups, is_admin=False)
    return replace(identity, is_admin=True) if is_admin and not identity.is_admin else identity


def share_of_user(share: ShareConfig, answer: TreeConnectResult) -> ShareConfig:
    """The share as one user has it: `force group = +GROUP` does not hold for those who are no members, and the security
    descriptor of the share withholds rights."""
    if answer.keeps_group:
        share = replace(share, force_gid=None)
    return replace(share, withheld=answer.withheld) if answer.withheld else share


def maximal_access(volume: Volume, read_only: bool) -> int:
    """TreeConnect.MaximalAccess (MS-SMB2 3.3.5.7): the user's rights on the share's folder, without those that a
    read-only tree connect has not. Raises NtStatusError."""
    access = volume.maximal_access()
    return access & ~_CHANGES if read_only else access


def client_of(session: Session, connection: Connection) -> Client:
    """What a share of this session may depend on."""
    identity = session.identity
    assert identity is not None
    transport = connection.transport
    return Client(
        identity.account, identity.is_guest or identity.is_anonymous, transport.peer, transport.local,
        identity.workstation, connection.dialect,
    )  # fmt: skip


class Question(NamedTuple):
    """What mountd's answer about a tree connect depends on: the arguments of Daemon.tree_connect and
    check_tree_connect."""

    account: str
    is_guest: bool
    share: str
    peer: str
    client: Client | None
    """Of a share that is personal."""


def question_of(session: Session, identity: Identity, connection: Connection | None, share: ShareConfig) -> Question:
    """What mountd is asked about a user of a session and a share. `connection`: None where no channel is left."""
    peer = connection.transport.peer if connection is not None else identity.address
    client = client_of(session, connection) if connection is not None and share.personal else None
    return Question(identity.account, identity.is_guest or identity.is_anonymous, share.name, peer, client)


async def handle(request: Request) -> Reply:
    """Connect the session to a share, if mountd allows it. Raises NtStatusError, and ConnectionFatal where the request
    must be protected."""
    if must_be_protected(request):
        reason = "neither signed nor encrypted, which SMB 3.1.1 demands"
        raise ConnectionFatal(str(_refusal(request, "", STATUS_ACCESS_DENIED, reason)))
    reader = request.reader()
    _, flags, offset, length = reader.unpack(_REQUEST)
    if length > _MAX_PATH:
        raise WireError("PathLength")
    if flags & FLAG_EXTENSION_PRESENT and request.connection.dialect == c.DIALECT_311:
        # 2.2.9.1: PathOffset counts from the start of the extension, which follows the fixed part
        extension = reader.restrict(HEADER_SIZE + _REQUEST.size, len(reader) - HEADER_SIZE - _REQUEST.size)
        path = extension.restrict(offset, length).utf16(length)
    else:
        if offset < HEADER_SIZE + _REQUEST.size:
            raise WireError("PathOffset")
        path = reader.restrict(offset, length).utf16(length)
    try:
        name = share_name(path)
    except NtStatusError as error:
        raise _refusal(request, path, error.status, "no path of a share") from error
    session = request.session
    server = request.server
    share = await server.daemon.share_config(name)
    if share is not None and share.personal:
        share = await server.daemon.personal_share(name, client_of(session, request.connection))
    if share is None:
        raise _refusal(request, name, STATUS_BAD_NETWORK_NAME, "no such share")
    if share.encrypt and not request.connection.cipher:
        raise _refusal(request, name, STATUS_ACCESS_DENIED, "the share wants encryption, which the client cannot do")
    if share.encrypt and session.sealer is None:
        reason = "the share wants encryption, for which the session has no key"
        raise _refusal(request, name, STATUS_ACCESS_DENIED, reason)
    if session.trees >= limits.TREE_CONNECTS_PER_SESSION.value:
        raise _refusal(request, name, STATUS_INSUFFICIENT_RESOURCES, "the session has too many tree connects")
    user = session.user
    try:
        server.tree_admission.take(user)
    except NtStatusError as error:
        raise _refusal(request, name, error.status, "the user, or all together, have too many tree connects") from error
    session.trees += 1
    tree: TreeConnect | None = None
    try:
        tree = await _ask(request, share)
        tree.user = user
    finally:
        if tree is None:
            session.trees -= 1
            server.tree_admission.give(user)
    session.tree_connects[tree.tree_id] = tree
    request.set_reply_tree(tree.tree_id)
    return Reply(_response(tree))


def _refusal(request: Request, share: str, status: int, reason: str, path: str = "") -> NtStatusError:
    """Tell of a refused TREE_CONNECT; the error to raise. What mountd refuses, mountd tells."""
    identity = request.session.identity
    account = "" if identity is None else identity.account
    peer = request.connection.transport.peer
    refused("tree connect", peer, reason, status_name(status), path, share=share, account=account)
    return NtStatusError(status, reason)


async def _ask(request: Request, share: ShareConfig) -> TreeConnect:
    """Ask mountd, and make the tree connect. Raises the NtStatusError that mountd answers with."""
    session = request.session
    server = request.server
    session.next_tree_id += 1
    tree_id = session.next_tree_id
    identity = session.identity
    assert identity is not None
    question = question_of(session, identity, request.connection, share)
    answer = await server.daemon.tree_connect(session.session_id, tree_id, *question)
    if answer.status:
        raise NtStatusError(answer.status, share.name)
    tree: TreeConnect | None = None
    try:
        if server.sessions.get(session.session_id) is not session:
            raise NtStatusError(STATUS_USER_SESSION_DELETED)
        if session.identity is None or session.identity.account != identity.account:
            raise NtStatusError(STATUS_ACCESS_DENIED, "another user than mountd was asked about")
        tree = _connect(request, share, tree_id, answer)
    finally:
        if tree is None:
            server.daemon.tree_disconnect(session.session_id, tree_id)
    return tree


def _connect(request: Request, share: ShareConfig, tree_id: int, answer: TreeConnectResult) -> TreeConnect:
    session = request.session
    server = request.server
    identity = session.identity
    assert identity is not None
    now = server.clock.filetime()
    encrypt = share.encrypt and session.sealer is not None
    if share.is_pipe:
        return TreeConnect(tree_id, session, share, None, _PIPE_ACCESS, encrypt_data=encrypt, creation_time=now)
    read_only = not answer.writable
    share = share_of_user(share, answer)
    user = rights_on_share(identity, share, answer.is_admin, answer.is_guest)
    user = replace(user, address=request.connection.transport.peer)
    try:
        volume = server.files.volume(share, user, read_only)
        try:
            access = maximal_access(volume, read_only) & ~share.withheld
        except BaseException:
            volume.close()
            raise
    except NtStatusError as error:
        raise _refusal(request, share.name, error.status, f"the share's path: {error}", share.path) from error
    if not access & c.FILE_READ_DATA:
        peer = request.connection.transport.peer
        noticed("tree connect", peer, "the user may not list the share's path", share=share.name, account=user.account)
    return TreeConnect(
        tree_id, session, share, volume, access, read_only=read_only, is_admin=answer.is_admin,
        is_guest=answer.is_guest, encrypt_data=encrypt, creation_time=now,
    )  # fmt: skip


def _response(tree: TreeConnect) -> bytes:
    """The TREE_CONNECT response (MS-SMB2 2.2.10)."""
    share = tree.share
    share_flags = c.SHAREFLAG_NO_CACHING if share.is_pipe else c.SHAREFLAG_MANUAL_CACHING
    if tree.encrypt_data:
        share_flags |= c.SHAREFLAG_ENCRYPT_DATA
    if share.hide_unreadable:
        share_flags |= c.SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM
    capabilities = 0
    if share.msdfs_root:
        share_flags |= c.SHAREFLAG_DFS | c.SHAREFLAG_DFS_ROOT
        capabilities |= c.SHARE_CAP_DFS
    if share.continuous_availability and tree.session.dialect >= c.DIALECT_300:
        capabilities |= c.SHARE_CAP_CONTINUOUS_AVAILABILITY
    kind = c.SHARE_TYPE_PIPE if share.is_pipe else c.SHARE_TYPE_DISK
    return _RESPONSE.pack(16, kind, 0, share_flags, capabilities, tree.maximal_access)
