# SPDX-License-Identifier: GPL-2.0-or-later
"""Large replies whose signature or cipher is slow are worked on by another thread and sent when it is done."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import create_messages as m
import pytest
from fakes import FakeSealer, FakeSigner
from script import CLIENT_KEY, ECHO_BODY, Client, split

from ksmbd.smb import constants as c
from ksmbd.smb import sending
from ksmbd.smb.compound import OFFLOAD_FROM
from ksmbd.smb.waiting import Future

SIZE = OFFLOAD_FROM + 1000


class Helpers:
    """Work that is handed over, to be done when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[], None], Future[None]]] = []

    def submit(self, call: Callable[[], None]) -> Future[None]:
        self.calls.append((call, Future()))
        return self.calls[-1][1]

    def work(self) -> None:
        call, future = self.calls.pop(0)
        call()
        future.set_result(None)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> tuple[Client, Helpers, Callable[..., Any]]:
    monkeypatch.setattr(FakeSigner, "slow", True)
    monkeypatch.setattr(FakeSealer, "slow", True)
    client = Client().ready()
    helpers = Helpers()
    client.server.helper_threads.submit = helpers.submit
    client.volume.add("big", bytes(range(256)) * (SIZE // 256 + 1))
    opened = client.ask(c.CREATE, m.create("big"), sign=True)
    assert opened.status == 0
    identity = int.from_bytes(opened.body[64:72], "little"), int.from_bytes(opened.body[72:80], "little")

    def read(length: int = SIZE, **fields: Any) -> bytes:
        return client.element(c.READ, m.read(*identity, 0, length), charge=3, **fields)

    return client, helpers, read


def test_a_signed_reply_comes_when_it_is_signed(slow: Any) -> None:
    client, helpers, read = slow
    assert client.feed(read(sign=True)) == [] and len(helpers.calls) == 1
    assert len(client.feed(client.element(c.ECHO, ECHO_BODY))) == 1  # others do not wait
    helpers.work()
    (response,) = split(client.transport.frames[-1])
    assert response.status == 0 and response.header.flags & c.FLAGS_SIGNED
    assert FakeSigner(CLIENT_KEY).verify(memoryview(response.message))
    assert response.body[16:] == (bytes(range(256)) * (SIZE // 256 + 1))[:SIZE]


def test_small_plain_and_quick_replies_are_sent_at_once(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, helpers, read = slow
    assert len(client.feed(read(1000, sign=True))) == 1
    assert len(client.feed(read())) == 1
    monkeypatch.setattr(FakeSigner, "slow", False)
    assert len(client.feed(read(sign=True))) == 1
    assert not helpers.calls


def test_no_more_than_a_bound_is_handed_over(slow: Any) -> None:
    client, helpers, read = slow
    client.connection.sender.offloaded_bytes = sending.OFFLOADED_MAX - SIZE - 1000  # as if that much were under way
    assert client.feed(read(sign=True)) == []
    assert len(client.feed(read(sign=True))) == 1
    helpers.work()
    assert client.feed(read(sign=True)) == []


def test_a_connection_that_ends_meanwhile(slow: Any) -> None:
    client, helpers, read = slow
    client.feed(read(sign=True))
    sent = len(client.transport.frames)
    client.connection.disconnected("gone")
    helpers.work()
    assert len(client.transport.frames) == sent


def test_a_failure_ends_the_connection(slow: Any) -> None:
    client, helpers, read = slow
    client.feed(read(sign=True))
    _, future = helpers.calls.pop()
    with pytest.raises(MemoryError):
        future.set_error(MemoryError())
    assert client.transport.closed is not None


def test_an_encrypted_reply(slow: Any) -> None:
    client, helpers, read = slow
    frame = bytearray(52) + read()
    FakeSealer().seal(frame, 52, client.session_id)
    assert client.feed(bytes(frame)) == [] and len(helpers.calls) == 1
    helpers.work()
    assert client.transport.frames[-1][:4] == b"\xfdSMB" and split(client.transport.frames[-1])[0].status == 0
