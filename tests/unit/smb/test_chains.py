# SPDX-License-Identifier: GPL-2.0-or-later
"""What the elements of a compound share: SessionId, TreeId and FileId are the chain's (MS-SMB2 3.3.5.2.7.2), and in a
sealed message the session is the one that sealed it (3.3.5.2.1.1)."""
from __future__ import annotations

from struct import pack
from typing import Any

import create_messages as m
import pytest
from bench import table_of
from script import ECHO_BODY, Client, Response

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import OpenGrant
from ksmbd.smb.waiting import Future

RELATED = {"flags": c.FLAGS_RELATED_OPERATIONS}
FOREIGN = {"flags": c.FLAGS_RELATED_OPERATIONS, "session_id": 0x77777777, "tree_id": 0x99}
"""A related element whose own header names nothing that there is."""
FLUSH = pack("<HHIQQ", 24, 0, 0, 0x1234, 0x5678)


def ready(dialect: int = c.DIALECT_311) -> Client:
    client = Client().ready(dialect)
    client.volume.add("file", b"content")
    client.volume.add("other", b"")
    return client


def sealed(client: Client, *parts: tuple[int, bytes, dict[str, Any]]) -> bytes:
    return b"\xfdSMB" + bytes(40) + client.session_id.to_bytes(8, "little") + client.compound(*parts)


def opened(client: Client, name: str = "file") -> tuple[int, int]:
    body = client.ask(c.CREATE, m.create(name)).body
    return int.from_bytes(body[64:72], "little"), int.from_bytes(body[72:80], "little")


def statuses(replies: list[Response]) -> list[int]:
    return [reply.status for reply in replies]


def test_related_elements_work_on_what_the_one_before_them_opened() -> None:
    client = ready()
    other = opened(client, "other")
    replies = client.feed(
        client.compound(
            (c.CREATE, m.create("file"), {}), (c.FLUSH, FLUSH, FOREIGN), (c.CLOSE, m.close(*other), FOREIGN),
        )
    )  # fmt: skip
    assert statuses(replies) == [0, 0, 0]
    session = client.connection.sessions[client.session_id]
    assert [open_.file.path for open_ in session.opens.values() if open_.file] == ["other"]
    assert {reply.header.session_id for reply in replies} == {client.session_id}
    assert {reply.header.tree_id for reply in replies} == {client.tree_id}


def test_the_file_id_is_that_of_an_element_that_only_used_it() -> None:
    client = ready()
    file, other = opened(client), opened(client, "other")
    assert statuses(client.feed(client.compound(
        (c.FLUSH, pack("<HHIQQ", 24, 0, 0, *file), {}), (c.CLOSE, m.close(*other), RELATED),
        (c.FLUSH, pack("<HHIQQ", 24, 0, 0, *other), RELATED),
    ))) == [0, 0, s.STATUS_FILE_CLOSED]  # fmt: skip


def test_after_a_create_that_failed_an_own_file_id_is_not_used() -> None:
    client = ready()
    other = opened(client, "other")
    assert statuses(client.feed(client.compound(
        (c.CREATE, m.create("absent"), {}), (c.CLOSE, m.close(*other), RELATED),
    ))) == [s.STATUS_OBJECT_NAME_NOT_FOUND] * 2  # fmt: skip
    assert client.ask(c.CLOSE, m.close(*other)).status == 0


def test_the_element_behind_a_create_that_waits_works_on_what_it_opened() -> None:
    client = ready()
    other = opened(client, "other")
    future: Future[OpenGrant] = Future()
    table_of(client.server).wait["open"] = future
    before = len(client.transport.frames)
    assert client.feed(client.compound((c.CREATE, m.create("file"), {}), (c.CLOSE, m.close(*other), FOREIGN))) == []
    future.set_result(OpenGrant(0))
    assert len(client.transport.frames) == before + 1
    session = client.connection.sessions[client.session_id]
    assert [open_.file.path for open_ in session.opens.values() if open_.file] == ["other"]


def test_an_own_tree_id_is_not_used_where_the_element_before_had_none() -> None:
    client = ready()
    assert statuses(client.feed(client.compound(
        (c.ECHO, ECHO_BODY, {"tree_id": 0}), (c.CREATE, m.create("file"), RELATED), (c.ECHO, ECHO_BODY, RELATED),
    ))) == [0, s.STATUS_INVALID_PARAMETER, s.STATUS_INVALID_PARAMETER]  # fmt: skip
    session = client.connection.sessions[client.session_id]
    assert not session.opens


def test_an_own_session_id_is_not_used_where_the_element_before_had_none() -> None:
    client = ready()
    assert statuses(client.feed(client.compound(
        (c.ECHO, ECHO_BODY, {"session_id": 0}), (c.CREATE, m.create("file"), RELATED),
    ))) == [0, s.STATUS_INVALID_PARAMETER]  # fmt: skip


def test_behind_a_tree_connect_the_tree_is_the_new_one() -> None:
    client = ready()
    path = "\\\\server\\share".encode("utf-16-le")
    tree = pack("<HHHH", 9, 0, 72, len(path)) + path
    connect = (c.TREE_CONNECT, tree, {"sign": True})
    replies = client.feed(client.compound(connect, (c.CREATE, m.create("file"), RELATED)))
    assert statuses(replies) == [0, 0]
    assert replies[1].header.tree_id == replies[0].header.tree_id != client.tree_id


def test_behind_a_tree_connect_that_failed_nothing_is_done() -> None:
    client = ready()
    path = "\\\\server\\none".encode("utf-16-le")
    tree = pack("<HHHH", 9, 0, 72, len(path)) + path
    assert statuses(client.feed(client.compound(
        (c.TREE_CONNECT, tree, {"sign": True}), (c.CREATE, m.create("file"), RELATED), (c.ECHO, ECHO_BODY, RELATED),
    ))) == [s.STATUS_BAD_NETWORK_NAME, s.STATUS_INVALID_PARAMETER, s.STATUS_INVALID_PARAMETER]  # fmt: skip


def test_behind_a_log_on_that_failed_nothing_is_done() -> None:
    client = ready()
    setup = client.setup_body(b"bad")
    assert statuses(client.feed(client.compound(
        (c.SESSION_SETUP, setup, {"session_id": 0}), (c.CREATE, m.create("file"), RELATED),
    ))) == [s.STATUS_LOGON_FAILURE, s.STATUS_INVALID_PARAMETER]  # fmt: skip


def test_behind_a_log_on_that_is_not_done_its_session_counts() -> None:
    client = ready()
    setup = client.setup_body(b"hello")
    replies = client.feed(client.compound(
        (c.SESSION_SETUP, setup, {"session_id": 0}), (c.CREATE, m.create("file"), RELATED),
    ))  # fmt: skip
    assert statuses(replies) == [s.STATUS_MORE_PROCESSING_REQUIRED, s.STATUS_USER_SESSION_DELETED]
    assert replies[0].header.session_id == replies[1].header.session_id != client.session_id


def test_a_related_session_setup_is_of_the_chain_s_session() -> None:
    victim = ready()
    client = Client(victim.server).ready()
    setup = client.setup_body(b"hello", flags=c.SESSION_FLAG_BINDING)
    replies = client.feed(client.compound(
        (c.ECHO, ECHO_BODY, {}),
        (c.SESSION_SETUP, setup, {**RELATED, "session_id": victim.session_id, "sign": True}),
    ))  # fmt: skip
    assert replies[1].status == s.STATUS_REQUEST_NOT_ACCEPTED  # it is no channel of its own session
    assert replies[1].header.session_id == client.session_id
    assert not len(client.connection.exchanges)
    assert len(victim.server.sessions[victim.session_id].channels) == 1


def test_behind_a_logoff_an_own_session_id_is_not_used() -> None:
    client = ready()
    first, client.session_id = client.session_id, 0
    client.log_on()
    client.tree()
    assert statuses(client.feed(client.compound(
        (c.LOGOFF, ECHO_BODY, {"session_id": first}), (c.CREATE, m.create("file"), RELATED),
    ))) == [0, s.STATUS_INVALID_PARAMETER]  # fmt: skip


@pytest.mark.parametrize("command", [c.ECHO, c.SESSION_SETUP, c.CREATE])
@pytest.mark.parametrize("session_id", [0, 0x55555555, None])
def test_an_unrelated_element_of_a_sealed_message_names_the_session_that_sealed_it(
    command: int, session_id: int | None
) -> None:
    client = ready()
    first = client.session_id
    if session_id is None:
        client.session_id = 0
        client.log_on()
        session_id, client.session_id = client.session_id, first
    body = {c.ECHO: ECHO_BODY, c.SESSION_SETUP: client.setup_body(b"hello"), c.CREATE: m.create("file")}[command]
    client.feed(sealed(client, (c.ECHO, ECHO_BODY, {}), (command, body, {"session_id": session_id})))
    assert client.transport.closed
    assert not client.server.sessions


def test_a_related_element_of_a_sealed_message_is_of_the_session_that_sealed_it() -> None:
    victim = ready()
    client = Client(victim.server).ready()
    setup = client.setup_body(b"hello")
    replies = client.feed(sealed(
        client, (c.ECHO, ECHO_BODY, {}), (c.SESSION_SETUP, setup, {**RELATED, "session_id": victim.session_id})
    ))  # fmt: skip
    assert statuses(replies) == [0, s.STATUS_MORE_PROCESSING_REQUIRED]
    assert replies[1].header.session_id == client.session_id
    assert client.connection.exchanges.get(victim.session_id) is None


def test_a_related_element_is_signed_with_the_chain_s_key() -> None:
    client = ready()
    session = client.connection.sessions[client.session_id]
    session.signing_required = True
    echo = (c.ECHO, ECHO_BODY, {"sign": True})
    create = m.create("file")
    assert statuses(client.feed(client.compound(echo, (c.CREATE, create, {**FOREIGN, "sign": True})))) == [0, 0]
    replies = client.feed(client.compound(echo, (c.CREATE, create, {**RELATED, "session_id": 0})))
    assert statuses(replies) == [0, s.STATUS_ACCESS_DENIED]


@pytest.mark.parametrize(
    "body", [pack("<HBBIQQ", 24, 0, 0, 0, 1, 1), pack("<HHI16sIQ", 36, 0, 0, b"K" * 16, 0, 0)], ids=["oplock", "lease"]
)
def test_an_acknowledgement_is_checked_for_its_tree(body: bytes) -> None:
    client = ready()
    table: Any = client.server.table
    assert client.ask(c.OPLOCK_BREAK, body, tree_id=0x99).status == s.STATUS_NETWORK_NAME_DELETED
    assert client.tree("secret").status == 0
    assert client.ask(c.OPLOCK_BREAK, body).status == s.STATUS_ACCESS_DENIED  # in the clear, on an encrypted share
    assert not [call for call in table.calls if call[0].startswith("acknowledge")]


def test_the_replies_to_a_compound_end_before_a_frame_cannot_hold_them() -> None:
    client = ready()
    client.volume.add("long", bytes(1 << 20))
    file = opened(client, "long")
    assert client.ask(c.ECHO, ECHO_BODY, credits=500).status == 0
    size, replies = 1 << 20, limits.COMPOUND_REPLIES.value
    parts = [(c.READ, m.read(*file, 0, size), {"charge": 16}) for _ in range(20)] + [(c.CLOSE, m.close(*file), {})]
    answers = client.feed(client.compound(*parts))
    done = replies // size
    assert statuses(answers) == [0] * done + [s.STATUS_INSUFFICIENT_RESOURCES] * (21 - done)
    assert sum(len(frame) for frame in client.transport.frames[-2:]) < 1 << 24
    assert client.ask(c.CLOSE, m.close(*file)).status == 0, "it was not carried out"
