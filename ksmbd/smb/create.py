# SPDX-License-Identifier: GPL-2.0-or-later
"""CREATE of files and directories (MS-SMB2 2.2.13, 2.2.14, 3.3.5.9): decodes and checks the request, then runs the
steps of create_state."""
from __future__ import annotations

from collections.abc import Coroutine
from struct import Struct
from typing import Any, Final

from ksmbd import debug
from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import create_pipe, debug_lines, durable
from ksmbd.smb.access_mask import WRITE_BITS, check_desired_access
from ksmbd.smb.character_map import asked_on
from ksmbd.smb.create_local import admit
from ksmbd.smb.create_names import Name, parse_name
from ksmbd.smb.create_reply import create_reply
from ksmbd.smb.create_state import Creation
from ksmbd.smb.dfs import local_name
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open, TreeConnect
from ksmbd.smb.open_life import parent_changed, withdraw_writes
from ksmbd.smb.ports import (
    CreateIntent,
    DurableRequest,
    File,
    LeaseRequest,
    OpenGrant,
    OpenRef,
    OpenRequest,
    Unfinished,
)
from ksmbd.smb.reader import decode_utf16, part_of, unpack_from
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BAD_IMPERSONATION_LEVEL,
    STATUS_DELETE_PENDING,
    STATUS_DIRECTORY_NOT_EMPTY,
    STATUS_INVALID_PARAMETER,
    STATUS_NETWORK_NAME_DELETED,
    STATUS_NOT_A_DIRECTORY,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_INVALID,
    STATUS_USER_SESSION_DELETED,
    NtStatusError,
    WireError,
)
from ksmbd.smb.waiting import Future

# StructureSize, SecurityFlags, RequestedOplockLevel, ImpersonationLevel, SmbCreateFlags, Reserved, DesiredAccess,
# FileAttributes, ShareAccess, CreateDisposition, CreateOptions, NameOffset, NameLength, CreateContextsOffset, -Length
_REQUEST: Final = Struct("<HBBIQQIIIIIHHII")
_BUFFER: Final = HEADER_SIZE + _REQUEST.size

IMPERSONATION_DELEGATE: Final = 3
"""The highest ImpersonationLevel (MS-SMB2 2.2.13)."""

_OPTIONS_INVALID: Final = 0xFF000000
_OPTIONS_UNSUPPORTED: Final = c.FILE_CREATE_TREE_CONNECTION | c.FILE_OPEN_BY_FILE_ID | c.FILE_RESERVE_OPFILTER
_ATTRIBUTES_VALID: Final = 0x005EFFB7
"""The attributes of MS-FSCC 2.6. Those that this server does not store are ignored, as in SET_INFO. DEVICE, VOLUME and
undefined bits are refused."""
_SHARE_ACCESS: Final = c.FILE_SHARE_READ | c.FILE_SHARE_WRITE | c.FILE_SHARE_DELETE
_OPLOCK_LEVELS: Final = frozenset(
    (c.OPLOCK_LEVEL_II, c.OPLOCK_LEVEL_EXCLUSIVE, c.OPLOCK_LEVEL_BATCH, c.OPLOCK_LEVEL_LEASE)
)

_new: Final = tuple.__new__
"""Makes a NamedTuple without the call into Python that its class makes of it."""
_ATTEMPTS: Final = 8
"""How often a CREATE is tried again while a large directory is being read. The last try reads it at once."""


class CreateRequest:
    """The fields of a CREATE, decoded and inside their bounds."""

    __slots__ = (
        "oplock_level", "impersonation", "desired_access", "attributes", "share_access", "disposition", "options",
        "raw_name", "contexts",
    )  # fmt: skip

    # With these types the compiled checks work on plain numbers.
    oplock_level: int
    impersonation: int
    desired_access: int
    attributes: int
    share_access: int
    disposition: int
    options: int

    def __init__(self, request: Request) -> None:
        message = request.message
        (
            _, _, self.oplock_level, self.impersonation, _, _, self.desired_access, self.attributes, self.share_access,
            self.disposition, self.options, name_offset, name_length, contexts_offset, contexts_length,
        ) = unpack_from(message, HEADER_SIZE, _REQUEST)  # fmt: skip
        if name_length:
            if name_offset < _BUFFER:
                raise WireError("NameOffset")
            self.raw_name = decode_utf16(part_of(message, name_offset, name_length))
        else:
            self.raw_name = ""
        self.contexts = ctx.NO_CONTEXTS
        if contexts_length:
            if contexts_offset < _BUFFER or contexts_offset % 8:
                raise WireError("CreateContextsOffset")
            self.contexts = ctx.parse_contexts(request.reader().restrict(contexts_offset, contexts_length))
            ctx.check_exclusions(self.contexts, request.session.dialect)


def handle(request: Request) -> Reply | Coroutine[Any, Any, Reply]:
    """Open or create a file, a directory, a stream or a pipe, reclaim a durable open, or answer a replayed CREATE."""
    try:
        return _create(request, True)
    except Unfinished as rest:
        return _create_again(request, rest)


async def _create_again(request: Request, rest: Unfinished | None) -> Reply:
    """Try again: after the large directory has been read, in time slices, that the name must be searched in; or because
    the file that was there is deleted now."""
    time_slice = request.time_slice()
    for attempt in range(_ATTEMPTS):
        while rest is not None and rest.go_on():
            if time_slice.is_over():
                await time_slice.renew()
                _check_alive(request)
        try:
            result = _create(request, attempt + 1 < _ATTEMPTS)
        except Unfinished as more:
            rest = more
            continue
        return result if isinstance(result, Reply) else await result
    raise AssertionError("the last attempt leaves nothing unfinished")


def _check_alive(request: Request) -> None:
    """Raise where the session or the tree connect ended while the request waited: STATUS_NETWORK_NAME_DELETED,
    STATUS_USER_SESSION_DELETED."""
    if request.tree.closed:
        raise NtStatusError(STATUS_NETWORK_NAME_DELETED)
    if request.session.state is SessionState.DELETED:
        raise NtStatusError(STATUS_USER_SESSION_DELETED)


def _create(request: Request, later: bool) -> Reply | Coroutine[Any, Any, Reply]:
    """Carry out the CREATE. `later`: it may raise Unfinished, and the caller tries again."""
    # If this CREATE fails, related requests behind it must fail, too, not use an earlier open (3.3.5.2.7.2).
    request.chain.file_id = None
    fields = CreateRequest(request)
    tree = request.tree
    if tree.volume is None:
        if fields.impersonation > IMPERSONATION_DELEGATE:
            raise NtStatusError(STATUS_BAD_IMPERSONATION_LEVEL)
        return create_pipe.open_pipe(request, fields.raw_name, fields.desired_access, fields.share_access)
    if tree.share.msdfs_root and request.header.flags & c.FLAGS_DFS_OPERATIONS:
        fields.raw_name = local_name(fields.raw_name, tree.share.name)
    contexts = fields.contexts
    if contexts is not ctx.NO_CONTEXTS:
        if not request.connection.posix:
            contexts.posix_mode = None
        reconnect = contexts.reconnect_v2 or contexts.reconnect_v1
        if reconnect is not None:
            return durable.reconnect(request, reconnect, contexts, fields.raw_name)
    if tree.share.catia_mappings:
        fields.raw_name = asked_on(tree, fields.raw_name, contexts.posix_mode is not None)
    _check(fields)
    name = parse_name(fields.raw_name, contexts.posix_mode is not None)
    intent = _intent(fields, name, tree)
    intent.later = later
    server = request.server
    if contexts.durable_v2 is not None:
        replayed = durable.find_replay(request, contexts, fields.raw_name)
        if replayed is not None:
            level = None if replayed.lease is not None else fields.oplock_level
            return create_reply(request, replayed, replayed.create_action, contexts, replayed_level=level)
    session = request.session
    server.open_admission.check(session)
    creation = Creation(server, fields.options)
    try:
        file = creation.open_file(tree.volume, intent)
        if intent.options & c.FILE_DELETE_ON_CLOSE and not creation.deletable:
            _check_delete_on_close(file)
        future = creation.ask(_open_request(request, fields, creation, file))
        if future.done and creation.local is None:
            grant = future.result()
            creation.granted()
            return _complete(request, fields, intent, creation, grant)
    except BaseException as error:
        again = later and _is_in_the_way(creation, error)
        creation.fail()
        if again:
            raise Unfinished(_nothing_to_read) from error
        raise
    request.replayable = contexts.durable_v2 is not None and request.session.dialect >= c.DIALECT_300
    request.go_async()
    return _wait(request, fields, intent, creation, future)


async def _wait(
    request: Request, fields: CreateRequest, intent: CreateIntent, creation: Creation, future: Future[OpenGrant]
) -> Reply:
    try:
        grant = await future
        creation.info = None
        creation.granted()
        if creation.local is not None:
            grant = await admit(creation, grant)
        request.server.open_admission.check(request.session)
        _check_alive(request)  # an oplock or lease break may have taken long
        if request.connection.closed:
            # The client replays the CREATE on another channel of the session.
            request.connection = next(iter(request.session.channels))
        return _complete(request, fields, intent, creation, grant)
    except BaseException as error:
        again = intent.later and _is_in_the_way(creation, error)
        creation.fail()
        if not again:
            raise
    _check_alive(request)
    result = _create(request, False)
    return result if isinstance(result, Reply) else await result


def _is_in_the_way(creation: Creation, error: BaseException) -> bool:
    """Whether a CREATE failed only because a disconnected open with FILE_DELETE_ON_CLOSE gave way to it: the open has
    ended, the file is deleted, and the name can be looked for again."""
    if not isinstance(error, NtStatusError) or error.status != STATUS_DELETE_PENDING:
        return False
    try:
        return creation.is_gone
    except NtStatusError:
        return False


def _nothing_to_read() -> bool:
    return False


def _complete(
    request: Request, fields: CreateRequest, intent: CreateIntent, creation: Creation, grant: OpenGrant
) -> Reply:
    """GRANTED to ANSWERED ("Successful Open Initialization")."""
    creation.empty(intent)
    open_ = _new_open(request, fields, creation, grant)
    creation.register(open_)
    reply = create_reply(request, open_, creation.action, fields.contexts, info=creation.info)
    if creation.action == c.FILE_CREATED and open_.file is not None:
        # The open table may fail here; until the CREATE is answered it can be taken back.
        parent_changed(request.server, open_.file, open_.lease, request.session.client_guid)
    creation.answered()
    request.chain.file_id = (open_.persistent_id, open_.volatile_id)
    request.open = open_
    return reply


# --------------------------------------------------------------------------------------------------------- checking


def _check(fields: CreateRequest) -> None:
    """The checks that do not depend on the file (MS-SMB2 2.2.13, 3.3.5.9; MS-FSA 2.1.5.1). Maps the generic rights in
    `fields`."""
    options = fields.options
    if fields.impersonation > IMPERSONATION_DELEGATE:
        raise NtStatusError(STATUS_BAD_IMPERSONATION_LEVEL)
    if options & _OPTIONS_INVALID or fields.disposition > c.FILE_OVERWRITE_IF or fields.share_access & ~_SHARE_ACCESS:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "CreateOptions, CreateDisposition or ShareAccess")
    if options & _OPTIONS_UNSUPPORTED:
        raise NtStatusError(STATUS_NOT_SUPPORTED, f"CreateOptions 0x{options:08X}")
    deletes = fields.desired_access & c.DELETE  # as it came: generic rights are mapped after the checks of parameters
    fields.desired_access = check_desired_access(fields.desired_access)
    if fields.attributes & ~_ATTRIBUTES_VALID:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"FileAttributes 0x{fields.attributes:08X}")
    if options & c.FILE_DIRECTORY_FILE:
        if options & c.FILE_NON_DIRECTORY_FILE or fields.attributes & c.FILE_ATTRIBUTE_TEMPORARY:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "FILE_DIRECTORY_FILE")
        if fields.disposition in (c.FILE_SUPERSEDE, c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF):
            raise NtStatusError(STATUS_INVALID_PARAMETER, "a directory cannot be overwritten")
    if options & c.FILE_DELETE_ON_CLOSE and not deletes:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "FILE_DELETE_ON_CLOSE without DELETE")


def _intent(fields: CreateRequest, name: Name, tree: TreeConnect) -> CreateIntent:
    """The CreateIntent for the volume, from the request, the syntax of the name and the restrictions of the share."""
    options = fields.options
    if name.must_be_directory:
        if options & c.FILE_NON_DIRECTORY_FILE:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "a directory by its name")
        options |= c.FILE_DIRECTORY_FILE
    if name.must_be_file and not tree.share.streams_xattr:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "no streams on this share, so `:` belongs to the name")
    if (name.stream or name.must_be_file) and options & c.FILE_DIRECTORY_FILE:
        raise NtStatusError(STATUS_NOT_A_DIRECTORY, "a data stream as directory")
    if name.must_be_file:
        options |= c.FILE_NON_DIRECTORY_FILE
    access = fields.desired_access
    if tree.read_only:
        if access & WRITE_BITS or fields.disposition not in (c.FILE_OPEN, c.FILE_OPEN_IF):
            raise NtStatusError(STATUS_ACCESS_DENIED, "the share is read-only")
    if access & tree.share.withheld:  # 3.3.5.9: beyond TreeConnect.MaximalAccess
        raise NtStatusError(STATUS_ACCESS_DENIED, "by the security descriptor of the share")
    contexts = fields.contexts
    attributes = fields.attributes & ~c.FILE_ATTRIBUTE_DIRECTORY
    intent = CreateIntent(name.path, name.stream, access, fields.disposition, options, attributes)
    intent.share_read_only = tree.read_only
    if contexts is not ctx.NO_CONTEXTS:
        intent.allocation_size = contexts.allocation_size
        intent.security_descriptor = contexts.security_descriptor
        intent.extended_attributes = contexts.extended_attributes
        intent.posix_mode = contexts.posix_mode
        intent.snapshot = contexts.timewarp
    return intent


def _check_delete_on_close(file: File) -> None:
    """Refuse FILE_DELETE_ON_CLOSE of a file that cannot be deleted (MS-FSA 2.1.5.1.2). A directory that has entries is
    accepted, because it may be emptied before it is closed."""
    try:
        file.check_delete()
    except NtStatusError as error:
        if error.status != STATUS_DIRECTORY_NOT_EMPTY:
            raise


# ------------------------------------------------------------------------------------------- the open table's question


def _lease(request: Request, fields: CreateRequest) -> LeaseRequest | None:
    """The lease to request from the open table (MS-SMB2 3.3.5.9.8, 3.3.5.9.11), None without OplockLevel LEASE or in a
    dialect without leases. The open table grants no lease of version 1 on a directory."""
    lease = fields.contexts.lease
    dialect = request.session.dialect
    if lease is None or fields.oplock_level != c.OPLOCK_LEVEL_LEASE or not request.server.settings.leases:
        return None
    if dialect < (c.DIALECT_210 if lease.version == 1 else c.DIALECT_300):
        return None
    return lease


def _durable(contexts: ctx.CreateContexts, tree: TreeConnect, request: Request) -> DurableRequest | None:
    v2 = contexts.durable_v2
    if not request.server.settings.durable_handles:
        return None
    if v2 is not None:
        persistent = v2.persistent and tree.share.continuous_availability
        return DurableRequest(
            2, v2.create_guid, min(v2.timeout, durable.MAX_TIMEOUT), persistent, contexts.app_instance_id,
            contexts.app_instance_version,
        )  # fmt: skip
    if not contexts.durable_v1 and not contexts.app_instance_id:
        return None
    # An AppInstanceId counts without a request for a durable open, too (MS-SMB2 3.3.5.9.13).
    wanted = DurableRequest(1 if contexts.durable_v1 else 0)
    wanted.app_instance_id, wanted.app_instance_version = contexts.app_instance_id, contexts.app_instance_version
    return wanted


def _open_request(request: Request, fields: CreateRequest, creation: Creation, file: File) -> OpenRequest:
    session, tree = request.session, request.tree
    contexts = fields.contexts
    level = fields.oplock_level if fields.oplock_level in _OPLOCK_LEVELS else c.OPLOCK_LEVEL_NONE
    lease = None
    if not tree.share.oplocks:
        level = c.OPLOCK_LEVEL_NONE
    elif level == c.OPLOCK_LEVEL_LEASE:
        lease = _lease(request, fields)
        if lease is None:
            level = c.OPLOCK_LEVEL_NONE
    elif file.is_directory:
        level = c.OPLOCK_LEVEL_NONE  # a directory has leases, no oplocks
    ref = _new(OpenRef, (file.key, file.stream, request.server.new_id()))
    owner = durable.owner_of(session.identity)
    # The rest is set by name: keyword arguments would cost more than all else here.
    asked = OpenRequest(ref, session.client_guid, session.session_id, owner, tree.share.name, file.path)
    asked.is_directory = file.is_directory
    asked.created = creation.action == c.FILE_CREATED
    if tree.share.withheld:
        creation.granted_access &= ~tree.share.withheld  # of MAXIMUM_ALLOWED
    asked.granted_access = creation.granted_access
    asked.share_access = fields.share_access
    asked.disposition = fields.disposition
    asked.options = fields.options
    asked.oplock_level = level
    asked.lease = lease
    asked.parent = file.parent_key
    asked.local = creation.local
    asked.name = file.disk_name
    asked.dialect = session.dialect
    asked.protection = durable.protection_of(request)
    if contexts is not ctx.NO_CONTEXTS:
        asked.durable = wanted = None if file.is_snapshot else _durable(contexts, tree, request)
        if wanted is not None and wanted.persistent:
            wanted.handle = file.handle()
        if contexts.posix_mode is not None:
            asked.persistent_state = durable.POSIX_OPEN
            asked.posix = True
    return asked


def _new_open(request: Request, fields: CreateRequest, creation: Creation, grant: OpenGrant) -> Open:
    ref = creation.ref
    assert ref is not None
    contexts = fields.contexts
    volatile_id = creation.server.new_id()
    open_ = Open(ref.open_id, volatile_id, request.session_, request.tree_, request.connection, creation.file)
    open_.ref = ref
    open_.granted_access = creation.granted_access
    open_.create_options = fields.options
    open_.share_access = fields.share_access
    open_.oplock_level = grant.oplock_level
    open_.lease = grant.lease
    open_.create_action = creation.action
    if contexts is not ctx.NO_CONTEXTS:
        durable.take_grant(open_, grant)
        if contexts.durable_v2 is not None:
            open_.create_guid = contexts.durable_v2.create_guid
        if open_.is_durable:
            open_.made_by = durable.rights_of(request)
        open_.app_instance_id = contexts.app_instance_id
        open_.is_posix = contexts.posix_mode is not None
    open_.mode = fields.options & durable.MODE_OPTIONS
    open_.channel_sequence = request.header.status & 0xFFFF
    if debug.mask[0] & debug.OPLOCK:
        debug_lines.granted(request, open_)
    if open_.tree is not None and open_.tree.read_only:
        withdraw_writes(open_)  # the share may have become so while the CREATE waited
    return open_
