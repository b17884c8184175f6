# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket: one question a connection, lines of answer, and whom it serves."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mountd import controlsocket
from mountd.controlsocket import ControlSocket, Conversation, socket_address
from mountd.loop import Loop


class Bench:
    """A socket in a folder with a path that is longer than sun_path."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        deep = folder / ("d" * 120)
        deep.mkdir()
        self.path = str(deep / "socket")
        self.asked: list[dict[str, Any]] = []
        self.conversations: list[Conversation] = []
        self.server = ControlSocket(self.loop, self.path, self.handle)

    def handle(self, question: dict[str, Any], conversation: Conversation) -> None:
        self.asked.append(question)
        self.conversations.append(conversation)
        match question.get("ask"):
            case "lines":
                for number in range(int(question["n"])):
                    conversation.say({"n": number, "text": "x" * 1000})
                conversation.end({"last": True})
            case "wait":
                pass
            case "fail":
                raise RuntimeError("no")

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(20)
        with socket_address(self.path) as address:
            connection.connect(address)
        return connection

    def talk(self, data: bytes, half: bool = False) -> list[dict[str, Any]]:
        """What a client receives that sends this; the loop runs until it has all. `half`: it closes its sending side,
        as socat does."""
        received: list[bytes] = []

        def client() -> None:
            try:
                with self.connect() as connection:
                    connection.sendall(data)
                    if half:
                        connection.shutdown(socket.SHUT_WR)
                    while piece := connection.recv(65536):
                        received.append(piece)
            finally:
                os.write(writer, b"x")

        reader, writer = os.pipe()
        self.loop.add_reader(reader, self.loop.stop)
        thread = threading.Thread(target=client)
        thread.start()
        self.loop.run()
        thread.join()
        self.loop.remove_reader(reader)
        os.close(reader)
        os.close(writer)
        return [json.loads(line) for line in b"".join(received).splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.server.close()
    made.loop.close()


def test_an_answer_of_many_lines_comes_whole(bench: Bench) -> None:
    answer = bench.talk(b'{"ask": "lines", "n": 3000}\n')
    assert [line["n"] for line in answer[:-1]] == list(range(3000))
    assert answer[-1] == {"last": True}
    assert bench.conversations[0].gone


def test_a_client_that_sends_no_more_gets_its_answer(bench: Bench) -> None:
    assert bench.talk(b'{"ask": "lines", "n": 500}\n', half=True)[-1] == {"last": True}


def test_only_its_owner_may_connect(bench: Bench) -> None:
    assert stat.S_IMODE(os.stat(bench.path).st_mode) == 0o600


@pytest.mark.parametrize("data", [b"nonsense\n", b"[1]\n", b"\xff\n"])
def test_what_is_no_question(bench: Bench, data: bytes) -> None:
    assert bench.talk(data) == [{"error": "the question is no JSON object"}]


def test_a_question_without_an_end(bench: Bench) -> None:
    assert bench.talk(b"x" * (controlsocket.QUESTION_MAX + 1)) == [{"error": "the question is too long"}]


def test_a_handler_that_fails_ends_one_answer(bench: Bench) -> None:
    assert bench.talk(b'{"ask": "fail"}\n') == [{"error": "ksmbd.mountd failed: RuntimeError"}]
    assert bench.talk(b'{"ask": "lines", "n": 0}\n') == [{"last": True}]


def test_a_client_that_goes_is_forgotten(bench: Bench) -> None:
    connection = bench.connect()
    connection.sendall(b'{"ask": "wait"}\n')
    bench.loop.call_later(0.0, lambda: None)
    while not bench.asked:
        bench.loop.call_later(0.001, bench.loop.stop)
        bench.loop.run()
    connection.close()
    bench.loop.call_later(0.001, bench.loop.stop)
    bench.loop.run()
    bench.conversations[0].say({"too": "late"})
    assert bench.conversations[0].gone
    bench.conversations[0].end()


def test_a_client_that_goes_before_it_has_asked(bench: Bench) -> None:
    connection = bench.connect()
    connection.sendall(b'{"ask": ')
    connection.close()
    assert bench.talk(b'{"ask": "lines", "n": 0}\n') == [{"last": True}]
    assert len(bench.asked) == 1


def test_there_are_so_many_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlsocket, "CONNECTIONS_MAX", 1)
    first = bench.connect()
    assert "too many" in bench.talk(b'{"ask": "lines", "n": 0}\n')[0]["error"]
    first.close()


def test_a_stranger_is_refused_whatever_the_mode_says(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(controlsocket, "ROOT", 54321)
    assert bench.talk(b'{"ask": "lines", "n": 0}\n') == [{"error": "not allowed"}]
    assert bench.asked == []


def test_a_socket_that_was_left_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("left")
    loop = Loop()
    server = ControlSocket(loop, str(path), lambda question, conversation: conversation.end())
    assert path.is_socket()
    server.close()
    loop.close()
    assert not path.exists()
