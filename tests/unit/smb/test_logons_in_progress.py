# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-ons left half done, and sessions without end: what one connection, address or user has never shuts out others,
and all counts are back at zero at the end. MS-SMB2 3.3.5.5, 3.3.6.3."""
from __future__ import annotations

from typing import Any

import pytest
from bench import clock_of
from fakes import FakeSecurity
from script import Client

from ksmbd import limits
from ksmbd.limit import address_group
from ksmbd.overriding import override
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.logons_in_progress import LogonQueue
from ksmbd.smb.model import Server
from ksmbd.smb.ports import AuthStep, Identity
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.waiting import Cancelled, Future, Task

OWN = limits.LOGONS_IN_PROGRESS_PER_CONNECTION.value
ADDRESS = limits.LOGONS_IN_PROGRESS_PER_ADDRESS.value
ALL = limits.LOGONS_IN_PROGRESS.value
SECONDS = limits.LOGON_IN_PROGRESS_SECONDS.value


def came(server: Server | None = None, address: str = "192.0.2.7", **settings: Any) -> Client:
    """A client that has negotiated."""
    if server is None and settings:
        client = Client(settings=ServerSettings(min_dialect=c.DIALECT_202, multichannel=True, **settings))
    else:
        client = Client(server)
    client.transport.peer = address
    assert client.negotiate(c.DIALECT_210).status == 0
    return client


def begin(client: Client) -> int:
    """The first round of one more session; its id."""
    response = client.setup(b"hello", session_id=0)
    assert response.status == s.STATUS_MORE_PROCESSING_REQUIRED
    return response.header.session_id


def finish(client: Client, session_id: int) -> int:
    return client.setup(b"proof", session_id=session_id).status


def log_on(client: Client) -> int:
    """One more session."""
    client.session_id = 0
    return client.log_on().status


def end(client: Client) -> None:
    client.connection.disconnected("the test's end")


def nothing_is_left(server: Server) -> None:
    assert not server.sessions and not len(server.logons_in_progress) and not len(server.logon_queue)
    assert (server.admission.users.used, server.admission.guests.used) == (0, 0)
    assert not server.logons_in_progress._by_address and not server.logons_in_progress._by_connection
    assert all(timer.cancelled for timer in clock_of(server).timers)


def all_end(*clients: Client) -> None:
    """All clients of the server go, and nothing is left of them."""
    for client in clients:
        end(client)
    nothing_is_left(clients[0].server)


def begin_many(client: Client) -> None:
    """As many first rounds as a connection may have in progress."""
    for _ in range(OWN):
        begin(client)


def test_a_connection_keeps_its_latest_half_log_ons_alone() -> None:
    client = came()
    ids = [begin(client) for _ in range(3 * OWN)]
    assert list(client.server.sessions) == ids[-OWN:] and len(client.connection.exchanges) == OWN
    assert finish(client, ids[0]) == s.STATUS_USER_SESSION_DELETED
    assert finish(client, ids[-1]) == finish(client, ids[-OWN]) == 0
    all_end(client)


def test_thousands_of_half_log_ons_keep_nobody_out() -> None:
    client = came(max_sessions=8)
    server = client.server
    first = begin(client)
    other = came(server, "192.0.2.8")
    for _ in range(2000):
        begin(client)
    assert other.log_on().status == 0
    assert finish(client, first) == s.STATUS_USER_SESSION_DELETED
    all_end(client, other)


def test_an_address_ends_its_own_oldest_and_nobody_elses() -> None:
    other = came(address="192.0.2.8")
    server = other.server
    waiting = begin(other)
    clients = [came(server) for _ in range(ADDRESS // OWN + 2)]
    first = begin(clients[0])
    for client in clients[1:]:
        begin_many(client)
    assert len(server.logons_in_progress) == ADDRESS + 1
    assert finish(clients[0], first) == s.STATUS_USER_SESSION_DELETED
    assert finish(other, waiting) == 0
    all_end(other, *clients)


def test_many_addresses_lose_what_the_greediest_has() -> None:
    other = came(address="192.0.2.8")
    server = other.server
    waiting = begin(other)
    clients = [came(server, f"198.51.100.{n}") for n in range(ALL // OWN + 4)]
    for client in clients:
        begin_many(client)
    assert len(server.logons_in_progress) == ALL
    assert finish(other, waiting) == 0
    all_end(other, *clients)


def test_half_log_ons_expire_and_the_connection_goes_on() -> None:
    client = came()
    server: Any = client.server
    assert client.log_on().status == 0
    ids = [begin(client)]
    server.clock.advance(SECONDS / 2)
    ids.append(begin(client))
    server.clock.advance(SECONDS / 2)
    assert ids[0] not in server.sessions and ids[1] in server.sessions
    assert finish(client, ids[0]) == s.STATUS_USER_SESSION_DELETED
    server.clock.advance(SECONDS / 2)
    assert list(server.sessions) == [client.session_id] and not len(server.logons_in_progress)
    assert client.tree(sign=False).status == 0
    assert finish(client, begin(client)) == 0, "the timer starts anew"
    all_end(client)


def test_a_re_authentication_that_is_left_leaves_the_session() -> None:
    client = came()
    server: Any = client.server
    assert client.log_on().status == 0
    assert client.setup(b"hello").status == s.STATUS_MORE_PROCESSING_REQUIRED
    begin_many(client)
    assert server.sessions[client.session_id].state is SessionState.VALID
    assert client.setup(b"hello").status == s.STATUS_MORE_PROCESSING_REQUIRED, "a new one begins"
    assert client.setup(b"proof").status == 0
    server.clock.advance(SECONDS)
    assert list(server.sessions) == [client.session_id]
    all_end(client)


class Slow(FakeSecurity):
    """Log-ons whose second round is answered when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Future[AuthStep]] = []

    @override
    def authenticator(self, daemon: Any) -> Any:
        security, first = self, super().authenticator(daemon)

        class Authenticator:
            def step(self, token: bytes) -> Future[AuthStep]:
                if token == b"proof":
                    security.asked.append(Future())
                    return security.asked[-1]
                return first.step(token)

        return Authenticator()


def test_a_log_on_that_went_while_mountd_was_asked_is_refused() -> None:
    client = came()
    server: Any = client.server
    assert client.log_on().status == 0, "before it a client has one credit"
    server.security = Slow()
    waiting = begin(client)
    assert client.feed(client.element(c.SESSION_SETUP, client.setup_body(b"proof"), session_id=waiting)) == []
    begin_many(client)
    before = len(client.transport.frames)
    server.security.asked[0].set_result(AuthStep(b"done", Identity("alice", "W", 1000, 1000, (), b"K" * 16)))
    assert int.from_bytes(client.transport.frames[before][8:12], "little") == s.STATUS_USER_SESSION_DELETED
    assert waiting not in server.sessions
    all_end(client)


def test_a_re_authentication_that_went_while_mountd_was_asked_leaves_the_session() -> None:
    client = came()
    server: Any = client.server
    assert client.log_on().status == 0
    server.security = Slow()
    assert client.setup(b"hello").status == s.STATUS_MORE_PROCESSING_REQUIRED
    assert client.feed(client.element(c.SESSION_SETUP, client.setup_body(b"proof"))) == []
    begin_many(client)
    before = len(client.transport.frames)
    server.security.asked[0].set_error(s.NtStatusError(s.STATUS_LOGON_FAILURE))
    assert int.from_bytes(client.transport.frames[before][8:12], "little") == s.STATUS_LOGON_FAILURE
    assert server.sessions[client.session_id].state is SessionState.VALID
    all_end(client)


def test_one_address_asks_mountd_a_few_questions_at_once() -> None:
    most = limits.LOGONS_AT_ONCE.value
    clients = [came()]
    server: Any = clients[0].server
    clients += [came(server) for _ in range(most + 4)]
    server.security = Slow()
    begun = [(client, begin(client)) for client in clients]
    for client, session_id in begun:
        client.feed(client.element(c.SESSION_SETUP, client.setup_body(b"proof"), session_id=session_id))
    other = came(server, "192.0.2.8")
    other.feed(other.element(c.SESSION_SETUP, other.setup_body(b"proof"), session_id=begin(other)))
    assert len(server.security.asked) == most + 1, "the neighbour's is asked at once"
    end(clients.pop())
    for n in range(len(clients)):
        server.security.asked[n if n < most else n + 1].set_error(s.NtStatusError(s.STATUS_LOGON_FAILURE))
    assert len(server.security.asked) == len(clients) + 1
    for client in [*clients, other]:
        end(client)
    nothing_is_left(server)


def test_a_log_on_is_answered_though_mountd_is_not_there() -> None:
    most, seconds = limits.LOGONS_AT_ONCE.value, limits.LOGON_ROUND_SECONDS.value
    clients = [came()]
    server: Any = clients[0].server
    clients += [came(server) for _ in range(most + 4)]
    server.security = Slow()
    begun = [(client, begin(client)) for client in clients]
    for client, session_id in begun:
        assert client.feed(client.element(c.SESSION_SETUP, client.setup_body(b"proof"), session_id=session_id)) == []
    server.clock.advance(seconds)
    for client in clients:
        assert int.from_bytes(client.transport.frames[-1][8:12], "little") == s.STATUS_IO_TIMEOUT
    assert not len(server.logon_queue) and not server.sessions
    server.security.asked[0].set_result(AuthStep(b"done", Identity("alice", "W", 1000, 1000, (), b"K" * 16)))
    assert not server.sessions, "the answer comes too late"
    all_end(*clients)


# -- established sessions -------------------------------------------------------------------------------------------


def test_one_user_leaves_an_eighth_of_the_sessions_to_others() -> None:
    client = came(max_sessions=16)
    server: Any = client.server
    assert log_on(client) == 0
    first = client.session_id
    assert [log_on(client) for _ in range(13)] == [0] * 13
    assert log_on(client) == s.STATUS_TOO_MANY_SESSIONS
    server.security.identity = Identity("bob", "W", 1001, 1001, (), b"K" * 16)
    assert [log_on(client) for _ in range(2)] == [0] * 2
    assert client.setup(b"hello", session_id=0).status == s.STATUS_TOO_MANY_SESSIONS
    client.session_id = first
    assert client.ask(c.LOGOFF, b"\x04\0\0\0", sign=False).status == 0
    server.security.identity = Identity("alice", "W", 1000, 1000, (), b"K" * 16)
    assert log_on(client) == 0
    all_end(client)


@pytest.mark.parametrize("anonymous", [True, False])
def test_who_needs_no_password_leaves_room_for_others(anonymous: bool) -> None:
    client = came(max_sessions=16)
    server: Any = client.server
    server.security.identity = Identity("x", "W", 99, 99, (), b"", is_guest=not anonymous, is_anonymous=anonymous)
    assert [log_on(client) for _ in range(9)] == [0] * 8 + [s.STATUS_TOO_MANY_SESSIONS]
    other = came(server, "192.0.2.8")
    assert [log_on(other) for _ in range(7)] == [0] * 6 + [s.STATUS_TOO_MANY_SESSIONS]
    server.security.identity = Identity("bob", "W", 1001, 1001, (), b"K" * 16)
    assert [log_on(other) for _ in range(2)] == [0] * 2
    all_end(client, other)


def test_a_server_of_one_session_has_one() -> None:
    client = came(max_sessions=1)
    assert log_on(client) == 0
    assert client.setup(b"hello", session_id=0).status == s.STATUS_TOO_MANY_SESSIONS
    all_end(client)


# -- the pieces -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "group"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"), ("::1", "::1"), ("local", "local"),
     ("fe80::1%eth0", "fe80::1%eth0"), ("::ffff:192.0.2.7", "::ffff:192.0.2.7"), ("a:b", "a:b")],
)  # fmt: skip
def test_what_counts_as_one_address(address: str, group: str) -> None:
    assert address_group(address) == group


def test_turns_come_in_order_and_a_cancelled_one_is_left_out() -> None:
    most = limits.LOGONS_AT_ONCE.value
    queue, order = LogonQueue(limits.LOGONS_AT_ONCE), []
    gates: list[Future[None]] = [Future() for _ in range(most)] + [Future.of(None) for _ in range(5000)]

    async def run(number: int) -> None:
        await queue.enter("a")
        try:
            order.append(number)
            await gates[number]
        finally:
            queue.leave("a")

    tasks = [Task(run(number)).start() for number in range(len(gates))]
    assert order == list(range(most))
    tasks[most].cancel()
    assert isinstance(tasks[most].error, Cancelled)
    gates[0].set_result(None)  # all that wait are through at once: no recursion
    assert order == [*range(most), *range(most + 1, len(gates))]
    for gate in gates[1:most]:
        gate.set_result(None)
    assert len(queue) == 0 and not queue._waiting and not queue._serving and all(task.done for task in tasks)
