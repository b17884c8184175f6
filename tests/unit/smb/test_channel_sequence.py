# SPDX-License-Identifier: GPL-2.0-or-later
"""Which requests come too late after a channel was lost (MS-SMB2 3.3.5.2.10)."""
from __future__ import annotations

import pytest
from bench import Bench

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.model import Channel, Open, PendingRequest
from ksmbd.smb.status import NtStatusError

CHANGING = (c.WRITE, c.SET_INFO, c.IOCTL)
OTHERS = (c.READ, c.QUERY_INFO, c.QUERY_DIRECTORY, c.FLUSH, c.LOCK, c.CLOSE)
REPLAY = c.FLAGS_REPLAY_OPERATION


def pending(made: Bench) -> dict[int, PendingRequest]:
    (line,) = made.session.channels
    return line.pending


def bench(dialect: int = c.DIALECT_311, number: int = 5) -> tuple[Bench, Open]:
    made = Bench(dialect)
    made.volume.add("file")
    open_ = made.open("file")
    open_.channel_sequence = number
    made.session.channels = {made.connection: Channel(made.connection)}
    return made, open_


def send(made: Bench, open_: Open, number: int, command: int = c.WRITE, flags: int = 0) -> bool:
    """Whether a request with this ChannelSequence may go on."""
    request = made.request(command, b"")
    request.header.status = number
    request.header.flags |= flags
    try:
        request.find_open(open_.persistent_id, open_.volatile_id)
    except NtStatusError as error:
        assert error.status == s.STATUS_FILE_NOT_AVAILABLE
        return False
    return True


def wait(made: Bench, open_: Open, number: int) -> None:
    """A request with this number is outstanding."""
    request = made.request(c.WRITE, b"")
    request.header.status, request.open = number, open_
    pending(made)[len(pending(made))] = request


@pytest.mark.parametrize("number", [0, 5, 0xFFFF])
@pytest.mark.parametrize("ahead", [0, 1, 0x7FFF])
def test_the_open_follows_the_client(number: int, ahead: int) -> None:
    made, open_ = bench(number=number)
    assert send(made, open_, (number + ahead) & 0xFFFF)
    assert open_.channel_sequence == (number + ahead) & 0xFFFF


@pytest.mark.parametrize("number", [0, 5, 0xFFFF])
@pytest.mark.parametrize("behind", [1, 2, 0x8000])
@pytest.mark.parametrize("flags", [0, REPLAY])
def test_what_was_sent_before_the_loss_changes_nothing_any_more(number: int, behind: int, flags: int) -> None:
    made, open_ = bench(number=number)
    for command in CHANGING:
        assert not send(made, open_, (number - behind) & 0xFFFF, command, flags)
    for command in OTHERS:
        assert send(made, open_, (number - behind) & 0xFFFF, command, flags)
    assert open_.channel_sequence == number


def test_no_replay_before_the_first_try_has_ended() -> None:
    made, open_ = bench(number=6)
    wait(made, open_, 5)
    for command in CHANGING:
        assert not send(made, open_, 6, command, REPLAY)
        assert not send(made, open_, 7, command, REPLAY)
        assert send(made, open_, 6, command), "a new request waits for nothing"
    for command in OTHERS:
        assert send(made, open_, 6, command, REPLAY)
    pending(made).clear()
    assert send(made, open_, 6, c.WRITE, REPLAY)


def test_what_is_outstanding_on_other_opens_or_with_this_number_does_not_count() -> None:
    made, open_ = bench()
    wait(made, made.open("file"), 4)
    wait(made, open_, 5)
    assert send(made, open_, 5, c.WRITE, REPLAY)
    assert send(made, open_, 6, c.WRITE, REPLAY), "no earlier one was outstanding when it came"
    assert not send(made, open_, 6, c.WRITE, REPLAY), "now one is"


def test_an_open_without_a_session_has_nothing_outstanding() -> None:
    made, open_ = bench()
    made.session.channels = {}
    assert send(made, open_, 5, c.WRITE, REPLAY)


@pytest.mark.parametrize("dialect", [c.DIALECT_202, c.DIALECT_210])
def test_two_x_has_no_numbers(dialect: int) -> None:
    """There the field is Status, which the server ignores."""
    made, open_ = bench(dialect, 0)
    assert send(made, open_, 0xFFFF) and send(made, open_, 0x8000, flags=REPLAY)
    assert open_.channel_sequence == 0
