# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks and maps the DesiredAccess of a CREATE (MS-SMB2 2.2.13.1): generic rights, refused bits, rights that write."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.constants import (
    ACCESS_SYSTEM_SECURITY,
    DELETE,
    FILE_ALL_ACCESS,
    FILE_APPEND_DATA,
    FILE_DELETE_CHILD,
    FILE_GENERIC_EXECUTE,
    FILE_GENERIC_READ,
    FILE_GENERIC_WRITE,
    FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
    FILE_WRITE_EA,
    GENERIC_ALL,
    GENERIC_EXECUTE,
    GENERIC_READ,
    GENERIC_WRITE,
    WRITE_DAC,
    WRITE_OWNER,
)
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_PRIVILEGE_NOT_HELD, NtStatusError

INVALID_BITS: Final = 0x0CE0FE00
"""Bits that belong to no right (MS-FSA 2.1.5.1). A CREATE that sets one is refused with STATUS_ACCESS_DENIED."""
WRITE_BITS: Final = (
    FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_EA | FILE_WRITE_ATTRIBUTES | FILE_DELETE_CHILD
    | DELETE | WRITE_DAC | WRITE_OWNER
)  # fmt: skip
"""Rights that a read-only share never grants."""

_GENERIC: Final = (
    (GENERIC_READ, FILE_GENERIC_READ),
    (GENERIC_WRITE, FILE_GENERIC_WRITE),
    (GENERIC_EXECUTE, FILE_GENERIC_EXECUTE),
    (GENERIC_ALL, FILE_ALL_ACCESS),
)
_GENERIC_BITS: Final = GENERIC_READ | GENERIC_WRITE | GENERIC_EXECUTE | GENERIC_ALL


def map_generic(access: int) -> int:
    """Replace generic rights by the file rights that they stand for. MAXIMUM_ALLOWED is kept."""
    if access & _GENERIC_BITS:
        for generic, rights in _GENERIC:
            if access & generic:
                access |= rights
        access &= ~_GENERIC_BITS
    return access


def check_desired_access(access: int) -> int:
    """Check the DesiredAccess of a CREATE and return it with generic rights mapped.

    Raises STATUS_ACCESS_DENIED where no bit is set, or one that is no right. Raises STATUS_PRIVILEGE_NOT_HELD for
    ACCESS_SYSTEM_SECURITY, because no SMB user has SeSecurityPrivilege here."""
    if access & INVALID_BITS or not access:
        raise NtStatusError(STATUS_ACCESS_DENIED, f"DesiredAccess 0x{access:08X}")
    if access & ACCESS_SYSTEM_SECURITY:
        raise NtStatusError(STATUS_PRIVILEGE_NOT_HELD, "ACCESS_SYSTEM_SECURITY")
    return map_generic(access) if access & _GENERIC_BITS else access
