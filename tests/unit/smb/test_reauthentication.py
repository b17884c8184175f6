# SPDX-License-Identifier: GPL-2.0-or-later
"""Each round of a re-authentication of a session that signs or encrypts is protected, or changes nothing (MS-SMB2
3.3.5.2.4, 3.3.5.5.2); what a re-authentication and a binding may change."""
from __future__ import annotations

from dataclasses import replace
from struct import pack
from typing import Any

import pytest
from script import ECHO_BODY, Client

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import Identity
from ksmbd.smb.session_setup import CHANNELS_MAX
from ksmbd.smb.waiting import Future

MALLORY = Identity("mallory", "WORKGROUP", 1001, 1001, (), b"M" * 16)


def ready(mode: int, dialect: int = c.DIALECT_311) -> Client:
    client = Client()
    client.negotiate(dialect)
    client.log_on(mode=mode)
    assert client.tree().status == 0
    return client


def state(client: Client) -> tuple[Any, ...]:
    session = client.server.sessions[client.session_id]
    exchange = client.connection.exchanges.get(client.session_id)
    return session.identity, session.state, exchange, None if exchange is None else exchange.preauth_hash


@pytest.mark.parametrize("token", [b"proof", b"bad", b"garbage"])
@pytest.mark.parametrize("dialect", [c.DIALECT_202, c.DIALECT_300, c.DIALECT_311])
def test_an_unsigned_second_round_changes_nothing(token: bytes, dialect: int) -> None:
    client = ready(2, dialect)
    assert client.setup(b"hello", sign=True).status == s.STATUS_MORE_PROCESSING_REQUIRED
    before = state(client)
    client.security.identity = MALLORY
    assert client.setup(token).status == s.STATUS_ACCESS_DENIED
    assert state(client) == before
    assert client.setup(b"proof", sign=True).status == 0  # the exchange goes on as if nothing had been
    session = client.server.sessions[client.session_id]
    assert session.identity is not None and session.identity.account == "alice"


def test_a_round_with_a_wrong_signature_changes_nothing() -> None:
    client = ready(2)
    before = state(client)
    assert client.setup(b"hello", sign=True, key=b"wrong").status == s.STATUS_ACCESS_DENIED
    assert state(client) == before
    client.setup(b"hello", sign=True)
    before = state(client)
    assert client.setup(b"bad", sign=True, key=b"wrong").status == s.STATUS_ACCESS_DENIED
    assert state(client) == before


def test_an_unsigned_first_round_changes_nothing() -> None:
    client = ready(2)
    before = state(client)
    assert client.setup(b"bad").status == s.STATUS_ACCESS_DENIED
    assert state(client) == before
    assert client.ask(c.ECHO, ECHO_BODY, sign=True).status == 0


def test_a_session_that_encrypts_is_not_re_authenticated_in_the_clear() -> None:
    client = ready(1)
    session = client.server.sessions[client.session_id]
    session.encrypt_data = True
    assert client.setup(b"bad").status == s.STATUS_ACCESS_DENIED
    sealed = b"\xfdSMB" + bytes(40) + client.session_id.to_bytes(8, "little")
    (reply,) = client.feed(sealed + client.element(c.SESSION_SETUP, client.setup_body(b"hello")))
    assert reply.status == s.STATUS_MORE_PROCESSING_REQUIRED
    assert client.setup(b"bad").status == s.STATUS_ACCESS_DENIED
    assert client.server.sessions[client.session_id] is session
    assert client.setup(b"proof", sign=True).status == 0


def test_what_began_protected_goes_on_protected() -> None:
    client = ready(1)
    assert client.setup(b"hello", sign=True).status == s.STATUS_MORE_PROCESSING_REQUIRED
    assert client.setup(b"bad").status == s.STATUS_ACCESS_DENIED
    assert client.setup(b"proof", sign=True).status == 0


def test_a_session_that_need_not_sign_may_be_re_authenticated_unsigned() -> None:
    client = ready(1)
    assert client.setup(b"hello").status == s.STATUS_MORE_PROCESSING_REQUIRED
    assert client.setup(b"proof").status == 0


def test_another_user_is_no_administrator_for_the_one_before() -> None:
    """`admin users` was asked of mountd for the user who connected."""
    client = Client()
    client.negotiate(c.DIALECT_311)
    client.log_on()
    client.daemon.tree_result.is_admin = True
    assert client.tree().status == 0
    tree = client.server.sessions[client.session_id].tree_connects[client.tree_id]
    client.security.identity = replace(MALLORY)
    assert [client.setup(token, sign=True).status for token in (b"hello", b"proof")][-1] == 0
    assert not tree.is_admin


def test_a_tree_connect_is_of_the_user_that_mountd_was_asked_about() -> None:
    client = Client()
    client.negotiate(c.DIALECT_311)
    client.log_on()
    asked: Future[Any] = Future()
    client.daemon.tree_connect = lambda *arguments: asked
    path = "\\\\server\\share".encode("utf-16-le")
    body = pack("<HHHH", 9, 0, 72, len(path)) + path
    assert client.feed(client.element(c.TREE_CONNECT, body, sign=True)) == []
    client.security.identity = MALLORY
    assert [client.setup(token, sign=True).status for token in (b"hello", b"proof")][-1] == 0
    asked.set_result(client.daemon.tree_result)
    assert not client.server.sessions[client.session_id].tree_connects
    assert ("tree_disconnect", client.session_id, 1) in client.daemon.calls


@pytest.mark.parametrize(
    ("fields", "status"),
    [({}, s.STATUS_INVALID_PARAMETER), ({"sign": True, "key": b"another"}, s.STATUS_ACCESS_DENIED)],
)
def test_each_round_of_a_binding_is_signed_or_changes_nothing(fields: dict[str, Any], status: int) -> None:
    """MS-SMB2 3.3.5.5, step 4, and 3.3.5.2.4."""
    first = Client().ready()
    session = first.server.sessions[first.session_id]
    second = Client(first.server)
    second.negotiate(c.DIALECT_311)
    second.session_id = first.session_id
    assert second.setup(b"hello", flags=c.SESSION_FLAG_BINDING, **fields).status == status
    assert not len(second.connection.exchanges)
    second.setup(b"hello", flags=c.SESSION_FLAG_BINDING, sign=True)
    exchange = second.connection.exchanges.get(first.session_id)
    assert exchange is not None
    before = exchange.preauth_hash
    for token in (b"proof", b"bad"):
        assert second.setup(token, flags=c.SESSION_FLAG_BINDING, **fields).status == status
    assert second.connection.exchanges.get(first.session_id) is exchange and exchange.preauth_hash == before
    assert len(session.channels) == 1 and second.connection not in session.channels
    assert second.setup(b"proof", flags=c.SESSION_FLAG_BINDING, sign=True).status == 0
    assert len(session.channels) == 2


def test_bindings_that_began_together_do_not_pass_the_limit_of_channels() -> None:
    first = Client().ready()
    session = first.server.sessions[first.session_id]
    seconds = []
    for _ in range(CHANNELS_MAX + 3):
        second = Client(first.server)
        second.negotiate(c.DIALECT_311)
        second.session_id = first.session_id
        first_round = second.setup(b"hello", flags=c.SESSION_FLAG_BINDING, sign=True)
        assert first_round.status == s.STATUS_MORE_PROCESSING_REQUIRED
        seconds.append(second)
    answers = [second.setup(b"proof", flags=c.SESSION_FLAG_BINDING, sign=True).status for second in seconds]
    assert answers.count(0) == CHANNELS_MAX - 1
    assert set(answers) == {0, s.STATUS_INSUFFICIENT_RESOURCES}
    assert len(session.channels) == CHANNELS_MAX
