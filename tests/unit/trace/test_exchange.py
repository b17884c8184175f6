# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests and replies become Commands that know their file, share and account."""

from __future__ import annotations

import struct
from operator import attrgetter

import pytest
from conversation import (
    ALL_ONES,
    FILE_ID,
    MS,
    SESSION,
    TREE,
    Conversation,
    close,
    closed,
    compound,
    create,
    created,
    error,
    message,
    read,
    read_reply,
    reply,
    tree_connect,
    tree_connected,
    write,
    written,
)

from ksmbd.auth.encryption import AeadSealer
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from mountd.trace.exchange import HELD_MAX
from mountd.trace.keys import KeyRing, Keys
from mountd.trace.stream import WHOLE

NAME, COMMAND, STATUS = attrgetter("name"), attrgetter("command"), attrgetter("status_text")
TO_CLIENT, TO_SERVER = b"c" * 16, b"s" * 16
KEYS = Keys(SESSION, b"k" * 16, TO_CLIENT, TO_SERVER, "alice")


def opened() -> Conversation:
    """A conversation with a tree connect and an open of dir\\file."""
    talk = Conversation()
    talk.send(message(c.TREE_CONNECT, 3, tree_connect("\\\\SERVER\\docs"), tree=0))
    talk.answer(reply(c.TREE_CONNECT, 3, tree_connected()))
    talk.send(message(c.CREATE, 4, create("dir\\file")))
    talk.answer(reply(c.CREATE, 4, created()))
    return talk


def test_every_command_knows_the_file_and_the_share() -> None:
    talk = opened()
    talk.send(message(c.WRITE, 5, write(FILE_ID, bytes(100), 4096)))
    talk.answer(reply(c.WRITE, 5, written(100)))
    talk.send(message(c.READ, 6, read(FILE_ID, 4096, 0)))
    talk.answer(reply(c.READ, 6, read_reply(bytes(70))))
    talk.send(message(c.CLOSE, 7, close(FILE_ID)))
    talk.answer(reply(c.CLOSE, 7, closed()))
    told = talk.told(COMMAND, NAME, attrgetter("share"), attrgetter("size"), attrgetter("offset"), STATUS)
    assert told == [
        ("TREE_CONNECT", "\\\\SERVER\\docs", "docs", None, None, "STATUS_SUCCESS"),
        ("CREATE", "dir\\file", "docs", None, None, "STATUS_SUCCESS"),
        ("WRITE", "dir\\file", "docs", 100, 4096, "STATUS_SUCCESS"),
        ("READ", "dir\\file", "docs", 70, 0, "STATUS_SUCCESS"),
        ("CLOSE", "dir\\file", "docs", None, None, "STATUS_SUCCESS"),
    ]
    assert talk.commands[1].what == "open_if: created oplock batch"
    assert {command.latency_us for command in talk.commands} == {MS / 1000}


def test_a_long_message_is_told_with_its_whole_size() -> None:
    talk = opened()
    talk.send(message(c.WRITE, 5, write(FILE_ID, bytes(4 * WHOLE))))
    talk.answer(reply(c.WRITE, 5, written(4 * WHOLE)))
    talk.send(message(c.READ, 6, read(FILE_ID, 4 * WHOLE, 0)))
    talk.answer(reply(c.READ, 6, read_reply(bytes(4 * WHOLE))))
    assert talk.told(COMMAND, attrgetter("size"))[2:] == [("WRITE", 4 * WHOLE), ("READ", 4 * WHOLE)]


def test_related_operations_have_the_name_of_the_create_before_them() -> None:
    talk = Conversation()
    related = c.FLAGS_RELATED_OPERATIONS
    info = struct.pack("<HBBIHHIII16s", 41, 1, 18, 4096, 0, 0, 0, 0, 0, ALL_ONES)
    told = struct.pack("<HHI", 9, 72, 8) + bytes(8)
    talk.send(compound(
        message(c.CREATE, 4, create("a")), message(c.QUERY_INFO, 5, info, flags=related),
        message(c.CLOSE, 6, close(ALL_ONES), flags=related, session=2**64 - 1, tree=2**32 - 1),
    ))  # fmt: skip
    talk.answer(compound(
        reply(c.CREATE, 4, created()), reply(c.QUERY_INFO, 5, told, flags=related),
        reply(c.CLOSE, 6, closed(), flags=related),
    ))  # fmt: skip
    told_all = talk.told(COMMAND, NAME, attrgetter("compound"), attrgetter("session"), attrgetter("tree"))
    assert told_all == [
        ("CREATE", "a", 1, SESSION, TREE), ("QUERY_INFO", "a", 2, SESSION, TREE), ("CLOSE", "a", 3, SESSION, TREE),
    ]  # fmt: skip
    assert talk.commands[1].what == "All"


def test_an_interim_reply_is_no_reply_yet() -> None:
    talk = opened()
    talk.send(message(c.READ, 5, read(FILE_ID, 10, 0)))
    talk.answer(error(c.READ, 5, s.STATUS_PENDING, flags=c.FLAGS_ASYNC_COMMAND))
    assert len(talk.commands) == 2
    talk.answer(reply(c.READ, 5, read_reply(b"x"), flags=c.FLAGS_ASYNC_COMMAND))
    command = talk.commands[2]
    assert (command.pending, command.latency_us, command.size, command.share) == (True, 2 * MS / 1000, 1, "docs")


def test_an_error_is_told_and_names_no_file() -> None:
    talk = Conversation()
    talk.send(message(c.CREATE, 4, create("secret")))
    talk.answer(error(c.CREATE, 4, s.STATUS_ACCESS_DENIED))
    assert talk.told(COMMAND, NAME, STATUS) == [("CREATE", "secret", "STATUS_ACCESS_DENIED")]
    [known] = talk.tracer.known.values()
    assert not known.files


def test_what_has_no_reply_is_told_at_the_end_of_the_connection() -> None:
    talk = opened()
    talk.send(message(c.CHANGE_NOTIFY, 5, struct.pack("<HHI16sII", 32, 0, 100, FILE_ID, 1, 0)))
    talk.send(message(c.CANCEL, 5, struct.pack("<HH", 4, 0)))
    talk.end()
    assert talk.told(COMMAND, NAME, STATUS)[2:] == [("CANCEL", "", ""), ("CHANGE_NOTIFY", "dir\\file", "")]
    assert talk.commands[-1].latency_us is None


def test_a_break_is_told_when_the_server_sends_it() -> None:
    talk = opened()
    body = struct.pack("<HBBI16s", 24, 1, 0, 0, FILE_ID)
    talk.answer(reply(c.OPLOCK_BREAK, 2**64 - 1, body, session=0, tree=0))
    assert talk.commands[-1].what == "notification, oplock II"
    assert talk.commands[-1].name == "dir\\file"


@pytest.mark.parametrize("cipher", [1, 2, 3, 4])
def test_a_sealed_message_is_read_with_the_keys_of_its_session(cipher: int) -> None:
    size = 16 if cipher < 3 else 32
    to_client, to_server = b"c" * size, b"s" * size
    ring = KeyRing()
    ring.add(Keys(SESSION, b"k", to_client, to_server, "alice"))
    talk = Conversation(keys=ring)
    server, client = AeadSealer(cipher, to_client, to_server), AeadSealer(cipher, to_server, to_client)
    talk.send(sealed(client, message(c.WRITE, 4, write(FILE_ID, bytes(2 * WHOLE)))))
    talk.answer(sealed(server, reply(c.WRITE, 4, written(2 * WHOLE))))
    assert talk.told(COMMAND, attrgetter("size"), attrgetter("user"), attrgetter("sealed")) == [
        ("WRITE", 2 * WHOLE, "alice", True)
    ]


def sealed(sealer: AeadSealer, data: bytes) -> bytes:
    frame = bytearray(52) + data
    sealer.seal(frame, 52, SESSION)
    return bytes(frame)


def test_sealed_messages_wait_for_their_keys() -> None:
    talk = Conversation(waits_for_keys=True)
    client, server = AeadSealer(2, TO_SERVER, TO_CLIENT), AeadSealer(2, TO_CLIENT, TO_SERVER)
    talk.send(sealed(client, message(c.CREATE, 4, create("a"))))
    talk.answer(sealed(server, reply(c.CREATE, 4, created())))
    talk.end()
    assert talk.commands == []
    talk.tracer.keys.add(KEYS)
    talk.tracer.new_keys()
    assert talk.told(COMMAND, NAME, attrgetter("user")) == [("CREATE", "a", "alice")]


def test_without_keys_sealed_messages_are_told_as_they_are() -> None:
    talk = Conversation(waits_for_keys=True)
    data = sealed(AeadSealer(2, TO_SERVER, TO_CLIENT), message(c.CREATE, 4, create("a")))
    talk.send(data)
    talk.tracer.overdue(talk.now + 3 * 10**9)
    assert talk.told(COMMAND, attrgetter("size")) == [("SEALED", len(data))]
    for _ in range(HELD_MAX + 1):
        talk.send(data)
    assert len(talk.commands) == HELD_MAX + 2, "no more are held than that"


def test_keys_that_do_not_fit_make_nothing_of_a_message() -> None:
    ring = KeyRing()
    ring.add(Keys(SESSION, b"", b"x" * 16, b"y" * 16))
    talk = Conversation(keys=ring, waits_for_keys=True)
    talk.send(sealed(AeadSealer(2, TO_SERVER, TO_CLIENT), message(c.CREATE, 4, create("a"))))
    assert talk.told(COMMAND) == [("SEALED",)]


def test_a_negotiate_of_smb1_is_answered_with_message_0() -> None:
    talk = Conversation()
    talk.send(b"\xffSMB\x72" + bytes(40))
    talk.answer(reply(c.NEGOTIATE, 0, struct.pack("<HHH", 65, 1, 0x2FF) + bytes(58), session=0, tree=0))
    assert talk.told(COMMAND, attrgetter("what"), STATUS) == [("NEGOTIATE", "SMB1: 2.x", "STATUS_SUCCESS")]


@pytest.mark.parametrize("command", range(0x13))
@pytest.mark.parametrize("keep", [0, 1, 7, 20, 40])
def test_messages_that_are_cut_off_are_told_without_what_is_missing(command: int, keep: int) -> None:
    talk = Conversation()
    talk.send(message(command, 4, b"\xff" * keep))
    talk.answer(reply(command, 4, b"\xff" * keep))
    assert talk.told(COMMAND) == [(c.COMMAND_NAMES[command],)] * (2 if command == c.CANCEL else 1)


def test_a_pdu_of_rpc_is_named() -> None:
    talk = opened()
    pdu = struct.pack("<BBBBIHHIIHH", 5, 0, 0, 3, 0x10, 40, 0, 1, 16, 0, 15) + bytes(16)
    talk.send(message(c.WRITE, 5, write(FILE_ID, pdu)))
    talk.answer(reply(c.WRITE, 5, written(len(pdu))))
    assert talk.commands[-1].what == "RPC request 15 of context 0"
