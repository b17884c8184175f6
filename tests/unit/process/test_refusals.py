# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines about refusals: their form, whatever a client sends, and their rate by address."""
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd import limits, log, refusals
from ksmbd.refusals import SECONDS, TEXT_MAX, Rate, line, refused

FORM = re.compile(r"refused log-on from (?P<host>\S+): (?P<reason>[^\"]*) \(account=\"")


def test_the_form_of_a_line() -> None:
    facts = {"account": "otto", "domain": "", "workstation": "PC7"}
    assert line("log-on", "192.0.2.7", "wrong password", facts) == (
        'refused log-on from 192.0.2.7: wrong password (account="otto" workstation="PC7")'
    )
    assert line("connection", "::1", "the client speaks SMB1", {}, 3) == (
        "refused connection from ::1: the client speaks SMB1; 3 more from this address were not told"
    )


@given(st.text(min_size=1), st.text())
def test_no_text_of_a_client_changes_the_line(account: str, workstation: str) -> None:
    text = line("log-on", "192.0.2.7", "wrong password", {"account": account, "workstation": workstation})
    assert text.isprintable()
    found = FORM.match(text)
    assert found is not None
    assert found.groups() == ("192.0.2.7", "wrong password")
    assert len(text) < 4 * TEXT_MAX + 100
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069]", text)


def test_an_address_is_limited_and_the_others_are_not() -> None:
    rate = Rate()
    most = limits.REFUSALS_OF_ADDRESS.value
    assert [rate.admit("192.0.2.7", 0.0) for _ in range(most + 5)] == [0] * most + [None] * 5
    assert rate.admit("192.0.2.8", 0.0) == 0
    assert rate.admit("192.0.2.7", SECONDS - 0.1) is None
    assert rate.admit("192.0.2.7", SECONDS) == 6
    assert rate.admit("192.0.2.7", SECONDS) == 0


def test_a_network_of_ipv6_counts_as_one() -> None:
    rate = Rate()
    for number in range(limits.REFUSALS_OF_ADDRESS.value):
        assert rate.admit(f"2001:db8::{number:x}", 0.0) == 0
    assert rate.admit("2001:db8::ffff", 0.0) is None
    assert rate.admit("2001:db8:1::1", 0.0) == 0


def test_addresses_are_bounded() -> None:
    rate = Rate()
    for number in range(limits.REFUSALS_ADDRESSES.value + 10):
        rate.admit(f"10.0.{number >> 8}.{number & 255}", 0.0)
    assert len(rate) == limits.REFUSALS_ADDRESSES.value


def test_lines_go_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(log, "notice", lines.append)
    monkeypatch.setattr(refusals, "_rate", Rate())
    refused("tree connect", "192.0.2.7", "no such share", share="nope", account="")
    assert lines == ['refused tree connect from 192.0.2.7: no such share (share="nope")']
