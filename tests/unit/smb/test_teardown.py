# SPDX-License-Identifier: GPL-2.0-or-later
"""A session with many opens ends in pieces: nothing more is served of it, others are, and what must not come before its
end waits for it."""
from __future__ import annotations

from typing import Any

import create_messages as m
import pytest
from script import ECHO_BODY, Client, Response, split

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.request import Request
from ksmbd.smb.scheduler import SLICE_SECONDS

OPENS = 40
NOTHING = b"\x04\0\0\0"


def ready(server: Any = None) -> Client:
    client = Client(server).ready()
    return client


def with_opens() -> Client:
    client = ready()
    for number in range(OPENS):
        client.volume.add(f"file{number}", b"content")
        assert client.ask(c.CREATE, m.create(f"file{number}")).status == 0
    client.clock.tick = SLICE_SECONDS / 3
    return client


def turns(client: Client) -> int:
    """Run what waits, a piece each; how many there were."""
    clock: Any = client.server.clock
    count = 0
    while due := [timer for timer in clock.timers if timer.due <= clock.now and not timer.cancelled]:
        (timer,) = due  # never two pieces: others are served between them
        clock.timers.remove(timer)
        timer.call()
        count += 1
    return count


def last(client: Client) -> Response:
    (reply,) = split(client.transport.frames[-1])
    return reply


def test_logoff_is_answered_when_all_is_closed_and_others_are_served_meanwhile() -> None:
    client = with_opens()
    other = ready(client.server)
    assert client.feed(client.element(c.LOGOFF, NOTHING)) == []
    left = len(client.server.opens)
    assert 0 < left < OPENS
    assert other.ask(c.ECHO, ECHO_BODY).status == 0
    # The session is gone from the first moment.
    assert client.ask(c.CREATE, m.create("file1")).status == s.STATUS_USER_SESSION_DELETED
    assert turns(client) > 5
    assert (last(client).header.command, last(client).status) == (c.LOGOFF, 0)
    assert not client.server.opens and client.session_id not in client.server.sessions


def test_tree_disconnect_likewise() -> None:
    client = with_opens()
    assert client.feed(client.element(c.TREE_DISCONNECT, NOTHING)) == []
    assert client.ask(c.CREATE, m.create("file1")).status == s.STATUS_NETWORK_NAME_DELETED
    assert turns(client) > 5
    assert (last(client).header.command, last(client).status) == (c.TREE_DISCONNECT, 0)
    assert not client.server.opens
    assert not client.connection.sessions[client.session_id].tree_connects


def test_a_lost_connection_with_many_opens_holds_up_nobody() -> None:
    client = with_opens()
    other = ready(client.server)
    client.connection.disconnected("gone")
    assert 0 < len(client.server.opens) < OPENS
    assert other.ask(c.ECHO, ECHO_BODY).status == 0
    turns(client)
    assert not client.server.opens and client.session_id not in client.server.sessions


def test_a_worker_that_ends_closes_what_was_left() -> None:
    client = with_opens()
    client.connection.disconnected("gone")
    assert client.server.opens
    client.server.scheduler.drain()
    assert not client.server.opens


def test_few_opens_are_closed_at_once() -> None:
    client = with_opens()
    client.clock.tick = 0.0
    assert client.ask(c.LOGOFF, NOTHING).status == 0
    assert not client.server.opens


def test_a_log_on_that_names_the_session_waits_for_its_end() -> None:
    client = with_opens()
    other = Client(client.server)
    other.negotiate(c.DIALECT_311)
    other.transport.frames.clear()
    clock: Any = client.server.clock
    tick, clock.tick = clock.tick, 0.0
    first = other.setup(b"hello", previous=client.session_id)
    other.session_id = first.header.session_id
    clock.tick = tick
    sent = len(other.transport.frames)
    other.feed(other.element(c.SESSION_SETUP, other.setup_body(b"proof", previous=client.session_id)))
    assert len(other.transport.frames) == sent and client.server.opens
    turns(client)
    assert not client.server.opens
    assert last(other).status == 0


@pytest.mark.parametrize("wrong", [ValueError("a defect"), OSError(28, "full")])
def test_one_open_that_fails_leaves_no_other(monkeypatch: pytest.MonkeyPatch, wrong: Exception) -> None:
    client = with_opens()
    table: Any = client.server.table
    close, calls = table.close, []

    def failing(ref: Any) -> Any:
        calls.append(ref)
        if len(calls) == 3:
            raise wrong
        return close(ref)

    monkeypatch.setattr(table, "close", failing)
    client.connection.disconnected("gone")
    turns(client)
    assert len(calls) == OPENS
    assert not client.server.opens and client.session_id not in client.server.sessions


def test_many_waiting_requests_end_in_pieces() -> None:
    client = ready()
    client.volume.add("d", None)
    body = client.ask(c.CREATE, m.create("d", access=0x100081)).body
    file_id = int.from_bytes(body[64:72], "little"), int.from_bytes(body[72:80], "little")
    for _ in range(OPENS):
        client.feed(client.element(c.CHANGE_NOTIFY, m.notify(*file_id)))
    waiting = [request for request in client.connection.pending.values() if isinstance(request, Request)]
    assert len(waiting) == OPENS
    client.clock.tick = SLICE_SECONDS / 3
    sent = len(client.transport.frames)
    client.connection.disconnected("gone")
    assert not client.connection.pending
    turns(client)
    assert all(request.task is not None and request.task.done for request in waiting)
    assert not client.server.opens and len(client.transport.frames) == sent
