# SPDX-License-Identifier: GPL-2.0-or-later
"""What a system ACL wants told of an access (SYSTEM_AUDIT_ACE, MS-DTYP 2.4.4.10): decisions, and names of rights."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.acl import (
    INHERIT_ONLY,
    SYSTEM_AUDIT,
    SYSTEM_AUDIT_CALLBACK,
    SYSTEM_AUDIT_CALLBACK_OBJECT,
    SYSTEM_AUDIT_OBJECT,
    SYSTEM_MANDATORY_LABEL,
    SYSTEM_RESOURCE_ATTRIBUTE,
    SYSTEM_SCOPED_POLICY_ID,
    map_generic,
)
from ksmbd.smb.security_descriptor import Privilege, SecurityDescriptor, Token
from ksmbd.smb.status import STATUS_PRIVILEGE_NOT_HELD, NtStatusError

SUCCESSFUL_ACCESS: Final = 0x40
FAILED_ACCESS: Final = 0x80
"""AceFlags (MS-DTYP 2.4.4.1) of entries that audit."""
_AUDITS: Final = frozenset(
    (SYSTEM_AUDIT, SYSTEM_AUDIT_OBJECT, SYSTEM_AUDIT_CALLBACK, SYSTEM_AUDIT_CALLBACK_OBJECT)
)
_NOT_AUDITING: Final = frozenset((SYSTEM_MANDATORY_LABEL, SYSTEM_RESOURCE_ATTRIBUTE, SYSTEM_SCOPED_POLICY_ID))
_NAMES: Final = (
    (0x00000001, "READ_DATA"), (0x00000002, "WRITE_DATA"), (0x00000004, "APPEND_DATA"), (0x00000008, "READ_EA"),
    (0x00000010, "WRITE_EA"), (0x00000020, "EXECUTE"), (0x00000040, "DELETE_CHILD"), (0x00000080, "READ_ATTRIBUTES"),
    (0x00000100, "WRITE_ATTRIBUTES"), (0x00010000, "DELETE"), (0x00020000, "READ_CONTROL"), (0x00040000, "WRITE_DAC"),
    (0x00080000, "WRITE_OWNER"), (0x00100000, "SYNCHRONIZE"), (0x01000000, "ACCESS_SYSTEM_SECURITY"),
    (0x02000000, "MAXIMUM_ALLOWED"),
)  # fmt: skip
"""MS-SMB2 2.2.13.1.1, without FILE_."""


def audited(descriptor: SecurityDescriptor, token: Token, access: int, success: bool) -> int:
    """The bits of `access` that entries for this caller want told: what was granted, or with `success` False what was
    asked for and refused. 0: nothing is to be told.

    A condition cannot be evaluated here and counts as true: rather one record too many."""
    sacl = descriptor.sacl
    if sacl is None:
        return 0
    flag = SUCCESSFUL_ACCESS if success else FAILED_ACCESS
    told = 0
    for ace in sacl.aces:
        if ace.type not in _AUDITS or not ace.flags & flag or ace.flags & INHERIT_ONLY or ace.object_type:
            continue
        if ace.sid is not None and token.holds(ace.sid):
            told |= map_generic(ace.mask)
    return told & access


def names_of(access: int) -> list[str]:
    """The rights in a mask by their names; what has none is given in hexadecimal."""
    names = [name for bit, name in _NAMES if access & bit]
    rest = access & ~sum(bit for bit, _ in _NAMES)
    return [*names, f"0x{rest:08x}"] if rest else names


def check_creators_sacl(descriptor: SecurityDescriptor, token: Token) -> None:
    """Whether who makes a file may give it this system ACL (MS-DTYP 2.5.3.4): what it inherits needs no right.

    STATUS_PRIVILEGE_NOT_HELD without SeSecurityPrivilege."""
    sacl = descriptor.sacl
    if sacl is None or token.privileges & Privilege.SECURITY:
        return
    if any(ace.type not in _NOT_AUDITING for ace in sacl.aces):
        raise NtStatusError(STATUS_PRIVILEGE_NOT_HELD, "a system ACL")


