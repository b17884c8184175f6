# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls of samr, lsarpc and winreg that change something, and what is never there: through impacket's codecs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from impacket.dcerpc.v5 import lsad, lsat, rrp, samr
from impacket.dcerpc.v5.dtypes import MAXIMUM_ALLOWED, RPC_SID
from impacket.dcerpc.v5.rpcrt import DCERPCException
from rpc_doubles import client

from ksmbd.smb import status as s
from ksmbd.smb.status import WireError
from mountd.rpc import refused
from mountd.rpc.facts import Facts, Level
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Caller, Interface, Win32
from mountd.rpc.services import SERVICES

DOMAIN = "S-1-5-21-11-22-33"


def sid(text: str) -> RPC_SID:
    found = RPC_SID()
    found.fromCanonical(text)
    return found


def code(call: Any, *arguments: Any, **named: Any) -> int:
    with pytest.raises(DCERPCException) as caught:
        call(*arguments, **named)
    return int(caught.value.get_error_code()) & 0xFFFFFFFF


def test_accounts_are_not_changed() -> None:
    dce = client(SERVICES["samr"], samr.MSRPC_UUID_SAMR)
    server = samr.hSamrConnect2(dce)["ServerHandle"]
    domain = samr.hSamrOpenDomain(dce, server, MAXIMUM_ALLOWED, sid(DOMAIN))["DomainHandle"]
    builtin = samr.hSamrOpenDomain(dce, server, MAXIMUM_ALLOWED, sid("S-1-5-32"))["DomainHandle"]
    alias = samr.hSamrOpenAlias(dce, builtin, MAXIMUM_ALLOWED, 544)["AliasHandle"]
    group = samr.hSamrOpenGroup(dce, domain, MAXIMUM_ALLOWED, 513)["GroupHandle"]
    user = samr.hSamrLookupNamesInDomain(dce, domain, ["bob"])["RelativeIds"]["Element"][0]
    handle = samr.hSamrOpenUser(dce, domain, MAXIMUM_ALLOWED, user)["UserHandle"]
    for call, arguments in (
        (samr.hSamrCreateUserInDomain, (domain, "new")), (samr.hSamrCreateGroupInDomain, (domain, "new")),
        (samr.hSamrCreateAliasInDomain, (domain, "new")), (samr.hSamrDeleteUser, (handle,)),
        (samr.hSamrDeleteGroup, (group,)), (samr.hSamrDeleteAlias, (alias,)),
        (samr.hSamrAddMemberToGroup, (group, 1000, 7)), (samr.hSamrRemoveMemberFromGroup, (group, 1000)),
        (samr.hSamrAddMemberToAlias, (alias, sid(DOMAIN + "-7"))),
        (samr.hSamrRemoveMemberFromAlias, (alias, sid(DOMAIN + "-7"))),
        (samr.hSamrRemoveMemberFromForeignDomain, (domain, sid(DOMAIN + "-7"))),
    ):  # fmt: skip
        assert code(call, dce, *arguments) == s.STATUS_ACCESS_DENIED, call.__name__
    with pytest.raises(Exception, match="right to create"):  # what impacket makes of STATUS_ACCESS_DENIED
        samr.hSamrCreateUser2InDomain(dce, domain, "new")
    assert samr.hSamrGetGroupsForUser(dce, handle)["Groups"]["MembershipCount"] >= 1, "the handle is still open"


def test_where_a_name_is_in_a_display() -> None:
    dce = client(SERVICES["samr"], samr.MSRPC_UUID_SAMR)
    server = samr.hSamrConnect2(dce)["ServerHandle"]
    domain = samr.hSamrOpenDomain(dce, server, MAXIMUM_ALLOWED, sid(DOMAIN))["DomainHandle"]
    level = samr.DOMAIN_DISPLAY_INFORMATION.DomainDisplayUser
    call = samr.hSamrGetDisplayEnumerationIndex2
    assert call(dce, domain, level, "B")["Index"] == 1
    assert call(dce, domain, level, "")["Index"] == 0
    assert code(call, dce, domain, level, "zz") == s.STATUS_NO_MORE_ENTRIES
    wrong = samr.DOMAIN_DISPLAY_INFORMATION.DomainDisplayOemUser
    assert code(call, dce, domain, wrong, "b") == s.STATUS_INVALID_INFO_CLASS


def test_policies_are_not_changed() -> None:
    dce = client(SERVICES["lsarpc"], lsat.MSRPC_UUID_LSAT)
    policy = lsad.hLsarOpenPolicy2(dce, MAXIMUM_ALLOWED)["PolicyHandle"]
    who = "S-1-5-32-544"
    assert code(lsad.hLsarCreateAccount, dce, policy, DOMAIN + "-7") == s.STATUS_ACCESS_DENIED
    assert code(lsad.hLsarAddAccountRights, dce, policy, who, ("SeX",)) == s.STATUS_ACCESS_DENIED
    assert code(lsad.hLsarRemoveAccountRights, dce, policy, who, ("SeX",)) == s.STATUS_ACCESS_DENIED
    assert code(lsad.hLsarCreateSecret, dce, policy, "x") == s.STATUS_ACCESS_DENIED
    assert code(lsad.hLsarOpenSecret, dce, policy, "x") == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert code(lsad.hLsarEnumerateTrustedDomainsEx, dce, policy) == s.STATUS_NO_MORE_ENTRIES
    assert code(lsad.hLsarDeleteObject, dce, policy) == s.STATUS_ACCESS_DENIED
    assert lsad.hLsarQuerySecurityObject(dce, policy, 7)


def test_accounts_with_rights() -> None:
    dce = client(SERVICES["lsarpc"], lsat.MSRPC_UUID_LSAT)
    policy = lsad.hLsarOpenPolicy2(dce, MAXIMUM_ALLOWED)["PolicyHandle"]
    found = lsad.hLsarEnumerateAccountsWithUserRight(dce, policy, "SeBackupPrivilege")["EnumerationBuffer"]
    assert "S-1-5-32-544" in [each["Sid"].formatCanonical() for each in found["Information"]]
    call = lsad.hLsarEnumerateAccountsWithUserRight
    assert code(call, dce, policy, "SeNothing") == s.STATUS_NO_SUCH_PRIVILEGE
    account = lsad.hLsarOpenAccount(dce, policy, "S-1-5-32-544")["AccountHandle"]
    privileges = lsad.hLsarEnumeratePrivilegesAccount(dce, account)["Privileges"]["Privilege"]
    assert len(privileges) == len(lsad.hLsarEnumeratePrivileges(dce, policy)["EnumerationBuffer"]["Privileges"])
    assert lsad.hLsarGetSystemAccessAccount(dce, account)["SystemAccess"] == 0
    assert code(lsad.hLsarOpenAccount, dce, policy, DOMAIN + "-7") == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert code(lsad.hLsarEnumeratePrivilegesAccount, dce, policy) == s.STATUS_OBJECT_TYPE_MISMATCH


def test_the_registry_is_not_changed() -> None:
    dce = client(SERVICES["winreg"], rrp.MSRPC_UUID_RRP)
    root = rrp.hOpenLocalMachine(dce)["phKey"]
    assert code(rrp.hBaseRegCreateKey, dce, root, "x\0") == Win32.ACCESS_DENIED
    assert code(rrp.hBaseRegDeleteKey, dce, root, "x\0") == Win32.ACCESS_DENIED
    assert code(rrp.hBaseRegDeleteValue, dce, root, "x\0") == Win32.ACCESS_DENIED
    assert code(rrp.hBaseRegSetValue, dce, root, "x\0", rrp.REG_DWORD, 7) == Win32.ACCESS_DENIED
    assert code(rrp.hBaseRegSaveKey, dce, root, "x\0") == Win32.ACCESS_DENIED
    assert code(rrp.hOpenUsers, dce) == Win32.FILE_NOT_FOUND
    assert code(rrp.hOpenClassesRoot, dce) == Win32.FILE_NOT_FOUND
    assert rrp.hBaseRegFlushKey(dce, root)["ErrorCode"] == 0


ALL = [(interface, opnum) for name in ("samr", "lsarpc", "winreg") for interface in SERVICES[name]
       for opnum in {"samr": refused.SAMR, "lsarpc": refused.LSARPC, "winreg": refused.WINREG}[interface.pipe]
       if opnum in interface.operations]  # fmt: skip


@pytest.mark.parametrize(("interface", "opnum"), ALL)
@given(stub=st.binary(max_size=64))
def test_any_stub(interface: Interface, opnum: int, stub: bytes) -> None:
    writer = NdrWriter()
    try:
        interface.operations[opnum](Caller(lambda: Facts(), Level.NAMES), NdrReader(stub), writer)
    except WireError:
        return
    assert len(writer.data) % 4 == 0 and len(writer.data) <= 32


def test_what_is_served_is_not_refused() -> None:
    """A call that is answered elsewhere keeps its answer."""
    table = SERVICES["samr"][0].operations
    assert all(table[opnum] is operation for opnum, operation in refused.SAMR.items())
