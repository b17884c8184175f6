# SPDX-License-Identifier: GPL-2.0-or-later
"""OPLOCK_BREAK: notifications (MS-SMB2 3.3.4.6, 3.3.4.7) and acknowledgements (3.3.5.22)."""
from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from bench import Bench, body_of
from fakes import FakeSealer, FakeTransport
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.overriding import override
from ksmbd.smb import constants as c
from ksmbd.smb import oplock_break
from ksmbd.smb import status as s
from ksmbd.smb.connection import ServerConnection
from ksmbd.smb.connection_state import ConnectionState
from ksmbd.smb.model import Channel, Open
from ksmbd.smb.open_life import disconnect_open
from ksmbd.smb.oplock_break import SILENCE_SECONDS, send_break
from ksmbd.smb.ports import BreakNotice, Frame, LeaseGrant
from ksmbd.smb.status import NtStatusError

RETRY_SECONDS = 0.5
KEY = bytes(range(16))
GUID = b"G" * 16


class Line(FakeTransport):
    """A connection's transport, which records what is sent on it: command, body, and whether it was encrypted."""

    def __init__(self, made: Bench) -> None:
        super().__init__("192.0.2.7", "192.0.2.7")
        self.sent: list[tuple[int, bytes, bool]] = []
        self.confirms = True
        self.progress = 1000
        self.reason = ""
        self.connection = ServerConnection(made.server, self)
        self.connection.state = ConnectionState.NEGOTIATED
        made.session.channels[self.connection] = Channel(self.connection)

    def ended(self) -> bool:
        return self.connection.closed

    @override
    def close(self, reason: str) -> None:
        self.reason = reason

    @override
    def delivery_seconds(self) -> float:
        return RETRY_SECONDS

    @override
    def delivery_mark(self) -> int:
        return len(self.sent)

    @override
    def confirmed(self) -> int:
        return self.progress

    @override
    def delivered(self, mark: int) -> bool:
        assert mark == len(self.sent)
        return self.confirms

    @override
    def send(self, frame: Frame) -> None:
        message = bytes(frame.data)[4:]
        sealed = message[:4] == b"\xfdSMB"
        message = message[52:] if sealed else message
        self.sent.append((int.from_bytes(message[12:14], "little"), message[64:], sealed))


def bench() -> tuple[Bench, Open, Line]:
    made = Bench()
    made.volume.add("file")
    open_ = made.open("file")
    line = Line(made)
    open_.connection = line.connection
    return made, open_, line


def oplock(open_: Open, level: int = c.OPLOCK_LEVEL_II) -> BreakNotice:
    return BreakNotice(GUID, 1, (open_.persistent_id,), level)


def lease(open_: Open, new: int = 1, ack: bool = True) -> BreakNotice:
    return BreakNotice(GUID, 1, (open_.persistent_id,), 0, KEY, 7, new, 5, ack)


def test_an_oplock_notice() -> None:
    made, open_, line = bench()
    open_.oplock_level = c.OPLOCK_LEVEL_BATCH
    assert send_break(made.server, oplock(open_))
    body = pack("<HBBIQQ", 24, 1, 0, 0, open_.persistent_id, open_.volatile_id)
    assert line.sent == [(c.OPLOCK_BREAK, body, False)]
    assert open_.oplock_level == c.OPLOCK_LEVEL_II


@pytest.mark.parametrize("ack", [True, False])
def test_a_lease_notice(ack: bool) -> None:
    made, open_, line = bench()
    open_.lease = LeaseGrant(KEY, 7, 2, 0, b"", 4)
    assert send_break(made.server, lease(open_, ack=ack))
    body = pack("<HHI16sIIIII", 44, 5, int(ack), KEY, 7, 1, 0, 0, 0)
    assert line.sent == [(c.OPLOCK_BREAK, body, False)]
    assert (open_.lease.state, open_.lease.epoch) == (1, 5)


@pytest.mark.parametrize("where", ["session", "tree"])
def test_notices_are_encrypted_where_requests_must_be(where: str) -> None:
    made, open_, line = bench()
    made.session.sealer = FakeSealer()
    (made.session if where == "session" else made.tree).encrypt_data = True
    assert send_break(made.server, oplock(open_))
    assert line.sent[0][2] is True


def test_another_channel_where_the_own_is_gone() -> None:
    made, open_, line = bench()
    other = Line(made)
    del made.session.channels[line.connection]
    assert send_break(made.server, oplock(open_))
    assert not line.sent and len(other.sent) == 1


def test_a_lease_notice_goes_to_the_clients_oldest_connection() -> None:
    """MS-SMB2 3.3.4.7: any connection of the client will do; an oplock's goes to its own (3.3.4.6)."""
    made, open_, line = bench()
    newer = Line(made)
    open_.connection = newer.connection
    open_.lease = LeaseGrant(KEY, 7, 2, 0, b"", 4)
    made.session.client_guid = GUID
    made.server.sessions[made.session.session_id] = made.session
    assert send_break(made.server, lease(open_)) and len(line.sent) == 1
    assert send_break(made.server, oplock(open_)) and len(newer.sent) == 1


def test_another_open_of_the_lease_where_one_is_disconnected() -> None:
    made, open_, line = bench()
    second = made.open("file")
    second.connection = line.connection
    open_.session = None
    notice = BreakNotice(GUID, 1, (open_.persistent_id, second.persistent_id), 0, KEY, 7, 0, 0)
    assert send_break(made.server, notice) and len(line.sent) == 1


def test_nobody_is_there() -> None:
    made, open_, line = bench()
    made.session.channels.clear()
    assert not send_break(made.server, oplock(open_))
    open_.is_durable = made.table.keep_on_disconnect = True
    disconnect_open(open_)
    assert not send_break(made.server, oplock(open_))
    assert not send_break(made.server, BreakNotice(GUID, 1, (123456,), 0))
    assert not line.sent


def channels(made: Bench, first: Line, count: int) -> list[Line]:
    """`count` channels of the session, the first of which is there already."""
    return [first, *(Line(made) for _ in range(count - 1))]


def counts(lines: list[Line]) -> list[int]:
    return [len(line.sent) for line in lines]


@pytest.mark.parametrize("make", [oplock, lease])
def test_a_channel_that_does_not_confirm_has_a_successor(make: Any) -> None:
    """MS-SMB2 3.3.4.6, 3.3.4.7: alternate channels until one takes it, each once."""
    made, open_, first = bench()
    lines = channels(made, first, 3)
    first.confirms = lines[1].confirms = False
    notice = make(open_)
    assert send_break(made.server, notice)
    assert counts(lines) == [1, 0, 0]
    made.clock.advance(RETRY_SECONDS)
    assert counts(lines) == [1, 1, 0]
    made.clock.advance(RETRY_SECONDS)
    assert counts(lines) == [1, 1, 1] and lines[2].sent == first.sent
    made.clock.advance(2 * SILENCE_SECONDS)
    assert counts(lines) == [1, 1, 1] and not any(line.ended() for line in lines)
    assert not made.server.deliveries


def test_a_client_that_confirms_nothing_is_cut_off() -> None:
    """Others wait for it; each channel is tried once, and the first may still turn out to have delivered."""
    made, open_, first = bench()
    lines = channels(made, first, 3)
    for line in lines:
        line.confirms = False
    assert send_break(made.server, oplock(open_))
    made.clock.advance(SILENCE_SECONDS - 0.1)
    assert counts(lines) == [1, 1, 1] and not any(line.ended() for line in lines)
    made.clock.advance(0.1)
    assert all(line.ended() and "confirms nothing" in line.reason for line in lines)
    assert not made.server.deliveries and not [timer for timer in made.clock.timers if not timer.cancelled]


@pytest.mark.parametrize("make", [oplock, lease])
def test_a_client_that_confirms_nothing_on_its_only_channel_is_cut_off(make: Any) -> None:
    """MS-SMB2 3.3.4.6, 3.3.4.7: who waits for it need not wait for the time that an answer may take (3.3.2.1)."""
    made, open_, line = bench()
    channels(made, line, 1)
    line.confirms = False
    assert send_break(made.server, make(open_))
    made.clock.advance(SILENCE_SECONDS - 0.1)
    assert not line.ended()
    made.clock.advance(0.1)
    assert line.ended() and "confirms nothing" in line.reason
    assert not made.server.deliveries and counts([line]) == [1]


def test_a_client_that_nobody_waits_for_is_not_cut_off() -> None:
    made, open_, line = bench()
    line.confirms = False
    assert send_break(made.server, lease(open_, ack=False))
    made.clock.advance(2 * SILENCE_SECONDS)
    assert not line.ended() and not made.server.deliveries


@pytest.mark.parametrize("count", [1, 2])
def test_a_client_that_is_slow_to_confirm_is_not_cut_off(count: int) -> None:
    """Data that was sent before the notification is still on its way: as long as some arrives, the client is there."""
    made, open_, first = bench()
    lines = channels(made, first, count)
    for line in lines:
        line.confirms = False
    assert send_break(made.server, oplock(open_))
    for _ in range(4):
        made.clock.advance(SILENCE_SECONDS - 0.1)
        first.progress += 1
    assert not any(line.ended() for line in lines)
    made.clock.advance(3 * SILENCE_SECONDS)
    assert all(line.ended() for line in lines)


def test_a_late_confirmation_saves_the_client() -> None:
    made, open_, first = bench()
    lines = channels(made, first, 2)
    first.confirms = lines[1].confirms = False
    assert send_break(made.server, oplock(open_))
    made.clock.advance(SILENCE_SECONDS - 0.1)
    first.confirms = True
    made.clock.advance(SILENCE_SECONDS)
    assert not any(line.ended() for line in lines)


def test_a_channel_that_confirms_needs_none() -> None:
    made, open_, first = bench()
    lines = channels(made, first, 2)
    assert send_break(made.server, oplock(open_))
    made.clock.advance(10 * RETRY_SECONDS)
    assert counts(lines) == [1, 0]


def test_a_channel_that_ends_has_a_successor() -> None:
    made, open_, first = bench()
    lines = channels(made, first, 2)
    assert send_break(made.server, oplock(open_))
    del made.session.channels[first.connection]
    first.connection.disconnected("gone")
    made.clock.advance(RETRY_SECONDS)
    assert counts(lines) == [1, 1]


@pytest.mark.parametrize("end", ["acknowledged", "closed", "newer"])
def test_what_is_settled_is_not_sent_again(end: str) -> None:
    made, open_, first = bench()
    lines = channels(made, first, 2)
    first.confirms = False
    assert send_break(made.server, oplock(open_))
    if end == "acknowledged":
        acknowledge(made, pack("<HBBIQQ", 24, 1, 0, 0, open_.persistent_id, open_.volatile_id))
    elif end == "closed":
        del made.server.opens[open_.persistent_id]
    else:
        first.confirms = True
        assert send_break(made.server, oplock(open_, c.OPLOCK_LEVEL_NONE))
    made.clock.advance(10 * RETRY_SECONDS)
    assert counts(lines) == [2 if end == "newer" else 1, 0]


def test_an_acknowledged_lease_is_settled() -> None:
    made, open_, first = bench()
    lines = channels(made, first, 2)
    first.confirms = False
    open_.lease = LeaseGrant(KEY, 7, 2, 0, b"", 4)
    assert send_break(made.server, lease(open_))
    acknowledge(made, pack("<HHI16sIQ", 36, 0, 0, KEY, 1, 0))
    made.clock.advance(10 * RETRY_SECONDS)
    assert counts(lines) == [1, 0]


# ------------------------------------------------------------------------------------------------ acknowledgements


def acknowledge(made: Bench, body: bytes) -> bytes:
    return body_of(made.run(oplock_break.handle, made.request(c.OPLOCK_BREAK, body)))


@pytest.mark.parametrize("level", [c.OPLOCK_LEVEL_NONE, c.OPLOCK_LEVEL_II])
def test_an_oplock_acknowledgement(level: int) -> None:
    made, open_, _ = bench()
    body = pack("<HBBIQQ", 24, level, 0, 0, open_.persistent_id, open_.volatile_id)
    assert acknowledge(made, body) == body
    assert made.table.calls == [("acknowledge_oplock", open_.ref, level)] and open_.oplock_level == level


@pytest.mark.parametrize(
    ("level", "status"),
    [
        (c.OPLOCK_LEVEL_LEASE, s.STATUS_INVALID_PARAMETER),
        (c.OPLOCK_LEVEL_EXCLUSIVE, s.STATUS_INVALID_OPLOCK_PROTOCOL),
        (c.OPLOCK_LEVEL_BATCH, s.STATUS_INVALID_OPLOCK_PROTOCOL),
        (0x44, s.STATUS_INVALID_OPLOCK_PROTOCOL),
    ],
)
def test_bad_levels(level: int, status: int) -> None:
    made, open_, _ = bench()
    with pytest.raises(NtStatusError) as caught:
        acknowledge(made, pack("<HBBIQQ", 24, level, 0, 0, open_.persistent_id, open_.volatile_id))
    assert caught.value.status == status


def test_an_acknowledgement_without_a_break() -> None:
    made, open_, _ = bench()
    made.table.fail["acknowledge_oplock"] = s.STATUS_INVALID_OPLOCK_PROTOCOL
    with pytest.raises(NtStatusError) as caught:
        acknowledge(made, pack("<HBBIQQ", 24, 1, 0, 0, open_.persistent_id, open_.volatile_id))
    assert caught.value.status == s.STATUS_INVALID_OPLOCK_PROTOCOL
    with pytest.raises(NtStatusError) as caught:
        acknowledge(made, pack("<HBBIQQ", 24, 1, 0, 0, 1, 2))
    assert caught.value.status == s.STATUS_FILE_CLOSED


def test_a_lease_acknowledgement() -> None:
    made, open_, _ = bench()
    open_.lease = LeaseGrant(KEY, 7, 2)
    body = pack("<HHI16sIQ", 36, 0, 0, KEY, 1, 0)
    assert acknowledge(made, body) == body
    assert made.table.calls == [("acknowledge_lease", GUID, KEY, 1)] and open_.lease.state == 1


@settings(deadline=None)
@given(st.sampled_from([24, 36]), st.binary(min_size=22, max_size=40))
def test_any_bytes(size: int, rest: bytes) -> None:
    made, _, _ = bench()
    body = pack("<H", size) + rest
    try:
        acknowledge(made, body)
    except NtStatusError:
        pass
