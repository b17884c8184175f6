# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits and time-outs of a worker's connections, the clock turned by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conn_fakes import FakeCore, TurnedClock, message, reply

from ksmbd.conn.back_pressure import HIGH_WATER
from ksmbd.conn.connections import BEFORE_LOGON_MAX, SWEEP, Connections, Limits, LocalAdmission
from ksmbd.conn.contract import Connected
from ksmbd.conn.loop import Loop
from ksmbd.conn.tcp.accepting import TcpArrival
from ksmbd.conn.tcp.transport import LINGER
from ksmbd.smb.ports import Frame


class Hall:
    """Connections over socket pairs: all have the address `local`."""

    def __init__(self, limits: Limits) -> None:
        self.clock = TurnedClock()
        self.loop = Loop(self.clock)
        self.admission = LocalAdmission(limits)
        self.connections = Connections(self.loop, FakeCore, limits, self.admission)
        self.peers: list[socket.socket] = []

    def connect(self) -> Connected | None:
        peer, own = socket.socketpair()
        peer.setblocking(False)
        self.peers.append(peer)
        return self.connections.adopt(TcpArrival(own))

    def log_on(self, transport: Connected | None) -> Connected | None:
        """A session begins on it; None stays None."""
        if transport is not None:
            self.core(transport).session_count = 1
        return transport

    def core(self, transport: Connected | None) -> FakeCore:
        assert transport is not None
        return transport.core  # type: ignore[return-value]

    def pass_time(self, seconds: float) -> None:
        """Turn the clock sweep by sweep."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(self.clock.now + SWEEP, end)
            self.loop.run_once(wait=False)

    def next_timer(self) -> float | None:
        """Seconds until the loop's next timer, None where there is none."""
        due = self.loop._timers.next_time()
        return None if due is None else due - self.clock.now

    def close(self) -> None:
        self.connections.abort_all("test ends")
        self.loop.run_once(wait=False)
        for peer in self.peers:
            peer.close()
        self.loop.close()


@pytest.fixture
def make_hall() -> Iterator[type[Hall]]:
    halls: list[Hall] = []

    class Kept(Hall):
        def __init__(self, limits: Limits) -> None:
            super().__init__(limits)
            halls.append(self)

    yield Kept
    for hall in halls:
        hall.close()


@pytest.mark.parametrize("limits", [Limits(max_connections=3), Limits(max_ip_connections=3)])
def test_limits_refuse_and_counts_return_to_zero(make_hall: type[Hall], limits: Limits) -> None:
    hall = make_hall(limits)
    for _ in range(50):
        transports = [hall.log_on(hall.connect()) for _ in range(5)]
        assert [transport is None for transport in transports] == [False] * 3 + [True] * 2
        assert hall.peers[-1].recv(1) == b"", "refused ones are closed"
        for transport in transports[:3]:
            assert transport is not None
            transport.abort("done")
        hall.loop.run_once(wait=False)
        assert (hall.admission.total, hall.admission.by_address, len(hall.connections)) == (0, {}, 0)


@pytest.mark.parametrize("limits", [Limits(max_connections=3), Limits(max_ip_connections=3)])
def test_a_place_without_a_session_goes_to_who_comes(make_hall: type[Hall], limits: Limits) -> None:
    hall = make_hall(limits)
    first, logged_on, third = hall.connect(), hall.log_on(hall.connect()), hall.connect()
    hall.peers[0].send(b"\0\0\1\0\xfeSMB")
    hall.loop.run_once(wait=False)
    late = hall.connect()
    assert hall.core(first).gone == ["others need the place"] and hall.peers[0].recv(1) == b""
    assert (hall.admission.total, len(hall.connections)) == (3, 3)
    hall.log_on(late)
    hall.log_on(third)
    hall.pass_time(SWEEP)
    assert hall.connect() is None, "who has a session is never sent away"
    assert [hall.core(each).gone for each in (logged_on, third, late)] == [[], [], []]
    hall.core(third).session_count = 0
    hall.loop.run_once(wait=False)  # that of the LOGOFF
    hall.pass_time(SWEEP)
    assert hall.connect() is not None and len(hall.core(third).gone) == 1, "after its log-off it is as any other"


def test_an_address_holds_so_many_places_without_a_session(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits(max_connections=0, max_ip_connections=0))
    transports = [hall.log_on(hall.connect())] + [hall.connect() for _ in range(BEFORE_LOGON_MAX + 20)]
    assert len(hall.connections) == BEFORE_LOGON_MAX + 1
    gone = [number for number, each in enumerate(transports) if hall.core(each).gone]
    assert gone == list(range(1, 21)), "its oldest, and none with a session"
    hall.connections.abort_all("the test's end")
    hall.loop.run_once(wait=False)
    assert (len(hall.connections), len(hall.connections._sessionless), hall.admission.by_address) == (0, 0, {})


def test_many_that_log_on_between_two_sweeps_leave_the_next_one_its_place(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits(max_connections=0, max_ip_connections=0))
    transports = []
    for _ in range(2 * BEFORE_LOGON_MAX + 3):
        transports.append(hall.connect())
        assert [each for each in transports if hall.core(each).gone] == [], "all before it have logged on"
        hall.log_on(transports[-1])
    waiting = [hall.connect() for _ in range(BEFORE_LOGON_MAX + 1)]
    gone = [number for number, each in enumerate(waiting) if hall.core(each).gone]
    assert gone == [0], "those without a session count on"
    assert [each for each in transports if hall.core(each).gone] == []


def test_counts_return_to_zero_after_every_kind_of_end(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits())

    def half_a_frame(transport: Connected, peer: socket.socket) -> None:
        peer.send(b"\0\0\1\0xx")
        peer.close()

    def twice(transport: Connected, peer: socket.socket) -> None:
        transport.close("one")
        transport.abort("two")

    ends: dict[str, Callable[[Any, socket.socket], object]] = {
        "bad frame": lambda transport, peer: peer.send(b"\0\0\0\0"),
        "vanished": lambda transport, peer: peer.close(),
        "half a frame": half_a_frame,
        "core closes": lambda transport, peer: transport.close("enough"),
        "twice": twice,
    }
    for end in ends.values():
        transport = hall.connect()
        end(transport, hall.peers[-1])
        for _ in range(3):
            hall.loop.run_once(wait=False)
        assert (hall.admission.total, hall.admission.by_address, len(hall.connections)) == (0, {}, 0)


def test_a_connection_without_a_session_ends(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits(session_timeout=60))
    idle, trickling, logged_on = (hall.connect() for _ in range(3))
    hall.core(logged_on).session_count = 1
    for byte in b"\0\0\1\0\xfeSMBxx":
        hall.peers[1].send(bytes([byte]))
        hall.pass_time(SWEEP)
    hall.pass_time(60)
    assert hall.core(idle).gone == ["no session within 60 s"]
    assert len(hall.core(trickling).gone) == 1, "sending byte by byte does not help"
    assert hall.core(logged_on).gone == []


def test_the_time_without_a_session_begins_again_at_log_off(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits(session_timeout=60))
    transport = hall.connect()
    core = hall.core(transport)
    core.session_count = 1
    hall.pass_time(500)
    core.session_count = 0
    hall.loop.run_once(wait=False)  # that of the LOGOFF
    hall.pass_time(60)
    assert core.gone == []
    hall.pass_time(20)
    assert len(core.gone) == 1


def test_idle_connections_set_no_timer(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits(session_timeout=60, reader_timeout=60))
    for _ in range(3):
        hall.log_on(hall.connect())
    hall.pass_time(SWEEP)
    assert hall.next_timer() is None
    hall.peers[1].send(message(b""))
    hall.loop.run_once(wait=False)
    assert hall.next_timer() == SWEEP, "whatever happens may begin something"
    hall.pass_time(SWEEP)
    assert hall.next_timer() is None


def test_a_connection_without_a_session_wakes_nobody_before_its_time(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits(session_timeout=60))
    hall.log_on(hall.connect())
    waiting = hall.connect()
    for seconds in (SWEEP, 60 - SWEEP):
        assert hall.next_timer() == seconds
        hall.clock.now += seconds
        hall.loop.run_once(wait=False)
    hall.loop.run_once(wait=False)
    assert len(hall.core(waiting).gone) == 1


def test_replies_that_begin_to_wait_are_watched(make_hall: type[Hall]) -> None:
    """Nothing comes from the client any more: what is sent to it is what happens."""
    hall = make_hall(Limits(reader_timeout=60, deadtime=3600))
    stuck = hall.log_on(hall.connect())
    hall.pass_time(SWEEP * 3)
    due = hall.next_timer()
    assert due is not None and due > 3000, "that of deadtime"
    assert stuck is not None
    stuck.send(Frame(bytes(HIGH_WATER * 2)))
    hall.loop.run_once(wait=False)
    hall.pass_time(60 + SWEEP * 2)
    assert hall.core(stuck).gone == ["the client has read nothing for 60 s"]


def test_a_client_that_does_not_read_is_cut_off(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits(reader_timeout=60, session_timeout=0))
    stuck, slow = hall.connect(), hall.connect()
    for transport in (stuck, slow):
        assert transport is not None
        transport.send(Frame(bytes(HIGH_WATER * 2)))
    for _ in range(20):
        hall.pass_time(SWEEP)
        hall.peers[1].recv(100_000)
        hall.loop.run_once(wait=False)
    assert hall.core(stuck).gone == ["the client has read nothing for 60 s"]
    assert hall.core(slow).gone == []
    assert len(hall.connections) == 1


def test_deadtime_spares_connections_with_open_files(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits(deadtime=600, session_timeout=0))
    idle, busy, holding = (hall.connect() for _ in range(3))
    hall.core(holding).open_count = 1
    for _ in range(10):
        hall.pass_time(100)
        hall.peers[1].send(message(b""))
        hall.loop.run_once(wait=False)
    assert len(hall.core(idle).gone) == 1
    assert hall.core(busy).gone == [] and hall.core(holding).gone == []


def test_no_timer_is_left_without_connections(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits())
    transport = hall.connect()
    assert len(hall.loop._timers) == 1
    assert transport is not None
    transport.abort("done")
    hall.loop.run_once(wait=False)
    assert len(hall.loop._timers) == 0, "an idle worker is not woken"


def test_close_all_sends_last_replies_and_tells_when_done(make_hall: type[Hall]) -> None:
    hall = make_hall(Limits())
    done: list[bool] = []
    quick, stuck = hall.connect(), hall.connect()
    hall.core(quick).answer = reply
    hall.peers[0].send(message(b"last"))
    assert stuck is not None
    stuck.send(Frame(bytes(HIGH_WATER)))
    hall.loop.run_once(wait=False)
    hall.connections.close_all("the server stops", lambda: done.append(True))
    hall.loop.run_once(wait=False)
    assert hall.peers[0].recv(1000) == message(b"last")
    assert hall.peers[0].recv(1) == b""
    assert hall.core(stuck).gone == ["the server stops"]
    assert not done
    hall.pass_time(LINGER)
    assert done == [True]


def test_close_all_without_connections_is_done_at_once(make_hall: type[Hall]) -> None:
    done: list[bool] = []
    make_hall(Limits()).connections.close_all("the server stops", lambda: done.append(True))
    assert done == [True]


def test_an_address_that_the_socket_forgets_is_released_all_the_same(
    make_hall: type[Hall], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that resets the connection right after the accept: getpeername() fails from then on."""
    hall = make_hall(Limits())
    told = iter(["192.0.2.7"])
    for module in ("accepting", "transport"):
        monkeypatch.setattr(f"ksmbd.conn.tcp.{module}.address_text", lambda sock, peer: next(told, "unknown"))
    transport = hall.connect()
    assert transport is not None and transport.peer == "192.0.2.7"
    assert hall.admission.by_address == {"192.0.2.7": 1}
    transport.abort("reset")
    hall.loop.run_once(wait=False)
    assert hall.admission.by_address == {} and hall.admission.total == 0 and len(hall.connections) == 0
