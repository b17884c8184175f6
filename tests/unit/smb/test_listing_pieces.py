# SPDX-License-Identifier: GPL-2.0-or-later
"""A QUERY_DIRECTORY that takes long goes on in pieces: with the same entries, in the order of the requests."""
from __future__ import annotations

from struct import pack, unpack_from
from typing import Any

import create_messages as m
import pytest
from script import ECHO_BODY, Client, Response, split

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.scheduler import SLICE_SECONDS

NAMES = [".", "..", *(f"name{number:04}" for number in range(400))]
RESTART = 1


def with_folder() -> tuple[Client, tuple[int, int]]:
    client = Client().ready()
    tree: Any = client.volume
    tree.add("d", None)
    for name in NAMES[2:]:
        tree.add(f"d\\{name}", b"")
    body = client.ask(c.CREATE, m.create("d", access=0x100081)).body
    client.clock.tick = SLICE_SECONDS / 2
    return client, (int.from_bytes(body[64:72], "little"), int.from_bytes(body[72:80], "little"))


def query(file_id: tuple[int, int], pattern: str = "*", flags: int = 0, limit: int = 65536) -> bytes:
    raw = pattern.encode("utf-16-le")
    return pack("<HBBIQQHHI", 33, 12, flags, 0, *file_id, 96, len(raw), limit) + raw


def names(reply: Response) -> list[str]:
    assert reply.status == 0
    data, found, at = reply.body[8:], [], 0
    while True:
        following, _, size = unpack_from("<III", data, at)
        found.append(data[at + 12 : at + 12 + size].decode("utf-16-le"))
        if not following:
            return found
        at += following


def finish(client: Client) -> list[Response]:
    """Run all pieces; the replies that come, in their order."""
    before = len(client.transport.frames)
    clock: Any = client.server.clock
    while due := [timer for timer in clock.timers if timer.due <= clock.now and not timer.cancelled]:
        clock.timers.remove(due[0])
        due[0].call()
    return [one for frame in client.transport.frames[before:] for one in split(frame)]


def test_others_are_served_while_a_long_listing_goes_on() -> None:
    client, folder = with_folder()
    assert client.feed(client.element(c.QUERY_DIRECTORY, query(folder))) == []
    assert client.ask(c.ECHO, ECHO_BODY).status == 0
    (reply,) = finish(client)
    assert names(reply) == NAMES


def test_names_that_do_not_match_take_turns_too() -> None:
    client, folder = with_folder()
    assert client.feed(client.element(c.QUERY_DIRECTORY, query(folder, "*0399"))) == []
    (reply,) = finish(client)
    assert names(reply) == ["name0399"]
    client.feed(client.element(c.QUERY_DIRECTORY, query(folder, "<none", RESTART)))
    (reply,) = finish(client)
    assert reply.status == s.STATUS_NO_SUCH_FILE


def test_requests_of_one_open_are_answered_one_after_the_other() -> None:
    client, folder = with_folder()
    sent = [client.message_id + step for step in range(4)]
    for flags in (0, 0, RESTART, 0):
        assert client.feed(client.element(c.QUERY_DIRECTORY, query(folder, flags=flags, limit=8000))) == []
    replies = finish(client)
    assert [reply.header.message_id for reply in replies] == sent
    first, second, third, fourth = map(names, replies)
    assert first + second == NAMES[: len(first) + len(second)]
    assert (third, fourth) == (first, second)


def test_a_close_that_came_behind_them_is_answered_behind_them() -> None:
    """A client need not await the entries before it sends its CLOSE."""
    client, folder = with_folder()
    first = client.message_id
    for _ in range(3):
        client.feed(client.element(c.QUERY_DIRECTORY, query(folder, flags=RESTART)))
    assert client.feed(client.element(c.CLOSE, m.close(*folder))) == []
    replies = finish(client)
    assert [reply.header.message_id for reply in replies] == [first, first + 1, first + 2, first + 3]
    assert [names(reply) for reply in replies[:3]] == [NAMES] * 3 and replies[3].status == 0
    assert not client.server.opens and len(client.server.scheduler) == 0


def test_the_end_of_the_tree_connect_ends_those_under_way() -> None:
    client, folder = with_folder()
    for command in (c.QUERY_DIRECTORY, c.QUERY_DIRECTORY, c.CLOSE):
        body = query(folder) if command == c.QUERY_DIRECTORY else m.close(*folder)
        client.feed(client.element(command, body))
    replies = client.feed(client.element(c.TREE_DISCONNECT, b"\x04\0\0\0")) + finish(client)
    assert sorted(reply.status == 0 for reply in replies) == [False, False, False, True]
    assert not client.server.opens and not client.connection.pending and len(client.server.scheduler) == 0


def test_cancelling_the_first_lets_the_next_one_go_on() -> None:
    client, folder = with_folder()
    first = client.message_id
    for _ in range(2):
        client.feed(client.element(c.QUERY_DIRECTORY, query(folder, flags=RESTART)))
    answered = client.feed(client.element(c.CANCEL, b"\x04\0\0\0", message_id=first))
    assert [reply.status for reply in answered] == [s.STATUS_CANCELLED]
    (reply,) = finish(client)
    assert names(reply) == NAMES


@pytest.mark.parametrize("pattern", ["*" * 256, "<" * 30_000])
def test_a_pattern_longer_than_any_name_is_refused(pattern: str) -> None:
    client, folder = with_folder()
    assert client.ask(c.QUERY_DIRECTORY, query(folder, pattern)).status == s.STATUS_OBJECT_NAME_INVALID
    client.clock.tick = 0.0
    assert names(client.ask(c.QUERY_DIRECTORY, query(folder, "*" * 255))) == NAMES
