# SPDX-License-Identifier: GPL-2.0-or-later
"""What users hold is bounded by user, and counted for as long as they hold it: at the end of whatever a client does,
every count is back at zero."""
from __future__ import annotations

from dataclasses import replace
from struct import pack
from typing import Any

import create_messages as m
import pytest
from bench import security_of, volume_of
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from script import ECHO_BODY, Client

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.connection import ServerConnection
from ksmbd.smb.model import Server
from ksmbd.smb.open_life import purge_open
from ksmbd.smb.ports import CloseOutcome, Identity, OpenGrant, PurgedOpen
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.waiting import Future

ALICE = Identity("alice", "WORKGROUP", 1000, 1000, (), b"K" * 16)
BOB = replace(ALICE, account="Bob", uid=1001)


def server_of(most: int = 16) -> Server:
    client = Client(settings=ServerSettings(
        min_dialect=c.DIALECT_202, multichannel=True, durable_handles=True, max_open_files=most, max_sessions=64
    ))  # fmt: skip
    client.volume.add("file", b"")
    client.connection.disconnected("only its server is wanted")
    return client.server


def log_on(server: Server, identity: Identity = ALICE) -> Client:
    security_of(server).identity = identity
    return Client(server).ready()


def open_file(client: Client, **fields: Any) -> tuple[int, bytes]:
    reply = client.ask(c.CREATE, m.create("file", **fields), credits=100)
    return reply.status, bytes(reply.body[64:80])


def close(client: Client, file: bytes) -> int:
    return client.ask(c.CLOSE, pack("<HHI16s", 24, 0, 0, file)).status


def counts(server: Server) -> dict[str, int]:
    """All that is counted of clients."""
    return {
        "sessions": len(server.sessions), "admitted": server.admission.users.used, "opens": len(server.opens),
        "trees": server.tree_admission.users.used, "users with trees": len(server.tree_admission.users),
        "logons": len(server.logons_in_progress), "connections": len(server.connections),
        "queued": len(server.logon_queue),
    }  # fmt: skip


def assert_nothing_held(server: Server) -> None:
    assert set(counts(server).values()) == {0}, counts(server)


def test_one_user_leaves_an_eighth_of_the_opens_to_others() -> None:
    server = server_of(16)
    first, second, other = log_on(server), log_on(server), log_on(server, BOB)
    opened = [open_file(client) for client in (first, second) * 10]
    assert [status for status, _ in opened] == [0] * 14 + [s.STATUS_TOO_MANY_OPENED_FILES] * 6
    assert [open_file(other)[0] for _ in range(3)] == [0, 0, s.STATUS_TOO_MANY_OPENED_FILES]
    for client in (first, second, other):
        client.connection.disconnected("cable")
    assert_nothing_held(server)


def test_opens_that_wait_for_their_client_are_its_user_s() -> None:
    server = server_of(16)
    table: Any = server.table
    table.keep_on_disconnect = True
    for number in range(3):
        client = log_on(server)
        table.wait["open"] = Future.of(OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, False, 60_000))
        statuses = [
            open_file(client, oplock=c.OPLOCK_LEVEL_BATCH, contexts=m.context(ctx.DHNQ, bytes(16)))[0]
            for _ in range(6)
        ]  # fmt: skip
        table.wait.clear()
        assert statuses.count(0) == (6, 6, 2)[number]
        client.connection.disconnected("cable")
    assert len(server.opens) == 14 and not server.sessions
    assert open_file(log_on(server))[0] == s.STATUS_TOO_MANY_OPENED_FILES
    assert open_file(log_on(server, BOB))[0] == 0
    for kept in list(server.opens.values()):
        if kept.session is None:
            assert kept.ref is not None
            purge_open(server, PurgedOpen(kept.ref, "share", "file", CloseOutcome(False), kept))
    for connection in list(server.connections):
        assert isinstance(connection, ServerConnection)
        connection.disconnected("cable")
    assert_nothing_held(server)


def test_opens_that_are_decided_at_the_same_time_do_not_pass_the_limit() -> None:
    server = server_of(16)
    client = log_on(server)
    table: Any = server.table
    waiting: list[Future[OpenGrant]] = []

    def wait(request: Any) -> Future[OpenGrant]:
        waiting.append(Future())
        return waiting[-1]

    table.open = wait
    for _ in range(20):
        client.feed(client.element(c.CREATE, m.create("file"), credits=100))
    assert len(waiting) == 20
    for future in waiting:
        future.set_result(OpenGrant(0))
    assert len(server.opens) == 14
    assert sum(file.closed for file in volume_of(server).opened) == 6
    client.connection.disconnected("cable")
    assert_nothing_held(server)


def test_pipes_count_and_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    server = server_of(8)
    client = log_on(server)
    assert client.tree("IPC$").status == 0
    statuses = [client.ask(c.CREATE, m.create("srvsvc", access=c.MAXIMUM_ALLOWED)).status for _ in range(8)]
    assert statuses == [0] * 7 + [s.STATUS_TOO_MANY_OPENED_FILES]
    client.connection.disconnected("cable")
    assert_nothing_held(server)


def test_tree_connects_of_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TREE_CONNECTS_PER_SESSION", replace(limits.TREE_CONNECTS_PER_SESSION, value=4))
    server = server_of()
    client = log_on(server)
    assert [client.tree().status for _ in range(4)] == [0] * 3 + [s.STATUS_INSUFFICIENT_RESOURCES]
    assert client.ask(c.TREE_DISCONNECT, ECHO_BODY).status == 0
    assert client.tree().status == 0
    assert log_on(server).tree().status == 0
    for connection in list(server.connections):
        assert isinstance(connection, ServerConnection)
        connection.disconnected("cable")
    assert_nothing_held(server)


def test_tree_connects_that_mountd_is_asked_about_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TREE_CONNECTS_PER_SESSION", replace(limits.TREE_CONNECTS_PER_SESSION, value=4))
    server = server_of()
    client = log_on(server)
    asked: list[Future[Any]] = []

    def ask(*arguments: Any) -> Future[Any]:
        asked.append(Future())
        return asked[-1]

    client.daemon.tree_connect = ask
    path = "\\\\s\\share".encode("utf-16-le")
    body = pack("<HHHH", 9, 0, 72, len(path)) + path
    statuses = [
        reply.status for _ in range(5) for reply in client.feed(client.element(c.TREE_CONNECT, body, sign=True))
    ]
    assert statuses == [s.STATUS_INSUFFICIENT_RESOURCES] * 2 and len(asked) == 3
    client.daemon.tree_result.status = s.STATUS_ACCESS_DENIED
    asked[0].set_result(client.daemon.tree_result)
    asked[1].set_error(s.NtStatusError(s.STATUS_IO_TIMEOUT))
    assert server.tree_admission.users.used == 2
    client.connection.disconnected("cable")
    asked[2].set_result(replace(client.daemon.tree_result, status=0))
    assert_nothing_held(server)


def test_tree_connects_of_a_user_and_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TREE_CONNECTS", replace(limits.TREE_CONNECTS, value=8))
    server = server_of()
    server.tree_admission.users.maximum = 7
    clients = [log_on(server), log_on(server), log_on(server, BOB)]
    assert [clients[number % 2].tree().status for number in range(7)] == [0] * 5 + [s.STATUS_INSUFFICIENT_RESOURCES] * 2
    assert clients[2].tree().status == s.STATUS_INSUFFICIENT_RESOURCES  # all have eight
    for client in clients:
        client.connection.disconnected("cable")
    assert_nothing_held(server)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "close", "tree", "untree", "logoff", "logon", "reauth", "bad", "cut", "notify", "bind"]
        ),
        st.integers(0, 3),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_clients_do_nothing_is_counted_in_the_end(steps: list[tuple[str, int]]) -> None:
    server = server_of(12)
    clients: list[Client | None] = [None] * 4
    files: dict[int, list[bytes]] = {}
    for step, number in steps:
        client = clients[number]
        if client is None or step == "logon":
            if client is not None:
                client.connection.disconnected("replaced")
            client = clients[number] = log_on(server, (ALICE, BOB)[number % 2])
            client.ask(c.ECHO, ECHO_BODY, credits=500)
            files[number] = []
        client.sign = True
        if step == "open":
            status, file = open_file(client)
            if status == 0:
                files[number].append(file)
        elif step == "close" and files[number]:
            close(client, files[number].pop())
        elif step == "tree":
            client.tree()
        elif step == "untree":
            client.ask(c.TREE_DISCONNECT, ECHO_BODY)
        elif step == "logoff":
            client.ask(c.LOGOFF, ECHO_BODY)
        elif step == "reauth":
            client.setup(b"hello")
        elif step == "bad":
            client.setup(b"bad")
        elif step == "notify":
            status, folder = open_file(client)
            client.feed(client.element(c.CHANGE_NOTIFY, pack("<HHI16sII", 32, 0, 64, folder, 0x17, 0)))
        elif step == "cut":
            client.connection.disconnected("cable")
            clients[number] = None
        elif step == "bind":
            channel = Client(server)
            channel.negotiate(c.DIALECT_311)
            channel.session_id, channel.sign = client.session_id, True
            channel.setup(b"hello", flags=c.SESSION_FLAG_BINDING)
            if number % 2:
                channel.setup(b"proof", flags=c.SESSION_FLAG_BINDING)
    for connection in list(server.connections):
        assert isinstance(connection, ServerConnection)
        connection.disconnected("cable")
        assert not connection.pending_budget.requests and not connection.pending_budget.bytes and not connection.pending
    clock = server.clock
    assert isinstance(clock, FakeClock)
    clock.advance(limits.LOGON_IN_PROGRESS_SECONDS.value + 1)
    assert_nothing_held(server)
