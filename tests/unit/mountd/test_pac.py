# SPDX-License-Identifier: GPL-2.0-or-later
"""KERB_VALIDATION_INFO (MS-PAC 2.5) as another implementation writes it, whole and broken, and what follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kerberos_doubles import Rules, Scripted, token
from validation_info import DOMAIN, logon_info

from ksmbd import limits
from ksmbd.smb.sid import sid_from_text
from ksmbd.smb.status import WireError
from mountd.kerberos import pac, replay
from mountd.kerberos.answers import ANSWER_MAX, Accepted, Refused
from mountd.kerberos.mechanism import Acceptor, Context

WHOLE = logon_info(
    "alice", 1105, 513, {513: 7, 1200: 7, 1201: 0},
    extra={"S-1-5-21-9-9-9-77": 7, "S-1-18-1": 7, "S-1-5-21-9-9-9-78": 0},
    resource=("S-1-5-21-5-5-5", {2000: 0x20000007, 2001: 0}),
)  # fmt: skip


def test_the_name_and_the_enabled_groups_are_read() -> None:
    info = pac.parse(WHOLE)
    assert (info.account, info.domain) == ("alice", "KSMBD")
    assert [str(sid) for sid in info.sids] == [
        f"{DOMAIN}-1105", f"{DOMAIN}-513", f"{DOMAIN}-1200", "S-1-5-21-9-9-9-77", "S-1-18-1", "S-1-5-21-5-5-5-2000",
    ]  # fmt: skip


def test_lists_count_where_the_flags_say_so() -> None:
    info = pac.parse(logon_info(
        "alice", 1105, 513, {}, extra={"S-1-5-21-9-9-9-77": 7}, resource=("S-1-5-21-5-5-5", {2000: 7}), flags=0
    ))  # fmt: skip
    assert [sid.rid for sid in info.sids] == [1105, 513]


def test_names_of_any_length_and_none() -> None:
    for name in ("", "ä", "Jörg Müller", "x" * 300):
        assert pac.parse(logon_info(name, 1, 2, {3: 7})).account == name


def test_every_cut_is_malformed() -> None:
    for size in range(len(WHOLE)):
        with pytest.raises(WireError):
            pac.parse(WHOLE[:size])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=8))
def test_any_bytes_are_read_or_refused(position: int, data: bytes) -> None:
    changed = WHOLE[:position] + data + WHOLE[position + len(data) :]
    try:
        assert len(pac.parse(changed).sids) <= limits.KERBEROS_SIDS.value + 2
    except WireError:
        pass


def test_too_many_groups_are_refused_and_as_many_as_may_be_fit_an_answer() -> None:
    most = limits.KERBEROS_SIDS.value
    with pytest.raises(WireError, match="too many"):
        pac.parse(logon_info("alice", 1, 2, dict.fromkeys(range(10, most + 11), 7)))
    info = pac.parse(logon_info("alice", 1, 2, {(1 << 32) - 1 - rid: 7 for rid in range(most)}))
    assert len(info.sids) == most + 2
    accepted = Accepted("alice@X", "alice", b"k" * 32, bytes(200), 1, "alice", [str(sid) for sid in info.sids])
    assert len(accepted.encode()) < ANSWER_MAX
    assert len(" ".join(accepted.sids)) < 65000, "one attribute of a netlink message"


# ------------------------------------------------------------------------------------------------ what follows from it


def accept(principal: str, info: bytes) -> Accepted | Refused:
    context = Context(principal, b"k" * 32, b"", 5000, b"", info)
    return Acceptor(Scripted(context), replay.open_table(""), Rules(), lambda: 1000).accept(token(b"c"))


@pytest.mark.parametrize(("principal", "local"), [
    ("first.last@KSMBD.TEST", "alice"), ("first.last\\@corp.test@KSMBD.TEST", "alice"), ("alice@KSMBD.TEST", "alice"),
    ("alice/admin@KSMBD.TEST", ""), ("first.last@PARTNER.TEST", ""), ("alice@PARTNER.TEST", ""),
])  # fmt: skip
def test_the_account_s_own_name_is_the_domain_s_word_in_the_default_realm_alone(principal: str, local: str) -> None:
    accepted = accept(principal, WHOLE)
    assert isinstance(accepted, Accepted) and accepted.local == local and accepted.account == "alice"


def test_a_rule_is_stronger_than_the_pac() -> None:
    accepted = accept("bob@PARTNER.TEST", logon_info("root", 500, 512, {}))
    assert isinstance(accepted, Accepted) and accepted.local == "alice"


def test_a_ticket_without_a_pac_is_one_all_the_same() -> None:
    accepted = accept("alice@KSMBD.TEST", b"")
    assert isinstance(accepted, Accepted) and accepted.local == "alice" and accepted.sids == []


def test_a_malformed_pac_is_no_log_on() -> None:
    refused = accept("alice@KSMBD.TEST", WHOLE[:100])
    assert isinstance(refused, Refused) and "malformed" in refused.why and refused.principal == "alice@KSMBD.TEST"


def test_the_sids_are_those_of_ms_dtyp() -> None:
    for sid in pac.parse(WHOLE).sids:
        assert sid_from_text(str(sid)) == sid
