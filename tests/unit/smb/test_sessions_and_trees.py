# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions, channels and tree connects through a whole Connection, with ports in memory."""
from __future__ import annotations

from dataclasses import replace
from struct import pack
from typing import Any

import create_messages as m
import pytest
from fake_clock import FakeClock
from fake_files import FakeFiles
from fakes import FakeSigner
from script import CLIENT_KEY, ECHO_BODY, Client, split

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.ports import Identity, OpenGrant, ShareConfig, Volume
from ksmbd.smb.session_setup import THROTTLE_SECONDS
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.waiting import Future

# --------------------------------------------------------------------------------------------------------- sessions


def test_two_rounds_make_a_session_and_its_last_reply_is_signed() -> None:
    client = Client()
    client.negotiate(0x0311)
    first = client.setup(b"hello")
    assert first.status == s.STATUS_MORE_PROCESSING_REQUIRED and first.body[8:] == b"challenge"
    client.session_id = first.header.session_id
    last = client.setup(b"proof")
    assert last.status == 0 and last.header.flags & c.FLAGS_SIGNED
    assert FakeSigner(CLIENT_KEY).verify(memoryview(last.message))
    assert last.header.session_id == client.session_id


def test_a_failed_log_on_leaves_no_session() -> None:
    client = Client()
    client.negotiate(0x0311)
    assert client.setup(b"bad").status == s.STATUS_LOGON_FAILURE
    assert not client.server.sessions and not client.connection.sessions and not len(client.connection.exchanges)


def test_an_account_that_fails_too_often_is_answered_late() -> None:
    client = Client()
    client.negotiate(0x0311)
    clock = client.server.clock
    assert isinstance(clock, FakeClock)
    frames = client.transport.frames
    before = len(frames)
    client.feed(client.element(c.SESSION_SETUP, client.setup_body(b"too often")))
    assert len(frames) == before and not client.server.sessions
    assert Client(client.server).ready().session_id, "others do not wait"
    clock.advance(THROTTLE_SECONDS - 0.1)
    assert len(frames) == before
    clock.advance(0.2)
    assert [reply.status for reply in split(frames[before])] == [s.STATUS_LOGON_FAILURE]
    client.feed(client.element(c.SESSION_SETUP, client.setup_body(b"too often")))
    client.connection.disconnected("it does not wait")
    assert all(timer.cancelled for timer in clock.timers), "nothing is left of who goes"


@pytest.mark.parametrize(("offset", "length"), [(0, 5), (64, 5), (88, 6), (0xFFFF, 1), (88, 0xFFFF)])
def test_a_security_buffer_out_of_bounds(offset: int, length: int) -> None:
    client = Client()
    client.negotiate(0x0300)
    body = pack("<HBBIIHHQ", 25, 0, 1, 0, 0, offset, length, 0) + b"token"
    assert client.ask(c.SESSION_SETUP, body).status == s.STATUS_INVALID_PARAMETER


def test_unknown_and_unfinished_sessions() -> None:
    client = Client()
    client.negotiate(0x0300)
    assert client.ask(c.LOGOFF, ECHO_BODY, session_id=99).status == s.STATUS_USER_SESSION_DELETED
    assert client.setup(b"x", session_id=99).status == s.STATUS_USER_SESSION_DELETED
    client.session_id = client.setup(b"hello").header.session_id
    assert client.tree().status == s.STATUS_USER_SESSION_DELETED


def test_signing_required_means_every_request() -> None:
    client = Client(settings=ServerSettings(signing_required=True))
    client.negotiate(0x0300)
    client.log_on()
    assert client.tree(sign=False).status == s.STATUS_ACCESS_DENIED
    assert client.tree(key=b"wrong key").status == s.STATUS_ACCESS_DENIED
    reply = client.tree()
    assert reply.status == 0 and FakeSigner(CLIENT_KEY).verify(memoryview(reply.message))


def test_a_client_that_requires_signing_is_held_to_it() -> None:
    client = Client()
    client.negotiate(0x0300)
    client.log_on(mode=2)
    assert client.tree(sign=False).status == s.STATUS_ACCESS_DENIED


def test_an_unprotected_tree_connect_under_3_1_1_ends_the_connection() -> None:
    """MS-SMB2 3.3.5.7."""
    client = Client()
    client.negotiate(0x0311)
    client.log_on()
    path = "\\\\s\\share".encode("utf-16-le")
    assert client.feed(client.element(c.TREE_CONNECT, pack("<HHHH", 9, 0, 72, len(path)) + path)) == []
    assert client.transport.closed


def test_logoff_and_what_comes_after() -> None:
    client = Client().ready()
    reply = client.ask(c.LOGOFF, ECHO_BODY, sign=True)
    assert reply.status == 0 and FakeSigner(CLIENT_KEY).verify(memoryview(reply.message))
    assert ("logout", "alice", False) in client.daemon.calls
    assert client.ask(c.LOGOFF, ECHO_BODY, sign=True).status == s.STATUS_USER_SESSION_DELETED


def test_previous_session_of_the_same_user_goes() -> None:
    first = Client().ready()
    second = Client(first.server)
    second.negotiate(0x0311)
    second.log_on(previous=first.session_id)
    assert first.session_id not in first.server.sessions
    assert first.ask(c.ECHO, ECHO_BODY).status == 0
    assert first.tree().status == s.STATUS_USER_SESSION_DELETED


def test_a_previous_session_of_another_user_stays() -> None:
    first = Client().ready()
    session = first.server.sessions[first.session_id]
    assert session.identity is not None
    session.identity = replace(session.identity, account="bob")
    second = Client(first.server)
    second.negotiate(0x0311)
    second.log_on(previous=first.session_id)
    assert first.session_id in first.server.sessions


def test_a_previous_session_of_another_worker_ends_before_the_answer() -> None:
    client = Client()
    asked: list[tuple[int, str]] = []
    gone: Future[None] = Future()

    def elsewhere(session_id: int, identity: Any) -> Future[None]:
        asked.append((session_id, identity.account))
        return gone

    client.server.end_remote_session = elsewhere
    client.negotiate(0x0311)
    client.session_id = client.setup(b"hello").header.session_id
    body = pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, 5, 0x07000001) + b"proof"
    assert client.feed(client.element(c.SESSION_SETUP, body)) == []
    assert asked == [(0x07000001, "alice")]
    before = len(client.transport.frames)
    gone.set_result(None)
    assert len(client.transport.frames) == before + 1
    assert client.tree().status == 0


def test_reauthentication_keeps_the_session_and_a_failed_one_ends_it() -> None:
    client = Client().ready()
    key = client.server.sessions[client.session_id].session_key
    client.sign = True
    assert client.setup(b"hello").status == s.STATUS_MORE_PROCESSING_REQUIRED
    assert client.setup(b"proof").status == 0
    assert client.server.sessions[client.session_id].session_key == key
    assert client.setup(b"bad").status == s.STATUS_LOGON_FAILURE
    assert client.session_id not in client.server.sessions


def test_expired_credentials_serve_only_what_ends_things() -> None:
    """MS-SMB2 3.3.5.2.9: LOGOFF, CLOSE and LOCK; what ends a tree connect or acknowledges a break has to wait."""
    client = Client().ready()
    client.sign = True
    client.server.sessions[client.session_id].expires = 1010.0
    clock: Any = client.server.clock
    assert client.ask(c.TREE_DISCONNECT, ECHO_BODY, tree_id=99).status == s.STATUS_NETWORK_NAME_DELETED
    clock.advance(11)
    assert client.ask(c.QUERY_DIRECTORY, pack("<H", 33) + bytes(32)).status == s.STATUS_NETWORK_SESSION_EXPIRED
    for command, body in ((c.TREE_DISCONNECT, ECHO_BODY), (c.OPLOCK_BREAK, pack("<H", 24) + bytes(22))):
        assert client.ask(command, body).status == s.STATUS_NETWORK_SESSION_EXPIRED
    assert client.ask(c.CLOSE, pack("<HHI", 24, 0, 0) + bytes(16)).status == s.STATUS_FILE_CLOSED
    assert client.ask(c.LOCK, pack("<HH", 48, 1) + bytes(44)).status == s.STATUS_FILE_CLOSED
    assert client.setup(b"hello").status == s.STATUS_MORE_PROCESSING_REQUIRED
    client.security.identity.expires = 0.0
    assert client.setup(b"proof").status == 0
    assert client.ask(c.TREE_DISCONNECT, ECHO_BODY).status == 0


# --------------------------------------------------------------------------------------------------------- channels


def bind(first: Client, guid: bytes | None = None, dialect: int = 0x0311, **fields: Any) -> tuple[Client, int]:
    """A second connection that tries to bind the first one's session: the client and the first round's status."""
    second = Client(first.server)
    second.guid = guid or first.guid
    second.negotiate(dialect)
    second.session_id = first.session_id
    fields.setdefault("sign", True)
    return second, second.setup(b"hello", flags=c.SESSION_FLAG_BINDING, **fields).status


@pytest.mark.parametrize("guid", [b"G" * 16, b"H" * 16])
def test_a_second_channel(guid: bytes) -> None:
    """Also one with another ClientGuid, which MS-SMB2 3.3.5.5, step 4, lets a server refuse, and Windows takes."""
    first = Client().ready()
    second, status = bind(first, guid)
    assert status == s.STATUS_MORE_PROCESSING_REQUIRED
    assert second.setup(b"proof", flags=c.SESSION_FLAG_BINDING, sign=True).status == 0
    assert len(first.server.sessions[first.session_id].channels) == 2
    assert second.ask(c.TREE_DISCONNECT, ECHO_BODY, tree_id=first.tree_id, sign=True).status == 0
    first.connection.disconnected("cable")
    assert first.session_id in first.server.sessions
    second.connection.disconnected("cable")
    assert not first.server.sessions


def test_what_a_channel_with_another_client_guid_opens_is_the_session_s() -> None:
    """Its leases are the client's whose session it is, and break on any channel."""
    first = Client().ready()
    second, _ = bind(first, b"H" * 16)
    assert second.setup(b"proof", flags=c.SESSION_FLAG_BINDING, sign=True).status == 0
    second.sign, second.tree_id = True, first.tree_id
    volume: Any = first.server.sessions[first.session_id].tree_connects[first.tree_id].volume
    volume.add("file", b"content")
    assert second.ask(c.CREATE, m.create("file")).status == 0
    table: Any = first.server.table
    (request,) = table.opens.values()
    assert request.client_guid == first.guid


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"sign": False}, s.STATUS_INVALID_PARAMETER),
        ({"key": b"wrong"}, s.STATUS_ACCESS_DENIED),
        ({"dialect": 0x0302}, s.STATUS_INVALID_PARAMETER),
        ({"session_id": 12345}, s.STATUS_USER_SESSION_DELETED),
        ({"dialect": 0x0210}, s.STATUS_REQUEST_NOT_ACCEPTED),
    ],
)
def test_a_refused_binding_leaves_the_session_as_it_was(change: dict[str, Any], status: int) -> None:
    first = Client().ready()
    dialect = change.pop("dialect", 0x0311)
    second, answer = bind(first, None, dialect, **change)
    assert answer == status
    session = first.server.sessions[first.session_id]
    assert list(session.channels) == [first.connection] and not len(second.connection.exchanges)
    assert first.tree().status == 0


def test_a_wrong_password_in_a_binding_leaves_the_session_as_it_was() -> None:
    """CVE-2026-31476's class: the victim's session must survive."""
    first = Client().ready()
    second, _ = bind(first)
    assert second.setup(b"bad", flags=c.SESSION_FLAG_BINDING, sign=True).status == s.STATUS_LOGON_FAILURE
    assert first.tree().status == 0
    second.connection.disconnected("gone")
    assert first.tree().status == 0


DURABLE_V2 = pack("<IIQ", 0, 0, 0) + bytes(range(16))  # Timeout, Flags, Reserved, CreateGuid


@pytest.mark.parametrize("replayable", [True, False])
def test_a_create_that_waits_goes_on_without_its_channel(replayable: bool) -> None:
    """MS-SMB2 3.3.5.9.10: the client sends it again on another channel, and is answered with the open that it made;
    one that cannot be replayed ends with its connection (3.3.7.1)."""
    first = Client().ready()
    second, _ = bind(first)
    assert second.setup(b"proof", flags=c.SESSION_FLAG_BINDING, sign=True).status == 0
    second.sign, second.tree_id = True, first.tree_id
    table: Any = first.server.table
    session = first.server.sessions[first.session_id]
    volume: Any = session.tree_connects[first.tree_id].volume
    volume.add("file", b"content")
    granted: Future[OpenGrant] = Future()
    table.wait["open"] = granted
    body = m.create("file", contexts=m.chain((ctx.DH2Q, DURABLE_V2)) if replayable else b"")
    assert [reply.status for reply in first.feed(first.element(c.CREATE, body, sign=True))] == [s.STATUS_PENDING]
    (ref,) = table.opens
    table.replays[b"G" * 16, bytes(range(16))] = ref
    first.connection.disconnected("cable")
    assert granted.done != replayable
    if not replayable:
        assert not session.opens and volume.opened[-1].closed
        return
    again = second.ask(c.CREATE, body, flags=c.FLAGS_REPLAY_OPERATION)
    assert again.status == s.STATUS_FILE_NOT_AVAILABLE
    granted.set_result(OpenGrant(c.OPLOCK_LEVEL_NONE))
    (open_,) = session.opens.values()
    assert open_.connection is second.connection
    again = second.ask(c.CREATE, body, flags=c.FLAGS_REPLAY_OPERATION)
    assert again.status == 0 and list(session.opens.values()) == [open_]
    assert int.from_bytes(again.body[64:72], "little") == open_.persistent_id


def test_a_create_that_waits_does_not_outlive_its_session() -> None:
    """MS-SMB2 3.3.7.1: nobody is left who could replay it."""
    first = Client().ready()
    second, _ = bind(first)
    assert second.setup(b"proof", flags=c.SESSION_FLAG_BINDING, sign=True).status == 0
    table: Any = first.server.table
    volume: Any = first.server.sessions[first.session_id].tree_connects[first.tree_id].volume
    volume.add("file", b"content")
    granted: Future[OpenGrant] = Future()
    table.wait["open"] = granted
    first.feed(first.element(c.CREATE, m.create("file", contexts=m.chain((ctx.DH2Q, DURABLE_V2))), sign=True))
    first.connection.disconnected("cable")
    second.connection.disconnected("cable")
    granted.set_result(OpenGrant(c.OPLOCK_LEVEL_NONE))
    assert not first.server.opens and not table.opens and volume.opened[-1].closed


# ------------------------------------------------------------------------------------------------------------ trees


@pytest.mark.parametrize(("path", "status"), [
    ("\\\\server\\nothing", s.STATUS_BAD_NETWORK_NAME), ("share", s.STATUS_BAD_NETWORK_NAME),
    ("\\\\server\\share\\more", s.STATUS_BAD_NETWORK_NAME), ("\\\\server\\", s.STATUS_BAD_NETWORK_NAME),
    ("", s.STATUS_BAD_NETWORK_NAME), ("\\\\127.0.0.1\\SHARE", 0),
])  # fmt: skip
def test_tree_connect_paths(path: str, status: int) -> None:
    client = Client()
    client.negotiate(0x0300)
    client.log_on()
    raw = path.encode("utf-16-le")
    assert client.ask(c.TREE_CONNECT, pack("<HHHH", 9, 0, 72, len(raw)) + raw).status == status


@pytest.mark.parametrize(("offset", "length"), [(0, 4), (71, 4), (72, 400), (0xFFFF, 2), (72, 3)])
def test_a_tree_path_out_of_bounds(offset: int, length: int) -> None:
    client = Client()
    client.negotiate(0x0300)
    client.log_on()
    body = pack("<HHHH", 9, 0, offset, length) + b"\\\0s\0"
    assert client.ask(c.TREE_CONNECT, body).status == s.STATUS_INVALID_PARAMETER


@pytest.mark.parametrize(
    "status", [s.STATUS_BAD_NETWORK_NAME, s.STATUS_ACCESS_DENIED, s.STATUS_REQUEST_NOT_ACCEPTED]
)
def test_mountd_refuses(status: int) -> None:
    client = Client()
    client.negotiate(0x0300)
    client.log_on()
    client.daemon.tree_result.status = status
    assert client.tree().status == status
    assert not client.server.sessions[client.session_id].tree_connects


@pytest.mark.parametrize("is_admin", [False, True])
def test_admin_users_work_as_administrators_on_that_share_alone(
    monkeypatch: pytest.MonkeyPatch, is_admin: bool
) -> None:
    """mountd's `is_admin` goes to the volume, and stays through a re-authentication that changes the groups."""
    client = Client()
    client.negotiate(0x0311)
    client.log_on()
    seen = []
    volume = client.server.files.volume

    def noted(self: FakeFiles, share: ShareConfig, identity: Identity, read_only: bool) -> Volume:
        seen.append((identity.is_admin, identity.groups))
        return volume(share, identity, read_only)

    monkeypatch.setattr(FakeFiles, "volume", noted)
    client.daemon.tree_result.is_admin = is_admin
    assert client.tree().status == 0
    session = client.server.sessions[client.session_id]
    assert session.identity is not None and not session.identity.is_admin
    client.security.identity = replace(session.identity, groups=(7,))
    assert [client.setup(token, sign=True).status for token in (b"hello", b"proof")][-1] == 0
    assert seen == [(is_admin, ()), (is_admin, (7,))]


def test_an_encrypted_share_wants_encryption() -> None:
    client = Client()
    client.negotiate(0x0311)
    client.log_on()
    reply = client.tree("secret")
    assert reply.status == 0 and int.from_bytes(reply.body[4:8], "little") & c.SHAREFLAG_ENCRYPT_DATA
    clear = client.ask(c.FLUSH, pack("<H", 24) + bytes(22), sign=True)
    assert clear.status == s.STATUS_ACCESS_DENIED
    sealed = b"\xfdSMB" + bytes(40) + client.session_id.to_bytes(8, "little")
    (inside,) = client.feed(sealed + client.element(c.TREE_DISCONNECT, ECHO_BODY))
    assert inside.status == 0 and client.transport.frames[-1][:4] == b"\xfdSMB"


def test_an_encrypted_share_refuses_who_cannot_encrypt() -> None:
    client = Client()
    client.negotiate(0x0210)
    client.log_on()
    assert client.tree("secret").status == s.STATUS_ACCESS_DENIED


def test_a_sealed_message_of_another_session_ends_the_connection() -> None:
    client = Client().ready()
    sealed = b"\xfdSMB" + bytes(40) + client.session_id.to_bytes(8, "little")
    assert client.feed(sealed + client.element(c.ECHO, ECHO_BODY, session_id=client.session_id + 1)) == []
    assert client.transport.closed
