# SPDX-License-Identifier: GPL-2.0-or-later
"""lsarpc and dssetup, by impacket's codecs: policy, privileges, and the translation of names and SIDs both ways."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from impacket.dcerpc.v5 import dssp, lsad, lsat
from impacket.dcerpc.v5.dtypes import MAXIMUM_ALLOWED, NULL
from impacket.dcerpc.v5.rpcrt import DCERPCException
from rpc_doubles import call, client, look, told

from ksmbd import limits
from ksmbd.smb.sid import sid_from_text
from ksmbd.smb.unix_sids import domain_sid, gid_of, group_sid, uid_of, user_sid
from mountd.rpc.names import Names, Question, Unanswered
from mountd.rpc.services import SERVICES
from mountd.rpc.translation import Translator
from mountd.rpc.well_known import NAMES
from mountd.unixnames import answers

LSARPC = SERVICES["lsarpc"]
DOMAIN = "S-1-5-21-11-22-33"
ACCESS_DENIED, INVALID_HANDLE, INVALID_PARAMETER = 0xC0000022, 0xC0000008, 0xC000000D


def lsa(account: str = "bob", restricted: bool = False, batch: int = 1000) -> Any:
    return client(LSARPC, lsat.MSRPC_UUID_LSAT, account, restricted, batch)


def policy(dce: Any) -> Any:
    return lsad.hLsarOpenPolicy2(dce, MAXIMUM_ALLOWED | lsat.POLICY_LOOKUP_NAMES)["PolicyHandle"]


def error_of(error: DCERPCException) -> int:
    return int(error.get_error_code())


def names_of(dce: Any, handle: Any, *sids: str) -> tuple[int, list[tuple[int, str, str]]]:
    """(status, (use, domain, name) of each)."""
    call = lsat.LsarLookupSids()
    call["PolicyHandle"] = handle
    for sid in sids:
        item = lsat.LSAPR_SID_INFORMATION()
        item["Sid"].fromCanonical(sid)
        call["SidEnumBuffer"]["SidInfo"].append(item)
    call["SidEnumBuffer"]["Entries"] = len(sids)
    call["TranslatedNames"]["Names"] = NULL
    call["LookupLevel"] = lsat.LSAP_LOOKUP_LEVEL.LsapLookupWksta
    answer = dce.request(call, checkError=False)
    domains = [entry["Name"] for entry in answer["ReferencedDomains"]["Domains"]] if answer["ReferencedDomains"] else []
    return answer["ErrorCode"], [
        (item["Use"], domains[item["DomainIndex"]] if item["DomainIndex"] >= 0 else "?", item["Name"])
        for item in answer["TranslatedNames"]["Names"]
    ]


def test_sids_become_names() -> None:
    dce = lsa()
    status, found = names_of(
        dce, policy(dce), "S-1-1-0", "S-1-5-32-544", "S-1-5-18", f"{DOMAIN}-3002", "S-1-22-2-2000", "S-1-22-1-0",
        f"{DOMAIN}-513", DOMAIN, f"{DOMAIN}-5001",
    )  # fmt: skip
    assert status == 0
    assert found == [
        (5, "", "Everyone"), (4, "BUILTIN", "Administrators"), (5, "NT AUTHORITY", "SYSTEM"), (1, "BÄR", "ann"),
        (2, "Unix Group", "staff"), (1, "Unix User", "root"), (2, "BÄR", "None"), (3, "BÄR", ""), (2, "BÄR", "staff"),
    ]  # fmt: skip


@pytest.mark.parametrize("sids, status", [
    (("S-1-5-21-9-9-9-500",), 0xC0000073), (("S-1-5-21-9-9-9-500", "S-1-1-0"), 0x107),
    ((f"{DOMAIN}-9998",), 0xC0000073),
])  # fmt: skip
def test_what_has_no_name(sids: tuple[str, ...], status: int) -> None:
    dce = lsa()
    got, found = names_of(dce, policy(dce), *sids)
    assert got == status
    assert found[0] == (8, "?", sids[0])


def test_names_are_asked_in_as_many_rounds_as_needed() -> None:
    dce = lsa(batch=1)
    _, found = names_of(dce, policy(dce), f"{DOMAIN}-3002", f"{DOMAIN}-3004", "S-1-22-2-100")
    assert [name for _, _, name in found] == ["ann", "bob", "users"]
    assert dce.get_rpc_transport().rounds == 3


@pytest.mark.parametrize("name, sid", [
    ("ann", f"{DOMAIN}-3002"), ("ANN", f"{DOMAIN}-3002"), ("BÄR\\ann", f"{DOMAIN}-3002"),
    ("wald\\ann", f"{DOMAIN}-3002"), ("ann@bär", f"{DOMAIN}-3002"), ("Unix User\\carl", f"{DOMAIN}-3006"),
    ("staff", "S-1-22-2-2000"),
    ("unix group\\users", "S-1-22-2-100"), ("Users", "S-1-5-32-545"), ("builtin\\guests", "S-1-5-32-546"),
    ("everyone", "S-1-1-0"), ("NT AUTHORITY\\system", "S-1-5-18"), ("bär", DOMAIN), ("BUILTIN", "S-1-5-32"),
    ("none", f"{DOMAIN}-513"),
])  # fmt: skip
def test_a_name_s_sid(name: str, sid: str) -> None:
    dce = lsa()
    answer = lsat.hLsarLookupNames3(dce, policy(dce), (name,))
    assert answer["TranslatedSids"]["Sids"][0]["Sid"].formatCanonical() == sid
    assert answer["MappedCount"] == 1


@pytest.mark.parametrize(
    "name", ["nobody there", "elsewhere\\ann", "x" * 300, "\\ann\\b", "", "BUILTIN\\ann", "unix user\\staff"]
)
def test_a_name_without_sid(name: str) -> None:
    dce = lsa()
    handle = policy(dce)
    with pytest.raises(DCERPCException) as caught:
        lsat.hLsarLookupNames3(dce, handle, (name,))
    assert error_of(caught.value) == 0xC0000073
    assert lsat.hLsarLookupNames(dce, handle, ("ann",))["TranslatedSids"]["Sids"][0]["RelativeId"] == 3002


def test_a_domain_has_no_rid() -> None:
    dce = lsa()
    answer = lsat.hLsarLookupNames(dce, policy(dce), ("BUILTIN", "ann"))["TranslatedSids"]["Sids"]
    assert [(item["Use"], item["RelativeId"]) for item in answer] == [(3, 0xFFFFFFFF), (1, 3002)]


@pytest.mark.parametrize("level, field, expected", [
    (lsad.POLICY_INFORMATION_CLASS.PolicyAccountDomainInformation, "PolicyAccountDomainInfo", ("BÄR", DOMAIN)),
    (lsad.POLICY_INFORMATION_CLASS.PolicyPrimaryDomainInformation, "PolicyPrimaryDomainInfo", ("WALD", DOMAIN)),
])  # fmt: skip
def test_policy(level: int, field: str, expected: tuple[str, str]) -> None:
    dce = lsa()
    info = lsad.hLsarQueryInformationPolicy2(dce, policy(dce), level)["PolicyInformation"][field]
    name, sid = ("DomainName", "DomainSid") if "Account" in field else ("Name", "Sid")
    assert info[name] == expected[0]
    assert info[sid].formatCanonical() == expected[1]


def test_server_role_and_unknown_classes() -> None:
    dce = lsa()
    handle = policy(dce)
    role = lsad.hLsarQueryInformationPolicy(
        dce, handle, lsad.POLICY_INFORMATION_CLASS.PolicyLsaServerRoleInformation
    )["PolicyInformation"]["PolicyServerRoleInfo"]["LsaServerRole"]
    assert role == 3
    with pytest.raises(DCERPCException) as caught:
        lsad.hLsarQueryInformationPolicy(dce, handle, lsad.POLICY_INFORMATION_CLASS.PolicyModificationInformation)
    assert error_of(caught.value) == 0xC0000003


def test_privileges_of_administrators() -> None:
    dce = lsa()
    handle = policy(dce)
    holders = lsad.hLsarEnumerateAccounts(dce, handle)["EnumerationBuffer"]["Information"]
    assert [holder["Sid"].formatCanonical() for holder in holders] == ["S-1-5-32-544"]
    rights = lsad.hLsarEnumerateAccountRights(dce, handle, "S-1-5-32-544")["UserRights"]["UserRights"]
    names = [right["Data"] for right in rights]
    assert "SeBackupPrivilege" in names
    for name in names:
        luid = lsad.hLsarLookupPrivilegeValue(dce, handle, name)["Value"]
        assert lsad.hLsarLookupPrivilegeName(dce, handle, luid)["Name"] == name
    with pytest.raises(DCERPCException) as caught:
        lsad.hLsarLookupPrivilegeValue(dce, handle, "SeTcbPrivilege")
    assert error_of(caught.value) == 0xC0000060


def test_no_anonymous_caller_learns_a_name() -> None:
    dce = lsa("", restricted=True)
    with pytest.raises(DCERPCException) as caught:
        policy(dce)
    assert error_of(caught.value) == ACCESS_DENIED


def test_handles_are_checked_and_bounded() -> None:
    dce = lsa()
    handle = policy(dce)
    lsad.hLsarClose(dce, handle)
    with pytest.raises(DCERPCException) as caught:
        lsat.hLsarLookupNames(dce, handle, ("ann",))
    assert error_of(caught.value) == INVALID_HANDLE
    for _ in range(limits.RPC_HANDLES.value):
        policy(dce)
    with pytest.raises(DCERPCException) as caught:
        policy(dce)
    assert error_of(caught.value) == 0xC000009A


def test_too_many_names() -> None:
    dce = lsa()
    with pytest.raises(DCERPCException) as caught:
        lsat.hLsarLookupNames(dce, policy(dce), ("ann",) * (limits.RPC_NAMES.value + 1))
    assert error_of(caught.value) == INVALID_PARAMETER


def test_the_role_of_the_machine() -> None:
    dce = client(LSARPC, dssp.MSRPC_UUID_DSSP)
    info = dssp.hDsRolerGetPrimaryDomainInformation(dce, 1)["DomainInfo"]["DomainInfoBasic"]
    assert (info["MachineRole"], info["DomainNameFlat"]) == (2, "WALD\0")


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_ids_come_back_from_their_sids(uid: int, gid: int) -> None:
    domain = domain_sid((11, 22, 33))
    assert uid_of(domain, user_sid(domain, uid)) == uid
    assert gid_of(domain, user_sid(domain, uid)) is None
    assert gid_of(domain, group_sid(gid)) == gid
    assert uid_of(domain, group_sid(gid)) is None


def test_every_well_known_name_is_found_and_comes_back() -> None:
    names = Names()
    translator = Translator(told("bob", restricted=False), names)
    for sid, named in NAMES.items():
        (translated,) = translator.sids([sid])
        assert translated is not None
        assert (translated.domain, translated.name, translated.use) == named
        spelling = f"{named.domain}\\{named.name}" if named.domain and named.name else named.name or named.domain
        (back,) = translator.names([spelling])
        assert back is not None
        assert back.sid == sid


@given(st.text(max_size=40))
def test_any_name_has_at_most_one_sid_that_leads_back(name: str) -> None:
    names = Names()
    translator = Translator(told("bob", restricted=False), names)
    names.add(answers(_questions(translator, name), (), look))
    (found,) = translator.names([name])
    if found is not None and found.use == 1:
        assert found.sid in {sid_from_text(f"{DOMAIN}-{rid}") for rid in (1000, 3002, 3004, 3006)}


def _questions(translator: Translator, name: str) -> tuple[Question, ...]:
    try:
        translator.names([name])
    except Unanswered as unanswered:
        return unanswered.questions
    return ()


@given(st.integers(0, 100), st.binary(max_size=200))
def test_any_bytes_are_answered(opnum: int, stub: bytes) -> None:
    dce = lsa()
    transport = dce.get_rpc_transport()
    transport.pipe.write(call(opnum, stub))
    assert transport.pipe.questions or transport.pipe.read(1 << 16) is not None
