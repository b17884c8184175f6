# SPDX-License-Identifier: GPL-2.0-or-later
"""lsarpc, the Local Security Authority: its policy, the privileges, and the translation of names and SIDs (MS-LSAD,
MS-LSAT)."""

from __future__ import annotations

import uuid
from typing import Final, NamedTuple

from ksmbd.smb.sid import BUILTIN_ADMINISTRATORS
from ksmbd.smb.status import (
    STATUS_INVALID_INFO_CLASS,
    STATUS_INVALID_PARAMETER,
    STATUS_NO_MORE_ENTRIES,
    STATUS_NO_SUCH_PRIVILEGE,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_SUCCESS,
    NtStatusError,
)
from mountd.rpc import lsa_lookup, refused
from mountd.rpc.lsa_lookup import Policy
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.ndr_types import (
    close_handle,
    null_handle,
    null_pointer,
    null_words,
    read_handle,
    read_rpc_sid,
    read_unicode_string,
    returning_status,
    write_counted,
    write_handle,
    write_sid_pointer,
    write_unicode_string,
)
from mountd.rpc.pdu import Syntax
from mountd.rpc.samr_query import query_security_object
from mountd.rpc.service import Caller, Interface
from mountd.rpc.translation import Translator

PRIMARY_DOMAIN: Final = 3
ACCOUNT_DOMAIN: Final = 5
SERVER_ROLE: Final = 6
DNS_DOMAIN: Final = 12
"""POLICY_INFORMATION_CLASS (MS-LSAD 2.2.4.1)."""
ROLE_PRIMARY: Final = 3
"""PolicyServerRolePrimary: it decides about its own accounts (MS-LSAD 2.2.4.9)."""


class Privilege(NamedTuple):
    """A privilege: the low part of its LUID (MS-LSAD 3.1.1.2.1), its name, and how Windows shows it."""

    luid: int
    name: str
    display: str


class Account:
    """What a handle of LsarOpenAccount stands for: one of HOLDERS, who all have the same privileges."""


PRIVILEGES: Final = (
    Privilege(8, "SeSecurityPrivilege", "Manage auditing and security log"),
    Privilege(9, "SeTakeOwnershipPrivilege", "Take ownership of files or other objects"),
    Privilege(17, "SeBackupPrivilege", "Back up files and directories"),
    Privilege(18, "SeRestorePrivilege", "Restore files and directories"),
)
"""The privileges of a session of an administrator (ksmbd/vfs/idmap.py)."""
HOLDERS: Final = (BUILTIN_ADMINISTRATORS,)
"""Who has them."""


# ------------------------------------------------------------------------------------------------------------ policy


def _open(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LSAPR_OBJECT_ATTRIBUTES (MS-LSAD 2.2.2.4): all of it is ignored but the root directory, which must be null."""
    reader.u32()
    root, name = reader.pointer(), reader.pointer()
    reader.u32()
    descriptor, _quality = reader.pointer(), reader.pointer()
    if root or name or descriptor:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "object attributes of a policy")
    write_handle(writer, caller.handles.open(Policy()))
    return STATUS_SUCCESS


@returning_status(null_handle)
def open_policy(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarOpenPolicy, opnum 6 (MS-LSAD 3.1.4.4.2): the system's name is one character."""
    if reader.pointer():
        reader.u16()
    return _open(caller, reader, writer)


@returning_status(null_handle)
def open_policy_2(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarOpenPolicy2, opnum 44 (MS-LSAD 3.1.4.4.1)."""
    reader.unique_string()
    return _open(caller, reader, writer)


@returning_status(null_pointer)
def query_information_policy(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarQueryInformationPolicy, opnum 7, and LsarQueryInformationPolicy2, opnum 46 (MS-LSAD 3.1.4.4.4, 3.1.4.4.3)."""
    caller.handles.get(read_handle(reader), Policy)
    level = reader.u16()
    facts = caller.facts()
    translator = Translator(facts, caller.names)

    def info() -> None:
        writer.u16(level)
        if level == PRIMARY_DOMAIN:
            write_unicode_string(writer, facts.workgroup.upper())
            write_sid_pointer(writer, translator.domain)  # smbcacls dereferences it; a workgroup has none of its own
        elif level == ACCOUNT_DOMAIN:
            write_unicode_string(writer, translator.domain_name)
            write_sid_pointer(writer, translator.domain)
        elif level == SERVER_ROLE:
            writer.u32(ROLE_PRIMARY)  # all clients read it at a multiple of 4, behind padding
        else:
            write_unicode_string(writer, facts.workgroup.upper())
            write_unicode_string(writer, None)
            write_unicode_string(writer, None)
            writer.raw(bytes(16))
            write_sid_pointer(writer, None)

    if level not in (PRIMARY_DOMAIN, ACCOUNT_DOMAIN, SERVER_ROLE, DNS_DOMAIN):
        raise NtStatusError(STATUS_INVALID_INFO_CLASS, f"policy information {level}")
    writer.pointer(info)
    return STATUS_SUCCESS


# -------------------------------------------------------------------------------------------------------- privileges


@returning_status(null_words(3))
def enumerate_accounts(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarEnumerateAccounts, opnum 11 (MS-LSAD 3.1.4.5.2): those who have privileges."""
    caller.handles.get(read_handle(reader), Policy)
    start = reader.u32()
    reader.u32()  # PreferedMaximumLength: all of them are few
    if start >= len(HOLDERS):
        raise NtStatusError(STATUS_NO_MORE_ENTRIES)
    writer.u32(len(HOLDERS))
    write_counted(writer, HOLDERS[start:], write_sid_pointer)
    return STATUS_SUCCESS


@returning_status(null_words(3))
def enumerate_privileges(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarEnumeratePrivileges, opnum 2 (MS-LSAD 3.1.4.8.1)."""
    caller.handles.get(read_handle(reader), Policy)
    start = reader.u32()
    reader.u32()
    if start >= len(PRIVILEGES):
        raise NtStatusError(STATUS_NO_MORE_ENTRIES)

    def entry(writer: NdrWriter, privilege: Privilege) -> None:
        write_unicode_string(writer, privilege.name)
        writer.u32(privilege.luid)
        writer.u32(0)

    writer.u32(len(PRIVILEGES))
    write_counted(writer, PRIVILEGES[start:], entry)
    return STATUS_SUCCESS


@returning_status(null_words(2))
def enumerate_account_rights(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarEnumerateAccountRights, opnum 36 (MS-LSAD 3.1.4.5.10)."""
    caller.handles.get(read_handle(reader), Policy)
    if read_rpc_sid(reader) not in HOLDERS:
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "an account without rights")
    write_counted(writer, [privilege.name for privilege in PRIVILEGES], write_unicode_string)
    return STATUS_SUCCESS


@returning_status(null_words(2))
def enumerate_accounts_with_user_right(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarEnumerateAccountsWithUserRight, opnum 35 (MS-LSAD 3.1.4.5.9)."""
    caller.handles.get(read_handle(reader), Policy)
    if reader.pointer():
        _privilege(read_unicode_string(reader))
    write_counted(writer, HOLDERS, write_sid_pointer)
    return STATUS_SUCCESS


@returning_status(null_handle)
def open_account(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarOpenAccount, opnum 17 (MS-LSAD 3.1.4.5.3)."""
    caller.handles.get(read_handle(reader), Policy)
    if read_rpc_sid(reader) not in HOLDERS:
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "an account without rights")
    write_handle(writer, caller.handles.open(Account()))
    return STATUS_SUCCESS


@returning_status(null_pointer)
def enumerate_privileges_of_account(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarEnumeratePrivilegesAccount, opnum 18 (MS-LSAD 3.1.4.5.4): LSAPR_PRIVILEGE_SET (2.2.5.6)."""
    caller.handles.get(read_handle(reader), Account)

    def content() -> None:
        writer.u32(len(PRIVILEGES))
        writer.u32(len(PRIVILEGES))
        writer.u32(0)
        for privilege in PRIVILEGES:
            for value in (privilege.luid, 0, 0):
                writer.u32(value)

    writer.pointer(content)
    return STATUS_SUCCESS


@returning_status(null_pointer)
def get_system_access_account(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarGetSystemAccessAccount, opnum 23 (MS-LSAD 3.1.4.5.7): no access rights of the system."""
    caller.handles.get(read_handle(reader), Account)
    writer.u32(0)
    return STATUS_SUCCESS


@returning_status(null_words(2))
def lookup_privilege_value(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarLookupPrivilegeValue, opnum 31 (MS-LSAD 3.1.4.8.2)."""
    caller.handles.get(read_handle(reader), Policy)
    privilege = _privilege(read_unicode_string(reader))
    writer.u32(privilege.luid)
    writer.u32(0)
    return STATUS_SUCCESS


@returning_status(null_pointer)
def lookup_privilege_name(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarLookupPrivilegeName, opnum 32 (MS-LSAD 3.1.4.8.3)."""
    caller.handles.get(read_handle(reader), Policy)
    luid = reader.u32(), reader.u32()
    name = next((each.name for each in PRIVILEGES if (each.luid, 0) == luid), None)
    if name is None:
        raise NtStatusError(STATUS_NO_SUCH_PRIVILEGE)
    writer.pointer(lambda: write_unicode_string(writer, name))
    return STATUS_SUCCESS


@returning_status(null_words(2))
def lookup_privilege_display_name(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarLookupPrivilegeDisplayName, opnum 33 (MS-LSAD 3.1.4.8.4): in English."""
    caller.handles.get(read_handle(reader), Policy)
    privilege = _privilege(read_unicode_string(reader))
    writer.pointer(lambda: write_unicode_string(writer, privilege.display))
    writer.flush()
    writer.u16(0x0409)
    writer.align(4)
    return STATUS_SUCCESS


def _privilege(name: str) -> Privilege:
    found = next((each for each in PRIVILEGES if each.name.casefold() == name.casefold()), None)
    if found is None:
        raise NtStatusError(STATUS_NO_SUCH_PRIVILEGE, name)
    return found


@returning_status(null_words(2))
def get_user_name(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarGetUserName, opnum 45 (MS-LSAT 3.1.4.4): the caller's account, and the server's domain if that is asked."""
    reader.unique_string()
    if reader.pointer():
        read_unicode_string(reader)
    wants_domain = reader.pointer()
    domain = Translator(caller.facts(), caller.names).domain_name
    writer.pointer(lambda: write_unicode_string(writer, caller.account))
    writer.flush()
    if wants_domain:
        writer.pointer(lambda: writer.pointer(lambda: write_unicode_string(writer, domain)))
    else:
        writer.pointer(None)
    return STATUS_SUCCESS


INTERFACE: Final = Interface(
    pipe="lsarpc",
    syntax=Syntax(uuid.UUID("12345778-1234-abcd-ef00-0123456789ab"), 0),
    operations={
        **refused.LSARPC,
        0: close_handle,
        2: enumerate_privileges,
        3: query_security_object,
        6: open_policy,
        7: query_information_policy,
        11: enumerate_accounts,
        14: lsa_lookup.lookup_names,
        15: lsa_lookup.lookup_sids,
        17: open_account,
        18: enumerate_privileges_of_account,
        23: get_system_access_account,
        31: lookup_privilege_value,
        32: lookup_privilege_name,
        33: lookup_privilege_display_name,
        35: enumerate_accounts_with_user_right,
        36: enumerate_account_rights,
        44: open_policy_2,
        45: get_user_name,
        46: query_information_policy,
        57: lsa_lookup.lookup_sids_2,
        58: lsa_lookup.lookup_names_2,
        68: lsa_lookup.lookup_names_3,
    },
)

