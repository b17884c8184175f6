# SPDX-License-Identifier: GPL-2.0-or-later
"""Durable opens in CREATE: granting, reclaiming (MS-SMB2 3.3.5.9.7, 3.3.5.9.12) and replay (3.3.5.9.10)."""
from __future__ import annotations

from dataclasses import replace
from typing import Final

from ksmbd.smb import create_contexts as ctx
from ksmbd.smb.character_map import asked_on
from ksmbd.smb.constants import (
    DIALECT_300,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_NO_INTERMEDIATE_BUFFERING,
    FILE_NON_DIRECTORY_FILE,
    FILE_OPEN,
    FILE_OPEN_REPARSE_POINT,
    FILE_OPENED,
    FILE_SEQUENTIAL_ONLY,
    FILE_WRITE_THROUGH,
    FLAGS_REPLAY_OPERATION,
    LEASE_HANDLE_CACHING,
    OPLOCK_LEVEL_BATCH,
)
from ksmbd.smb.create_names import parse_name
from ksmbd.smb.create_reply import create_reply
from ksmbd.smb.model import Open
from ksmbd.smb.open_life import finish_disconnect, restore_writes
from ksmbd.smb.ports import (
    ENCRYPTED,
    SIGNED,
    CreateIntent,
    CreateResult,
    DurableReconnect,
    Identity,
    LeaseRequest,
    OpenGrant,
    OpenRequest,
)
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_DUPLICATE_OBJECTID,
    STATUS_FILE_NOT_AVAILABLE,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_PATH_NOT_FOUND,
    NtStatusError,
)
from ksmbd.smb.tree_connect import rights_on_share

_GONE: Final = (STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_PATH_NOT_FOUND)
MAX_TIMEOUT: Final = 300_000
"""The longest time in milliseconds that a durable open waits for its client (MS-SMB2 3.3.5.9.10)."""

POSIX_OPEN: Final = b"P"
"""Value of OpenRequest.persistent_state for an open with the POSIX create context."""
MODE_OPTIONS: Final = (
    FILE_WRITE_THROUGH | FILE_SEQUENTIAL_ONLY | FILE_NO_INTERMEDIATE_BUFFERING | FILE_DELETE_ON_CLOSE
)
"""The CreateOptions that FileModeInformation shows (MS-FSCC 2.4.31)."""


def take_grant(open_: Open, grant: OpenGrant) -> None:
    """Store in the Open what the open table granted. Without a batch oplock or a lease with handle caching an open is
    durable only if it is persistent (MS-SMB2 3.3.5.9.6, 3.3.5.9.10)."""
    lease = grant.lease
    caches_handle = grant.oplock_level == OPLOCK_LEVEL_BATCH or (
        lease is not None and bool(lease.state & LEASE_HANDLE_CACHING)
    )
    open_.is_persistent = grant.persistent
    open_.is_durable = (grant.persistent or (grant.durable and caches_handle)) and not open_.is_resilient
    open_.durable_timeout = grant.durable_timeout if open_.is_durable or open_.is_resilient else 0


def owner_of(identity: Identity | None) -> str:
    """The value of Open.DurableOwner (MS-SMB2 3.3.1.10): the account name in lower case. Guests get a value that no
    account can have."""
    if identity is None or identity.is_anonymous:
        return ""
    return f"guest\0{identity.account.lower()}" if identity.is_guest else identity.account.lower()


def protection_of(request: Request) -> int:
    """How the requests of this session must be protected: 0, SIGNED or ENCRYPTED."""
    session = request.session
    if request.sealed or session.encrypt_data or request.tree.encrypt_data:
        return ENCRYPTED
    return SIGNED if session.signing_required else 0


def rights_of(request: Request) -> Identity | None:
    """The identity whose rights an open of this tree connect uses, and where its client is."""
    identity, tree = request.session.identity, request.tree
    if identity is None:
        return None
    rights = rights_on_share(identity, tree.share, tree.is_admin, tree.is_guest)
    return replace(rights, address=request.connection.transport.peer)


def _check_rights(request: Request, kept: Open) -> None:
    """Raise STATUS_ACCESS_DENIED where the kept open has rights that its user has lost since: groups, or those of an
    administrator."""
    old, now = kept.made_by, rights_of(request)
    if old is None or now is None or (
        (old.uid, old.gid, old.is_guest, old.is_anonymous) != (now.uid, now.gid, now.is_guest, now.is_anonymous)
        or not set(old.groups) <= set(now.groups) or (old.is_admin and not now.is_admin)
    ):  # fmt: skip
        raise NtStatusError(STATUS_ACCESS_DENIED, "opened with more rights than its user has now")


def _same_lease(open_: Open, lease: LeaseRequest | None) -> bool:
    """Whether open and request have the same lease (key and version), or both have none."""
    held = open_.lease
    if held is None or lease is None:
        return held is None and lease is None
    return held.key == lease.key and held.version == lease.version


def reconnect(request: Request, wanted: ctx.Reconnect, contexts: ctx.CreateContexts, raw_name: str) -> Reply:
    """Answer a CREATE with DHnC or DH2C: reclaim a kept open. Raises STATUS_OBJECT_NAME_NOT_FOUND where no kept open
    matches, STATUS_ACCESS_DENIED for another user."""
    allowed = 1 + contexts.durable_v1 + (contexts.lease is not None)
    if wanted.version == 2:
        allowed += contexts.instance_count  # they are skipped (MS-SMB2 3.3.5.9.13)
    if contexts.count > allowed:
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "other contexts beside the reconnect")
    try:
        open_ = _reclaim(request, wanted, contexts, raw_name)
    except NtStatusError as error:
        other = _by_create_guid(request, wanted) if error.status == STATUS_OBJECT_NAME_NOT_FOUND else None
        if other is None:
            raise
        open_ = _reclaim(request, other, contexts, raw_name)
    return create_reply(request, open_, FILE_OPENED, contexts, reconnected=True)


def _by_create_guid(request: Request, wanted: ctx.Reconnect) -> ctx.Reconnect | None:
    """The persistent open with this CreateGuid where the client does not know its FileId (MS-SMB2 3.3.5.9.12)."""
    if not wanted.persistent:
        return None
    ref = request.server.table.find_replay(request.session.client_guid, wanted.create_guid)
    if ref is None or ref.open_id == wanted.persistent_id:
        return None
    return ctx.Reconnect(2, ref.open_id, 0, wanted.create_guid, True)


def _reclaim(request: Request, wanted: ctx.Reconnect, contexts: ctx.CreateContexts, raw_name: str) -> Open:
    """Move the kept open into this session. Raises what `reconnect` raises."""
    server, session = request.server, request.session
    waiting = server.opens.get(wanted.persistent_id)
    if waiting is not None:
        finish_disconnect(waiting)
    tree = request.tree
    is_posix = waiting is not None and waiting.is_posix
    name = parse_name(asked_on(tree, raw_name, is_posix), is_posix)
    asked = DurableReconnect(
        persistent_id=wanted.persistent_id,
        version=wanted.version,
        create_guid=wanted.create_guid,
        client_guid=session.client_guid,
        owner=owner_of(session.identity),
        lease=contexts.lease,
        persistent=wanted.persistent,
        path=name.path,
        session_id=session.session_id,
        share=tree.share.name,
        read_only=tree.read_only,
        dialect=session.dialect,
        protection=protection_of(request),
    )
    # Every check comes before the table releases the open, so a refused open goes on waiting for its client.
    again = server.table.find_kept(asked)
    created: CreateResult | None = None
    if again is not None:
        server.open_admission.check(session)
        created = _open_kept_file(request, again)
    elif waiting is not None:
        _check_rights(request, waiting)
    try:
        outcome = server.table.reconnect(asked)
    except NtStatusError:
        if created is not None:
            created.file.close()
        raise
    kept = outcome.handle
    if isinstance(kept, Open):
        # The kept record stays behind closed, so that a request that still holds it does nothing; its file goes on in a
        # new one.
        open_ = kept.copy()
        open_.volatile_id = server.new_id()
        open_.session, open_.tree, open_.connection = session, request.tree, request.connection
        open_.waits = {}
        kept.closed = True
        if open_.withdrawn_access and not request.tree.read_only:
            restore_writes(open_)  # the share was read-only while the client was away
    else:
        open_ = _open_of(request, outcome.request, created)
    open_.oplock_level = outcome.grant.oplock_level
    open_.lease = outcome.grant.lease
    take_grant(open_, outcome.grant)
    session.opens[open_.volatile_id] = open_
    server.opens[open_.persistent_id] = open_
    request.chain.file_id = (open_.persistent_id, open_.volatile_id)
    request.open = open_
    return open_


def _open_kept_file(request: Request, old: OpenRequest) -> CreateResult:
    """As `_open_file`. If the file is gone, nobody can have the kept open again, so it ends and holds up nobody."""
    try:
        return _open_file(request, old)
    except NtStatusError as error:
        if error.status in _GONE and request.tree.volume is not None:
            request.server.table.close(old.ref)
        raise


def _open_file(request: Request, old: OpenRequest) -> CreateResult:
    """Open again, by name and with the current rights of the user, the file of an open that another worker or an
    earlier server had. Raises STATUS_OBJECT_NAME_NOT_FOUND where another file has the name now, and what Volume.create
    raises."""
    tree = request.tree
    if tree.volume is None:
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "another share's")
    ref = old.ref
    kind = FILE_DIRECTORY_FILE if old.is_directory and not ref.stream else FILE_NON_DIRECTORY_FILE
    intent = CreateIntent(
        old.path, ref.stream, old.granted_access, FILE_OPEN, kind | old.options & FILE_OPEN_REPARSE_POINT, 0,
        share_read_only=tree.read_only, posix_mode=0 if old.persistent_state == POSIX_OPEN else None,
    )  # fmt: skip
    created = tree.volume.create(intent)
    if created.file.key != ref.file:
        created.file.close()
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "another file has the name now")
    return created


def _open_of(request: Request, old: OpenRequest, created: CreateResult | None) -> Open:
    """The Open for a reclaimed open whose file had to be opened again. Raises what OpenTable.readmit raises; the kept
    open then goes on waiting for its client."""
    server, tree = request.server, request.tree
    ref = old.ref
    try:
        if created is None:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "what was kept of it is gone")
        if created.local is not None:
            server.table.readmit(ref, created.local)
        elif (side := created.file.lock_side()) is not None:
            server.table.share_locks(ref, side)
    except NtStatusError:
        if created is not None:
            created.file.close()
        if not server.table.disconnect(ref):
            server.table.close(ref)
        raise
    file = created.file
    is_posix = old.persistent_state == POSIX_OPEN
    open_ = Open(
        ref.open_id, server.new_id(), request.session, tree, request.connection, file,
        granted_access=old.granted_access, create_options=old.options, share_access=old.share_access, ref=ref,
    )  # fmt: skip
    open_.is_posix = is_posix
    open_.made_by = rights_of(request)
    open_.mode = old.options & MODE_OPTIONS
    if old.durable is not None:
        open_.is_resilient = old.durable.resilient
        open_.create_guid = old.durable.create_guid
        open_.app_instance_id = old.durable.app_instance_id
    return open_


def find_replay(request: Request, contexts: ctx.CreateContexts, raw_name: str) -> Open | None:
    """The open that an earlier CREATE with this CreateGuid made and whose reply is to be repeated. None: this is a new
    CREATE.

    Raises STATUS_DUPLICATE_OBJECTID without the replay flag or from another session or tree connect,
    STATUS_FILE_NOT_AVAILABLE while the first CREATE is not finished, STATUS_ACCESS_DENIED for another user or lease."""
    durable = contexts.durable_v2
    session = request.session
    if durable is None or session.dialect < DIALECT_300:
        return None
    server = request.server
    ref = server.table.find_replay(session.client_guid, durable.create_guid)
    if ref is None:
        return None
    replay = bool(request.header.flags & FLAGS_REPLAY_OPERATION)
    open_ = server.opens.get(ref.open_id)
    if open_ is not None:
        finish_disconnect(open_)
    if replay and durable.persistent and (open_ is None or open_.session is None):
        # The connection of the persistent open was lost, perhaps before the client got the first reply.
        again = ctx.Reconnect(2, ref.open_id, 0, durable.create_guid, True)
        try:
            return _reclaim(request, again, contexts, raw_name)
        except NtStatusError as error:
            if error.status != STATUS_OBJECT_NAME_NOT_FOUND:
                raise
    if open_ is None:
        raise NtStatusError(STATUS_FILE_NOT_AVAILABLE if replay else STATUS_DUPLICATE_OBJECTID)
    if not open_.is_replay_eligible:
        return None
    if not replay or open_.session is not session or open_.tree is not request.tree:
        raise NtStatusError(STATUS_DUPLICATE_OBJECTID)
    if not _same_lease(open_, contexts.lease):
        raise NtStatusError(STATUS_ACCESS_DENIED, "another lease key")
    if open_.lease is not None:
        # A later open with this key may have upgraded the lease: take its state.
        key = open_.lease.key
        holders = [other for other in session.opens.values() if other.lease is not None and other.lease.key == key]
        open_.lease = max(holders, key=lambda other: other.persistent_id, default=open_).lease
    request.chain.file_id = (open_.persistent_id, open_.volatile_id)
    request.open = open_
    return open_
