# SPDX-License-Identifier: GPL-2.0-or-later
"""The transport over a socket pair, the clock turned by hand."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conn_fakes import FakeCore, TurnedClock, message, nbss, reply

from ksmbd.conn.back_pressure import HIGH_WATER, HIGH_WATER_IN_ALL, LOW_WATER
from ksmbd.conn.contract import Connected
from ksmbd.conn.loop import Loop
from ksmbd.conn.scratch import Scratch
from ksmbd.conn.tcp.input import TURN_FRAMES, TURN_SECONDS
from ksmbd.conn.tcp.transport import LINGER, TcpTransport
from ksmbd.overriding import override
from ksmbd.smb.ports import FileSpan, Frame
from ksmbd.smb.waiting import Task


class Counted:
    def __init__(self) -> None:
        self.sums = [0, 0, 0]

    def count(self, *values: int) -> None:
        self.sums = [a + b for a, b in zip(self.sums, values, strict=True)]

    def connected(self) -> None: ...
    def disconnected(self) -> None: ...
    def refused(self) -> None: ...


class CountingSocket(socket.socket):
    sends = 0

    @override
    def send(self, *arguments: Any) -> int:
        self.sends += 1
        return super().send(*arguments)

    @override
    def sendmsg(self, *arguments: Any) -> int:
        self.sends += 1
        return super().sendmsg(*arguments)


class Rig:
    """A transport and its peer."""

    def __init__(self, received: bytes = b"") -> None:
        self.clock = TurnedClock()
        self.loop = Loop(self.clock)
        self.peer, own = socket.socketpair()
        self.own = CountingSocket(own.family, own.type, own.proto, own.detach())
        self.peer.setblocking(False)
        self.counted = Counted()
        self.closed: list[Connected] = []
        self.scratch = Scratch()
        self.transport = TcpTransport(
            self.loop, self.own, self.scratch, FakeCore, self.counted, self.closed.append, received  # type: ignore[arg-type]
        )
        self.core: FakeCore = self.transport.core  # type: ignore[assignment]

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.loop.run_once(wait=False)

    def reading(self) -> bool:
        """Whether the transport takes what its peer sends."""
        return self.transport.reading

    def read(self) -> bytes:
        """All that is there for the peer, until there is no more even after turns."""
        pieces: list[bytes] = []
        while True:
            self.turn()
            try:
                piece = self.peer.recv(1 << 20)
            except (BlockingIOError, ConnectionResetError):
                break
            if not piece:
                break
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        self.transport.abort("test ends")
        self.turn(2)
        self.peer.close()
        self.loop.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


class DiskFile:
    """The part of a File that a span needs."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR)

    def fileno(self) -> int:
        return self.fd

    def read_into(self, offset: int, buffer: memoryview) -> int:
        return os.preadv(self.fd, [buffer], offset)

    def close(self) -> None:
        os.close(self.fd)


class MemoryFile:
    """A stream without a descriptor."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def fileno(self) -> int:
        return -1

    def read_into(self, offset: int, buffer: memoryview) -> int:
        piece = self.data[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


def span_frame(file: Any, offset: int, length: int, head: bytes = b"head", splice: bool = False) -> Frame:
    return Frame((len(head) + length).to_bytes(4, "big") + head, FileSpan(file, offset, length, splice))


splices = pytest.mark.parametrize("splice", [False, True])


def test_frames_of_one_recv_are_answered_in_one_send(rig: Rig) -> None:
    rig.core.answer = reply
    rig.peer.send(b"".join(message(bytes([index])) for index in range(20)))
    rig.turn()
    assert len(rig.core.frames) == 20
    assert rig.own.sends == 1
    assert rig.read() == b"".join(message(bytes([index])) for index in range(20))
    assert rig.counted.sums == [20, 20 * 69, 20 * 69]


def test_frames_sent_outside_a_turn_leave_at_its_end(rig: Rig) -> None:
    rig.loop.call_soon(lambda: rig.transport.send(Frame(b"one")))
    rig.loop.call_soon(lambda: rig.transport.send(Frame(b"two")))
    rig.turn()
    assert rig.peer.recv(100) == b"onetwo"


def test_a_busy_connection_lets_others_have_their_turn(rig: Rig) -> None:
    rig.peer.send(message(b"") * (TURN_FRAMES * 2 + 5))
    order: list[int] = []
    rig.turn()
    order.append(len(rig.core.frames))
    rig.turn()
    order.append(len(rig.core.frames))
    rig.turn(3)
    order.append(len(rig.core.frames))
    assert order == [TURN_FRAMES, 2 * TURN_FRAMES, 2 * TURN_FRAMES + 5]


def test_long_requests_of_one_connection_let_others_in_between(rig: Rig) -> None:
    def long(core: FakeCore, data: bytes) -> None:
        rig.clock.now += TURN_SECONDS * 0.6

    rig.core.answer = long
    rig.peer.send(message(b"") * 7)
    order = []
    for _ in range(4):
        rig.turn()
        order.append(len(rig.core.frames))
    assert order == [3, 6, 7, 7]


@splices
def test_a_span_comes_from_the_file(rig: Rig, tmp_path: Path, splice: bool) -> None:
    path = tmp_path / "file"
    content = os.urandom(3_000_000)
    path.write_bytes(content)
    file = DiskFile(path)
    rig.transport.send(span_frame(file, 1000, 2_500_000, splice=splice))
    file.close()  # a CLOSE behind the READ: what is under way goes on
    os.close(os.dup(0))
    rig.transport.send(Frame(b"behind"))
    assert rig.read() == (2_500_004).to_bytes(4, "big") + b"head" + content[1000:2_501_000] + b"behind"
    assert rig.transport.waiting_bytes == 0


@splices
def test_a_file_cut_short_is_filled_with_zeros(rig: Rig, tmp_path: Path, splice: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000)
    file = DiskFile(path)
    rig.transport.send(span_frame(file, 0, 1_000_000, splice=splice))
    os.ftruncate(file.fd, 600_000)
    rig.transport.send(Frame(b"behind"))
    data = rig.read()
    file.close()
    assert len(data) == 8 + 1_000_000 + 6
    body = data[8:-6]
    assert data.endswith(b"behind")
    assert set(body[:600_000]) <= {0, ord("x")}
    assert body[600_000 + (1 << 18) :].strip(b"\0") == b""
    assert rig.transport.waiting_bytes == 0


def test_a_span_without_a_descriptor_is_read(rig: Rig) -> None:
    rig.transport.send(span_frame(MemoryFile(b"0123456789"), 2, 12))
    assert rig.read() == (16).to_bytes(4, "big") + b"head" + b"23456789" + bytes(4)


def test_replies_that_another_thread_works_on_count_as_well(rig: Rig) -> None:
    late: list[bytes] = []

    def answer(core: FakeCore, data: bytes) -> None:
        core.offloaded_bytes += 1_000_000
        late.append(nbss(b"a" * 999_996))

    rig.core.answer = answer
    rig.peer.send(message(b"") * 50)
    rig.turn(5)
    handled = len(rig.core.frames)
    assert handled == HIGH_WATER_IN_ALL // 1_000_000 + 1 and not rig.reading()
    assert rig.scratch.waiting == rig.core.offloaded_bytes
    while late:
        rig.core.offloaded_bytes -= 1_000_000
        rig.transport.send(Frame(late.pop(0)))
        rig.read()
    assert len(rig.core.frames) == 50, "all are handled in the end"
    assert (rig.core.offloaded_bytes, rig.scratch.waiting, rig.transport.waiting_bytes) == (0, 0, 0)


def test_where_all_wait_for_much_only_who_has_taken_all_is_served(rig: Rig) -> None:
    answer = nbss(b"a" * 600_000)
    rig.core.answer = lambda core, data: core.transport.send(Frame(answer))
    rig.scratch.budget = rig.scratch.waiting = 1 << 20
    rig.peer.send(message(b"") * 5)
    rig.turn(10)
    assert len(rig.core.frames) == 1 and not rig.reading()
    assert rig.read() == answer * 5, "it is served as it takes what is there"
    assert len(rig.core.frames) == 5 and rig.reading()
    assert rig.scratch.waiting == 1 << 20, "its own is gone from the sum"


def test_a_connection_that_ends_leaves_nothing_in_the_sum(rig: Rig) -> None:
    rig.core.answer = lambda core, data: core.transport.send(Frame(nbss(b"a" * 1_000_000)))
    rig.peer.send(message(b"") * 20)
    rig.turn(5)
    assert rig.scratch.waiting == rig.transport.waiting_bytes > 0
    rig.transport.abort("the test's end")
    rig.turn(2)
    assert rig.scratch.waiting == 0


def test_a_peer_that_does_not_read_stops_being_read(rig: Rig) -> None:
    answer = nbss(b"a" * 1_000_000)
    rig.core.answer = lambda core, data: core.transport.send(Frame(answer))
    rig.peer.send(message(b"") * 50)
    rig.turn(5)
    handled = len(rig.core.frames)
    assert handled < 50
    assert HIGH_WATER < rig.transport.waiting_bytes <= HIGH_WATER + len(answer)
    assert not rig.reading()
    rig.turn(20)
    assert len(rig.core.frames) == handled, "nothing more is handled while it does not read"
    data = rig.read()
    assert len(rig.core.frames) == 50
    assert data == answer * 50
    assert rig.reading()
    assert rig.transport.waiting_bytes <= LOW_WATER


def test_who_answers_later_waits_for_room(rig: Rig) -> None:
    """Many answers that become ready at once, while the peer reads nothing: they are made as it reads."""
    answer = nbss(b"a" * 3_000_000)
    assert rig.transport.room() is None
    made: list[int] = []

    async def one(number: int) -> None:
        while (room := rig.transport.room()) is not None:
            await room
        made.append(number)
        rig.transport.send(Frame(answer))

    tasks = [Task(one(number)).start() for number in range(20)]
    rig.turn(20)
    assert len(made) < 4 and rig.transport.waiting_bytes <= HIGH_WATER + len(answer)
    most, data = 0, b""
    while True:
        rig.turn()
        most = max(most, rig.transport.waiting_bytes)
        try:
            data += rig.peer.recv(1 << 20)
        except BlockingIOError:
            break
    assert data == answer * 20 and most <= HIGH_WATER + len(answer)
    assert made == list(range(20)) and all(task.done for task in tasks)
    assert rig.transport.room() is None


def test_nobody_waits_for_room_on_a_connection_that_ends(rig: Rig) -> None:
    rig.transport.send(Frame(nbss(b"a" * (HIGH_WATER + 1_000_000))))
    waiting = rig.transport.room()
    assert waiting is not None
    rig.transport.abort("the test says so")
    assert rig.transport.room() is None
    rig.turn(3)
    waiting.cancel()


def test_reading_goes_on_after_back_pressure_with_a_half_received_frame(rig: Rig) -> None:
    answer = nbss(b"a" * 3_000_000)
    rig.core.answer = lambda core, data: core.transport.send(Frame(answer))
    large = message(b"b" * 100_000)
    rig.peer.send(message(b"") * 4 + large[:40_000])
    rig.turn(5)
    assert not rig.reading()
    assert rig.read() == answer * 4
    rig.peer.send(large[40_000:])
    assert rig.read() == answer
    assert rig.core.frames[-1] == large[4:]


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\0\0\0\1x", b"GET / HTTP/1.0\r\n\r\n", b"\0\xff\xff\xff"])
def test_a_stream_without_meaning_ends_the_connection(rig: Rig, data: bytes) -> None:
    rig.core.answer = reply
    rig.peer.send(data)
    assert rig.read() == b""
    assert rig.transport.closed
    assert len(rig.core.gone) == 1
    assert rig.closed == [rig.transport]
    assert rig.core.frames == []


@pytest.mark.parametrize("promise", [b"\0\xff\xff\xf0", b"\0\x0f\0\0"])
def test_a_connection_that_ends_holds_nothing(rig: Rig, promise: bytes) -> None:
    rig.peer.send(promise + b"\xfeSMB" + bytes(6000))
    rig.turn(2)
    rig.transport.abort("the test's end")
    rig.turn(2)
    assert rig.transport.closed and rig.transport._input.receiver.buffered == 0


def test_the_limit_grows_with_the_session(rig: Rig) -> None:
    rig.core.max_frame = 100
    rig.core.answer = lambda core, data: setattr(core, "max_frame", 5000)
    rig.peer.send(message(b"") + message(b"x" * 4000))
    rig.turn(2)
    assert len(rig.core.frames) == 2
    rig.peer.send(message(b"x" * 5000))
    rig.turn(2)
    assert rig.transport.closed


def test_an_exception_of_the_core_ends_that_connection_alone(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(core: FakeCore, data: bytes) -> None:
        raise IndexError("a defect")

    rig.core.answer = broken
    rig.peer.send(message(b"") * 3)
    rig.turn(2)
    error = capfd.readouterr().err
    assert "IndexError" in error and "a defect" in error
    assert error.count("Traceback") == 1
    assert rig.transport.closed and rig.core.gone == ["internal error"]
    assert len(rig.core.frames) == 1


def test_close_sends_what_was_answered_before(rig: Rig) -> None:
    def last(core: FakeCore, data: bytes) -> None:
        core.transport.send(Frame(b"goodbye"))
        core.transport.close("enough")
        core.transport.send(Frame(b"never"))

    rig.core.answer = last
    rig.peer.send(message(b"") * 2)
    assert rig.read() == b"goodbye"
    assert rig.peer.recv(10) == b""
    assert rig.core.gone == ["enough"]
    assert len(rig.core.frames) == 1


def test_close_does_not_wait_for_a_peer_that_does_not_read(rig: Rig) -> None:
    rig.transport.send(Frame(b"x" * 3_000_000))
    rig.transport.close("enough")
    rig.turn(3)
    assert rig.core.gone == ["enough"], "what it has open is let go at once"
    assert not rig.transport.closed
    rig.clock.now += LINGER
    rig.turn()
    assert rig.transport.closed


def test_the_peer_closes(rig: Rig) -> None:
    rig.peer.send(message(b"last"))
    rig.peer.close()
    rig.turn(3)
    assert len(rig.core.frames) == 1
    assert len(rig.core.gone) == 1
    assert rig.transport.closed


def test_half_closed_clients_get_their_replies(rig: Rig) -> None:
    rig.core.answer = reply
    rig.peer.send(message(b"last"))
    rig.peer.shutdown(socket.SHUT_WR)
    assert rig.read() == message(b"last")
    assert rig.transport.closed


def test_the_peer_vanishes_in_the_middle_of_a_frame(rig: Rig) -> None:
    rig.peer.send(message(b"x" * 50_000)[:9_000])
    rig.turn()
    rig.peer.close()
    rig.turn(2)
    assert rig.core.frames == []
    assert len(rig.core.gone) == 1
    assert rig.transport.closed


@splices
def test_the_peer_vanishes_while_a_file_is_sent(rig: Rig, tmp_path: Path, splice: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4_000_000))
    rig.scratch.pipe()
    before = len(os.listdir("/proc/self/fd"))
    file = DiskFile(path)
    rig.transport.send(span_frame(file, 0, 4_000_000, splice=splice))
    rig.turn()
    assert rig.transport.waiting_bytes
    rig.peer.close()
    rig.turn(3)
    file.close()
    assert rig.transport.closed and len(rig.core.gone) == 1
    assert len(os.listdir("/proc/self/fd")) == before - 2, "its own descriptor of the file is closed, and both sockets"


def test_a_session_request_is_answered(rig: Rig) -> None:
    rig.core.answer = reply
    rig.peer.send(b"\x81\0\0\x44" + bytes(68) + message(b"x"))
    assert rig.read() == b"\x82\0\0\0" + message(b"x")


def test_a_connection_handed_over_begins_with_what_was_received() -> None:
    rig = Rig(message(b"first") + message(b"second")[:20])
    rig.turn(2)
    assert [frame[64:] for frame in rig.core.frames] == [b"first"]
    rig.peer.send(message(b"second")[20:])
    rig.turn()
    assert [frame[64:] for frame in rig.core.frames] == [b"first", b"second"]
    rig.close()


def test_detach_gives_the_socket_away(rig: Rig) -> None:
    sock = rig.transport.detach()
    rig.peer.send(b"for the other one")
    rig.turn(2)
    assert rig.core.gone == []
    assert sock.recv(100) == b"for the other one"
    sock.close()


def test_a_core_that_closes_in_disconnected_is_told_once(rig: Rig) -> None:
    told: list[str] = []

    def gone(reason: str) -> None:
        told.append(reason)
        rig.transport.close("again")
        rig.transport.send(Frame(b"late"))

    rig.core.disconnected = gone  # type: ignore[method-assign]
    rig.peer.close()
    rig.turn(3)
    assert len(told) == 1


