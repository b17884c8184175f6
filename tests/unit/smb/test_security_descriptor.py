# SPDX-License-Identifier: GPL-2.0-or-later
"""Security descriptors: codec against golden bytes and lies, the access check, inheritance (MS-DTYP 2.4, 2.5.3)."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.smb.acl import (
    ACCESS_ALLOWED,
    ACCESS_ALLOWED_CALLBACK,
    ACCESS_ALLOWED_OBJECT,
    ACCESS_DENIED,
    ACCESS_DENIED_CALLBACK,
    CONTAINER_INHERIT,
    INHERIT_ONLY,
    INHERITED_ACE,
    NO_PROPAGATE_INHERIT,
    OBJECT_INHERIT,
    SYSTEM_AUDIT,
    SYSTEM_MANDATORY_LABEL,
    Ace,
    Acl,
    in_canonical_order,
    parse_acl,
)
from ksmbd.smb.constants import (
    ACCESS_SYSTEM_SECURITY,
    DACL_SECURITY_INFORMATION,
    DELETE,
    FILE_ALL_ACCESS,
    FILE_GENERIC_READ,
    FILE_READ_DATA,
    FILE_WRITE_DATA,
    GENERIC_ALL,
    GENERIC_READ,
    GROUP_SECURITY_INFORMATION,
    LABEL_SECURITY_INFORMATION,
    MAXIMUM_ALLOWED,
    OWNER_SECURITY_INFORMATION,
    READ_CONTROL,
    SACL_SECURITY_INFORMATION,
    WRITE_DAC,
    WRITE_OWNER,
)
from ksmbd.smb.security_descriptor import (
    SE_DACL_AUTO_INHERIT_REQ,
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SACL_PRESENT,
    SE_SELF_RELATIVE,
    Privilege,
    SecurityDescriptor,
    Token,
    check_access,
    default_dacl,
    inherit,
    maximal_access,
    parse_security_descriptor,
)
from ksmbd.smb.sid import (
    BUILTIN_ADMINISTRATORS,
    BUILTIN_USERS,
    CREATOR_GROUP,
    CREATOR_OWNER,
    EVERYONE,
    LOCAL_SYSTEM,
    MEDIUM_LABEL,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
    Sid,
    parse_sid,
    sid_from_text,
)
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_ACL,
    STATUS_INVALID_SECURITY_DESCR,
    STATUS_INVALID_SID,
    STATUS_PRIVILEGE_NOT_HELD,
    STATUS_UNKNOWN_REVISION,
    NtStatusError,
)

DOMAIN = Sid(5, (21, 1, 2, 3))
ALICE = DOMAIN.child(1000)
BOB = DOMAIN.child(1001)
STAFF = DOMAIN.child(513)
ALL_PARTS = 0xF

# O:BA G:BU D:AI(A;OICI;FA;;;WD)(D;;0x2;;;S-1-5-21-1-2-3-1001), laid out by hand from MS-DTYP 2.4.6.
GOLDEN = bytes.fromhex(
    "01000484" "14000000" "24000000" "00000000" "34000000"
    "01020000000000052000000020020000"
    "01020000000000052000000021020000"
    "02004000" "02000000"
    "00031400ff011f00" "010100000000000100000000"
    "0100240002000000" "0105000000000005150000000100000002000000" "03000000e9030000"
)  # fmt: skip


def descriptor(*aces: Ace, owner: Sid = ALICE, control: int = 0) -> SecurityDescriptor:
    return SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT | control, owner, STAFF, Acl(aces))


def allow(sid: Sid, mask: int, flags: int = 0) -> Ace:
    return Ace(ACCESS_ALLOWED, flags, mask, sid)


def deny(sid: Sid, mask: int, flags: int = 0) -> Ace:
    return Ace(ACCESS_DENIED, flags, mask, sid)


def test_golden_descriptor_decodes_and_encodes() -> None:
    parsed = parse_security_descriptor(GOLDEN)
    assert parsed == SecurityDescriptor(
        SE_SELF_RELATIVE | SE_DACL_PRESENT | SE_DACL_AUTO_INHERITED,
        BUILTIN_ADMINISTRATORS,
        BUILTIN_USERS,
        Acl((allow(EVERYONE, FILE_ALL_ACCESS, OBJECT_INHERIT | CONTAINER_INHERIT), deny(BOB, FILE_WRITE_DATA))),
    )
    assert parsed.encode() == GOLDEN
    assert parsed.to_sddl() == "O:BAG:BUD:AI(A;OICI;FA;;;WD)(D;;0x2;;;S-1-5-21-1-2-3-1001)"


def test_encode_gives_only_the_parts_asked_for() -> None:
    parsed = parse_security_descriptor(GOLDEN)
    assert parse_security_descriptor(parsed.encode(0)) == SecurityDescriptor()
    only_owner = parse_security_descriptor(parsed.encode(OWNER_SECURITY_INFORMATION))
    assert only_owner == SecurityDescriptor(owner=BUILTIN_ADMINISTRATORS)
    only_group = parse_security_descriptor(parsed.encode(GROUP_SECURITY_INFORMATION))
    assert only_group == SecurityDescriptor(group=BUILTIN_USERS)
    only_dacl = parse_security_descriptor(parsed.encode(DACL_SECURITY_INFORMATION))
    assert only_dacl == SecurityDescriptor(parsed.control, dacl=parsed.dacl)
    assert parse_security_descriptor(parsed.encode(SACL_SECURITY_INFORMATION)) == SecurityDescriptor()


def test_null_empty_and_absent_dacl_differ() -> None:
    null = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, ALICE, STAFF, None)
    empty = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, ALICE, STAFF, Acl())
    absent = SecurityDescriptor(SE_SELF_RELATIVE, ALICE, STAFF)
    for each in (null, empty, absent):
        assert parse_security_descriptor(each.encode()) == each
    bob = Token(BOB)
    assert maximal_access(null, bob) == FILE_ALL_ACCESS
    assert maximal_access(absent, bob) == FILE_ALL_ACCESS
    assert maximal_access(empty, bob) == 0


def test_system_aces_are_kept_and_the_label_can_be_read_alone() -> None:
    audit = Ace(SYSTEM_AUDIT, 0xC0, FILE_WRITE_DATA, EVERYONE)
    label = Ace(SYSTEM_MANDATORY_LABEL, 0, 1, MEDIUM_LABEL)
    whole = SecurityDescriptor(SE_SELF_RELATIVE | SE_SACL_PRESENT, ALICE, STAFF, None, Acl((audit, label)))
    assert parse_security_descriptor(whole.encode()) == whole
    one = parse_security_descriptor(whole.encode(LABEL_SECURITY_INFORMATION))
    assert one.sacl == Acl((label,)) and one.owner is None
    new_label = SecurityDescriptor(
        SE_SELF_RELATIVE | SE_SACL_PRESENT, sacl=Acl((Ace(SYSTEM_MANDATORY_LABEL, 0, 3, MEDIUM_LABEL),))
    )
    merged = whole.with_parts(new_label, LABEL_SECURITY_INFORMATION)
    assert merged.sacl is not None and merged.sacl.aces == (audit, Ace(SYSTEM_MANDATORY_LABEL, 0, 3, MEDIUM_LABEL))


def test_with_parts_takes_what_is_named_and_settles_the_auto_inherit_bits() -> None:
    old = descriptor(allow(EVERYONE, FILE_ALL_ACCESS))
    new = descriptor(allow(BOB, FILE_READ_DATA), owner=BOB, control=SE_DACL_AUTO_INHERITED)
    changed = old.with_parts(new, DACL_SECURITY_INFORMATION)
    assert changed.owner == ALICE and changed.dacl == new.dacl
    assert not changed.control & SE_DACL_AUTO_INHERITED
    asked = descriptor(allow(BOB, 1), control=SE_DACL_AUTO_INHERITED | SE_DACL_AUTO_INHERIT_REQ)
    changed = old.with_parts(asked, DACL_SECURITY_INFORMATION | OWNER_SECURITY_INFORMATION)
    assert changed.control == SE_SELF_RELATIVE | SE_DACL_PRESENT | SE_DACL_AUTO_INHERITED
    assert old.with_parts(SecurityDescriptor(), OWNER_SECURITY_INFORMATION) == old


def test_generic_bits_are_mapped_where_they_are_set_but_not_what_only_children_get() -> None:
    onward = allow(BOB, GENERIC_ALL, OBJECT_INHERIT | INHERIT_ONLY)
    new = descriptor(allow(BOB, GENERIC_READ), onward)
    changed = descriptor().with_parts(new, DACL_SECURITY_INFORMATION)
    assert changed.dacl == Acl((allow(BOB, FILE_GENERIC_READ), onward))


def test_canonical_equality_ignores_how_it_was_written() -> None:
    one = descriptor(allow(EVERYONE, GENERIC_READ), control=SE_DACL_AUTO_INHERIT_REQ)
    other = descriptor(allow(EVERYONE, FILE_GENERIC_READ))
    assert one != other and one.canonical() == other.canonical()
    assert one.canonical() != descriptor(allow(EVERYONE, FILE_ALL_ACCESS)).canonical()


def patched(offset: int, data: bytes) -> bytes:
    return GOLDEN[:offset] + data + GOLDEN[offset + len(data) :]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"", STATUS_INVALID_SECURITY_DESCR, id="nothing"),
        pytest.param(GOLDEN[:19], STATUS_INVALID_SECURITY_DESCR, id="header cut"),
        pytest.param(patched(0, b"\2"), STATUS_UNKNOWN_REVISION, id="revision 2"),
        pytest.param(patched(2, b"\4\4"), STATUS_INVALID_SECURITY_DESCR, id="absolute form"),
        pytest.param(patched(4, b"\4\0\0\0"), STATUS_INVALID_SECURITY_DESCR, id="owner inside the header"),
        pytest.param(patched(4, b"\xff\xff\xff\xff"), STATUS_INVALID_SECURITY_DESCR, id="owner far outside"),
        pytest.param(patched(4, b"\x9c\0\0\0"), STATUS_INVALID_SECURITY_DESCR, id="owner behind the end"),
        pytest.param(patched(20, b"\2"), STATUS_INVALID_SID, id="owner SID of revision 2"),
        pytest.param(patched(21, b"\x10"), STATUS_INVALID_SID, id="owner SID with 16 sub-authorities"),
        pytest.param(patched(8, (len(GOLDEN) - 8).to_bytes(4, "little")), STATUS_INVALID_SID, id="group SID cut"),
        pytest.param(patched(52, b"\1"), STATUS_INVALID_ACL, id="ACL of revision 1"),
        pytest.param(patched(54, b"\xff\xff"), STATUS_INVALID_ACL, id="ACL longer than the descriptor"),
        pytest.param(patched(54, b"\4\0"), STATUS_INVALID_ACL, id="ACL shorter than its header"),
        pytest.param(patched(54, b"\x20\0"), STATUS_INVALID_ACL, id="ACE beyond the ACL"),
        pytest.param(patched(56, b"\xff\xff"), STATUS_INVALID_ACL, id="65535 ACEs"),
        pytest.param(patched(56, b"\3\0"), STATUS_INVALID_ACL, id="one ACE more than there is"),
        pytest.param(patched(62, b"\0\0"), STATUS_INVALID_ACL, id="ACE of no size"),
        pytest.param(patched(62, b"\x0c\0"), STATUS_INVALID_ACL, id="ACE shorter than its SID"),
        pytest.param(patched(62, b"\x15\0"), STATUS_INVALID_ACL, id="ACE of an odd size"),
        pytest.param(patched(69, b"\x0f"), STATUS_INVALID_ACL, id="SID count lies inside an ACE"),
        pytest.param(GOLDEN[:-1], STATUS_INVALID_ACL, id="last ACE cut"),
    ],
)
def test_lies_are_refused_with_their_status(data: bytes, status: int) -> None:
    with pytest.raises(NtStatusError) as raised:
        parse_security_descriptor(data)
    assert raised.value.status == status


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_ntstatus(data: bytes) -> None:
    try:
        parsed = parse_security_descriptor(data)
    except NtStatusError:
        return
    assert parse_security_descriptor(parsed.encode()).canonical() == parsed.canonical()


@given(st.integers(0, len(GOLDEN) - 1), st.binary(min_size=1, max_size=6))
def test_a_damaged_descriptor_decodes_or_raises_ntstatus(offset: int, damage: bytes) -> None:
    try:
        parsed = parse_security_descriptor(patched(offset, damage)[: len(GOLDEN)])
    except NtStatusError:
        return
    for token in (Token(ALICE), Token(BOB, frozenset((EVERYONE, STAFF)))):
        assert maximal_access(parsed, token) & ~FILE_ALL_ACCESS == 0
    inherit(parsed, ALICE, STAFF, True).encode()


SIDS = st.builds(Sid, st.integers(0, 2**48 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=15).map(tuple))
GUIDS = st.one_of(st.just(b""), st.binary(min_size=16, max_size=16))
ACES = st.one_of(
    st.builds(
        Ace, st.sampled_from([0, 1, 2, 3, 9, 10, 0x11]), st.integers(0, 255), st.integers(0, 2**32 - 1), SIDS,
        st.just(b""), st.just(b""), st.just(b""),
    ),
    st.builds(
        Ace, st.sampled_from([5, 6, 7, 0xB]), st.integers(0, 255), st.integers(0, 2**32 - 1), SIDS, GUIDS, GUIDS,
        st.just(b"artx"),
    ),
    st.builds(lambda body: Ace(0x42, 0, 0, None, body=body), st.sampled_from([b"", b"abcd", b"abcdefgh"])),
)  # fmt: skip
ACLS = st.builds(lambda aces: Acl(tuple(aces), 4), st.lists(ACES, max_size=5))


@given(st.builds(SecurityDescriptor, st.just(0x8014), st.none() | SIDS, st.none() | SIDS, st.none() | ACLS, ACLS))
def test_every_descriptor_survives_the_round_trip(value: SecurityDescriptor) -> None:
    assert parse_security_descriptor(value.encode()) == value


@given(SIDS)
def test_sids_survive_both_round_trips(sid: Sid) -> None:
    assert parse_sid(sid.encode()) == sid and len(sid.encode()) == sid.size
    assert sid_from_text(str(sid)) == sid


@pytest.mark.parametrize(
    "text", ["", "S-1", "S-2-5", "S-1-x", "S-1-5-x", "S-1-5--1", "S-1-5-4294967296", "S-1" + "-1" * 17]
)
def test_what_is_no_sid_is_refused(text: str) -> None:
    with pytest.raises(NtStatusError) as raised:
        sid_from_text(text)
    assert raised.value.status == STATUS_INVALID_SID


def test_bytes_behind_a_lone_sid_are_refused() -> None:
    with pytest.raises(NtStatusError):
        parse_sid(EVERYONE.encode() + b"\0")


def test_an_acl_of_more_than_64_kib_is_refused() -> None:
    with pytest.raises(NtStatusError) as raised:
        Acl(tuple(allow(EVERYONE, 1) for _ in range(4000))).encode()
    assert raised.value.status == STATUS_INVALID_ACL


def test_object_aces_raise_the_acl_revision() -> None:
    encoded = Acl((Ace(ACCESS_ALLOWED_OBJECT, 0, 1, EVERYONE, bytes(range(16))),)).encode()
    assert encoded[0] == 4 and parse_acl(encoded).aces[0].object_type == bytes(range(16))


# -- access check ---------------------------------------------------------------------------------------------------


def status_of(sd: SecurityDescriptor, token: Token, desired: int) -> int:
    with pytest.raises(NtStatusError) as raised:
        check_access(sd, token, desired)
    return raised.value.status


BOB_IN_STAFF = Token(BOB, frozenset((STAFF, EVERYONE)))


def test_the_first_ace_that_names_a_bit_decides() -> None:
    sd = descriptor(allow(BOB, FILE_READ_DATA), deny(STAFF, FILE_READ_DATA | FILE_WRITE_DATA), allow(EVERYONE, 3))
    assert check_access(sd, BOB_IN_STAFF, FILE_READ_DATA) == FILE_READ_DATA
    assert status_of(sd, BOB_IN_STAFF, FILE_WRITE_DATA) == STATUS_ACCESS_DENIED
    assert maximal_access(sd, BOB_IN_STAFF) == FILE_READ_DATA
    assert maximal_access(sd, Token(ALICE, frozenset((EVERYONE,)))) == 3 | READ_CONTROL | WRITE_DAC


def test_generic_bits_are_mapped_on_both_sides() -> None:
    sd = descriptor(allow(BOB, GENERIC_READ))
    assert check_access(sd, BOB_IN_STAFF, GENERIC_READ) == FILE_GENERIC_READ
    assert check_access(sd, BOB_IN_STAFF, FILE_READ_DATA) == FILE_READ_DATA
    assert status_of(sd, BOB_IN_STAFF, GENERIC_ALL) == STATUS_ACCESS_DENIED


def test_maximum_allowed_gives_all_there_is_and_still_checks_the_rest() -> None:
    sd = descriptor(allow(BOB, FILE_GENERIC_READ))
    assert check_access(sd, BOB_IN_STAFF, MAXIMUM_ALLOWED) == FILE_GENERIC_READ
    assert check_access(sd, BOB_IN_STAFF, MAXIMUM_ALLOWED | FILE_READ_DATA) == FILE_GENERIC_READ
    assert status_of(sd, BOB_IN_STAFF, MAXIMUM_ALLOWED | DELETE) == STATUS_ACCESS_DENIED
    assert status_of(descriptor(), BOB_IN_STAFF, MAXIMUM_ALLOWED) == STATUS_ACCESS_DENIED


def test_the_owner_reads_and_changes_the_dacl_unless_owner_rights_say_otherwise() -> None:
    alice = Token(ALICE)
    assert maximal_access(descriptor(), alice) == READ_CONTROL | WRITE_DAC
    assert maximal_access(descriptor(deny(ALICE, WRITE_DAC)), alice) == READ_CONTROL | WRITE_DAC
    assert maximal_access(descriptor(allow(OWNER_RIGHTS, FILE_READ_DATA)), alice) == FILE_READ_DATA
    assert maximal_access(descriptor(allow(OWNER_RIGHTS, FILE_READ_DATA)), BOB_IN_STAFF) == 0
    inherit_only = descriptor(allow(OWNER_RIGHTS, FILE_READ_DATA, INHERIT_ONLY))
    assert maximal_access(inherit_only, alice) == READ_CONTROL | WRITE_DAC
    assert maximal_access(descriptor(allow(PRINCIPAL_SELF, 1), owner=BOB), BOB_IN_STAFF) == READ_CONTROL | WRITE_DAC


def test_inherit_only_conditional_and_object_aces() -> None:
    assert maximal_access(descriptor(allow(EVERYONE, 1, INHERIT_ONLY)), BOB_IN_STAFF) == 0
    assert maximal_access(descriptor(Ace(ACCESS_ALLOWED_CALLBACK, 0, 1, EVERYONE)), BOB_IN_STAFF) == 0
    conditional = descriptor(Ace(ACCESS_DENIED_CALLBACK, 0, 1, EVERYONE), allow(EVERYONE, 3))
    assert maximal_access(conditional, BOB_IN_STAFF) == 2
    assert maximal_access(descriptor(Ace(ACCESS_ALLOWED_OBJECT, 0, 1, EVERYONE)), BOB_IN_STAFF) == 1
    assert maximal_access(descriptor(Ace(ACCESS_ALLOWED_OBJECT, 0, 1, EVERYONE, bytes(16))), BOB_IN_STAFF) == 0


def test_privileges_open_what_they_name() -> None:
    sd = descriptor()
    assert status_of(sd, BOB_IN_STAFF, ACCESS_SYSTEM_SECURITY) == STATUS_PRIVILEGE_NOT_HELD
    auditor = Token(BOB, privileges=Privilege.SECURITY)
    assert check_access(sd, auditor, ACCESS_SYSTEM_SECURITY) == ACCESS_SYSTEM_SECURITY
    assert check_access(sd, auditor, ACCESS_SYSTEM_SECURITY | MAXIMUM_ALLOWED) == ACCESS_SYSTEM_SECURITY
    taker = Token(BOB, privileges=Privilege.TAKE_OWNERSHIP)
    assert check_access(sd, taker, WRITE_OWNER) == WRITE_OWNER
    assert status_of(sd, taker, WRITE_DAC) == STATUS_ACCESS_DENIED


def test_backup_and_restore_open_for_backup_intent_alone() -> None:
    sd = descriptor()
    reader = Token(BOB, privileges=Privilege.BACKUP)
    writer = Token(BOB, privileges=Privilege.RESTORE)
    assert check_access(sd, reader, GENERIC_READ, backup_intent=True) == FILE_GENERIC_READ
    assert check_access(sd, writer, DELETE | WRITE_DAC, backup_intent=True) == DELETE | WRITE_DAC
    assert status_of(sd, reader, FILE_READ_DATA) == STATUS_ACCESS_DENIED
    with pytest.raises(NtStatusError):
        check_access(sd, reader, FILE_WRITE_DATA, backup_intent=True)
    with pytest.raises(NtStatusError):
        check_access(sd, writer, FILE_READ_DATA, backup_intent=True)


# -- inheritance ----------------------------------------------------------------------------------------------------

OI, CI, NP, IO, ID = OBJECT_INHERIT, CONTAINER_INHERIT, NO_PROPAGATE_INHERIT, INHERIT_ONLY, INHERITED_ACE


@pytest.mark.parametrize(
    ("flags", "for_file", "for_directory"),
    [
        (0, None, None),
        (OI, 0, OI | IO),
        (CI, None, CI),
        (OI | CI, 0, OI | CI),
        (NP, None, None),
        (OI | NP, 0, None),
        (CI | NP, None, 0),
        (OI | CI | NP, 0, 0),
        (IO, None, None),
        (OI | IO, 0, OI | IO),
        (CI | IO, None, CI),
        (OI | CI | IO, 0, OI | CI),
        (NP | IO, None, None),
        (OI | NP | IO, 0, None),
        (CI | NP | IO, None, 0),
        (OI | CI | NP | IO, 0, 0),
    ],
)
@pytest.mark.parametrize("auto", [False, True])
def test_flags_of_inherited_entries(flags: int, for_file: int | None, for_directory: int | None, auto: bool) -> None:
    """All 16 combinations, for files and directories, below a parent with and without automatic inheritance."""
    parent = descriptor(allow(BOB, FILE_READ_DATA, flags), control=SE_DACL_AUTO_INHERITED if auto else 0)
    extra = ID if auto else 0
    for is_directory, expected in ((False, for_file), (True, for_directory)):
        child = inherit(parent, ALICE, STAFF, is_directory)
        assert child.dacl is not None
        if expected is None:
            assert child.dacl == default_dacl(ALICE)
            assert not child.control & SE_DACL_AUTO_INHERITED
        else:
            assert child.dacl.aces == (allow(BOB, FILE_READ_DATA, expected | extra),)
            assert bool(child.control & SE_DACL_AUTO_INHERITED) == auto


def test_creator_entries_are_written_for_the_owner_and_kept_for_the_children() -> None:
    parent = descriptor(allow(CREATOR_OWNER, FILE_ALL_ACCESS, OI | CI | IO), allow(CREATOR_GROUP, 1, CI | NP))
    directory = inherit(parent, BOB, STAFF, True)
    assert directory.dacl is not None and directory.dacl.aces == (
        allow(BOB, FILE_ALL_ACCESS),
        allow(CREATOR_OWNER, FILE_ALL_ACCESS, OI | CI | IO),
        allow(STAFF, 1),
    )
    file = inherit(parent, BOB, STAFF, False)
    assert file.dacl is not None and file.dacl.aces == (allow(BOB, FILE_ALL_ACCESS),)


def test_generic_bits_are_mapped_here_and_kept_for_the_children() -> None:
    directory = inherit(descriptor(allow(BOB, GENERIC_READ, OI | CI)), ALICE, STAFF, True)
    assert directory.dacl is not None and directory.dacl.aces == (
        allow(BOB, FILE_GENERIC_READ),
        allow(BOB, GENERIC_READ, OI | CI | IO),
    )


def test_what_the_creator_gives_wins_over_the_parent() -> None:
    parent = descriptor(allow(BOB, 1, OI | CI), control=SE_DACL_AUTO_INHERITED)
    given_sd = descriptor(allow(CREATOR_OWNER, GENERIC_ALL), owner=BOB)
    child = inherit(parent, ALICE, STAFF, False, creator=given_sd)
    assert child.owner == BOB
    assert child.dacl is not None and child.dacl.aces == (allow(BOB, FILE_ALL_ACCESS),)
    request = descriptor(allow(ALICE, 2), control=SE_DACL_AUTO_INHERIT_REQ)
    child = inherit(parent, ALICE, STAFF, False, creator=request)
    assert child.dacl is not None and child.dacl.aces == (allow(ALICE, 2), allow(BOB, 1, ID))
    protected = descriptor(allow(ALICE, 2), control=SE_DACL_AUTO_INHERIT_REQ | SE_DACL_PROTECTED)
    child = inherit(parent, ALICE, STAFF, False, creator=protected)
    assert child.dacl is not None and child.dacl.aces == (allow(ALICE, 2),)
    assert child.control & SE_DACL_PROTECTED


def test_without_parent_or_creator_the_default_counts() -> None:
    child = inherit(None, ALICE, STAFF, False)
    assert child.dacl == Acl((allow(ALICE, FILE_ALL_ACCESS), allow(LOCAL_SYSTEM, FILE_ALL_ACCESS)))
    assert inherit(None, ALICE, STAFF, False, default=Acl()).dacl == Acl()


def test_audit_entries_are_inherited_with_their_audit_bits() -> None:
    audit = Ace(SYSTEM_AUDIT, OI | 0xC0, 1, EVERYONE)
    parent = SecurityDescriptor(SE_SELF_RELATIVE | SE_SACL_PRESENT, ALICE, STAFF, None, Acl((audit,)))
    child = inherit(parent, ALICE, STAFF, False)
    assert child.sacl == Acl((Ace(SYSTEM_AUDIT, 0xC0, 1, EVERYONE),)) and child.control & SE_SACL_PRESENT


def test_canonical_order() -> None:
    assert in_canonical_order([deny(BOB, 1), allow(BOB, 1), deny(BOB, 1, ID), allow(BOB, 1, ID), deny(BOB, 2, ID)])
    assert not in_canonical_order([allow(BOB, 1), deny(BOB, 1)])
    assert not in_canonical_order([allow(BOB, 1, ID), allow(BOB, 1)])
