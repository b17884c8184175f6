# SPDX-License-Identifier: GPL-2.0-or-later
"""samr, by impacket's codecs: domains, users, groups, aliases, what is enumerated and displayed."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from impacket.dcerpc.v5 import samr
from impacket.dcerpc.v5.dtypes import MAXIMUM_ALLOWED, RPC_SID
from impacket.dcerpc.v5.rpcrt import DCERPCException
from rpc_doubles import call, client

from mountd.rpc.samr_query import USER_CLASSES
from mountd.rpc.services import SERVICES

DOMAIN = "S-1-5-21-11-22-33"
ANN, BOB = 3002, 3004


def sid(text: str) -> RPC_SID:
    found = RPC_SID()
    found.fromCanonical(text)
    return found


def sam(account: str = "bob", restricted: bool = False) -> Any:
    return client(SERVICES["samr"], samr.MSRPC_UUID_SAMR, account, restricted)


def opened(dce: Any, domain: str = DOMAIN) -> Any:
    server = samr.hSamrConnect2(dce)["ServerHandle"]
    return samr.hSamrOpenDomain(dce, server, MAXIMUM_ALLOWED, sid(domain))["DomainHandle"]


def code(error: pytest.ExceptionInfo[DCERPCException]) -> int:
    return int(error.value.get_error_code())


@pytest.mark.parametrize("connect", [samr.hSamrConnect, samr.hSamrConnect2, samr.hSamrConnect4, samr.hSamrConnect5])
def test_both_domains(connect: Any) -> None:
    dce = sam()
    server = connect(dce)["ServerHandle"]
    domains = samr.hSamrEnumerateDomainsInSamServer(dce, server)["Buffer"]["Buffer"]
    assert [domain["Name"] for domain in domains] == ["BÄR", "BUILTIN"]
    found = [samr.hSamrLookupDomainInSamServer(dce, server, domain["Name"])["DomainId"] for domain in domains]
    assert [each.formatCanonical() for each in found] == [DOMAIN, "S-1-5-32"]
    with pytest.raises(DCERPCException) as caught:
        samr.hSamrLookupDomainInSamServer(dce, server, "elsewhere")
    assert code(caught) == 0xC00000DF
    with pytest.raises(DCERPCException) as caught:
        samr.hSamrOpenDomain(dce, server, MAXIMUM_ALLOWED, sid("S-1-5-21-1-1-1"))
    assert code(caught) == 0xC00000DF


def test_users_are_the_accounts_that_unix_knows() -> None:
    dce = sam()
    found = samr.hSamrEnumerateUsersInDomain(dce, opened(dce))["Buffer"]["Buffer"]
    assert [(user["RelativeId"], user["Name"]) for user in found] == [(ANN, "ann"), (BOB, "bob")]
    empty = samr.hSamrEnumerateUsersInDomain(dce, opened(dce, "S-1-5-32"))
    assert empty["CountReturned"] == 0


def test_users_in_pages() -> None:
    dce = sam()
    domain = opened(dce)
    request = samr.SamrEnumerateUsersInDomain()
    request["DomainHandle"] = domain
    request["UserAccountControl"] = 0
    request["PreferedMaximumLength"] = 1
    names, context = [], 0
    for _ in range(2):
        request["EnumerationContext"] = context
        answer = dce.request(request, checkError=False)
        names += [user["Name"] for user in answer["Buffer"]["Buffer"]]
        context = answer["EnumerationContext"]
        assert answer["ErrorCode"] == (0x105 if len(names) == 1 else 0)
    assert names == ["ann", "bob"]


def test_groups_and_aliases() -> None:
    dce = sam()
    groups = samr.hSamrEnumerateGroupsInDomain(dce, opened(dce))["Buffer"]["Buffer"]
    assert [(group["RelativeId"], group["Name"]) for group in groups] == [(513, "None")]
    builtin = opened(dce, "S-1-5-32")
    aliases = samr.hSamrEnumerateAliasesInDomain(dce, builtin)["Buffer"]["Buffer"]
    assert [(alias["RelativeId"], alias["Name"]) for alias in aliases][:2] == [(544, "Administrators"), (545, "Users")]
    handle = samr.hSamrOpenAlias(dce, builtin, MAXIMUM_ALLOWED, 544)["AliasHandle"]
    members = samr.hSamrGetMembersInAlias(dce, handle)["Members"]["Sids"]
    assert [member["SidPointer"].formatCanonical() for member in members] == [f"{DOMAIN}-1000"]
    info = samr.hSamrQueryInformationAlias(dce, handle)["Buffer"]["General"]
    assert (info["Name"], info["MemberCount"]) == ("Administrators", 1)
    request = samr.SamrGetAliasMembership()
    request["DomainHandle"] = builtin
    item = samr.PSAMPR_SID_INFORMATION()
    item["SidPointer"] = sid(f"{DOMAIN}-513")
    request["SidArray"]["Sids"].append(item)
    request["SidArray"]["Count"] = 1
    rows = dce.request(request)["Membership"]["Element"]
    assert [row["Data"] for row in rows] == [545]


def test_members_of_the_group() -> None:
    dce = sam()
    handle = samr.hSamrOpenGroup(dce, opened(dce), MAXIMUM_ALLOWED, 513)["GroupHandle"]
    members = samr.hSamrGetMembersInGroup(dce, handle)["Members"]
    assert [row["Data"] for row in members["Members"]] == [ANN, BOB]
    info = samr.hSamrQueryInformationGroup(dce, handle)["Buffer"]["General"]
    assert (info["Name"], info["MemberCount"]) == ("None", 2)


def test_a_user_whole() -> None:
    dce = sam()
    user = samr.hSamrOpenUser(dce, opened(dce), MAXIMUM_ALLOWED, ANN)["UserHandle"]
    info = samr.hSamrQueryInformationUser2(dce, user, samr.USER_INFORMATION_CLASS.UserAllInformation)["Buffer"]["All"]
    assert (info["UserName"], info["FullName"]) == ("ann", "Ann Ämter")
    assert (info["UserId"], info["PrimaryGroupId"]) == (ANN, 513)
    assert info["UserAccountControl"] == 0x210
    assert (info["LmOwfPassword"]["Length"], info["NtOwfPassword"]["Length"]) == (0, 0)
    assert info["LogonHours"]["UnitsPerWeek"] == 168
    groups = samr.hSamrGetGroupsForUser(dce, user)["Groups"]["Groups"]
    assert [group["RelativeId"] for group in groups] == [513]
    assert samr.hSamrRidToSid(dce, user, ANN)["Sid"].formatCanonical() == f"{DOMAIN}-{ANN}"
    with pytest.raises(DCERPCException) as caught:
        samr.hSamrOpenUser(dce, opened(dce), MAXIMUM_ALLOWED, 3006)  # carl has a Unix account, and none here
    assert code(caught) == 0xC0000064


@pytest.mark.parametrize("level", sorted(USER_CLASSES))
def test_every_class_of_a_user_decodes_whole(level: int) -> None:
    dce = sam()
    user = samr.hSamrOpenUser(dce, opened(dce), MAXIMUM_ALLOWED, ANN)["UserHandle"]
    answer = samr.hSamrQueryInformationUser(dce, user, level)
    assert answer["ErrorCode"] == 0
    assert answer["Buffer"]["tag"] == level


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13])
def test_every_class_of_a_domain_decodes_whole(level: int) -> None:
    dce = sam()
    answer = samr.hSamrQueryInformationDomain2(dce, opened(dce), level)
    assert answer["ErrorCode"] == 0
    if level == 2:
        info = answer["Buffer"]["General"]
        assert (info["DomainName"], info["UserCount"], info["GroupCount"]) == ("BÄR", 2, 1)


def test_unknown_classes() -> None:
    dce = sam()
    with pytest.raises(DCERPCException) as caught:
        samr.hSamrQueryInformationDomain(dce, opened(dce), 10)
    assert code(caught) == 0xC0000003


def test_display() -> None:
    dce = sam()
    answer = samr.hSamrQueryDisplayInformation(dce, opened(dce))
    rows = answer["Buffer"]["UserInformation"]["Buffer"]
    found = [(row["Rid"], row["AccountName"], row["FullName"]) for row in rows]
    assert found == [(ANN, "ann", "Ann Ämter"), (BOB, "bob", "")]
    second = samr.hSamrQueryDisplayInformation(dce, opened(dce), index=1)["Buffer"]["UserInformation"]["Buffer"]
    assert [row["AccountName"] for row in second] == ["bob"]


def test_names_and_rids() -> None:
    dce = sam()
    domain = opened(dce)
    found = samr.hSamrLookupNamesInDomain(dce, domain, ("ANN", "none"))
    assert [row["Data"] for row in found["RelativeIds"]["Element"]] == [ANN, 513]
    back = samr.hSamrLookupIdsInDomain(dce, domain, (BOB, 513))["Names"]["Element"]
    assert [row["Data"] for row in back] == ["bob", "None"]
    with pytest.raises(DCERPCException) as caught:
        samr.hSamrLookupNamesInDomain(dce, domain, ("ghost",))
    assert code(caught) == 0xC0000073


def test_a_handle_of_another_kind() -> None:
    dce = sam()
    server = samr.hSamrConnect2(dce)["ServerHandle"]
    with pytest.raises(DCERPCException) as caught:
        samr.hSamrEnumerateUsersInDomain(dce, server)
    assert code(caught) == 0xC0000024


def test_no_anonymous_caller_connects() -> None:
    dce = sam("", restricted=True)
    with pytest.raises(DCERPCException) as caught:
        samr.hSamrConnect5(dce)
    assert code(caught) == 0xC0000022


@given(st.integers(0, 80), st.binary(max_size=200))
def test_any_bytes_are_answered(opnum: int, stub: bytes) -> None:
    dce = sam()
    transport = dce.get_rpc_transport()
    transport.pipe.write(call(opnum, stub))
    assert transport.pipe.questions or transport.pipe.read(1 << 16) is not None
