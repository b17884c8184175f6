# SPDX-License-Identifier: GPL-2.0-or-later
"""Which accesses a system ACL wants told of (MS-DTYP 2.4.4.10)."""
from __future__ import annotations

import pytest

from ksmbd.smb import constants as c
from ksmbd.smb.acl import (
    INHERIT_ONLY,
    SYSTEM_AUDIT,
    SYSTEM_AUDIT_OBJECT,
    SYSTEM_MANDATORY_LABEL,
    SYSTEM_RESOURCE_ATTRIBUTE,
    Ace,
    Acl,
)
from ksmbd.smb.audit import FAILED_ACCESS, SUCCESSFUL_ACCESS, audited, check_creators_sacl, names_of
from ksmbd.smb.security_descriptor import SE_SACL_PRESENT, SE_SELF_RELATIVE, Privilege, SecurityDescriptor, Token
from ksmbd.smb.sid import EVERYONE, MEDIUM_LABEL, Sid
from ksmbd.smb.status import STATUS_PRIVILEGE_NOT_HELD, NtStatusError

ALICE, BOB = Sid(5, (21, 1, 1, 1, 1000)), Sid(5, (21, 1, 1, 1, 1001))
TOKEN = Token(ALICE, frozenset((EVERYONE,)))


def with_sacl(*aces: Ace) -> SecurityDescriptor:
    return SecurityDescriptor(SE_SELF_RELATIVE | SE_SACL_PRESENT, ALICE, None, None, Acl(aces))


@pytest.mark.parametrize(
    ("ace", "access", "success", "told"),
    [
        (Ace(SYSTEM_AUDIT, SUCCESSFUL_ACCESS, 3, EVERYONE), 1, True, 1),
        (Ace(SYSTEM_AUDIT, SUCCESSFUL_ACCESS, 3, EVERYONE), 1, False, 0),
        (Ace(SYSTEM_AUDIT, FAILED_ACCESS, 3, ALICE), 0x10002, False, 2),
        (Ace(SYSTEM_AUDIT, FAILED_ACCESS | SUCCESSFUL_ACCESS, 3, BOB), 1, True, 0),
        (Ace(SYSTEM_AUDIT, SUCCESSFUL_ACCESS | INHERIT_ONLY, 3, EVERYONE), 1, True, 0),
        (Ace(SYSTEM_AUDIT, SUCCESSFUL_ACCESS, c.GENERIC_WRITE, EVERYONE), c.FILE_WRITE_DATA, True, c.FILE_WRITE_DATA),
        (Ace(SYSTEM_AUDIT, 0, 3, EVERYONE), 3, True, 0),
        (Ace(SYSTEM_AUDIT_OBJECT, SUCCESSFUL_ACCESS, 3, EVERYONE), 3, True, 3),
        (Ace(SYSTEM_AUDIT_OBJECT, SUCCESSFUL_ACCESS, 3, EVERYONE, bytes(range(16))), 3, True, 0),
        (Ace(SYSTEM_MANDATORY_LABEL, SUCCESSFUL_ACCESS, 3, EVERYONE), 3, True, 0),
        (Ace(77, SUCCESSFUL_ACCESS, 0, None, body=bytes(8)), 3, True, 0),
    ],
)
def test_entries(ace: Ace, access: int, success: bool, told: int) -> None:
    assert audited(with_sacl(ace), TOKEN, access, success) == told


def test_without_a_list_nothing_is_told() -> None:
    assert audited(SecurityDescriptor(), TOKEN, 3, True) == 0


def test_entries_add_up() -> None:
    one, two = (Ace(SYSTEM_AUDIT, SUCCESSFUL_ACCESS, mask, EVERYONE) for mask in (1, 2))
    assert audited(with_sacl(one, two), TOKEN, 7, True) == 3


def test_names() -> None:
    assert names_of(c.FILE_READ_DATA | c.DELETE | c.ACCESS_SYSTEM_SECURITY) == [
        "READ_DATA", "DELETE", "ACCESS_SYSTEM_SECURITY",
    ]  # fmt: skip
    assert names_of(1 << 9) == ["0x00000200"]


def test_a_creators_list_needs_the_privilege() -> None:
    """But for what says nothing of audit."""
    audit = with_sacl(Ace(SYSTEM_AUDIT, SUCCESSFUL_ACCESS, 1, EVERYONE))
    with pytest.raises(NtStatusError) as caught:
        check_creators_sacl(audit, TOKEN)
    assert caught.value.status == STATUS_PRIVILEGE_NOT_HELD
    check_creators_sacl(audit, Token(ALICE, privileges=Privilege.SECURITY))
    check_creators_sacl(with_sacl(), TOKEN)
    check_creators_sacl(SecurityDescriptor(), TOKEN)
    other = (Ace(SYSTEM_MANDATORY_LABEL, 0, 1, MEDIUM_LABEL), Ace(SYSTEM_RESOURCE_ATTRIBUTE, 0, 0, EVERYONE))
    check_creators_sacl(with_sacl(*other), TOKEN)
