# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of samr on users, groups and aliases: opening them, and who is a member of what (MS-SAMR 3.1.5)."""

from __future__ import annotations

from collections.abc import Callable

from ksmbd.smb.sid import Sid
from ksmbd.smb.status import (
    STATUS_INVALID_INFO_CLASS,
    STATUS_INVALID_PARAMETER,
    STATUS_SUCCESS,
    NtStatusError,
)
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.ndr_types import (
    null_handle,
    null_pointer,
    null_words,
    read_handle,
    read_sid_pointers,
    returning_status,
    write_array,
    write_counted,
    write_counted_u32,
    write_handle,
    write_sid_pointer,
    write_unicode_string,
)
from mountd.rpc.samr_domain import GROUP_ATTRIBUTES, Alias, Database, Domain, Group, User
from mountd.rpc.service import Caller, Operation
from mountd.rpc.translation import NONE_RID

GENERAL, NAME, ATTRIBUTE, COMMENT, REPLICATION = 1, 2, 3, 4, 5
"""GROUP_INFORMATION_CLASS (MS-SAMR 2.2.5.5). Of ALIAS_INFORMATION_CLASS 3 is the comment (MS-SAMR 2.2.6.4)."""
ALIAS_COMMENT = 3


def _open(text: str, find: Callable[[Database, Domain, int], User | Group | Alias]) -> Operation:
    """An operation that opens what a domain has, by RID."""

    def operation(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
        domain = caller.handles.get(read_handle(reader), Domain)
        reader.u32()
        write_handle(writer, caller.handles.open(find(Database(caller), domain, reader.u32())))
        return STATUS_SUCCESS

    operation.__doc__ = text
    return returning_status(null_handle)(operation)


open_group = _open("SamrOpenGroup, opnum 19 (MS-SAMR 3.1.5.1.7).", Database.group)
open_alias = _open("SamrOpenAlias, opnum 27 (MS-SAMR 3.1.5.1.8).", Database.alias)
open_user = _open("SamrOpenUser, opnum 34 (MS-SAMR 3.1.5.1.9).", Database.user)


@returning_status(null_pointer)
def query_information_group(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrQueryInformationGroup, opnum 20 (MS-SAMR 3.1.5.5.3)."""
    group = caller.handles.get(read_handle(reader), Group)
    level = reader.u16()
    members = len(Database(caller).users(group.domain)) if level in (GENERAL, REPLICATION) else 0

    def info() -> None:
        writer.u16(level)
        if level in (GENERAL, NAME, REPLICATION):
            write_unicode_string(writer, group.name)
        if level in (GENERAL, ATTRIBUTE, REPLICATION):
            writer.u32(GROUP_ATTRIBUTES)
        if level in (GENERAL, REPLICATION):
            writer.u32(members)
        if level in (GENERAL, COMMENT, REPLICATION):
            write_unicode_string(writer, group.description)

    if level not in (GENERAL, NAME, ATTRIBUTE, COMMENT, REPLICATION):
        raise NtStatusError(STATUS_INVALID_INFO_CLASS, f"group information {level}")
    writer.pointer(info)
    return STATUS_SUCCESS


@returning_status(null_pointer)
def get_members_in_group(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrGetMembersInGroup, opnum 25 (MS-SAMR 3.1.5.8.3)."""
    group = caller.handles.get(read_handle(reader), Group)
    rids = [user.rid for user in Database(caller).users(group.domain)]

    def members() -> None:
        writer.u32(len(rids))
        write_array(writer, rids, NdrWriter.u32)
        write_array(writer, [GROUP_ATTRIBUTES] * len(rids), NdrWriter.u32)

    writer.pointer(members)
    return STATUS_SUCCESS


@returning_status(null_pointer)
def query_information_alias(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrQueryInformationAlias, opnum 28 (MS-SAMR 3.1.5.5.4)."""
    alias = caller.handles.get(read_handle(reader), Alias)
    level = reader.u16()
    members = Database(caller).alias_members(alias)

    def info() -> None:
        writer.u16(level)
        if level in (GENERAL, NAME):
            write_unicode_string(writer, alias.name)
        if level == GENERAL:
            writer.u32(len(members))
        if level in (GENERAL, ALIAS_COMMENT):
            write_unicode_string(writer, "")

    if level not in (GENERAL, NAME, ALIAS_COMMENT):
        raise NtStatusError(STATUS_INVALID_INFO_CLASS, f"alias information {level}")
    writer.pointer(info)
    return STATUS_SUCCESS


@returning_status(null_words(2))
def get_members_in_alias(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrGetMembersInAlias, opnum 33 (MS-SAMR 3.1.5.8.4)."""
    alias = caller.handles.get(read_handle(reader), Alias)
    members = Database(caller).alias_members(alias)
    write_counted(writer, members, write_sid_pointer)
    return STATUS_SUCCESS


@returning_status(null_words(2))
def get_alias_membership(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrGetAliasMembership, opnum 16 (MS-SAMR 3.1.5.9.2)."""
    domain = caller.handles.get(read_handle(reader), Domain)
    sids: list[Sid] = []
    for sid in read_sid_pointers(reader):
        if sid is None:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "a null SID")
        sids.append(sid)
    write_counted_u32(writer, Database(caller).aliases_of(domain, sids))
    return STATUS_SUCCESS


@returning_status(null_pointer)
def get_groups_for_user(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrGetGroupsForUser, opnum 39 (MS-SAMR 3.1.5.9.1): the group of all users."""
    caller.handles.get(read_handle(reader), User)

    def membership(writer: NdrWriter, rid: int) -> None:
        writer.u32(rid)
        writer.u32(GROUP_ATTRIBUTES)

    writer.pointer(lambda: write_counted(writer, (NONE_RID,), membership))
    return STATUS_SUCCESS


@returning_status(null_pointer)
def rid_to_sid(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrRidToSid, opnum 65 (MS-SAMR 3.1.5.13.8), for a handle of any object of a domain."""
    target = caller.handles.get(read_handle(reader), object)
    domain = target if isinstance(target, Domain) else getattr(target, "domain", None)
    if not isinstance(domain, Domain):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "the server's handle")
    write_sid_pointer(writer, domain.sid.child(reader.u32()))
    return STATUS_SUCCESS
