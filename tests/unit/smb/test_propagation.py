# SPDX-License-Identifier: GPL-2.0-or-later
"""What a change of a folder's lists makes of the descriptors below (MS-DTYP 2.5.3.4)."""
from __future__ import annotations

from dataclasses import replace

import pytest

from ksmbd.smb.acl import (
    ACCESS_ALLOWED,
    ACCESS_DENIED,
    CONTAINER_INHERIT,
    INHERIT_ONLY,
    INHERITED_ACE,
    NO_PROPAGATE_INHERIT,
    OBJECT_INHERIT,
    SYSTEM_AUDIT,
    Ace,
    Acl,
)
from ksmbd.smb.propagation import is_protected, propagated
from ksmbd.smb.security_descriptor import (
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SACL_AUTO_INHERITED,
    SE_SACL_PRESENT,
    SE_SACL_PROTECTED,
    SE_SELF_RELATIVE,
    SecurityDescriptor,
)
from ksmbd.smb.sid import EVERYONE, Sid, sid_from_text

OWNER, GROUP, BOB = (sid_from_text(f"S-1-5-21-1-2-3-{rid}") for rid in (1000, 1001, 1002))
CREATOR_OWNER, CREATOR_GROUP = sid_from_text("S-1-3-0"), sid_from_text("S-1-3-1")
BOTH = OBJECT_INHERIT | CONTAINER_INHERIT
DACL = SE_SELF_RELATIVE | SE_DACL_PRESENT


def allow(flags: int, mask: int = 1, sid: Sid = EVERYONE) -> Ace:
    return Ace(ACCESS_ALLOWED, flags, mask, sid)


def of(*aces: Ace, control: int = DACL, sacl: tuple[Ace, ...] | None = None) -> SecurityDescriptor:
    system = None if sacl is None else Acl(sacl)
    if system is not None:
        control |= SE_SACL_PRESENT
    return SecurityDescriptor(control, OWNER, GROUP, Acl(aces), system)


def dacl(descriptor: SecurityDescriptor) -> tuple[Ace, ...]:
    assert descriptor.dacl is not None
    return descriptor.dacl.aces


@pytest.mark.parametrize(
    ("flags", "to_file", "to_folder"),
    [
        (0, None, None),
        (OBJECT_INHERIT, 0, OBJECT_INHERIT | INHERIT_ONLY),
        (CONTAINER_INHERIT, None, CONTAINER_INHERIT),
        (BOTH, 0, BOTH),
        (BOTH | INHERIT_ONLY, 0, BOTH),
        (BOTH | NO_PROPAGATE_INHERIT, 0, 0),
        (OBJECT_INHERIT | NO_PROPAGATE_INHERIT, 0, None),
        (CONTAINER_INHERIT | INHERITED_ACE, None, CONTAINER_INHERIT),
    ],
)
def test_what_an_entry_gives(flags: int, to_file: int | None, to_folder: int | None) -> None:
    for given, is_directory in ((to_file, False), (to_folder, True)):
        new = propagated(of(allow(flags)), of(), is_directory)
        assert dacl(new) == (() if given is None else (allow(given | INHERITED_ACE),))
        assert new.control == DACL | SE_DACL_AUTO_INHERITED


def test_own_entries_stay_in_front_and_inherited_ones_are_replaced() -> None:
    own = (allow(BOTH, 2), Ace(ACCESS_DENIED, 0, 4, BOB))
    child = of(own[0], allow(BOTH | INHERITED_ACE, 8), own[1], allow(INHERITED_ACE, 16, BOB))
    new = propagated(of(allow(BOTH, 1), allow(0, 32), Ace(ACCESS_DENIED, OBJECT_INHERIT, 64, BOB)), child, False)
    assert dacl(new) == (*own, allow(INHERITED_ACE, 1), Ace(ACCESS_DENIED, INHERITED_ACE, 64, BOB))
    assert (new.owner, new.group) == (OWNER, GROUP)
    assert propagated(of(allow(BOTH, 1), Ace(ACCESS_DENIED, OBJECT_INHERIT, 64, BOB)), new, False) == new


def test_creator_owner_and_group_become_those_of_the_child() -> None:
    parent = of(allow(BOTH, 1, CREATOR_OWNER), allow(BOTH, 2, CREATOR_GROUP))
    assert dacl(propagated(parent, of(), False)) == (allow(16, 1, OWNER), allow(16, 2, GROUP))
    onward = BOTH | INHERIT_ONLY | INHERITED_ACE
    assert dacl(propagated(parent, of(), True)) == (
        allow(16, 1, OWNER), allow(onward, 1, CREATOR_OWNER), allow(16, 2, GROUP), allow(onward, 2, CREATOR_GROUP),
    )  # fmt: skip


def test_each_list_is_protected_by_itself() -> None:
    audit = Ace(SYSTEM_AUDIT, BOTH | 0x40, 1, EVERYONE)
    parent = of(allow(BOTH), sacl=(audit,))
    old = allow(INHERITED_ACE, 8)
    child = of(old, control=DACL | SE_DACL_PROTECTED)
    new = propagated(parent, child, False)
    assert is_protected(child) and dacl(new) == (old,)
    assert new.sacl == Acl((Ace(SYSTEM_AUDIT, INHERITED_ACE | 0x40, 1, EVERYONE),))
    assert new.control == child.control | SE_SACL_PRESENT | SE_SACL_AUTO_INHERITED
    other = of(old, control=DACL | SE_SACL_PROTECTED, sacl=(audit,))
    new = propagated(parent, other, True)
    assert not is_protected(other) and new.sacl == other.sacl and dacl(new) == (allow(BOTH | INHERITED_ACE),)


def test_a_list_without_entries() -> None:
    assert dacl(propagated(of(allow(0)), of(allow(INHERITED_ACE)), False)) == ()
    nothing = replace(of(), dacl=None)
    assert propagated(of(allow(BOTH)), nothing, False) == nothing  # a NULL DACL grants everything, and stays
    assert dacl(propagated(nothing, of(allow(0), allow(INHERITED_ACE)), False)) == (allow(0),)
    audited = of(sacl=(Ace(SYSTEM_AUDIT, INHERITED_ACE, 1, EVERYONE),))
    assert propagated(of(), audited, False) == of(control=DACL | SE_DACL_AUTO_INHERITED)
