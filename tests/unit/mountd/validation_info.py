# SPDX-License-Identifier: GPL-2.0-or-later
"""KERB_VALIDATION_INFO as impacket writes it."""

from __future__ import annotations

from collections.abc import Mapping

from impacket.dcerpc.v5.dtypes import NULL, ULONG
from impacket.dcerpc.v5.samr import GROUP_MEMBERSHIP
from impacket.krb5.pac import KERB_SID_AND_ATTRIBUTES, KERB_VALIDATION_INFO, VALIDATION_INFO

DOMAIN = "S-1-5-21-1111111111-2222222222-3333333333"
EXTRA_SIDS = 0x20
RESOURCE_GROUPS = 0x200
_TIMES = ("LogonTime", "LogoffTime", "KickOffTime", "PasswordLastSet", "PasswordCanChange", "PasswordMustChange",
          "LastSuccessfulILogon", "LastFailedILogon")  # fmt: skip
_TEXTS = ("FullName", "LogonScript", "ProfilePath", "HomeDirectory", "HomeDirectoryDrive", "LogonServer")
_NUMBERS = ("LogonCount", "BadPasswordCount", "UserAccountControl", "SubAuthStatus", "FailedILogonCount", "Reserved3")


def _memberships(groups: Mapping[int, int]) -> list[GROUP_MEMBERSHIP]:
    found = []
    for rid, attributes in groups.items():
        one = GROUP_MEMBERSHIP()
        number = ULONG()
        number["Data"] = rid
        one["RelativeId"], one["Attributes"] = number, attributes
        found.append(one)
    return found


def logon_info(
    account: str, user: int, primary: int, groups: Mapping[int, int], *, domain: str = DOMAIN,
    extra: Mapping[str, int] | None = None, resource: tuple[str, Mapping[int, int]] | None = None,
    flags: int | None = None,
) -> bytes:  # fmt: skip
    """The buffer of type 1. `groups`: RID -> attributes; `extra`: SID -> attributes; `resource`: a domain and its
    groups. `flags`: None are those that say what is there."""
    info = KERB_VALIDATION_INFO()
    for name in _TIMES:
        info[name]["dwLowDateTime"], info[name]["dwHighDateTime"] = 0, 0
    for name in _TEXTS:
        info[name] = ""
    for name in _NUMBERS:
        info[name] = 0
    info["EffectiveName"], info["LogonDomainName"] = account, "KSMBD"
    info["UserId"], info["PrimaryGroupId"], info["GroupCount"] = user, primary, len(groups)
    for one in _memberships(groups):
        info["GroupIds"].append(one)
    there = (EXTRA_SIDS if extra else 0) | (RESOURCE_GROUPS if resource else 0)
    info["UserFlags"] = there if flags is None else flags
    info["UserSessionKey"] = bytes(16)
    info["LogonDomainId"].fromCanonical(domain)
    info["LMKey"] = bytes(8)
    info["SidCount"] = len(extra or {})
    for text, attributes in (extra or {}).items():
        sid = KERB_SID_AND_ATTRIBUTES()
        sid["Sid"].fromCanonical(text)
        sid["Attributes"] = attributes
        info["ExtraSids"].append(sid)
    if not extra:
        info["ExtraSids"] = NULL
    if resource is None:
        info["ResourceGroupDomainSid"], info["ResourceGroupCount"], info["ResourceGroupIds"] = NULL, 0, NULL
    else:
        info["ResourceGroupDomainSid"].fromCanonical(resource[0])
        info["ResourceGroupCount"] = len(resource[1])
        for one in _memberships(resource[1]):
            info["ResourceGroupIds"].append(one)
    whole = VALIDATION_INFO()
    whole["Data"] = info
    return bytes(whole.getData() + whole.getDataReferents())
