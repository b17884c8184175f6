# SPDX-License-Identifier: GPL-2.0-or-later
"""QUERY_INFO and SET_INFO of security descriptors (MS-SMB2 3.3.5.20.3 and 3.3.5.21.3)."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.constants import (
    ACCESS_SYSTEM_SECURITY,
    DACL_SECURITY_INFORMATION,
    GROUP_SECURITY_INFORMATION,
    LABEL_SECURITY_INFORMATION,
    OWNER_SECURITY_INFORMATION,
    READ_CONTROL,
    SACL_SECURITY_INFORMATION,
    WRITE_DAC,
    WRITE_OWNER,
)
from ksmbd.smb.info_query import Answer, Query
from ksmbd.smb.model import Open
from ksmbd.smb.reader import Buffer
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_PARAMETER,
    STATUS_INVALID_SECURITY_DESCR,
    STATUS_NOT_SUPPORTED,
    BufferTooSmall,
    NtStatusError,
)

ATTRIBUTE_SECURITY_INFORMATION: Final = 0x00000020
SCOPE_SECURITY_INFORMATION: Final = 0x00000040
BACKUP_SECURITY_INFORMATION: Final = 0x00010000
_ALL_PARTS: Final = 0x0000007F | BACKUP_SECURITY_INFORMATION
_HEADER_SIZE: Final = 20
"""Size in bytes of the header of a self-relative SECURITY_DESCRIPTOR (MS-DTYP 2.4.6)."""

QUERY_ACCESS: Final = (
    (OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION
     | ATTRIBUTE_SECURITY_INFORMATION | SCOPE_SECURITY_INFORMATION | BACKUP_SECURITY_INFORMATION, READ_CONTROL),
    (SACL_SECURITY_INFORMATION | BACKUP_SECURITY_INFORMATION, ACCESS_SYSTEM_SECURITY),
)  # fmt: skip
"""For QUERY_INFO: (parts of the descriptor, access that any of them needs)."""
SET_ACCESS: Final = (
    (OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION
     | BACKUP_SECURITY_INFORMATION, WRITE_OWNER),
    (DACL_SECURITY_INFORMATION | ATTRIBUTE_SECURITY_INFORMATION | BACKUP_SECURITY_INFORMATION, WRITE_DAC),
    (SACL_SECURITY_INFORMATION | SCOPE_SECURITY_INFORMATION | BACKUP_SECURITY_INFORMATION, ACCESS_SYSTEM_SECURITY),
)  # fmt: skip


def _check(information: int, granted: int, rules: tuple[tuple[int, int], ...]) -> None:
    for parts, needed in rules:
        if information & parts and not granted & needed:
            raise NtStatusError(STATUS_ACCESS_DENIED)


def query_security(query: Query) -> Answer:
    """The parts of the descriptor that AdditionalInformation names. Raises BufferTooSmall with the size needed,
    STATUS_ACCESS_DENIED, STATUS_NOT_SUPPORTED for a pipe."""
    information = query.additional & _ALL_PARTS
    _check(information, query.open.granted_access, QUERY_ACCESS)
    if query.open.file is None:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "a pipe's descriptor")
    descriptor = query.file.security_descriptor(information)
    if len(descriptor) > query.limit:
        raise BufferTooSmall(len(descriptor))
    return Answer(descriptor)


def set_security(open_: Open, information: int, descriptor: Buffer) -> None:
    """Set the parts that AdditionalInformation names. File.set_security_descriptor checks the content. Raises
    STATUS_ACCESS_DENIED, STATUS_INVALID_SECURITY_DESCR, STATUS_INVALID_PARAMETER, STATUS_NOT_SUPPORTED for a pipe."""
    information &= _ALL_PARTS
    _check(information, open_.granted_access, SET_ACCESS)
    if open_.file is None:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "a pipe's descriptor")
    if len(descriptor) < _HEADER_SIZE:
        raise NtStatusError(STATUS_INVALID_SECURITY_DESCR)
    if not information:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no part of the descriptor named")
    open_.file.set_security_descriptor(information, bytes(descriptor))
