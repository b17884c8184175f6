# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of samr (MS-SAMR 3.1.5), lsarpc (MS-LSAD 3.1.4) and winreg (MS-RRP 3.1.5, MS-RSP 3.2.4) that would
change accounts, policies or keys, which files of the server and of the system alone say: they are refused as to one who
may not, and not as unknown ones. And what is never there: trusted domains, secrets, most roots of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_NO_MORE_ENTRIES,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_NOT_FOUND,
)
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.ndr_types import read_handle, write_handle
from mountd.rpc.service import Caller, Operation, Win32

HANDLE: Final = 5
"""Longs of a context handle."""


def _with(words: int, status: int) -> Operation:
    """Answers `words` longs of zero (null handles and pointers), and a status."""

    def run(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
        for _ in range(words):
            writer.u32(0)
        writer.u32(status)

    return run


def _keeping(status: int) -> Operation:
    """Answers the handle of the request, which stays open, and a status."""

    def run(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
        write_handle(writer, read_handle(reader))
        writer.u32(status)

    return run


_DENIED: Final = _with(0, STATUS_ACCESS_DENIED)
_KEPT: Final = _keeping(STATUS_ACCESS_DENIED)
_NOT_THERE: Final = _with(1, STATUS_OBJECT_NAME_NOT_FOUND)
_NONE_OPEN: Final = _with(HANDLE, STATUS_OBJECT_NAME_NOT_FOUND)
_NO_MORE: Final = _with(3, STATUS_NO_MORE_ENTRIES)

SAMR: Final[Mapping[int, Operation]] = {
    2: _DENIED,  # SamrSetSecurityObject
    9: _DENIED,  # SamrSetInformationDomain
    10: _with(HANDLE + 1, STATUS_ACCESS_DENIED),  # SamrCreateGroupInDomain
    12: _with(HANDLE + 1, STATUS_ACCESS_DENIED),  # SamrCreateUserInDomain
    14: _with(HANDLE + 1, STATUS_ACCESS_DENIED),  # SamrCreateAliasInDomain
    21: _DENIED,  # SamrSetInformationGroup
    22: _DENIED,  # SamrAddMemberToGroup
    23: _KEPT,  # SamrDeleteGroup
    24: _DENIED,  # SamrRemoveMemberFromGroup
    26: _DENIED,  # SamrSetMemberAttributesOfGroup
    29: _DENIED,  # SamrSetInformationAlias
    30: _KEPT,  # SamrDeleteAlias
    31: _DENIED,  # SamrAddMemberToAlias
    32: _DENIED,  # SamrRemoveMemberFromAlias
    35: _KEPT,  # SamrDeleteUser
    37: _DENIED,  # SamrSetInformationUser
    45: _DENIED,  # SamrRemoveMemberFromForeignDomain
    50: _with(HANDLE + 2, STATUS_ACCESS_DENIED),  # SamrCreateUser2InDomain
    52: _DENIED,  # SamrAddMultipleMembersToAlias
    53: _DENIED,  # SamrRemoveMultipleMembersFromAlias
    58: _DENIED,  # SamrSetInformationUser2
}
LSARPC: Final[Mapping[int, Operation]] = {
    1: _with(0, STATUS_NOT_SUPPORTED),  # LsarDelete, which LsarDeleteObject has followed
    8: _DENIED,  # LsarSetInformationPolicy
    10: _with(HANDLE, STATUS_ACCESS_DENIED),  # LsarCreateAccount
    12: _with(HANDLE, STATUS_ACCESS_DENIED),  # LsarCreateTrustedDomain
    13: _NO_MORE,  # LsarEnumerateTrustedDomains
    16: _with(HANDLE, STATUS_ACCESS_DENIED),  # LsarCreateSecret
    19: _DENIED,  # LsarAddPrivilegesToAccount
    20: _DENIED,  # LsarRemovePrivilegesFromAccount
    24: _DENIED,  # LsarSetSystemAccessAccount
    25: _NONE_OPEN,  # LsarOpenTrustedDomain
    28: _NONE_OPEN,  # LsarOpenSecret
    34: _KEPT,  # LsarDeleteObject
    37: _DENIED,  # LsarAddAccountRights
    38: _DENIED,  # LsarRemoveAccountRights
    39: _NOT_THERE,  # LsarQueryTrustedDomainInfo
    41: _DENIED,  # LsarDeleteTrustedDomain
    48: _NOT_THERE,  # LsarQueryTrustedDomainInfoByName
    50: _NO_MORE,  # LsarEnumerateTrustedDomainsEx
    55: _NONE_OPEN,  # LsarOpenTrustedDomainByName
}
_WIN32_DENIED: Final = _with(0, Win32.ACCESS_DENIED)
_NO_ROOT: Final = _with(HANDLE, Win32.FILE_NOT_FOUND)
WINREG: Final[Mapping[int, Operation]] = {
    0: _NO_ROOT,  # OpenClassesRoot
    1: _NO_ROOT,  # OpenCurrentUser
    3: _NO_ROOT,  # OpenPerformanceData
    4: _NO_ROOT,  # OpenUsers
    6: _with(HANDLE + 1, Win32.ACCESS_DENIED),  # BaseRegCreateKey
    7: _WIN32_DENIED,  # BaseRegDeleteKey
    8: _WIN32_DENIED,  # BaseRegDeleteValue
    11: _with(0, Win32.SUCCESS),  # BaseRegFlushKey: nothing waits to be written
    13: _WIN32_DENIED,  # BaseRegLoadKey
    14: _with(0, Win32.NOT_SUPPORTED),  # BaseRegNotifyChangeKeyValue
    18: _WIN32_DENIED,  # BaseRegReplaceKey
    19: _WIN32_DENIED,  # BaseRegRestoreKey
    20: _WIN32_DENIED,  # BaseRegSaveKey
    21: _WIN32_DENIED,  # BaseRegSetKeySecurity
    22: _WIN32_DENIED,  # BaseRegSetValue
    23: _WIN32_DENIED,  # BaseRegUnLoadKey
    24: _WIN32_DENIED,  # BaseInitiateSystemShutdown
    25: _WIN32_DENIED,  # BaseAbortSystemShutdown
    27: _NO_ROOT,  # OpenCurrentConfig
    28: _NO_ROOT,  # OpenDynData
    30: _WIN32_DENIED,  # BaseInitiateSystemShutdownEx
    31: _WIN32_DENIED,  # BaseRegSaveKeyEx
    32: _NO_ROOT,  # OpenPerformanceText
    33: _NO_ROOT,  # OpenPerformanceNlsText
    35: _WIN32_DENIED,  # BaseRegDeleteKeyEx
}
