# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of samr that query domains and users (MS-SAMR 3.1.5.5, 3.1.5.3, 3.1.5.13): information classes as
tables of their fields, in the order of the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from ksmbd.smb.acl import ACCESS_ALLOWED, Ace, Acl
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import BUILTIN_ADMINISTRATORS, EVERYONE
from ksmbd.smb.status import (
    STATUS_INVALID_INFO_CLASS,
    STATUS_MORE_ENTRIES,
    STATUS_NO_MORE_ENTRIES,
    STATUS_SUCCESS,
    NtStatusError,
)
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.ndr_types import (
    NEVER,
    null_pointer,
    null_words,
    read_handle,
    read_unicode_string,
    returning_status,
    write_counted,
    write_old_large_integer,
    write_unicode_string,
)
from mountd.rpc.samr_domain import GROUP_ATTRIBUTES, Database, Domain, Group, User
from mountd.rpc.service import Caller
from mountd.rpc.translation import NONE_RID

T = TypeVar("T")

USERS, MACHINES, GROUPS, OEM_USERS, OEM_GROUPS = 1, 2, 3, 4, 5
"""DOMAIN_DISPLAY_INFORMATION (MS-SAMR 2.2.8.12)."""
DISPLAY_SIZE: Final = 32
"""Bytes that an entry counts for in TotalAvailable and TotalReturned."""
DISPLAY_ENTRIES: Final = 512
"""Entries of one answer of SamrQueryDisplayInformation."""
HOURS_PER_WEEK: Final = 168
ALL_FIELDS: Final = 0x00FFFFFF
"""WhichFields: what UserAllInformation has (MS-SAMR 2.2.1.8)."""
STANDALONE_ROLE: Final = 3
"""DomainServerRolePrimary (MS-SAMR 2.2.3.16)."""
READABLE_BY_ALL: Final = SecurityDescriptor(
    SE_SELF_RELATIVE | SE_DACL_PRESENT,
    owner=BUILTIN_ADMINISTRATORS,
    group=BUILTIN_ADMINISTRATORS,
    dacl=Acl((Ace(ACCESS_ALLOWED, 0, 0x0002FFFF, EVERYONE),)),
)
"""What SamrQuerySecurityObject tells of any object: READ_CONTROL and all specific rights for everyone."""


# ----------------------------------------------------------------------------------------------------------- domains


def _general(writer: NdrWriter, database: Database, domain: Domain) -> None:
    """SAMPR_DOMAIN_GENERAL_INFORMATION (MS-SAMR 2.2.3.10)."""
    write_old_large_integer(writer, -NEVER - 1)  # ForceLogoff: never
    write_unicode_string(writer, "")
    write_unicode_string(writer, domain.name)
    write_unicode_string(writer, "")
    write_old_large_integer(writer, 0)
    writer.u32(1)  # DomainServerEnabled
    writer.u32(STANDALONE_ROLE)
    writer.u8(0)
    writer.align(4)
    writer.u32(len(database.users(domain)))
    writer.u32(len(database.groups(domain)))
    writer.u32(len(database.aliases(domain)))


def _lockout(writer: NdrWriter) -> None:
    """SAMPR_DOMAIN_LOCKOUT_INFORMATION (MS-SAMR 2.2.3.15): accounts are not locked out."""
    writer.u64(0)
    writer.u64(0)
    writer.u16(0)


def _password(writer: NdrWriter) -> None:
    """DOMAIN_PASSWORD_INFORMATION (MS-SAMR 2.2.3.5): ksmbd.adduser demands nothing of a password."""
    writer.u16(0)
    writer.u16(0)
    writer.u32(0)
    write_old_large_integer(writer, -NEVER - 1)
    write_old_large_integer(writer, 0)


def _general_2(writer: NdrWriter, database: Database, domain: Domain) -> None:
    """SAMPR_DOMAIN_GENERAL_INFORMATION2 (MS-SAMR 2.2.3.11)."""
    writer.align(8)
    _general(writer, database, domain)
    _lockout(writer)


def _counts(count: int) -> Callable[[NdrWriter, Database, Domain], None]:
    """Counts and times of modifications, which are not recorded."""

    def write(writer: NdrWriter, database: Database, domain: Domain) -> None:
        for _ in range(count):
            write_old_large_integer(writer, 0)

    return write


_DOMAIN: Final[Mapping[int, Callable[[NdrWriter, Database, Domain], None]]] = {
    1: lambda writer, database, domain: _password(writer),
    2: _general,
    3: lambda writer, database, domain: write_old_large_integer(writer, -NEVER - 1),
    4: lambda writer, database, domain: write_unicode_string(writer, ""),
    5: lambda writer, database, domain: write_unicode_string(writer, domain.name),
    6: lambda writer, database, domain: write_unicode_string(writer, ""),
    7: lambda writer, database, domain: writer.u32(STANDALONE_ROLE),
    8: _counts(2),
    9: lambda writer, database, domain: writer.u32(1),
    11: _general_2,
    12: lambda writer, database, domain: _lockout(writer),
    13: _counts(3),
}
"""DOMAIN_INFORMATION_CLASS -> writes its structure (MS-SAMR 2.2.3.16)."""


@returning_status(null_pointer)
def query_information_domain(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrQueryInformationDomain, opnum 8, and SamrQueryInformationDomain2, opnum 46 (MS-SAMR 3.1.5.5.2, 3.1.5.5.1)."""
    domain = caller.handles.get(read_handle(reader), Domain)
    level = reader.u16()
    database = Database(caller)
    write = _DOMAIN.get(level)
    if write is None:
        raise NtStatusError(STATUS_INVALID_INFO_CLASS, f"domain information {level}")

    def info() -> None:
        writer.u16(level)
        write(writer, database, domain)

    writer.pointer(info)
    return STATUS_SUCCESS


@returning_status(null_words(2))
def get_domain_password_information(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrGetDomainPasswordInformation, opnum 56 (MS-SAMR 3.1.5.13.3)."""
    return _no_password_rules(writer)


@returning_status(null_words(2))
def get_user_domain_password_information(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrGetUserDomainPasswordInformation, opnum 44 (MS-SAMR 3.1.5.13.2)."""
    caller.handles.get(read_handle(reader), User)
    return _no_password_rules(writer)


def _no_password_rules(writer: NdrWriter) -> int:
    writer.u16(0)
    writer.align(4)
    writer.u32(0)
    return STATUS_SUCCESS


# ------------------------------------------------------------------------------------------------------------- users

Field = Callable[[NdrWriter, User], None]


def _text(writer: NdrWriter, user: User) -> None:
    """A field that no account has."""
    write_unicode_string(writer, "")


def _name(writer: NdrWriter, user: User) -> None:
    write_unicode_string(writer, user.account.name)


def _full_name(writer: NdrWriter, user: User) -> None:
    write_unicode_string(writer, user.account.full_name)


def _rid(writer: NdrWriter, user: User) -> None:
    writer.u32(user.rid)


def _primary_group(writer: NdrWriter, user: User) -> None:
    writer.u32(NONE_RID)


def _control(writer: NdrWriter, user: User) -> None:
    writer.u32(user.control)


def _unknown_time(writer: NdrWriter, user: User) -> None:
    """A time that is not recorded (MS-SAMR 2.2.6.1)."""
    write_old_large_integer(writer, 0)


def _never(writer: NdrWriter, user: User) -> None:
    write_old_large_integer(writer, NEVER)


def _zero(writer: NdrWriter, user: User) -> None:
    writer.u16(0)


def _no(writer: NdrWriter, user: User) -> None:
    writer.u8(0)


def _yes(writer: NdrWriter, user: User) -> None:
    writer.u8(1)


def _no_hash(writer: NdrWriter, user: User) -> None:
    """RPC_SHORT_BLOB: hashes are never sent."""
    writer.align(4)
    writer.u16(0)
    writer.u16(0)
    writer.pointer(None)


def _no_descriptor(writer: NdrWriter, user: User) -> None:
    writer.u32(0)
    writer.pointer(None)


def _which(writer: NdrWriter, user: User) -> None:
    writer.u32(ALL_FIELDS)


def _hours(writer: NdrWriter, user: User) -> None:
    """SAMPR_LOGON_HOURS (MS-SAMR 2.2.6.5): at any hour."""
    writer.align(4)
    writer.u16(HOURS_PER_WEEK)
    size = HOURS_PER_WEEK // 8

    def hours() -> None:
        writer.u32(1260)
        writer.u32(0)
        writer.u32(size)
        writer.raw(b"\xff" * size)

    writer.pointer(hours)


_TIMES: Final[tuple[Field, ...]] = (_unknown_time, _unknown_time, _unknown_time)
USER_CLASSES: Final[Mapping[int, Sequence[Field]]] = {
    1: (_name, _full_name, _primary_group, _text, _text),
    2: (_text, _text, _zero, _zero),
    3: (_name, _full_name, _rid, _primary_group, *(_text,) * 5, *_TIMES, _unknown_time, _never, _hours, _zero, _zero,
        _control),
    4: (_hours,),
    5: (_name, _full_name, _rid, _primary_group, *(_text,) * 6, _unknown_time, _unknown_time, _hours, _zero, _zero,
        _unknown_time, _never, _control),
    6: (_name, _full_name),
    7: (_name,),
    8: (_full_name,),
    9: (_primary_group,),
    10: (_text, _text),
    11: (_text,),
    12: (_text,),
    13: (_text,),
    14: (_text,),
    16: (_control,),
    17: (_never,),
    20: (_text,),
    21: (*_TIMES, _never, _unknown_time, _never, _name, _full_name, *(_text,) * 8, _no_hash, _no_hash, _text,
         _no_descriptor, _rid, _primary_group, _control, _which, _hours, _zero, _zero, _zero, _zero, _no, _yes, _no,
         _no),
}  # fmt: skip
"""USER_INFORMATION_CLASS -> its fields (MS-SAMR 2.2.6.28)."""


@returning_status(null_pointer)
def query_information_user(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrQueryInformationUser, opnum 36, and SamrQueryInformationUser2, opnum 47 (MS-SAMR 3.1.5.5.6, 3.1.5.5.5)."""
    user = caller.handles.get(read_handle(reader), User)
    level = reader.u16()
    fields = USER_CLASSES.get(level)
    if fields is None:
        raise NtStatusError(STATUS_INVALID_INFO_CLASS, f"user information {level}")

    def info() -> None:
        writer.u16(level)
        writer.align(4)
        for field in fields:
            field(writer, user)

    writer.pointer(info)
    return STATUS_SUCCESS


# ----------------------------------------------------------------------------------------------------------- display


def _display_user(writer: NdrWriter, entry: tuple[int, User]) -> None:
    """SAMPR_DOMAIN_DISPLAY_USER (MS-SAMR 2.2.8.2)."""
    index, user = entry
    writer.u32(index)
    writer.u32(user.rid)
    writer.u32(user.control)
    write_unicode_string(writer, user.account.name)
    write_unicode_string(writer, "")
    write_unicode_string(writer, user.account.full_name)


def _display_group(writer: NdrWriter, entry: tuple[int, Group]) -> None:
    """SAMPR_DOMAIN_DISPLAY_GROUP (MS-SAMR 2.2.8.4)."""
    index, group = entry
    writer.u32(index)
    writer.u32(group.rid)
    writer.u32(GROUP_ATTRIBUTES)
    write_unicode_string(writer, group.name)
    write_unicode_string(writer, group.description)


def _display_name(writer: NdrWriter, entry: tuple[int, str]) -> None:
    """SAMPR_DOMAIN_DISPLAY_OEM_USER and _OEM_GROUP (MS-SAMR 2.2.8.5, 2.2.8.6)."""
    index, name = entry
    encoded = name.encode("ascii", "replace")
    writer.u32(index)
    writer.u16(len(encoded))
    writer.u16(len(encoded))

    def buffer() -> None:
        for word in (len(encoded), 0, len(encoded)):
            writer.u32(word)
        writer.raw(encoded)

    writer.pointer(buffer)


def _write_page(
    writer: NdrWriter, page: Sequence[T], start: int, write: Callable[[NdrWriter, tuple[int, T]], None]
) -> None:
    write_counted(writer, list(enumerate(page, start + 1)), write)


@returning_status(null_words(5))
def query_display_information(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrQueryDisplayInformation, opnum 40, and its successors 48 and 51 (MS-SAMR 3.1.5.3.1 to 3.1.5.3.3)."""
    domain = caller.handles.get(read_handle(reader), Domain)
    level, start, count = reader.u16(), reader.u32(), reader.u32()
    if level not in (USERS, MACHINES, GROUPS, OEM_USERS, OEM_GROUPS):
        raise NtStatusError(STATUS_INVALID_INFO_CLASS, f"display information {level}")
    database = Database(caller)
    users = database.users(domain) if level in (USERS, OEM_USERS) else []
    groups = database.groups(domain) if level in (GROUPS, OEM_GROUPS) else []
    total = len(users) + len(groups)
    page = slice(start, start + min(count, DISPLAY_ENTRIES))
    returned = len(range(total)[page])
    writer.u32(DISPLAY_SIZE * total)
    writer.u32(DISPLAY_SIZE * returned)
    writer.u16(level)
    if level == GROUPS:
        _write_page(writer, groups[page], start, _display_group)
    elif level in (USERS, MACHINES):  # of machine accounts there are none
        _write_page(writer, users[page], start, _display_user)
    else:
        names = [user.account.name for user in users] + [group.name for group in groups]
        _write_page(writer, names[page], start, _display_name)
    return STATUS_MORE_ENTRIES if start + returned < total else STATUS_SUCCESS


@returning_status(null_words(1))
def get_display_enumeration_index(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrGetDisplayEnumerationIndex2, opnum 49, and its predecessor 41 (MS-SAMR 3.1.5.3.4): where the first name with
    a prefix is."""
    domain = caller.handles.get(read_handle(reader), Domain)
    level, prefix = reader.u16(), read_unicode_string(reader).casefold()
    if level not in (USERS, MACHINES, GROUPS):
        raise NtStatusError(STATUS_INVALID_INFO_CLASS, f"display information {level}")
    database = Database(caller)
    names = [user.account.name for user in database.users(domain)] if level == USERS else []
    names += [group.name for group in database.groups(domain)] if level == GROUPS else []
    found = next((index for index, name in enumerate(names) if name.casefold().startswith(prefix)), None)
    if found is None:
        raise NtStatusError(STATUS_NO_MORE_ENTRIES)
    writer.u32(found)
    return STATUS_SUCCESS


@returning_status(null_pointer)
def query_security_object(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrQuerySecurityObject, opnum 3 (MS-SAMR 3.1.5.12.2): everyone may read, nobody may change."""
    caller.handles.get(read_handle(reader), object)
    descriptor = READABLE_BY_ALL.encode()

    def content() -> None:
        writer.u32(len(descriptor))
        writer.raw(descriptor)

    def security() -> None:
        writer.u32(len(descriptor))
        writer.pointer(content)

    writer.pointer(security)
    return STATUS_SUCCESS
