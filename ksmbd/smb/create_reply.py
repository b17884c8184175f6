# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes the CREATE Response (MS-SMB2 2.2.14) and its contexts, for a new, reclaimed or replayed Open."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb.access_mask import WRITE_BITS
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open
from ksmbd.smb.ports import FileInfo
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.sid import UNIX_GROUPS, UNIX_USERS
from ksmbd.smb.status import STATUS_NONE_MAPPED, STATUS_SUCCESS, NtStatusError

# StructureSize, OplockLevel, Flags, CreateAction, four times, AllocationSize, EndofFile, FileAttributes, Reserved2,
# FileId, CreateContextsOffset, CreateContextsLength
RESPONSE: Final = Struct("<HBBIQQQQQQIIQQII")
_CONTEXTS_OFFSET: Final = HEADER_SIZE + RESPONSE.size
CREATE_FLAG_REPARSEPOINT: Final = 0x01
_POSIX: Final = Struct("<III")  # nlink, reparse tag, mode


def create_reply(
    request: Request, open_: Open, action: int, contexts: ctx.CreateContexts, reconnected: bool = False,
    replayed_level: int | None = None, info: FileInfo | None = None,
) -> Reply:
    """The response for `open_`. `info`: the metadata of its file, where that is known. Raises what File.info raises.

    `replayed_level`: the OplockLevel that a replayed CREATE requests. The reply grants no more than this level, and
    says durable only where that level allows it. The open itself does not change."""
    assert open_.file is not None
    if info is None:
        info = open_.file.info()
    level = open_.oplock_level if replayed_level is None else min(replayed_level, open_.oplock_level)
    durable = not reconnected and (open_.is_persistent or (open_.is_durable and level == open_.oplock_level))
    chain = b""
    if contexts is not ctx.NO_CONTEXTS:
        chain = _contexts(open_, info, contexts, durable)
    flags = 0
    if info.attributes & c.FILE_ATTRIBUTE_REPARSE_POINT and request.session.dialect >= c.DIALECT_300:
        flags = CREATE_FLAG_REPARSEPOINT
    body = RESPONSE.pack(
        89, level, flags, action, info.creation_time, info.last_access_time, info.last_write_time,
        info.change_time, info.allocation_size, info.end_of_file, info.attributes, 0, open_.persistent_id,
        open_.volatile_id, _CONTEXTS_OFFSET if chain else 0, len(chain),
    )  # fmt: skip
    return Reply(body + chain if chain else body)


def _contexts(open_: Open, info: FileInfo, contexts: ctx.CreateContexts, durable: bool) -> bytes:
    answers: list[tuple[bytes, bytes]] = []
    if contexts.maximal_access_time is not None:
        answers.append((ctx.MXAC, _maximal_access(open_, info, contexts.maximal_access_time)))
    if contexts.query_on_disk_id:
        answers.append((ctx.QFID, ctx.encode_on_disk_id(info.file_id, info.volume_id)))
    if open_.lease is not None:
        answers.append((ctx.RQLS, ctx.encode_lease(open_.lease)))
    if contexts.durable_v2 is not None:
        if durable:
            answers.append((ctx.DH2Q, ctx.encode_durable_v2(open_.durable_timeout, open_.is_persistent)))
    elif contexts.durable_v1 and durable:
        answers.append((ctx.DHNQ, bytes(8)))
    if contexts.posix_mode is not None:
        answers.append((ctx.POSIX, _posix(info)))
    return ctx.encode_chain(answers) if answers else b""


def _maximal_access(open_: Open, info: FileInfo, client_time: int) -> bytes:
    """The data of MxAc (MS-SMB2 3.3.5.9.5): STATUS_NONE_MAPPED if the timestamp of the client equals LastWriteTime."""
    assert open_.file is not None
    if client_time and client_time == info.last_write_time:
        return ctx.encode_maximal_access(STATUS_NONE_MAPPED, 0)
    try:
        access = open_.file.maximal_access()
    except NtStatusError as error:
        return ctx.encode_maximal_access(error.status, 0)
    if open_.tree is not None and open_.tree.read_only:
        access &= ~WRITE_BITS
    if open_.tree is not None:
        access &= ~open_.tree.share.withheld
    return ctx.encode_maximal_access(STATUS_SUCCESS, access)


def _posix(info: FileInfo) -> bytes:
    """The POSIX create context's response (SMB 3.1.1 POSIX extensions, 2.2.14.2.16)."""
    owner, group = UNIX_USERS.child(info.uid), UNIX_GROUPS.child(info.gid)
    return _POSIX.pack(info.number_of_links, info.reparse_tag, info.mode & 0o7777) + owner.encode() + group.encode()
