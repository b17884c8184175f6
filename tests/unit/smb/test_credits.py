# SPDX-License-Identifier: GPL-2.0-or-later
"""The command sequence window and the credits of replies (MS-SMB2 3.3.1.1, 3.3.1.2, 3.3.5.2.3, 3.3.5.2.5)."""
from __future__ import annotations

from struct import pack

import create_messages as m
import pytest
from hypothesis import given
from hypothesis import strategies as st
from script import Client

from ksmbd.smb import constants as c
from ksmbd.smb.credits import SequenceWindow, charge_is_enough, max_charge, payload_size
from ksmbd.smb.status import STATUS_MORE_PROCESSING_REQUIRED, STATUS_PENDING, ConnectionFatal


def test_one_id_before_anything_is_granted() -> None:
    window = SequenceWindow(512)
    window.consume(0, 1)
    with pytest.raises(ConnectionFatal):
        window.consume(1, 1)


@pytest.mark.parametrize("ids", [(0, 0), (1, 0, 1), (2, 2), (5,), (0, 9)])
def test_ids_outside_or_used_twice_are_fatal(ids: tuple[int, ...]) -> None:
    window = SequenceWindow(512)
    window.high = 5
    with pytest.raises(ConnectionFatal):
        for message_id in ids:
            window.consume(message_id, 1)


def test_a_multi_credit_request_uses_consecutive_ids() -> None:
    window = SequenceWindow(512)
    window.high = 10
    window.consume(2, 4)  # 2..5, out of order
    window.consume(0, 2)
    assert window.low == 6
    with pytest.raises(ConnectionFatal):
        window.consume(9, 2)  # 10 is not granted


def test_no_more_than_asked_within_the_maximum() -> None:
    window = SequenceWindow(100)
    window.consume(0, 1)
    assert window.grant(c.ECHO, 0, 33, 1) == 33
    assert window.grant(c.ECHO, 0, 1000, 1) == 67
    assert window.outstanding == 100


def test_nobody_gets_more_than_one_credit_before_the_log_on() -> None:
    window = SequenceWindow(512)
    window.consume(0, 1)
    assert window.grant(c.NEGOTIATE, 0, 31, 1) == 1
    window.consume(1, 1)
    assert window.grant(c.SESSION_SETUP, STATUS_MORE_PROCESSING_REQUIRED, 31, 1) == 1
    window.consume(2, 1)
    assert window.grant(c.SESSION_SETUP, 0, 31, 1) == 31


def test_a_client_is_never_left_without_a_credit() -> None:
    window = SequenceWindow(8)
    window.consume(0, 1)
    assert window.grant(c.ECHO, 0, 0, 1) == 1


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 70), st.booleans()), max_size=200))
def test_the_window_neither_leaks_nor_grows(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever order the ids are used in, the credits held stay between 1 and the maximum."""
    window = SequenceWindow(64)
    free = [0]
    for charge, requested, from_the_end in steps:
        run = [i for i in sorted(free) if all(i + k in free for k in range(charge))]
        if not run:
            continue
        start = run[-1] if from_the_end else run[0]
        window.consume(start, charge)
        free = [i for i in free if not start <= i < start + charge]
        high = window.high
        window.grant(c.ECHO, 0, requested, charge)
        free += range(high, window.high)
        assert window.outstanding == len(free) <= 64
        assert free


def test_the_payload_is_the_larger_of_both_ways() -> None:
    message = bytearray(128)
    message[64 + 28 : 64 + 32] = (70000).to_bytes(4, "little")  # InputCount
    message[64 + 44 : 64 + 48] = (5000).to_bytes(4, "little")  # MaxOutputResponse
    assert payload_size(c.IOCTL, memoryview(message)) == 70000
    assert payload_size(c.ECHO, memoryview(message)) == 0
    assert charge_is_enough(0, 65536) and not charge_is_enough(0, 65537)
    assert charge_is_enough(2, 131072) and not charge_is_enough(2, 131073)


@pytest.mark.parametrize(
    ("field", "multi_credit", "counts"),
    [(0, True, 1), (1, True, 1), (2, True, 2), (500, True, 500), (0, False, 1), (1, False, 1), (500, False, 1)],
)
def test_one_rule_says_what_a_request_counts(field: int, multi_credit: bool, counts: int) -> None:
    assert max_charge(field, multi_credit) == counts


@pytest.mark.parametrize(("requested", "granted"), [(0, 1), (1, 1), (7, 7), (1000, 85)])
def test_an_interim_response_gives_what_was_asked_for(requested: int, granted: int) -> None:
    window = SequenceWindow(100)
    window.high = 31
    window.consume(0, 16)
    assert window.grant_interim(c.CHANGE_NOTIFY, requested) == granted


def test_an_interim_response_of_a_log_on_gives_one_credit() -> None:
    window = SequenceWindow(100)
    window.consume(0, 1)
    assert window.grant_interim(c.SESSION_SETUP, 50) == 1


@pytest.mark.parametrize("dialect", [c.DIALECT_202, c.DIALECT_300])
def test_a_request_that_waits_gets_no_more_than_it_asks_for(dialect: int) -> None:
    """CreditCharge is reserved before 2.1; where it counts, what is not asked for is not given back."""
    client = Client().ready(dialect)
    opened = client.ask(c.CREATE, m.create("", options=c.FILE_DIRECTORY_FILE), credits=500)
    notify = pack("<HHI16sII", 32, 0, 4096, opened.body[64:80], 0x17, 0)
    interim = client.ask(c.CHANGE_NOTIFY, notify, charge=16 if dialect != c.DIALECT_202 else 500, credits=1)
    assert interim.status == STATUS_PENDING and interim.header.credits == 1
