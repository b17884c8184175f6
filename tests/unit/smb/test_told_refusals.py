# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever the server refuses a client, it tells the administrator in one line with the address and the reason."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from script import ECHO_BODY, Client

from ksmbd import limits, log, refusals
from ksmbd.log_record import as_text
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import Identity, ShareConfig
from ksmbd.smb.settings import ServerSettings


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    lines: list[str] = []
    monkeypatch.setattr(log, "write", lambda record: lines.append(as_text(record)))
    refusals._limited.forget()
    yield lines
    refusals._limited.forget()


def logged_on(settings: ServerSettings | None = None, identity: Identity | None = None, mode: int = 1) -> Client:
    client = Client(settings=settings)
    if identity is not None:
        client.security.identity = identity
    client.negotiate(0x0311)
    client.log_on(mode)
    return client


@pytest.mark.parametrize("settings", [ServerSettings(signing_required=True), ServerSettings(encryption="mandatory")])
@pytest.mark.parametrize("kind", ["is_guest", "is_anonymous"])
def test_a_guest_who_can_neither_sign_nor_encrypt(told: list[str], settings: ServerSettings, kind: str) -> None:
    guest = Identity("otto", "WORK", 65534, 65534, ())
    setattr(guest, kind, True)
    client = logged_on(settings, guest)
    assert client.server.sessions == {}
    assert told == [
        "refused log-on from 192.0.2.7: guests and anonymous users can neither sign nor encrypt, which is mandatory "
        '(account="otto" domain="WORK")'
    ]


def test_a_token_that_the_authenticator_refuses(told: list[str]) -> None:
    client = Client()
    client.negotiate(0x0311)
    assert client.setup(b"bad").status == s.STATUS_LOGON_FAILURE
    assert told == ["refused log-on from 192.0.2.7: STATUS_LOGON_FAILURE"]


def test_too_many_sessions(told: list[str]) -> None:
    client = Client(settings=ServerSettings(max_sessions=1))
    client.negotiate(0x0311)
    assert client.log_on().status == 0
    client.session_id = 0
    assert client.setup(b"hello").status == s.STATUS_TOO_MANY_SESSIONS
    assert told == ["refused log-on from 192.0.2.7: STATUS_TOO_MANY_SESSIONS"]


def test_a_binding_by_another_user(told: list[str]) -> None:
    first = Client().ready()
    second = Client(first.server)
    second.guid = first.guid
    second.negotiate(0x0311)
    second.session_id = first.session_id
    second.setup(b"hello", flags=c.SESSION_FLAG_BINDING, sign=True)
    assert told == []
    first.server.sessions[first.session_id].identity = Identity("bob", "WORK", 1001, 1001, (), b"K" * 16)
    assert second.setup(b"proof", flags=c.SESSION_FLAG_BINDING, sign=True).status == s.STATUS_ACCESS_DENIED
    assert told == ["refused log-on from 192.0.2.7: STATUS_ACCESS_DENIED: a binding by another user"]


def test_a_binding_with_a_wrong_signature_is_one_line(told: list[str]) -> None:
    first = Client().ready()
    second = Client(first.server)
    second.guid = first.guid
    second.negotiate(0x0311)
    second.session_id = first.session_id
    answer = second.setup(b"hello", flags=c.SESSION_FLAG_BINDING, sign=True, key=b"x")
    assert answer.status == s.STATUS_ACCESS_DENIED
    assert told == ['refused request from 192.0.2.7: the signature of a request is wrong (account="alice")']


def test_what_says_only_what_a_session_is_refuses_nobody_anything(told: list[str]) -> None:
    client = Client().ready()
    client.session_id = 4711
    assert client.setup(b"hello").status == s.STATUS_USER_SESSION_DELETED
    assert told == []


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda client: client.ask(c.ECHO, ECHO_BODY), "a request is not signed, which the session demands"),
        (lambda client: client.ask(c.ECHO, ECHO_BODY, sign=True, key=b"x"), "the signature of a request is wrong"),
    ],
)
def test_a_request_without_its_signature(told: list[str], ask: Callable[[Client], Any], reason: str) -> None:
    client = logged_on(mode=2)
    assert ask(client).status == s.STATUS_ACCESS_DENIED
    assert told == [f'refused request from 192.0.2.7: {reason} (account="alice")']


def test_a_request_that_its_share_wants_encrypted(told: list[str]) -> None:
    client = Client().ready()
    client.server.sessions[client.session_id].tree_connects[client.tree_id].encrypt_data = True
    assert client.ask(c.TREE_DISCONNECT, ECHO_BODY, tree_id=client.tree_id, sign=True).status == s.STATUS_ACCESS_DENIED
    reason = "a request is not encrypted, which the share demands"
    assert told == [f'refused request from 192.0.2.7: {reason} (account="alice")']


def test_a_tree_connect_that_is_not_protected(told: list[str]) -> None:
    client = logged_on()
    path = "\\\\server\\share".encode("utf-16-le")
    client.feed(client.element(c.TREE_CONNECT, b"\x09\0\0\0\x48\0" + len(path).to_bytes(2, "little") + path))
    assert told == [
        "refused tree connect from 192.0.2.7: neither signed nor encrypted, which SMB 3.1.1 demands "
        '(account="alice")'
    ]


def test_tree_connects_beyond_their_limits(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    client = logged_on()
    session = client.server.sessions[client.session_id]
    session.trees = limits.TREE_CONNECTS_PER_SESSION.value
    assert client.tree().status == s.STATUS_INSUFFICIENT_RESOURCES
    session.trees = 0
    client.server.tree_admission.users.used = limits.TREE_CONNECTS.value
    assert client.tree().status == s.STATUS_INSUFFICIENT_RESOURCES
    assert [line.partition(" (")[0] for line in told] == [
        "refused tree connect from 192.0.2.7: the session has too many tree connects",
        "refused tree connect from 192.0.2.7: the user, or all together, have too many tree connects",
    ]


def test_a_path_that_names_no_share(told: list[str]) -> None:
    client = logged_on()
    assert client.tree("a\\b").status == s.STATUS_BAD_NETWORK_NAME
    assert told == [
        r'refused tree connect from 192.0.2.7: no path of a share (share="\\\\server\\a\\b" account="alice")'
    ]


def test_a_share_whose_path_its_user_may_not_list(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    client = logged_on()
    client.server.daemon.shares["DROP"] = ShareConfig("drop", "/srv/drop")  # type: ignore[attr-defined]
    volume = client.volume
    monkeypatch.setattr(volume, "maximal_access", lambda: c.FILE_ADD_FILE)
    assert client.tree("drop").status == 0
    assert told == [
        "tree connect from 192.0.2.7: the user may not list the share's path (share=\"drop\" account=\"alice\")"
    ]
