# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection that has only negotiated goes on elsewhere (MS-SMB2 3.3.1.7, 3.3.5.5.2)."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from script import ECHO_BODY, Client

from ksmbd.smb import constants as c
from ksmbd.smb import handover

KEPT = (
    "dialect", "supports_multi_credit", "client_guid", "client_capabilities", "client_security_mode", "client_dialects",
    "server_capabilities", "server_security_mode", "signing_algorithm", "cipher", "posix", "preauth_hash", "max_frame",
    "state",
)  # fmt: skip


@pytest.mark.parametrize("dialects", [(0x0202,), (0x0202, 0x0210), (0x0300,), (0x0302,), (0x0300, 0x0302, 0x0311)])
def test_what_was_negotiated_goes_along(dialects: tuple[int, ...]) -> None:
    client = Client()
    client.negotiate(*dialects)
    old = client.connection
    assert handover.can_move(old)
    new = Client(client.server).connection
    handover.resume(new, handover.encode(old))
    assert {name: getattr(new, name) for name in KEPT} == {name: getattr(old, name) for name in KEPT}
    assert (new.window.low, new.window.high) == (old.window.low, old.window.high)


def test_the_client_goes_on_as_if_nothing_had_happened() -> None:
    client = Client()
    client.negotiate(0x0311)
    moved = Client(client.server)
    handover.resume(moved.connection, handover.encode(client.connection))
    moved.message_id = client.message_id
    assert moved.log_on().status == 0 and moved.tree().status == 0


def test_only_what_has_nothing_else_moves() -> None:
    fresh = Client()
    assert not handover.can_move(fresh.connection), "the dialect is not agreed"
    fresh.negotiate(0x0311)
    fresh.ask(c.ECHO, ECHO_BODY)
    assert handover.can_move(fresh.connection)
    first = fresh.setup(b"hello")
    assert not handover.can_move(fresh.connection), "a log-on is under way"
    fresh.session_id = first.header.session_id
    fresh.setup(b"proof")
    assert not handover.can_move(fresh.connection), "it has a session"


def test_which_frames_ask_for_a_binding() -> None:
    client = Client()
    body = client.setup_body(b"token", flags=c.SESSION_FLAG_BINDING)
    frame = client.element(c.SESSION_SETUP, body, session_id=0x1234567890)
    assert handover.is_session_setup(frame) and handover.session_to_bind(frame) == 0x1234567890
    plain = client.element(c.SESSION_SETUP, client.setup_body(b"token"), session_id=5)
    assert handover.is_session_setup(plain) and not handover.session_to_bind(plain)
    other = client.element(c.ECHO, ECHO_BODY, session_id=5)
    assert not handover.is_session_setup(other) and not handover.session_to_bind(other)
    sealed = b"\xfdSMB" + frame[4:]
    assert not handover.is_session_setup(sealed)


@given(st.binary(max_size=80), st.integers(0, 80))
def test_any_bytes_are_looked_at_safely(tail: bytes, cut: int) -> None:
    frame = (b"\xfeSMB" + bytes(8) + b"\1\0" + tail)[:cut]
    assert handover.session_to_bind(frame) >= 0
