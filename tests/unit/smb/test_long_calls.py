# SPDX-License-Identifier: GPL-2.0-or-later
"""Long operations on files in helper threads: one of a client at a time, ended well whoever stops waiting for them."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import pack
from typing import Any

import create_messages as m
import pytest
from fake_files import FakeFile
from script import Client, split

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.long_calls import LongCalls
from ksmbd.smb.waiting import Cancelled, Future

FSCTL_SET_ZERO_DATA = 0x000980C8
MIB = 1 << 20


class Threads:
    """Calls that a helper thread would run, run when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[], Any], Future[Any]]] = []

    def __call__(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls.append((call, future))
        return future

    def run(self) -> None:
        """The first of them."""
        call, future = self.calls.pop(0)
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - it is the waiter's
            future.set_error(error)
        else:
            future.set_result(result)


def test_one_call_of_a_client_at_a_time() -> None:
    threads, calls = Threads(), LongCalls()
    calls.offload = threads
    ended: list[str] = []
    for owner, name in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        calls.run(owner, partial(str, name), partial(ended.append, name))
    assert len(threads.calls) == 2 and len(calls) == 2
    threads.run()
    assert ended == ["a1"] and len(threads.calls) == 2
    threads.run()
    threads.run()
    assert ended == ["a1", "b1", "a2"] and len(calls) == 0


def test_what_nobody_waits_for_any_more_does_not_begin_and_is_ended() -> None:
    threads, calls = Threads(), LongCalls()
    calls.offload = threads
    ran: list[str] = []
    ended: list[str] = []
    futures = [
        calls.run("a", partial(ran.append, name), partial(ended.append, name))
        for name in ("one", "two", "three")
    ]
    futures[0].cancel()  # it is with a thread already
    futures[1].cancel()
    threads.run()
    threads.run()
    assert ran == ["one", "three"] and ended == ["one", "two", "three"] and len(calls) == 0
    with pytest.raises(Cancelled):
        futures[1].result()


def test_an_error_is_the_waiters() -> None:
    threads, calls = Threads(), LongCalls()
    calls.offload = threads
    ended: list[int] = []
    future = calls.run("a", lambda: 1 // 0, lambda: ended.append(1))
    threads.run()
    with pytest.raises(ZeroDivisionError):
        future.result()
    assert ended == [1] and len(calls) == 0


class Duplicates:
    """What files were asked for, by themselves and by their duplicates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: list[FakeFile] = []
        self.zeroed: list[tuple[FakeFile, int, int]] = []
        monkeypatch.setattr(FakeFile, "duplicate", lambda file: self.make(file))
        monkeypatch.setattr(FakeFile, "rejoin", lambda file, duplicate: self.alive.remove(duplicate))
        monkeypatch.setattr(FakeFile, "zero_data", lambda file, a, b: self.zeroed.append((file, a, b)))

    def make(self, file: FakeFile) -> FakeFile:
        duplicate = FakeFile(file._volume, file.node, file.granted_access)
        self.alive.append(duplicate)
        return duplicate


def opened() -> tuple[Client, Threads, tuple[int, int]]:
    client = Client().ready()
    client.volume.add("file", bytes(100 * MIB))
    threads = Threads()
    client.server.long_calls.offload = threads
    body = client.ask(c.CREATE, m.create("file", access=0x1F01FF)).body
    return client, threads, (int.from_bytes(body[64:72], "little"), int.from_bytes(body[72:80], "little"))


def zero(file_id: tuple[int, int], offset: int, beyond: int) -> bytes:
    return pack(
        "<HHIQQIIIIIIII", 57, 0, FSCTL_SET_ZERO_DATA, *file_id, 120, 16, 0, 0, 0, 0, 1, 0
    ) + pack("<qq", offset, beyond)


def test_zeros_go_to_a_thread_in_steps_on_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    duplicates = Duplicates(monkeypatch)
    client, threads, file = opened()
    sent = len(client.transport.frames)
    client.feed(client.element(c.IOCTL, zero(file, 0, 1 << 40)))
    assert len(client.transport.frames) == sent
    steps = 0
    while threads.calls:
        threads.run()
        steps += 1
    (reply,) = split(client.transport.frames[-1])
    assert reply.status == 0 and steps == 2
    assert [(a, b) for _, a, b in duplicates.zeroed] == [(0, 64 * MIB), (64 * MIB, 100 * MIB)]
    assert not duplicates.alive
    own = next(iter(client.server.opens.values())).file
    assert all(file is not own for file, _, _ in duplicates.zeroed)


def test_a_close_meanwhile_is_answered_and_the_operation_with_file_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    duplicates = Duplicates(monkeypatch)
    client, threads, file = opened()
    client.feed(client.element(c.IOCTL, zero(file, 0, 1 << 40)))
    assert client.ask(c.CLOSE, m.close(*file)).status == 0
    threads.run()
    assert not threads.calls and not duplicates.alive
    assert split(client.transport.frames[-1])[0].status == s.STATUS_FILE_CLOSED


def test_a_lost_connection_leaves_no_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    duplicates = Duplicates(monkeypatch)
    client, threads, file = opened()
    client.feed(client.element(c.IOCTL, zero(file, 0, 1 << 40)))
    client.connection.disconnected("gone")
    assert len(duplicates.alive) == 1
    threads.run()
    assert not duplicates.alive and not threads.calls and len(client.server.long_calls) == 0


def test_what_is_small_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    duplicates = Duplicates(monkeypatch)
    client, threads, file = opened()
    assert client.ask(c.IOCTL, zero(file, 0, 65536)).status == 0
    assert not threads.calls and [(a, b) for _, a, b in duplicates.zeroed] == [(0, 65536)]
