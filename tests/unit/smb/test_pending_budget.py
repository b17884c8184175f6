# SPDX-License-Identifier: GPL-2.0-or-later
"""How much may wait on a connection, and that nothing is counted any longer once it does not wait (MS-SMB2 3.3.4.2)."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from struct import pack
from typing import Any

import create_messages as m
import pytest
from script import ECHO_BODY, Client

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.request import Request
from ksmbd.smb.waiting import Future

RELATED = {"flags": c.FLAGS_RELATED_OPERATIONS}
MOST = limits.WAITING_REQUESTS.value


_all: list[Client] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No request is left waiting."""
    yield
    while _all:
        _all.pop().connection.disconnected("the test is over")


class Waiter(Client):
    """Connected, with a file and a folder open."""

    def __init__(self) -> None:
        super().__init__()
        _all.append(self)
        self.ready()
        tree: Any = self.volume
        tree.add("file", bytes(4 << 20))
        tree.add("d", None)
        self.file = self.open("file")
        self.folder = self.open("d", options=c.FILE_DIRECTORY_FILE)
        self.table: Any = self.server.table
        self.room = self.connection.pending_budget

    def open(self, name: str, **fields: Any) -> bytes:
        return bytes(self.ask(c.CREATE, m.create(name, **fields), credits=1000).body[64:80])

    def notify(self) -> tuple[int, bytes]:
        return c.CHANGE_NOTIFY, pack("<HHI16sII", 32, 0, 4096, self.folder, 0x17, 0)

    def lock(self) -> tuple[int, bytes]:
        self.table.wait["lock"] = Future()
        return c.LOCK, pack("<HHI16sQQII", 48, 1, 0, self.file, 0, 1, c.LOCKFLAG_EXCLUSIVE_LOCK, 0)

    def create(self) -> tuple[int, bytes]:
        self.table.wait["open"] = Future()
        return c.CREATE, m.create("file")

    def write(self, size: int = 1) -> tuple[int, bytes]:
        self.table.wait["break_caching"] = Future()
        return c.WRITE, pack("<HHIQ16sIIHHI", 49, 112, size, 0, self.file, 0, 0, 0, 0, 0) + bytes(size)

    def wait(self, request: tuple[int, bytes], **fields: Any) -> int:
        """The status of the only reply to a request, which is to be STATUS_PENDING or a refusal."""
        (reply,) = self.feed(self.element(*request, **fields))
        return reply.status

    def all_closed(self) -> None:
        """No open is left, and no file."""
        assert not self.server.opens
        assert all(file.closed for file in self.volume.opened)

    def counts(self) -> tuple[int, int, int, int]:
        connection = self.connection
        return self.room.requests, self.room.bytes, len(connection.pending), len(connection.pending_async)


KINDS: list[Callable[[Waiter], tuple[int, bytes]]] = [
    Waiter.notify, Waiter.lock, Waiter.create, Waiter.write,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_so_many_wait_and_the_next_is_refused(kind: Callable[[Waiter], tuple[int, bytes]]) -> None:
    client = Waiter()
    first = client.message_id
    assert {client.wait(kind(client)) for _ in range(MOST)} == {s.STATUS_PENDING}
    assert client.room.requests == MOST
    before = client.counts()
    opens = len(client.server.opens)
    for _ in range(3):
        assert client.wait(kind(client)) == s.STATUS_INSUFFICIENT_RESOURCES
    assert client.counts() == before and len(client.server.opens) == opens
    assert client.ask(c.ECHO, ECHO_BODY).status == 0
    (cancelled,) = client.feed(client.element(c.CANCEL, ECHO_BODY, message_id=first))
    assert cancelled.status == s.STATUS_CANCELLED
    assert client.wait(kind(client)) == s.STATUS_PENDING
    client.connection.disconnected("cable")
    assert client.counts() == (0, 0, 0, 0)
    client.all_closed()


@pytest.mark.parametrize(
    ("fields", "cancels"),
    [({}, True), ({"sign": True}, True), ({"sign": True, "key": b"another"}, False),
     ({"sign": True, "session_id": 0x123}, False)],
)  # fmt: skip
def test_the_signature_of_a_cancel_is_verified(fields: dict[str, Any], cancels: bool) -> None:
    """MS-SMB2 3.3.5.16: it need not have one."""
    client = Waiter()
    number = client.message_id
    assert client.wait(client.notify()) == s.STATUS_PENDING
    replies = client.feed(client.element(c.CANCEL, ECHO_BODY, message_id=number, **fields))
    assert [reply.status for reply in replies] == [s.STATUS_CANCELLED] * cancels
    assert client.room.requests == 1 - cancels


def test_all_kinds_count_together() -> None:
    client = Waiter()
    for _ in range(MOST // 4):
        assert [client.wait(kind(client)) for kind in KINDS] == [s.STATUS_PENDING] * 4
    for _ in range(MOST % 4):
        assert client.wait(client.notify()) == s.STATUS_PENDING
    assert [client.wait(kind(client)) for kind in KINDS] == [s.STATUS_INSUFFICIENT_RESOURCES] * 4


def test_other_connections_have_room_of_their_own() -> None:
    client = Waiter()
    for _ in range(MOST + 1):
        client.wait(client.notify())
    other = Client(client.server).ready()
    _all.append(other)
    folder = other.ask(c.CREATE, m.create("d", options=c.FILE_DIRECTORY_FILE)).body[64:80]
    (reply,) = other.feed(other.element(c.CHANGE_NOTIFY, pack("<HHI16sII", 32, 0, 4096, folder, 0x17, 0)))
    assert reply.status == s.STATUS_PENDING


def close(client: Waiter) -> None:
    client.feed(client.element(c.CLOSE, pack("<HHI16s", 24, 0, 0, client.folder)))
    client.feed(client.element(c.CLOSE, pack("<HHI16s", 24, 0, 0, client.file)))


def disconnect_tree(client: Waiter) -> None:
    client.feed(client.element(c.TREE_DISCONNECT, ECHO_BODY))


def log_off(client: Waiter) -> None:
    client.feed(client.element(c.LOGOFF, ECHO_BODY))


def cut(client: Waiter) -> None:
    client.connection.disconnected("cable")


@pytest.mark.parametrize("end", [disconnect_tree, log_off, cut])
def test_nothing_is_counted_behind_the_end(end: Callable[[Waiter], None]) -> None:
    client = Waiter()
    for kind in (Waiter.notify, Waiter.lock, Waiter.create):
        assert client.wait(kind(client)) == s.STATUS_PENDING
    client.table.wait.clear()
    end(client)
    assert client.counts() == (0, 0, 0, 0)
    client.all_closed()


def test_the_close_of_what_they_wait_on_ends_them() -> None:
    client = Waiter()
    for kind in (Waiter.notify, Waiter.lock):
        assert client.wait(kind(client)) == s.STATUS_PENDING
    close(client)
    assert client.counts() == (0, 0, 0, 0)


def test_the_bytes_that_are_kept_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_BYTES", replace(limits.WAITING_BYTES, value=300_000))
    client = Waiter()
    assert [client.wait(client.write(65536)) for _ in range(5)] == [s.STATUS_PENDING] * 4 + [
        s.STATUS_INSUFFICIENT_RESOURCES
    ]  # fmt: skip
    assert 4 * 65536 < client.room.bytes <= 300_000
    future = client.table.wait["break_caching"]
    client.table.wait.clear()
    future.set_result(None)
    client.connection.disconnected("cable")
    assert client.counts() == (0, 0, 0, 0)


def test_the_elements_behind_one_that_waits_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost no credits of their own before their turn comes."""
    monkeypatch.setattr(limits, "WAITING_BYTES", replace(limits.WAITING_BYTES, value=100_000))
    client = Waiter()
    command, body = client.lock()
    behind = (c.WRITE, client.write(65536)[1], {"charge": 1})
    assert client.feed(client.compound((command, body, {}), behind)) == []
    assert client.room.bytes > 65536 and client.room.requests == 1
    first = client.table.wait["lock"]
    client.lock()
    replies = client.feed(client.compound((command, body, {}), behind))
    assert replies[0].status == s.STATUS_INSUFFICIENT_RESOURCES
    client.table.wait.clear()
    first.set_result(None)
    assert client.counts() == (0, 0, 0, 0)


def test_a_wait_that_was_not_to_be_seen_is_counted_from_then_on() -> None:
    client = Waiter()
    waiting: Future[Any] = Future()
    share = client.daemon.shares["SHARE"]
    client.daemon.share_config = lambda name: waiting
    path = "\\\\s\\share".encode("utf-16-le")
    body = pack("<HHHH", 9, 0, 72, len(path)) + path
    assert client.feed(client.element(c.TREE_CONNECT, body, sign=True)) == []
    assert client.room.requests == 0 and client.room.bytes > 0  # short: mountd's answer
    request = next(iter(client.connection.pending.values()))
    assert isinstance(request, Request)
    request.go_async()
    assert client.room.requests == 1
    waiting.set_result(share)
    assert client.counts() == (0, 0, 0, 0)


def test_a_compound_has_so_many_elements_and_no_more() -> None:
    client = Waiter()
    client.ask(c.ECHO, ECHO_BODY, credits=5000)
    most = limits.COMPOUND_ELEMENTS.value
    replies = client.feed(client.compound(*[(c.ECHO, ECHO_BODY, {})] * most))
    assert [reply.status for reply in replies] == [0] * most
    client.ask(c.ECHO, ECHO_BODY, credits=5000)
    assert client.feed(client.compound(*[(c.CANCEL, ECHO_BODY, {})] * (most + 1))) == []
    assert client.transport.closed
