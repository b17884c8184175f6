# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames, compounds and what waits, through a whole Connection with ports in memory. test_negotiate.py and
test_sessions_and_trees.py have what comes first."""
from __future__ import annotations

from struct import pack
from typing import Any

import create_messages as m
import pytest
from fakes import FakeSigner
from hypothesis import given, settings
from hypothesis import strategies as st
from script import CLIENT_KEY, ECHO_BODY, Client, joined, preauth_context

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.waiting import Future

RELATED = {"flags": c.FLAGS_RELATED_OPERATIONS}


# ---------------------------------------------------------------------------------------------------- broken frames


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0",
        b"\xfeSMB",
        b"\xfeSMB" + bytes(59),
        b"HTTP/1.1 200 OK\r\n" + bytes(60),
        b"\xfdSMB" + bytes(100),  # sealed before a session
        b"\xfcSMB" + bytes(100),  # compressed
        b"\xfeSMB" + b"\x41" + bytes(80),  # header StructureSize
    ],
)
def test_a_broken_frame_ends_its_connection_alone(frame: bytes) -> None:
    victim = Client().ready()
    other = Client(victim.server)
    other.negotiate(0x0311)
    other.log_on()
    assert victim.feed(frame) == []
    assert victim.transport.closed and victim.connection not in victim.server.connections
    assert other.ask(c.ECHO, ECHO_BODY).status == 0
    assert other.session_id in other.server.sessions and victim.session_id not in other.server.sessions


@pytest.mark.parametrize("next_command", [1, 8, 63, 68, 72, 0x10000, 0xFFFFFFF8])
def test_next_command_out_of_bounds_ends_the_connection(next_command: int) -> None:
    client = Client().ready()
    assert client.feed(client.element(c.ECHO, ECHO_BODY + bytes(4), next_command=next_command)) == []
    assert client.transport.closed


COMMANDS = [code for code in range(19) if code not in (c.NEGOTIATE, c.CANCEL)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_structure_size_or_a_short_body_is_an_invalid_parameter(command: int) -> None:
    client = Client().ready()
    for body in (b"", b"\0", b"\xff\xff" + bytes(100), b"\x04\0"[:1], pack("<H", 2)):
        assert client.ask(command, body, sign=True).status == s.STATUS_INVALID_PARAMETER, body


@pytest.mark.parametrize("command", [0x13, 0x14, 0x99, 0xFFFF])
def test_an_unknown_command_is_an_invalid_parameter(command: int) -> None:
    assert Client().ready().ask(command, bytes(64), sign=True).status == s.STATUS_INVALID_PARAMETER


@settings(max_examples=300, deadline=None)
@given(command=st.sampled_from(COMMANDS), body=st.binary(max_size=120), size=st.booleans())
def test_no_body_brings_the_core_down(command: int, body: bytes, size: bool) -> None:
    """Whatever follows the header: one reply, or the end of this connection; never an exception."""
    from ksmbd.smb.dispatch import COMMANDS as table

    client = Client().ready()
    if size:
        wanted = table[command].structure_sizes[0]
        body = pack("<H", wanted) + body.ljust(wanted & ~1, b"\0")
    replies = client.feed(client.element(command, body, sign=True))
    assert replies or client.transport.closed or client.connection.pending


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_frame_brings_the_core_down(frame: bytes) -> None:
    client = Client().ready()
    client.feed(frame)
    fresh = Client()
    fresh.feed(b"\xfeSMB" + frame)
    again = Client()
    again.feed(b"\xffSMB" + frame)


# -------------------------------------------------------------------------------------------------------- compounds

CLOSE_LAST = pack("<HHI16s", 24, 0, 0, b"\xff" * 16)


def test_unrelated_elements_are_answered_in_one_frame_each_aligned_and_signed() -> None:
    client = Client().ready()
    frame = client.compound((c.ECHO, ECHO_BODY, {"sign": True}), (c.FLUSH, pack("<H", 24) + bytes(22), {"sign": True}),
                            (c.ECHO, ECHO_BODY, {"sign": True}))  # fmt: skip
    before = len(client.transport.frames)
    replies = client.feed(frame)
    assert len(client.transport.frames) == before + 1
    assert [r.status for r in replies] == [0, s.STATUS_FILE_CLOSED, 0]
    assert all(r.header.next_command % 8 == 0 for r in replies)
    assert all(FakeSigner(CLIENT_KEY).verify(memoryview(r.message)) for r in replies)


def test_a_related_first_element_is_an_invalid_parameter() -> None:
    client = Client().ready()
    assert client.ask(c.CLOSE, CLOSE_LAST, **RELATED).status == s.STATUS_INVALID_PARAMETER


def test_a_related_element_without_an_open_before_it() -> None:
    client = Client().ready()
    replies = client.feed(client.compound((c.ECHO, ECHO_BODY, {}), (c.CLOSE, CLOSE_LAST, dict(RELATED))))
    assert [r.status for r in replies] == [0, s.STATUS_INVALID_HANDLE]


def test_the_tree_is_looked_up_again_for_every_element() -> None:
    """CVE-2026-23428's class: TREE_DISCONNECT, then use of the tree it took away."""
    client = Client().ready()
    flush = pack("<H", 24) + bytes(22)
    replies = client.feed(client.compound((c.TREE_DISCONNECT, ECHO_BODY, {}), (c.FLUSH, flush, dict(RELATED))))
    assert [r.status for r in replies] == [0, s.STATUS_NETWORK_NAME_DELETED]


def test_logoff_inside_a_compound() -> None:
    client = Client().ready()
    flush = pack("<H", 24) + bytes(22)
    replies = client.feed(client.compound((c.LOGOFF, ECHO_BODY, {}), (c.FLUSH, flush, dict(RELATED))))
    assert [r.status for r in replies] == [0, s.STATUS_INVALID_PARAMETER]


# ---------------------------------------------------------------------------------------------------- waiting, cancel


def test_a_waiting_command_is_answered_later_and_its_connection_may_end_meanwhile() -> None:
    client = Client()
    client.negotiate(0x0300)
    client.log_on()
    waiting: Future[Any] = Future()
    client.daemon.share_config = lambda name: waiting
    path = "\\\\s\\share".encode("utf-16-le")
    body = pack("<HHHH", 9, 0, 72, len(path)) + path
    assert client.feed(client.element(c.TREE_CONNECT, body)) == []
    assert client.ask(c.ECHO, ECHO_BODY).status == 0  # others are not held up
    before = len(client.transport.frames)
    waiting.set_result(None)
    assert len(client.transport.frames) == before + 1
    waiting2: Future[Any] = Future()
    client.daemon.share_config = lambda name: waiting2
    assert client.feed(client.element(c.TREE_CONNECT, body)) == []
    client.connection.disconnected("gone")
    waiting2.set_result(None)
    assert len(client.transport.frames) == before + 1 and not client.connection.pending


def test_cancel_of_nothing_has_no_reply() -> None:
    client = Client().ready()
    assert client.feed(client.element(c.CANCEL, ECHO_BODY, message_id=77)) == []
    assert client.ask(c.ECHO, ECHO_BODY).status == 0


def test_credit_charge_must_pay_for_the_payload() -> None:
    client = Client().ready()
    read = pack("<HBBIQ16sIIIHH", 49, 0, 0, 65537, 0, b"\xff" * 16, 0, 0, 0, 0, 0) + b"\0"
    assert client.ask(c.READ, read, charge=1).status == s.STATUS_INVALID_PARAMETER
    assert client.ask(c.READ, read, charge=2).status == s.STATUS_FILE_CLOSED


@pytest.mark.parametrize(
    ("dialect", "length", "status"),
    [(0x0202, 65536, 0), (0x0202, 65537, s.STATUS_INVALID_PARAMETER), (0x0210, 65537, 0)],
)
def test_what_was_negotiated_bounds_an_answer(dialect: int, length: int, status: int) -> None:
    """Connection.MaxTransactSize is 64 KiB where nobody pays for more (MS-SMB2 3.3.5.20.1)."""
    client = Client().ready(dialect)
    client.ask(c.ECHO, ECHO_BODY, credits=10)
    file = client.ask(c.CREATE, m.create(""), credits=10).body[64:80]
    query = pack("<HBBIHHIII16s", 41, 1, 5, length, 0, 0, 0, 0, 0, file)
    assert client.ask(c.QUERY_INFO, query, charge=2 if dialect > 0x0202 else 1).status == status


def test_an_overdrawn_client_is_cut_off() -> None:
    client = Client().ready()
    client.message_id += 100_000
    assert client.feed(client.element(c.ECHO, ECHO_BODY)) == []
    assert client.transport.closed


def test_contexts_helper_pads_as_the_server_reads() -> None:
    assert len(joined([preauth_context(), preauth_context()])) % 8 == len(preauth_context()) % 8


@pytest.mark.parametrize("dialect", [c.DIALECT_202, c.DIALECT_210, c.DIALECT_311])
def test_frames_are_short_until_there_is_a_session(dialect: int) -> None:
    client = Client()
    assert client.negotiate(dialect).status == 0
    token = 65535 + HEADER_SIZE + 24
    assert token <= client.connection.max_frame <= 70_000, "the longest token, and not much more"
    first = client.setup(b"hello")
    client.session_id = first.header.session_id
    assert client.connection.max_frame <= 70_000
    assert client.setup(b"proof").status == 0
    settings = client.server.settings
    most = 65536 if dialect == c.DIALECT_202 else max(settings.max_read, settings.max_write, settings.max_transact)
    assert client.connection.max_frame >= most + 112
