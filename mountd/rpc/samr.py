# SPDX-License-Identifier: GPL-2.0-or-later
"""samr, the Security Account Manager (MS-SAMR): the operations on the server, its domains, and what these enumerate."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Final

from ksmbd.smb.status import (
    STATUS_INVALID_PARAMETER,
    STATUS_MORE_ENTRIES,
    STATUS_NONE_MAPPED,
    STATUS_SOME_NOT_MAPPED,
    STATUS_SUCCESS,
    NtStatusError,
    WireError,
)
from mountd.rpc import refused, samr_members, samr_password, samr_query
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.ndr_types import (
    bounded,
    close_handle,
    null_handle,
    null_pointer,
    null_words,
    read_handle,
    read_rpc_sid,
    read_unicode_string,
    read_unicode_strings,
    returning_status,
    write_counted,
    write_counted_u32,
    write_handle,
    write_sid_pointer,
    write_unicode_string,
)
from mountd.rpc.pdu import Syntax
from mountd.rpc.samr_domain import Database, Domain, Principal, Server
from mountd.rpc.service import Caller, Interface, Operation
from mountd.rpc.well_known import SidUse

NAMES_MAX: Final = 1000
"""size_is of the arrays of names and RIDs in requests (MS-SAMR 3.1.5.11.2)."""
ENTRY_SIZE: Final = 64
"""Bytes that an entry of an enumeration counts against PreferedMaximumLength, with its name."""


# ------------------------------------------------------------------------------------------------------- the server


def _connect(caller: Caller, writer: NdrWriter) -> int:
    write_handle(writer, caller.handles.open(Server()))
    return STATUS_SUCCESS


@returning_status(null_handle)
def connect(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrConnect, opnum 0 (MS-SAMR 3.1.5.1.4): the server's name is one character."""
    if reader.pointer():
        reader.u16()
    return _connect(caller, writer)


@returning_status(null_handle)
def connect_2(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrConnect2, opnum 57, SamrConnect4, opnum 62 (MS-SAMR 3.1.5.1.3, 3.1.5.1.2), and their like of Windows 2000,
    opnum 61."""
    reader.unique_string()
    return _connect(caller, writer)


@returning_status(null_words(9))
def connect_5(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrConnect5, opnum 64 (MS-SAMR 3.1.5.1.1)."""
    reader.unique_string()
    reader.u32()
    version, tag = reader.u32(), reader.u32()
    if version != 1 or tag != 1:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"revision information {version}")
    writer.u32(1)
    writer.u32(1)
    writer.u32(3)  # Revision of a server behind Windows 2000 (MS-SAMR 2.2.7.15)
    writer.u32(0)  # SupportedFeatures
    return _connect(caller, writer)


@returning_status(null_pointer)
def lookup_domain(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrLookupDomainInSamServer, opnum 5 (MS-SAMR 3.1.5.11.1)."""
    caller.handles.get(read_handle(reader), Server)
    write_sid_pointer(writer, Database(caller).domain_named(read_unicode_string(reader)).sid)
    return STATUS_SUCCESS


@returning_status(null_handle)
def open_domain(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrOpenDomain, opnum 7 (MS-SAMR 3.1.5.1.5)."""
    caller.handles.get(read_handle(reader), Server)
    reader.u32()
    write_handle(writer, caller.handles.open(Database(caller).domain(read_rpc_sid(reader))))
    return STATUS_SUCCESS


# ----------------------------------------------------------------------------------------------------- enumerations


def _enumerate(writer: NdrWriter, entries: Sequence[tuple[int, str]], start: int, preferred: int) -> int:
    """SAMPR_ENUMERATION_BUFFER: (RID, name) from `start` on, at least one and as many as the caller wants."""
    page: list[tuple[int, str]] = []
    size = 0
    for entry in entries[start:]:
        size += ENTRY_SIZE + 2 * len(entry[1])
        if page and size > preferred:
            break
        page.append(entry)
    end = start + len(page)

    def write(writer: NdrWriter, entry: tuple[int, str]) -> None:
        writer.u32(entry[0])
        write_unicode_string(writer, entry[1])

    writer.u32(end)
    writer.pointer(lambda: write_counted(writer, page, write))
    writer.flush()
    writer.u32(len(page))
    return STATUS_MORE_ENTRIES if end < len(entries) else STATUS_SUCCESS


@returning_status(null_words(3))
def enumerate_domains(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrEnumerateDomainsInSamServer, opnum 6 (MS-SAMR 3.1.5.2.1)."""
    caller.handles.get(read_handle(reader), Server)
    start, preferred = reader.u32(), reader.u32()
    return _enumerate(writer, [(0, domain.name) for domain in Database(caller).domains], start, preferred)


def _enumeration(
    text: str, entries: Callable[[Database, Domain], Sequence[tuple[int, str]]], filtered: bool = False
) -> Operation:
    """An operation that enumerates a domain. `filtered`: its request has UserAccountControl bits."""

    def operation(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
        domain = caller.handles.get(read_handle(reader), Domain)
        start = reader.u32()
        wanted = reader.u32() if filtered else 0
        found = entries(Database(caller), domain)
        if wanted and not wanted & 0x10:  # USER_NORMAL_ACCOUNT: there is no other kind of account
            found = []
        return _enumerate(writer, found, start, reader.u32())

    operation.__doc__ = text
    return returning_status(null_words(3))(operation)


enumerate_groups = _enumeration(
    "SamrEnumerateGroupsInDomain, opnum 11 (MS-SAMR 3.1.5.2.3).",
    lambda database, domain: [(group.rid, group.name) for group in database.groups(domain)],
)
enumerate_users = _enumeration(
    "SamrEnumerateUsersInDomain, opnum 13 (MS-SAMR 3.1.5.2.5).",
    lambda database, domain: [(user.rid, user.account.name) for user in database.users(domain)],
    filtered=True,
)
enumerate_aliases = _enumeration(
    "SamrEnumerateAliasesInDomain, opnum 15 (MS-SAMR 3.1.5.2.4).",
    lambda database, domain: [(alias.rid, alias.name) for alias in database.aliases(domain)],
)


# ---------------------------------------------------------------------------------------------------- names and RIDs


def _array(reader: NdrReader, count: int) -> None:
    """The head of a conformant and varying array of `count` elements."""
    maximum, offset, actual = reader.u32(), reader.u32(), reader.u32()
    if maximum != NAMES_MAX or offset or actual != count:
        raise WireError(f"an array of {actual} elements at {offset} in {maximum}")
    bounded(count)


def _mapped(found: Sequence[Principal | None]) -> int:
    mapped = sum(each is not None for each in found)
    if mapped == len(found):
        return STATUS_SUCCESS
    return STATUS_SOME_NOT_MAPPED if mapped else STATUS_NONE_MAPPED


@returning_status(null_words(4))
def lookup_names(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrLookupNamesInDomain, opnum 17 (MS-SAMR 3.1.5.11.2)."""
    domain = caller.handles.get(read_handle(reader), Domain)
    count = reader.u32()
    _array(reader, count)
    names = read_unicode_strings(reader, count)
    by_name = {each.name.casefold(): each for each in Database(caller).principals(domain)}
    found = [by_name.get(name.casefold()) for name in names]
    write_counted_u32(writer, [0 if each is None else each.rid for each in found])
    writer.flush()
    write_counted_u32(writer, [SidUse.UNKNOWN if each is None else each.use for each in found])
    return _mapped(found)


@returning_status(null_words(4))
def lookup_ids(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrLookupIdsInDomain, opnum 18 (MS-SAMR 3.1.5.11.3)."""
    domain = caller.handles.get(read_handle(reader), Domain)
    count = reader.u32()
    _array(reader, count)
    rids = [reader.u32() for _ in range(count)]
    by_rid = {each.rid: each for each in Database(caller).principals(domain)}
    found = [by_rid.get(rid) for rid in rids]
    names = ["" if each is None else each.name for each in found]
    write_counted(writer, names, write_unicode_string)
    writer.flush()
    write_counted_u32(writer, [SidUse.UNKNOWN if each is None else each.use for each in found])
    return _mapped(found)


INTERFACE: Final = Interface(
    pipe="samr",
    syntax=Syntax(uuid.UUID("12345778-1234-abcd-ef00-0123456789ac"), 1),
    operations={
        **refused.SAMR,
        0: connect,
        1: close_handle,
        3: samr_query.query_security_object,
        5: lookup_domain,
        6: enumerate_domains,
        7: open_domain,
        8: samr_query.query_information_domain,
        11: enumerate_groups,
        13: enumerate_users,
        15: enumerate_aliases,
        16: samr_members.get_alias_membership,
        17: lookup_names,
        18: lookup_ids,
        19: samr_members.open_group,
        20: samr_members.query_information_group,
        25: samr_members.get_members_in_group,
        27: samr_members.open_alias,
        28: samr_members.query_information_alias,
        33: samr_members.get_members_in_alias,
        34: samr_members.open_user,
        36: samr_query.query_information_user,
        39: samr_members.get_groups_for_user,
        40: samr_query.query_display_information,
        41: samr_query.get_display_enumeration_index,
        44: samr_query.get_user_domain_password_information,
        46: samr_query.query_information_domain,
        47: samr_query.query_information_user,
        48: samr_query.query_display_information,
        49: samr_query.get_display_enumeration_index,
        51: samr_query.query_display_information,
        55: samr_password.unicode_change_password_2,
        56: samr_query.get_domain_password_information,
        57: connect_2,
        61: connect_2,
        62: connect_2,
        63: samr_password.change_password_3,
        64: connect_5,
        65: samr_members.rid_to_sid,
        73: samr_password.unicode_change_password_4,
    },
)
