# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines about refusals: their form, whatever a client sends, and their rate by address."""
from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd import limits, log, refusals
from ksmbd.log_record import as_text
from ksmbd.refusals import SECONDS, TEXT_MAX, line, refused

FORM = re.compile(r"refused log-on from (?P<host>\S+): (?P<reason>[^\"]*) \(account=\"")


def test_the_form_of_a_line() -> None:
    facts = {"account": "otto", "domain": "", "workstation": "PC7"}
    assert line("refused log-on", "192.0.2.7", "wrong password", facts) == (
        'refused log-on from 192.0.2.7: wrong password (account="otto" workstation="PC7")'
    )
    assert line("connection", "::1", "the client speaks SMB1", {}) == "connection from ::1: the client speaks SMB1"


@given(st.text(min_size=1), st.text())
def test_no_text_of_a_client_changes_the_line(account: str, workstation: str) -> None:
    text = line("refused log-on", "192.0.2.7", "wrong password", {"account": account, "workstation": workstation})
    assert text.isprintable()
    found = FORM.match(text)
    assert found is not None
    assert found.groups() == ("192.0.2.7", "wrong password")
    assert len(text) < 4 * TEXT_MAX + 100
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069]", text)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The lines that go to the log; nothing has been refused before."""
    lines: list[str] = []
    monkeypatch.setattr(log, "write", lambda record: lines.append(as_text(record)))
    refusals._limited.forget()
    yield lines
    refusals._limited.forget()


class Clock:
    """Time and timers that the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(log, "_clock", self.call_later)
        monkeypatch.setattr(log, "_clock_thread", threading.get_ident())

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers.append((self.now + seconds, call))

    def turn(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, call in due:
            call()


MOST = limits.REFUSALS_OF_ADDRESS.value


def test_what_is_held_back_is_told_though_the_client_falls_silent(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    for _ in range(MOST + 5):
        refused("log-on", "192.0.2.7", "wrong password")
    refused("log-on", "192.0.2.8", "wrong password")
    assert told == ["refused log-on from 192.0.2.7: wrong password"] * MOST + [
        "refused log-on from 192.0.2.8: wrong password"
    ]
    clock.turn(SECONDS - 0.1)
    assert len(told) == MOST + 1
    clock.turn(0.1)
    assert told[MOST + 1 :] == ["5 more refusals of 192.0.2.7 were not told"]
    clock.turn(1000.0)
    assert len(told) == MOST + 2 and not clock.timers
    refused("log-on", "192.0.2.7", "wrong password")
    assert len(told) == MOST + 3


def test_a_network_of_ipv6_counts_as_one(told: list[str]) -> None:
    for number in range(MOST):
        refused("log-on", f"2001:db8::{number:x}", "wrong password")
    refused("log-on", "2001:db8::ffff", "wrong password")
    refused("log-on", "2001:db8:1::1", "wrong password")
    assert len(told) == MOST + 1 and "2001:db8:1::1" in told[-1]


def test_any_number_of_addresses_fills_no_log_and_no_memory(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    number = limits.REFUSALS.value + 3000
    for each in range(number):
        refused("log-on", f"10.0.{each >> 8}.{each & 255}", "unknown user")
    assert len(told) == limits.REFUSALS.value and len(refusals._limited.limit) == limits.LOG_KEYS.value
    clock.turn(SECONDS)
    counts = [int(text.split()[0]) for text in told[limits.REFUSALS.value :]]
    assert sum(counts) == 3000
    assert told[limits.REFUSALS.value].endswith("more refusals of other addresses were not told")


def test_lines_go_to_the_log(told: list[str]) -> None:
    refused("tree connect", "192.0.2.7", "no such share", share="nope", account="")
    assert told == ['refused tree connect from 192.0.2.7: no such share (share="nope")']
